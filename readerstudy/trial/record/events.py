"""What is recorded of a study, as links of its hash chains (see `ledger`).

Whoever adds an event holds the lock that its chain is written under: the study's row
for a StudyEvent, the enrolment's for a RatingEvent. Two events then never take the same
number; the database's constraint is the last guard.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from readerstudy.models import (
    Enrolment,
    Overlay,
    Presentation,
    RatingEvent,
    Study,
    StudyEvent,
)
from readerstudy.trial import protocol
from readerstudy.trial.record.hash_chain import (
    BrokenChain,
    Head,
    Link,
    enrolment_genesis,
    event_hash,
    sha256_of,
    study_genesis,
    time_text,
)

CASE_FIELDS = (
    "dataset",
    "case_id",
    "findings",
    "file",
    "sha256",
    "dtype",
    "height",
    "width",
    "rescale_slope",
    "rescale_intercept",
    "inverted",
    "padding_value",
    "windows",
    "pixel_spacing_mm",
    "training",
)
OVERLAY_FIELDS = (
    "case__dataset",
    "case__case_id",
    "arm__variant",
    "file",
    "sha256",
    "height",
    "width",
)


def add_study_event(
    *,
    study: Study,
    kind: StudyEvent.Kind,
    user: User | None,
    reason: str = "",
    details: Mapping[str, Any],
) -> StudyEvent:
    """Add a link to the study's chain. Needs the lock on the study's row."""
    event = StudyEvent(
        study=study,
        kind=kind,
        user=user,
        username=user.get_username() if user else "",
        reason=reason.strip(),
        details=details,
        at=now(),
    )
    _link(event, study_head(study), _study_record(event))
    return event


def add_rating_event(
    *,
    enrolment: Enrolment,
    presentation: Presentation,
    kind: RatingEvent.Kind,
    user: User,
    **answer: Any,
) -> RatingEvent:
    """Add a link to the enrolment's chain. Needs the lock on the enrolment's row.

    `answer` is what else the event says: rating, old_rating, reason, comment,
    confidence, viewer.
    """
    event = RatingEvent(
        enrolment=enrolment,
        presentation=presentation,
        overlay_sha256=presentation.overlay.sha256,
        kind=kind,
        user=user,
        username=user.get_username(),
        at=now(),
        **answer,
    )
    _link(event, enrolment_head(enrolment), _rating_record(event))
    return event


def now() -> datetime:
    """The server's time in whole milliseconds: Django's JSON keeps no more."""
    return _in_milliseconds(timezone.now())


def study_head(study: Study) -> Head:
    """The end of the study's chain as its last event has it."""
    last = study.events.order_by("-number").values_list("number", "hash").first()
    return Head(*last) if last else Head(0, study_genesis(study.uuid))


def enrolment_head(enrolment: Enrolment) -> Head:
    """The end of the enrolment's chain as its last event has it."""
    events = enrolment.rating_events.order_by("-number")
    last = events.values_list("number", "hash").first()
    if last:
        return Head(*last)
    return Head(0, enrolment_genesis(enrolment.study.uuid, enrolment.uuid))


def study_links(events: Iterable[StudyEvent]) -> Iterator[Link]:
    """A study's chain. BrokenChain where an event's user is not the recorded one."""
    for event in events:
        yield _read(event, _study_record(event))
        _check_user(event)


def enrolment_links(enrolment: Enrolment) -> Iterator[Link]:
    """The enrolment's chain.

    Raises:
        BrokenChain: an event, although its hash is right, does not go with the rows
            that it refers to.
    """
    events = enrolment.rating_events.select_related(
        "user", "enrolment", "presentation__overlay"
    )
    for event in events.order_by("number"):
        yield _read(event, _rating_record(event))
        _check_user(event)
        if event.presentation.enrolment_id != event.enrolment_id:
            raise BrokenChain(event.number, "presentation is another reader's")
        if event.presentation.overlay.sha256 != event.overlay_sha256:
            raise BrokenChain(
                event.number, "overlay_sha256 is not that of its presentation's map"
            )


def opening_details(study: Study) -> dict[str, Any]:
    """What the event that opens a study fixes for good."""
    return {
        "protocol": protocol_sha256(study),
        "stimuli": stimuli_sha256(study),
        "lists": [list_details(enrolment) for enrolment in _enrolments(study)],
    }


def list_details(enrolment: Enrolment) -> dict[str, Any]:
    """What the record keeps of a reader's list from the moment it is written."""
    return {
        "reader": enrolment.reader.get_username(),
        "enrolment": str(enrolment.uuid),
        "enrolled_at": enrolled_at(enrolment),
        "sha256": list_sha256(enrolment),
    }


def enrolled_at(enrolment: Enrolment) -> str:
    """When the reader was enrolled, as the record has it."""
    return time_text(_in_milliseconds(enrolment.enrolled_at))


def chain_heads(study: Study) -> list[dict[str, Any]]:
    """Length and head of each enrolment's chain, as the event that locks has them."""
    return [
        {
            "reader": enrolment.reader.get_username(),
            "run": enrolment.run,
            "enrolment": str(enrolment.uuid),
            "length": head.length,
            "head": head.hash,
        }
        for enrolment in _enrolments(study)
        for head in [enrolment_head(enrolment)]
    ]


def recorded_at_lock(study: Study) -> dict[str, Any] | None:
    """The event that locked the study and what opening had fixed; None before it.

    `number` and `hash` of that event; `chains`, for each run of a reader; `voided`, the
    runs that were set aside; `protocol` and `allocation`, SHA-256 of what readers were
    asked and of cases, maps and arms.
    """
    events = {
        event.kind: event
        for event in study.events.filter(
            kind__in=[StudyEvent.Kind.OPENED, StudyEvent.Kind.LOCKED]
        )
    }
    if StudyEvent.Kind.LOCKED not in events:
        return None
    lock = events[StudyEvent.Kind.LOCKED]
    opening = events[StudyEvent.Kind.OPENED].details
    names = ("reader", "run", "length", "head")
    return {
        "number": lock.number,
        "hash": lock.hash,
        "chains": [
            {name: chain[name] for name in names} for chain in lock.details["chains"]
        ],
        "voided": [asdict(run) for run in voided_runs(study)],
        "protocol": opening["protocol"],
        "allocation": opening["stimuli"],
    }


@dataclass(frozen=True, slots=True)
class VoidedRun:
    """A run that was set aside: every answer is kept, none is analysed."""

    reader: str
    run: int
    answers: int
    reason: str

    def __str__(self) -> str:
        return f"run {self.run} of {self.reader} ({self.reason})"


def voided_runs(study: Study) -> list[VoidedRun]:
    """The runs that were voided, in that order, each with its reason in one line."""
    events = study.events.filter(kind=StudyEvent.Kind.VOIDED).order_by("number")
    return [
        VoidedRun(
            reader=event.details["reader"],
            run=event.details["run"],
            answers=event.details["answers"],
            # Printed on terminals too, where a control character could erase a line.
            reason=re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", event.reason),
        )
        for event in events
    ]


def told_apart(study: Study) -> dict[str, dict[str, Any]]:
    """By reader who signed off: could they tell the kinds of map apart, in words too.

    Of runs that were not voided, in the order of enrolling.
    """
    signed = {
        event.details["enrolment"]: event.details
        for event in study.events.filter(kind=StudyEvent.Kind.SIGNED_OFF)
    }
    return {
        enrolment.reader.get_username(): {
            name: signed[str(enrolment.uuid)][name] for name in ("told_apart", "words")
        }
        for enrolment in _enrolments(study)
        if enrolment.voided_at is None and str(enrolment.uuid) in signed
    }


def protocol_sha256(study: Study) -> str:
    """Of what readers are told and asked."""
    return sha256_of(protocol.of_study(study))


def stimuli_sha256(study: Study) -> str:
    """Of cases, maps, arms and their letters, with the hash of every file.

    The random names of the files are in it, and so it tells no arm: see `ledger`.
    """
    arms = study.arms.values_list("variant", "letter", "runs")
    cases = study.cases.values_list(*CASE_FIELDS)
    overlays = Overlay.objects.filter(case__study=study).values_list(*OVERLAY_FIELDS)
    # Sorted here: the database would follow its own collation.
    return sha256_of(
        {
            "arms": sorted(arms, key=lambda row: row[0]),
            "cases": sorted(cases, key=lambda row: row[:2]),
            "overlays": sorted(overlays, key=lambda row: row[:3]),
        }
    )


def list_sha256(enrolment: Enrolment) -> str:
    """Of a reader's list: in order every position, token, case and map shown."""
    rows = enrolment.presentations.order_by("position").values_list(
        "position",
        "session",
        "block",
        "repeat",
        "training",
        "token",
        "overlay__case__dataset",
        "overlay__case__case_id",
        "overlay__sha256",
    )
    return sha256_of(
        {
            "enrolment": enrolment.uuid,
            "seed": enrolment.seed,
            "presentations": list(rows),
        }
    )


def _in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _enrolments(study: Study) -> list[Enrolment]:
    return list(study.enrolments.select_related("reader", "study").order_by("pk"))


def _link(
    event: StudyEvent | RatingEvent, head: Head, record: Mapping[str, Any]
) -> None:
    event.number = head.length + 1
    event.previous_hash = head.hash
    event.hash = event_hash(record, event.number, event.previous_hash)
    event.save(force_insert=True)


def _read(event: StudyEvent | RatingEvent, record: Mapping[str, Any]) -> Link:
    return Link(event.number, event.previous_hash, event.hash, record)


def _study_record(event: StudyEvent) -> dict[str, Any]:
    return {
        "study": event.study.uuid,
        "kind": str(event.kind),
        "user": event.username,
        "reason": event.reason,
        "details": event.details,
        "at": event.at,
    }


def _rating_record(event: RatingEvent) -> dict[str, Any]:
    # The token says which presentation and keeps the hash from being guessed: `ledger`.
    return {
        "enrolment": event.enrolment.uuid,
        "presentation": event.presentation.token,
        "overlay_sha256": event.overlay_sha256,
        "kind": str(event.kind),
        "rating": event.rating,
        "old_rating": event.old_rating,
        "reason": event.reason,
        "comment": event.comment,
        "confidence": event.confidence,
        "viewer": event.viewer,
        "user": event.username,
        "at": event.at,
    }


def _check_user(event: StudyEvent | RatingEvent) -> None:
    # A renamed account would put another name over these ratings in every export.
    name = event.user.get_username() if event.user else ""
    if name != event.username:
        raise BrokenChain(
            event.number, f"user was recorded as '{event.username}' and is '{name}' now"
        )
