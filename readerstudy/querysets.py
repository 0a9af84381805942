"""QuerySets: questions about many rows, named once."""

from typing import TYPE_CHECKING, Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.db.models import Count, Exists, OuterRef, Prefetch, Q

if TYPE_CHECKING:
    from readerstudy.models import (  # noqa: F401  (named in the generic's argument)
        Enrolment,
        Presentation,
        RatingEvent,
        Study,
    )

Person = AbstractBaseUser | AnonymousUser

# The kinds of event with which a presentation is answered for the first time. What
# follows them (another cannot_judge, a change, a void) leaves it answered.
FIRST_ANSWERS = ("rate", "cannot_judge")
ANSWERS = (*FIRST_ANSWERS, "change")


class StudyQuerySet(models.QuerySet["Study"]):
    def for_reader(self, user: Person) -> Self:
        """The studies that `user` reads in, once they are open."""
        reading = Q(enrolments__reader=user, enrolments__voided_at__isnull=True)
        return self.filter(reading).exclude(state="draft")

    def for_role_holder(self, user: Person) -> Self:
        """The studies in which `user` is coordinator, allocator or statistician."""
        return self._with_role(user, "coordinator", "allocator", "statistician")

    def concerning(self, user: Person) -> Self:
        """The studies that `user` reads in, once open, or holds another role in."""
        reading = type(self)(self.model).for_reader(user).values("pk")
        holding = type(self)(self.model).for_role_holder(user).values("pk")
        return self.filter(Q(pk__in=reading) | Q(pk__in=holding))

    def with_member(self, user: Person) -> Self:
        """The studies that `user` reads in or holds another role in, drafts too."""
        return self._with_role(
            user, "reader", "coordinator", "allocator", "statistician"
        )

    def _with_role(self, user: Person, *roles: str) -> Self:
        """The studies in which `user` has one of `roles`."""
        from readerstudy.models import Membership

        one_of = Q.create([(role, True) for role in roles], connector=Q.OR)
        held = Membership.objects.filter(one_of, user=user.pk)
        return self.filter(pk__in=held.values("study"))

    def with_own_roles(self, user: Person) -> Self:
        """Adds `own`, the membership of `user` in a list, or an empty one."""
        from readerstudy.models import Membership

        own = Membership.objects.filter(user=user.pk)
        return self.prefetch_related(Prefetch("memberships", own, to_attr="own"))


class EnrolmentQuerySet(models.QuerySet["Enrolment"]):
    def current(self) -> Self:
        """The runs that were not voided: one for each reader of a study."""
        return self.filter(voided_at__isnull=True)

    def with_progress(self) -> Self:
        """Adds `total` and `rated`: counts of presentations, practice left out."""
        rated = Q(
            presentations__events__kind__in=FIRST_ANSWERS,
            presentations__events__stage="map",
        )
        counts = Q(presentations__training=False)
        return self.annotate(
            total=Count("presentations", filter=counts, distinct=True),
            rated=Count("presentations", filter=counts & rated, distinct=True),
        )


class PresentationQuerySet(models.QuerySet["Presentation"]):
    def with_rated(self) -> Self:
        """Adds `is_rated`: with a rating, or with the reason why it has none."""
        from readerstudy.models import RatingEvent

        answers = RatingEvent.objects.filter(
            presentation=OuterRef("pk"), kind__in=FIRST_ANSWERS, stage="map"
        )
        return self.annotate(is_rated=Exists(answers))

    def unrated(self) -> Self:
        """Those still to be rated, in the reader's order."""
        return self.with_rated().filter(is_rated=False).order_by("position")


class RatingEventQuerySet(models.QuerySet["RatingEvent"]):
    def answers(self, stage: str = "map") -> Self:
        """Answers, changed ones, and reasons why there is none, of one stage."""
        return self.filter(kind__in=ANSWERS, stage=stage)

    def standing(self, presentation: "Presentation") -> "RatingEvent | None":
        """The answer to the map that counts: the last one given."""
        answers = self.filter(presentation=presentation).answers()
        return answers.order_by("-number").first()

    def all_standing(self, enrolment: "Enrolment") -> "list[RatingEvent]":
        """The answer that counts of each stage of every presentation that has one."""
        answers = self.filter(enrolment=enrolment, kind__in=ANSWERS).order_by("number")
        events = answers.select_related("presentation__overlay")
        return list({(e.presentation_id, e.stage): e for e in events}.values())
