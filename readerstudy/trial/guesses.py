"""Readers' guesses of the arms, for the blinding indices of Bang and of James.

Where the protocol asks (`guess_arms`), a reader who has answered everything and has not
signed yet sees one practice case under each of its maps, unlabelled, and says which was
made how, or does not know. Case and order follow from the secret seed of the reader's
list: the record keeps what was said of each place, which tells no arm.

Source: Bang, Ni and Davis, Assessment of blinding in clinical trials, Controlled
Clinical Trials 25 (2004) 143-156, on asking each participant with "do not know".
"""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from readerstudy.models import Enrolment, Overlay, Study, StudyEvent
from readerstudy.trial import policies
from readerstudy.trial.order.seeded_random import Draw
from readerstudy.trial.own_part import add_own_event, hold_own
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import Protocol

UNKNOWN = ""


def labels(study: Study) -> list[str]:
    """What can be guessed: the labels of the arms that have maps, sorted."""
    arms = study.arms.filter(overlays__isnull=False).distinct()
    return sorted(arms.values_list("variant", flat=True))


def is_due(enrolment: Enrolment) -> bool:
    """Whether the reader is to guess before they sign: asked, and not answered yet."""
    if not Protocol.of(enrolment.study.protocol).guess_arms:
        return False
    return _recorded(enrolment) is None


def shown_maps(enrolment: Enrolment) -> list[Overlay]:
    """The maps of the reader's practice case, in the order of their own.

    Empty where the study has no practice case.
    """
    study = enrolment.study
    # Sorted here and not by the database, whose collation is its own.
    cases = sorted(
        study.cases.filter(training=True), key=lambda c: (c.dataset, c.case_id)
    )
    if not cases:
        return []
    draw = Draw(f"{enrolment.seed} guess")
    case = cases[draw.below(len(cases))]
    overlays = Overlay.objects.filter(case=case).select_related("case__study", "arm")
    return draw.shuffled(sorted(overlays, key=lambda overlay: overlay.arm.letter))


def record_shown(*, enrolment: Enrolment, user: User) -> None:
    """Record that the reader was shown the maps to guess, the first time.

    Raises:
        Refusal: not asked for, guessed already, or maps are still to be rated.
    """
    with transaction.atomic():
        _hold(enrolment, user)
        if _recorded(enrolment, StudyEvent.Kind.GUESS_SHOWN) is None:
            add_own_event(enrolment, StudyEvent.Kind.GUESS_SHOWN)


def record_guesses(
    *, enrolment: Enrolment, user: User, guesses: Sequence[str]
) -> StudyEvent:
    """Write what the reader takes each of the `shown_maps` for, once for all.

    Args:
        guesses: for each map one of `labels`, or `UNKNOWN`.

    Raises:
        Refusal: not asked for, said already, maps are still to be rated, or not a guess
            for each map.
    """
    with transaction.atomic():
        _hold(enrolment, user)
        if _recorded(enrolment, StudyEvent.Kind.GUESS_SHOWN) is None:
            raise Refusal("A guess is made after the maps were shown, not before.")
        maps = shown_maps(enrolment)
        known = [UNKNOWN, *labels(enrolment.study)]
        if len(guesses) != len(maps) or not set(guesses) <= set(known):
            raise Refusal("Say of each map how it was made, or that you do not know.")
        kind = StudyEvent.Kind.GUESSED
        return add_own_event(enrolment, kind, guesses=list(guesses))


def guessed(study: Study) -> list[dict[str, Any]]:
    """What was guessed of each map: reader, run, arm and guess, in order of enrolling.

    Of runs that were not voided. It joins guesses with arms: whoever gets it without
    the arms' letters in place of their names learns the allocation.
    """
    rows: list[dict[str, Any]] = []
    for enrolment in study.enrolments.current().select_related("reader").order_by("pk"):
        event = _recorded(enrolment)
        if event is None:
            continue
        whose = {"reader": enrolment.reader.get_username(), "run": enrolment.run}
        rows += (
            {**whose, "arm": shown.arm, "guess": guess}
            for shown, guess in zip(
                shown_maps(enrolment), event.details["guesses"], strict=True
            )
        )
    return rows


def _hold(enrolment: Enrolment, user: User) -> None:
    """Lock the reader's part; check that they are to guess now."""
    hold_own(enrolment, user)
    policies.check_can_rate(enrolment)
    if not is_due(enrolment):
        raise Refusal("No guess is asked for, or it was given before.")
    if enrolment.presentations.unrated().exists():
        raise Refusal("Maps are still to be rated.")


def _recorded(
    enrolment: Enrolment, kind: StudyEvent.Kind = StudyEvent.Kind.GUESSED
) -> StudyEvent | None:
    events = StudyEvent.objects.filter(
        study=enrolment.study_id,
        kind=kind,
        details__enrolment=str(enrolment.uuid),
    )
    return events.first()
