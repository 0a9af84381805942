"""The one place where a rating is written."""

from django.contrib.auth.models import User
from django.db import transaction

from readerstudy.models import (
    RATINGS,
    Enrolment,
    Presentation,
    RatingEvent,
    Study,
)
from readerstudy.trial import policies, records
from readerstudy.trial.policies import Refusal

Kind = RatingEvent.Kind


class InvalidRating(Refusal):
    """Not an integer from 0 to 5."""


class RatingConflict(Refusal):
    """The presentation holds another rating; `event` is the one that stands."""

    def __init__(self, event: RatingEvent) -> None:
        super().__init__("This presentation has been rated already.")
        self.event = event


def find_presentation(*, user: User, token: str) -> Presentation | None:
    """The presentation that `token` names, if it is the user's own in an open study.

    Unknown, foreign and no longer open are one answer, None: a caller that cannot tell
    them apart cannot tell anybody else. With enrolment, study, overlay and case in the
    same query; without the arm.
    """
    if "\0" in token:
        # PostgreSQL cannot even be asked for it.
        return None
    return (
        Presentation.objects.filter(
            token=token,
            enrolment__reader=user,
            enrolment__study__state=Study.State.OPEN,
        )
        .select_related("enrolment__study", "overlay__case__study")
        .defer("overlay__arm")
        .first()
    )


def next_presentation(enrolment: Enrolment) -> Presentation | None:
    """The first in the reader's order that is not rated; None when all are."""
    return enrolment.presentations.unrated().first()


def record_shown(*, presentation: Presentation, user: User) -> None:
    """Record that the reader was shown this, the first time.

    Raises:
        Refusal: not the reader's own, or the study is not open.
    """
    # Reloading a page is common and writing is dear (each transaction is synced to
    # disk), so a look without a lock comes first.
    if _event(presentation, Kind.SHOWN):
        return
    with transaction.atomic():
        enrolment = _hold(presentation, user)
        if not _event(presentation, Kind.SHOWN):
            records.add_rating_event(
                enrolment=enrolment,
                presentation=presentation,
                kind=Kind.SHOWN,
                user=user,
            )


def record_rating(
    *, presentation: Presentation, user: User, rating: int
) -> RatingEvent:
    """Write the rating of a presentation, once.

    The same rating again (a double click, a second tab, a repeated request) returns the
    event that is there and writes nothing.

    Args:
        rating: an integer from 0 to 5.

    Raises:
        InvalidRating: anything else.
        RatingConflict: the presentation holds another rating. Nothing is written.
        Refusal: not the reader's own, the study is not open (any more), or the
            presentation was never shown.
    """
    if type(rating) is not int or rating not in RATINGS:
        raise InvalidRating(f"A rating is an integer from 0 to 5, not {rating!r}.")
    with transaction.atomic():
        enrolment = _hold(presentation, user)
        first = _event(presentation, Kind.RATE)
        if first is None:
            if not _event(presentation, Kind.SHOWN):
                raise Refusal("A presentation is rated after it was shown, not before.")
            return records.add_rating_event(
                enrolment=enrolment,
                presentation=presentation,
                kind=Kind.RATE,
                user=user,
                rating=rating,
            )
        if first.rating != rating:
            raise RatingConflict(first)
        return first


def _hold(presentation: Presentation, user: User) -> Enrolment:
    """Lock the reader's enrolment, return it, and check that `user` may rate in it.

    Of two requests for one presentation the second waits here and then sees what the
    first wrote. `lock_study` takes the same locks, so that no rating slips in behind
    it. On SQLite the transaction itself, which is immediate, does the waiting.
    """
    enrolment = Enrolment.objects.select_for_update(no_key=True).get(
        pk=presentation.enrolment_id
    )
    if enrolment.reader_id != user.pk:
        raise Refusal("This presentation is another reader's.")
    # The study is read by a statement of its own: joined to the one above it would be
    # as it was before the wait.
    policies.check_can_rate(enrolment)
    return enrolment


def _event(presentation: Presentation, kind: Kind) -> RatingEvent | None:
    return RatingEvent.objects.filter(presentation=presentation, kind=kind).first()
