"""Ratings: the one place where they are written.

A presentation is answered in one stage or two: the image alone first, where the study
asks something before its map, and then the image with its map. Answers to the image are
final, and nothing of the map is to be had before they are there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from readerstudy.models import Enrolment, Presentation, RatingEvent, Study
from readerstudy.querysets import ANSWERS
from readerstudy.trial import policies
from readerstudy.trial.locking import hold_enrolment
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.answers import (
    InvalidAnswer,
    Place,
    checked_answer,
    questions_at,
)
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Stage as StageName
from readerstudy.trial.record import events as record_events
from readerstudy.trial.record.hash_chain import canonical_text

Stage = RatingEvent.Stage


class InvalidRating(Refusal):
    """Not an answer that can be kept."""


class RatingConflict(Refusal):
    """The presentation holds another answer; `event` is the one that stands."""

    def __init__(self, event: RatingEvent) -> None:
        super().__init__("This presentation has been rated already.")
        self.event = event


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
        .select_related("enrolment__study", "case__study", "overlay__case__study")
        .defer("arm", "overlay__arm")
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

    With overlay and case, and without the arm, as `find_presentation`.
    """
    following = (
        enrolment.presentations.unrated()
        .select_related("case", "overlay__case")
        .defer("arm", "overlay__arm")
        .first()
    )
    if following:
        # The rows are here already, and what was read under a lock counts.
        following.enrolment = enrolment
        following.case.study = enrolment.study
        if following.overlay:
            following.overlay.case = following.case
    return following


def place_of(presentation: Presentation) -> Place:
    """What of a presentation decides what is asked of it.

    Whether it is the first of its case decides nothing where no map is waited for.
    """
    case = presentation.case
    asks_before = Protocol.of(presentation.enrolment.study.protocol).asks_before
    earlier = Presentation.objects.filter(
        enrolment=presentation.enrolment_id,
        case=case,
        position__lt=presentation.position,
    )
    return Place(
        findings=tuple(case.findings),
        width=case.width,
        height=case.height,
        first=not (asks_before and earlier.exists()),
    )


def stage_of(presentation: Presentation) -> Stage:
    """What the reader has before them until the presentation is answered."""
    protocol = Protocol.of(presentation.enrolment.study.protocol)
    if not protocol.asks_before:
        return Stage.MAP
    return _stage(protocol, place_of(presentation), _events(presentation))


def can_see_map(presentation: Presentation) -> bool:
    """Whether its map may be sent: where an image is asked about before any map is
    there, not before it was shown with it."""
    if not Protocol.of(presentation.enrolment.study.protocol).asks_before:
        return True
    return _shown(_events(presentation), Stage.MAP)


def record_shown(*, presentation: Presentation, user: User) -> None:
    """Record that the reader was shown this in its present stage, the first time.

    Raises:
        Refusal: not the reader's own, or not to be read now.
    """
    # Reloading a page is common and writing is dear (each transaction is synced to
    # disk), so a look without a lock comes first.
    if _shown(_events(presentation), stage_of(presentation)):
        return
    with transaction.atomic():
        _hold(presentation, user)
        _add_shown(presentation, user)


def record_answer(
    *,
    presentation: Presentation,
    user: User,
    stage: StageName,
    answer: Mapping[str, Any],
    viewer: Mapping[str, Any] | None = None,
    change: int | None = None,
) -> RatingEvent:
    """Write the answer to a stage of a presentation, once; with `change`, another one.

    The same answer again (a double click, a second tab, a repeated request) returns the
    event that stands and writes nothing.

    Args:
        answer: the document of `protocol.answers`.
        viewer: a summary of how the map was looked at; no part of what is compared.
        change: number of the event that stands and is to be replaced.

    Raises:
        InvalidRating: not an answer that can be kept.
        RatingConflict: another answer stands, and `change` does not name it. Nothing
            is written.
        Refusal: not the reader's own, not to be read now, never shown, or an answer is
            final in this study.
    """
    checked = _checked(presentation, stage, answer)
    with transaction.atomic():
        _hold(presentation, user)
        return _answer(presentation, user, Stage(stage), checked, viewer, change)


def record_answer_and_show_next(
    *,
    presentation: Presentation,
    user: User,
    stage: StageName,
    answer: Mapping[str, Any],
    viewer: Mapping[str, Any] | None = None,
    change: int | None = None,
) -> Presentation | None:
    """`record_answer`, and `record_shown` of what is to be rated then, in one write.

    Each transaction is synced to disk: two would double the time that a reader waits.

    Returns:
        What is to be rated then, after an answer to the image the same with its map;
        None when all are rated or the session of the next is yet to begin.
    """
    checked = _checked(presentation, stage, answer)
    with transaction.atomic():
        _hold(presentation, user)
        _answer(presentation, user, Stage(stage), checked, viewer, change)
        following = next_presentation(presentation.enrolment)
        if following is None or not policies.has_begun(following):
            return None
        _add_shown(following, user)
        return following


def fetchable_after(presentation: Presentation) -> Presentation | None:
    """What is to be rated after this one, of the same session; its pixels can be sent.

    With overlay and case, and without the arm, as `find_presentation`.
    """
    return (
        presentation.enrolment.presentations.unrated()
        .filter(position__gt=presentation.position, session=presentation.session)
        .select_related("case", "overlay")
        .defer("arm", "overlay__arm")
        .first()
    )


def standing_before(presentation: Presentation) -> RatingEvent | None:
    """What the reader said of the image alone, if they were asked."""
    answers = RatingEvent.objects.filter(presentation=presentation)
    return answers.answers(Stage.IMAGE).first()


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


def _checked(
    presentation: Presentation, stage: StageName, answer: Mapping[str, Any]
) -> dict[str, Any]:
    if stage not in Stage.values:
        raise InvalidRating(f"There is no stage {stage!r}.")
    protocol = Protocol.of(presentation.enrolment.study.protocol)
    try:
        return checked_answer(protocol, stage, answer, place_of(presentation))
    except InvalidAnswer as problem:
        raise InvalidRating(str(problem)) from problem


def _answer(
    presentation: Presentation,
    user: User,
    stage: Stage,
    answer: Mapping[str, Any],
    viewer: Mapping[str, Any] | None,
    change: int | None,
) -> RatingEvent:
    """Write the answer for whoever holds the lock, unless it stands already."""
    events = _events(presentation)
    standing = _standing(events, stage)
    if standing is None:
        _check_turn(presentation, stage, events)
    elif canonical_text(standing.answer) == canonical_text(answer):
        return standing
    elif change != standing.number or stage == Stage.IMAGE:
        raise RatingConflict(standing)
    else:
        policies.check_can_change(presentation.enrolment)
    if "cannot_judge" in answer:
        kind = RatingEvent.Kind.CANNOT_JUDGE
    else:
        kind = RatingEvent.Kind.CHANGE if standing else RatingEvent.Kind.RATE
    return record_events.add_rating_event(
        enrolment=presentation.enrolment,
        presentation=presentation,
        kind=kind,
        stage=stage,
        user=user,
        answer=answer,
        viewer=viewer,
    )


def _check_turn(
    presentation: Presentation, stage: Stage, events: Sequence[RatingEvent]
) -> None:
    """Raise unless this stage is the one that is to be answered now."""
    protocol = Protocol.of(presentation.enrolment.study.protocol)
    due = _stage(protocol, place_of(presentation), events)
    if stage != due:
        first = "the image alone" if due == Stage.IMAGE else "the image with its map"
        raise InvalidRating(f"What is asked of {first} is to be answered now.")
    if not _shown(events, stage):
        raise Refusal("A presentation is rated after it was shown, not before.")


def _stage(protocol: Protocol, place: Place, events: Sequence[RatingEvent]) -> Stage:
    asked = protocol.asks_before and questions_at(protocol, "image", place)
    return Stage.IMAGE if asked and not _standing(events, Stage.IMAGE) else Stage.MAP


def _add_shown(presentation: Presentation, user: User) -> None:
    """Record what is shown now, for whoever holds the lock, unless it was before."""
    stage = stage_of(presentation)
    if _shown(_events(presentation), stage):
        return
    record_events.add_rating_event(
        enrolment=presentation.enrolment,
        presentation=presentation,
        kind=RatingEvent.Kind.SHOWN,
        stage=stage,
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


def _shown(events: Sequence[RatingEvent], stage: Stage) -> bool:
    return any(e.kind == RatingEvent.Kind.SHOWN and e.stage == stage for e in events)


def _standing(events: Sequence[RatingEvent], stage: Stage) -> RatingEvent | None:
    answers = (e for e in reversed(events) if e.kind in ANSWERS and e.stage == stage)
    return next(answers, None)
