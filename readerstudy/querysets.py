"""Questions about many rows, named once."""

from typing import TYPE_CHECKING, Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.db.models import Count, Exists, OuterRef, Q

if TYPE_CHECKING:
    from readerstudy.models import (  # noqa: F401  (named in the generic's argument)
        Enrolment,
        Presentation,
        Study,
    )

Person = AbstractBaseUser | AnonymousUser


class StudyQuerySet(models.QuerySet["Study"]):
    def for_reader(self, user: Person) -> Self:
        """The studies that `user` reads in, once they are open."""
        return self.filter(enrolments__reader=user).exclude(state="draft")


class EnrolmentQuerySet(models.QuerySet["Enrolment"]):
    def with_progress(self) -> Self:
        """Adds `total` and `rated`, the counts of presentations."""
        return self.annotate(
            total=Count("presentations", distinct=True),
            rated=Count(
                "presentations",
                filter=Q(presentations__events__kind="rate"),
                distinct=True,
            ),
        )


class PresentationQuerySet(models.QuerySet["Presentation"]):
    def with_rated(self) -> Self:
        """Adds `is_rated`."""
        from readerstudy.models import RatingEvent

        rating = RatingEvent.objects.filter(presentation=OuterRef("pk"), kind="rate")
        return self.annotate(is_rated=Exists(rating))

    def unrated(self) -> Self:
        """Those still to be rated, in the reader's order."""
        return self.with_rated().filter(is_rated=False).order_by("position")
