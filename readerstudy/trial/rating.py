"""Ratings: the one place where they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from django.contrib.auth.models import User
from django.db import transaction

from readerstudy.models import (
    RATINGS,
    Enrolment,
    Presentation,
    RatingEvent,
    Study,
)
from readerstudy.querysets import ANSWERS
from readerstudy.trial import policies
from readerstudy.trial.checked_json import is_text
from readerstudy.trial.locking import hold_enrolment
from readerstudy.trial.policies import Refusal
from readerstudy.trial.record import events as record_events

Reason = RatingEvent.Reason

CONFIDENCES = range(1, 6)
LONGEST_COMMENT = 2000


class InvalidRating(Refusal):
    """Not an answer that can be kept."""


class RatingConflict(Refusal):
    """The presentation holds another answer; `event` is the one that stands."""

    def __init__(self, event: RatingEvent) -> None:
        super().__init__("This presentation has been rated already.")
        self.event = event


@dataclass(frozen=True)
class Answer:
    """What a reader says of one map.

    Attributes:
        rating: 0 to 5; None where the map cannot be judged.
        cannot_judge: why not, one of `RatingEvent.Reason`; empty with a rating.
        comment: up to `LONGEST_COMMENT` characters.
        confidence: 1 to 5 with a rating, where the study asks for it; else None.
        viewer: a summary of how the map was looked at; no part of what is compared.
    """

    rating: int | None = None
    cannot_judge: str = ""
    comment: str = ""
    confidence: int | None = None
    viewer: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, event: RatingEvent) -> Self:
        """The answer that an event holds."""
        return cls(
            rating=event.rating,
            cannot_judge=event.reason
            if event.kind == RatingEvent.Kind.CANNOT_JUDGE
            else "",
            comment=event.comment,
            confidence=event.confidence,
        )

    def check(self, *, asks_confidence: bool) -> None:
        """Raise InvalidRating unless the answer can be kept."""
        if (self.rating is None) == (self.cannot_judge == ""):
            raise InvalidRating("An answer is a rating, or why there is none.")
        if self.rating is None:
            if self.cannot_judge not in Reason.values:
                raise InvalidRating(f"{self.cannot_judge!r} is no reason.")
        elif type(self.rating) is not int or self.rating not in RATINGS:
            raise InvalidRating(
                f"A rating is an integer from 0 to 5, not {self.rating!r}."
            )
        if not is_text(self.comment) or len(self.comment) > LONGEST_COMMENT:
            raise InvalidRating(
                f"A comment is a text of up to {LONGEST_COMMENT} characters."
            )
        wanted = asks_confidence and self.rating is not None
        if wanted != (self.confidence is not None):
            raise InvalidRating(
                "Say how sure you are." if wanted else "No confidence is asked for."
            )
        if wanted and self.confidence not in CONFIDENCES:
            raise InvalidRating(f"A confidence is 1 to 5, not {self.confidence!r}.")


def find_presentation(*, user: User, token: str) -> Presentation | None:
    """The presentation that `token` names, if it is one that the user may read now.

    Unknown, foreign, void, signed off, not begun, not yet begun and no longer open are
    one answer, None: a caller that cannot tell them apart cannot tell anybody else.
    With enrolment, study, overlay and case in the same query; without the arm.
    """
    if "\0" in token:
        # PostgreSQL cannot even be asked for it.
        return None
    presentation = (
        Presentation.objects.filter(
            token=token,
            enrolment__reader=user,
            enrolment__consented_at__isnull=False,
            enrolment__signed_off_at__isnull=True,
            enrolment__voided_at__isnull=True,
            enrolment__study__state=Study.State.OPEN,
        )
        .select_related("enrolment__study", "overlay__case__study")
        .defer("overlay__arm")
        .first()
    )
    if presentation is None:
        return None
    try:
        policies.check_session(presentation)
    except Refusal:
        return None
    return presentation


def next_presentation(enrolment: Enrolment) -> Presentation | None:
    """The first in the reader's order that is not rated; None when all are.

    With overlay and case, and without the arm, as `find_presentation`; with `is_shown`.
    """
    following = (
        enrolment.presentations.unrated()
        .with_shown()
        .select_related("overlay__case")
        .defer("overlay__arm")
        .first()
    )
    if following:
        # The rows are here already, and what was read under a lock counts.
        following.enrolment = enrolment
        following.overlay.case.study = enrolment.study
    return following


def record_shown(*, presentation: Presentation, user: User) -> None:
    """Record that the reader was shown this, the first time.

    Raises:
        Refusal: not the reader's own, or not to be read now.
    """
    # Reloading a page is common and writing is dear (each transaction is synced to
    # disk), so a look without a lock comes first.
    if _shown(_events(presentation)):
        return
    with transaction.atomic():
        _hold(presentation, user)
        if not _shown(_events(presentation)):
            _add_shown(presentation, user)


def record_answer(
    *, presentation: Presentation, user: User, answer: Answer, change: int | None = None
) -> RatingEvent:
    """Write the answer of a presentation, once; with `change`, another one.

    The same answer again (a double click, a second tab, a repeated request) returns the
    event that stands and writes nothing.

    Args:
        change: number of the event that stands and is to be replaced.

    Raises:
        InvalidRating: not an answer that can be kept.
        RatingConflict: another answer stands, and `change` does not name it. Nothing
            is written.
        Refusal: not the reader's own, not to be read now, never shown, or an answer is
            final in this study.
    """
    answer.check(asks_confidence=presentation.enrolment.study.asks_confidence)
    with transaction.atomic():
        _hold(presentation, user)
        return _answer(presentation, user, answer, change)


def record_answer_and_show_next(
    *, presentation: Presentation, user: User, answer: Answer, change: int | None = None
) -> Presentation | None:
    """`record_answer`, and `record_shown` of what is to be rated then, in one write.

    Each transaction is synced to disk: two would double the time that a reader waits.

    Returns:
        The next presentation; None when all are rated or its session is yet to begin.
    """
    answer.check(asks_confidence=presentation.enrolment.study.asks_confidence)
    with transaction.atomic():
        _hold(presentation, user)
        _answer(presentation, user, answer, change)
        following = next_presentation(presentation.enrolment)
        if following is None or not policies.has_begun(following):
            return None
        # It was read under the lock: what it says of itself holds.
        if not following.is_shown:
            _add_shown(following, user)
        return following


def fetchable_after(presentation: Presentation) -> Presentation | None:
    """What is to be rated after this one, of the same session; its pixels can be sent.

    With overlay and case, and without the arm, as `find_presentation`.
    """
    return (
        presentation.enrolment.presentations.unrated()
        .filter(position__gt=presentation.position, session=presentation.session)
        .select_related("overlay__case")
        .defer("overlay__arm")
        .first()
    )


def changeable(presentation: Presentation) -> RatingEvent | None:
    """The answer that stands, if the reader may still change it."""
    if not policies.can_change(presentation.enrolment):
        return None
    return RatingEvent.objects.standing(presentation)


def changeable_before(presentation: Presentation) -> Presentation | None:
    """The one before in the reader's order and session, if its answer can be changed.

    Whatever comes before something that was shown has an answer.
    """
    if not policies.can_change(presentation.enrolment):
        return None
    return presentation.enrolment.presentations.filter(
        session=presentation.session, position=presentation.position - 1
    ).first()


def changeable_last(enrolment: Enrolment) -> Presentation | None:
    """The last in the reader's order, once all are rated, if it can be changed."""
    if not policies.can_change(enrolment) or next_presentation(enrolment):
        return None
    return enrolment.presentations.order_by("position").last()


def _answer(
    presentation: Presentation, user: User, answer: Answer, change: int | None
) -> RatingEvent:
    """Write the answer for whoever holds the lock, unless it stands already."""
    events = _events(presentation)
    standing = next((e for e in reversed(events) if e.kind in ANSWERS), None)
    if standing is None:
        if not _shown(events):
            raise Refusal("A presentation is rated after it was shown, not before.")
    elif Answer.of(standing) == answer:
        return standing
    elif change != standing.number:
        raise RatingConflict(standing)
    else:
        policies.check_can_change(presentation.enrolment)
    kind = RatingEvent.Kind.CHANGE if standing else RatingEvent.Kind.RATE
    return record_events.add_rating_event(
        enrolment=presentation.enrolment,
        presentation=presentation,
        kind=RatingEvent.Kind.CANNOT_JUDGE if answer.rating is None else kind,
        user=user,
        rating=answer.rating,
        old_rating=standing.rating if standing else None,
        reason=answer.cannot_judge,
        comment=answer.comment,
        confidence=answer.confidence,
        viewer=dict(answer.viewer),
    )


def _add_shown(presentation: Presentation, user: User) -> None:
    record_events.add_rating_event(
        enrolment=presentation.enrolment,
        presentation=presentation,
        kind=RatingEvent.Kind.SHOWN,
        user=user,
    )


def _hold(presentation: Presentation, user: User) -> None:
    """Lock the reader's enrolment and check that `user` may rate in it.

    Of two requests for one presentation the second waits here and then sees what the
    first wrote. `lock_study` takes the same locks, so that no rating slips in behind
    it. On SQLite the transaction itself, which is immediate, does the waiting.
    """
    enrolment = presentation.enrolment
    hold_enrolment(enrolment)
    if enrolment.reader_id != user.pk:
        raise Refusal("This presentation is another reader's.")
    policies.check_can_rate(enrolment)
    policies.check_session(presentation)


def _events(presentation: Presentation) -> list[RatingEvent]:
    return list(
        RatingEvent.objects.filter(presentation=presentation).order_by("number")
    )


def _shown(events: Sequence[RatingEvent]) -> bool:
    return any(event.kind == RatingEvent.Kind.SHOWN for event in events)
