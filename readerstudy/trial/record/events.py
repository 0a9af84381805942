"""Events of a study: what is recorded, as links of its chains (see `hash_chain`).

Whoever adds an event holds the lock that its chain is written under: the study's row
for a StudyEvent, the enrolment's for a RatingEvent. Two events then never take the same
number; the database's constraint is the last guard.

What is recorded goes into the event's payload. Its columns are filled from there, by
the function of the payload's schema, and compared by the same one when it is verified.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from readerstudy.models import (
    Enrolment,
    Presentation,
    RatingEvent,
    Study,
    StudyEvent,
)
from readerstudy.querysets import RatingEventQuerySet
from readerstudy.trial.order.reader_lists import ORDER
from readerstudy.trial.protocol.flat import answer_of
from readerstudy.trial.record import digests
from readerstudy.trial.record.hash_chain import (
    BrokenChain,
    Head,
    Link,
    canonical_text,
    enrolment_genesis,
    link_after,
    study_genesis,
    time_text,
)

Columns = Callable[[Mapping[str, Any]], dict[str, Any]]


def add_study_event(
    study: Study,
    kind: StudyEvent.Kind,
    by: User | None,
    reason: str = "",
    /,
    *,
    at: datetime | None = None,
    **details: Any,
) -> StudyEvent:
    """Add a link to the study's chain. Needs the lock on the study's row.

    `at` is when it happened, in whole milliseconds: now, if nothing is said.
    """
    record = {
        "study": study.uuid,
        "kind": str(kind),
        "user": by.get_username() if by else "",
        "reason": reason.strip(),
        "details": details,
        "at": at or now(),
    }
    link = link_after(study_head(study), {"record": record})
    return StudyEvent.objects.create(
        study=study, user=by, **_columns_to_write(link, STUDY_SCHEMAS)
    )


def add_rating_event(
    *,
    enrolment: Enrolment,
    presentation: Presentation,
    kind: RatingEvent.Kind,
    stage: RatingEvent.Stage,
    user: User,
    answer: Mapping[str, Any] | None = None,
    reason: str = "",
    viewer: Mapping[str, Any] | None = None,
) -> RatingEvent:
    """Add a link to the enrolment's chain. Needs the lock on the enrolment's row.

    Args:
        answer: the document of `trial.protocol.answers`; none of what is shown or void.
        reason: why an answer is void.
    """
    record = {
        "enrolment": enrolment.uuid,
        # It names the presentation and keeps the hash from being guessed: `hash_chain`.
        "presentation": presentation.token,
        "overlay_sha256": _shown_sha256(presentation, stage),
        "kind": str(kind),
        "stage": str(stage),
        "answer": answer,
        "reason": reason,
        "language": enrolment.language,
        "viewer": viewer or {},
        "user": user.get_username(),
        "at": now(),
    }
    content = {"schema": 2, "record": record}
    link = link_after(enrolment_head(enrolment), content)
    return RatingEvent.objects.create(
        enrolment=enrolment,
        presentation=presentation,
        user=user,
        **_columns_to_write(link, RATING_SCHEMAS),
    )


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


def rating_events(enrolment: Enrolment) -> RatingEventQuerySet:
    """The enrolment's chain as rows, with what `enrolment_links` looks at."""
    related = ("user", "enrolment", "presentation__overlay")
    return enrolment.rating_events.select_related(*related).order_by("number")


def study_links(events: Iterable[StudyEvent]) -> Iterator[Link]:
    """A study's chain, each link before its row is looked at.

    Raises:
        BrokenChain: the columns of an event are not those that its payload gives, or
            its user is not the recorded one.
    """
    for event in events:
        yield Link(event.payload, event.hash)
        _check_columns(event, STUDY_SCHEMAS)
        _check_user(event)


def enrolment_links(events: Iterable[RatingEvent]) -> Iterator[Link]:
    """An enrolment's chain, as `study_links`.

    Raises:
        BrokenChain: as there, or an event does not go with its presentation.
    """
    for event in events:
        yield Link(event.payload, event.hash)
        _check_columns(event, RATING_SCHEMAS)
        _check_user(event)
        if event.presentation.enrolment_id != event.enrolment_id:
            raise BrokenChain(event.number, "presentation is another reader's")
        shown = _shown_sha256(event.presentation, event.stage)
        if shown != event.overlay_sha256:
            raise BrokenChain(
                event.number, "overlay_sha256 is not that of its presentation's map"
            )


def opening_details(study: Study) -> dict[str, Any]:
    """What the event that opens a study fixes for good."""
    fixed = {"version": digests.VERSION}
    return {
        **fixed,
        "protocol": digests.protocol_sha256(study, fixed),
        "stimuli": digests.stimuli_sha256(study, fixed),
        "lists": [list_details(enrolment) for enrolment in _enrolments(study)],
    }


def list_details(enrolment: Enrolment) -> dict[str, Any]:
    """What the record keeps of a reader's list from the moment it is written."""
    fixed = {"version": digests.VERSION}
    return {
        **fixed,
        "reader": enrolment.reader.get_username(),
        "enrolment": str(enrolment.uuid),
        "enrolled_at": enrolled_at(enrolment),
        "order": ORDER,
        "sha256": digests.list_sha256(enrolment, fixed),
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


def _in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _enrolments(study: Study) -> list[Enrolment]:
    return list(study.enrolments.select_related("reader", "study").order_by("pk"))


def _study_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "study.uuid": record["study"],
        "kind": record["kind"],
        "username": record["user"],
        "reason": record["reason"],
        "details": record["details"],
        "at": datetime.fromisoformat(record["at"]),
    }


def _shown_sha256(presentation: Presentation, stage: str) -> str:
    """Of the map that was seen; empty where there was none to see."""
    overlay = presentation.overlay
    return overlay.sha256 if overlay and stage == RatingEvent.Stage.MAP else ""


def _rating_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "enrolment.uuid": record["enrolment"],
        "presentation.token": record["presentation"],
        "overlay_sha256": record["overlay_sha256"],
        "kind": record["kind"],
        "stage": record["stage"],
        "answer": record["answer"],
        "reason": record["reason"],
        "language": record["language"],
        "viewer": record["viewer"],
        "username": record["user"],
        "at": datetime.fromisoformat(record["at"]),
    }


def _rating_columns_1(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of the time when a study had one question, with a confidence and a comment."""
    known = {**record, "stage": "map", "language": "", "answer": answer_of(record)}
    if record["kind"] == RatingEvent.Kind.CANNOT_JUDGE:
        known["reason"] = ""
    return _rating_columns(known)


# By schema what a record gives an event's columns and, with a dot, those of the rows
# that it belongs to. A schema never changes: what is recorded otherwise from some day
# on gets the next one.
STUDY_SCHEMAS: Mapping[int, Columns] = {1: _study_columns}
RATING_SCHEMAS: Mapping[int, Columns] = {1: _rating_columns_1, 2: _rating_columns}


def _columns(payload: str, schemas: Mapping[int, Columns]) -> dict[str, Any]:
    content = json.loads(payload)
    schema = content.get("schema", 1)
    if schema not in schemas:
        raise ValueError(f"its schema is {schema!r}, which this version does not know")
    place = {name: content[name] for name in ("number", "previous_hash")}
    return {**place, **schemas[schema](content["record"])}


def _columns_to_write(link: Link, schemas: Mapping[int, Columns]) -> dict[str, Any]:
    columns = _columns(link.payload, schemas)
    own = {name: value for name, value in columns.items() if "." not in name}
    return {**own, "payload": link.payload, "hash": link.hash}


def _check_columns(
    event: StudyEvent | RatingEvent, schemas: Mapping[int, Columns]
) -> None:
    try:
        columns = _columns(event.payload, schemas)
    except (LookupError, TypeError, AttributeError) as error:
        problem = "its payload lacks what an event records"
        raise BrokenChain(event.number, problem) from error
    except ValueError as error:
        raise BrokenChain(event.number, str(error)) from error
    there = {name: attrgetter(name)(event) for name in columns}
    if _are_same(there, columns):
        return
    name = next(n for n in columns if not _are_same(there[n], columns[n]))
    raise BrokenChain(event.number, f"{name} is not as it was recorded")


def _are_same(there: Any, recorded: Any) -> bool:
    try:
        return canonical_text(there) == canonical_text(recorded)
    except (ValueError, RecursionError):
        # SQLite keeps what no record can hold, such as 1e999 and lists without end.
        return False


def _check_user(event: StudyEvent | RatingEvent) -> None:
    # A renamed account would put another name over these ratings in every export.
    name = event.user.get_username() if event.user else ""
    if name != event.username:
        raise BrokenChain(
            event.number, f"user was recorded as '{event.username}' and is '{name}' now"
        )
