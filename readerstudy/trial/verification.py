"""Verification of a study's record. Reads everything and writes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from django.db import connection, transaction
from django.db.models import QuerySet

from readerstudy import triggers
from readerstudy.models import Enrolment, RatingEvent, Study, StudyEvent
from readerstudy.trial import recorded_analyses, roles
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.order.design import Order
from readerstudy.trial.order.reader_lists import ReaderLists
from readerstudy.trial.policies import Refusal
from readerstudy.trial.record import digests
from readerstudy.trial.record import events as record_events
from readerstudy.trial.record.hash_chain import (
    BrokenChain,
    Head,
    Link,
    enrolment_genesis,
    follow,
    study_genesis,
)

AnyEvent = TypeVar("AnyEvent", StudyEvent, RatingEvent)

# Of an event, what its chain is made of.
TEXT = ("payload", "hash")

# Of a presentation, what the seed of its list decides.
LIST_FIELDS = (
    "case_id",
    "arm_id",
    "overlay_id",
    "position",
    "session",
    "block",
    "repeat",
    "training",
)

STATE_AFTER: Mapping[str, Study.State] = {
    StudyEvent.Kind.OPENED: Study.State.OPEN,
    StudyEvent.Kind.LOCKED: Study.State.LOCKED,
    StudyEvent.Kind.UNBLINDED: Study.State.UNBLINDED,
}

# Where an enrolment keeps the time of such an event.
MOMENTS: Mapping[str, str] = {
    StudyEvent.Kind.CONSENTED: "consented_at",
    StudyEvent.Kind.SIGNED_OFF: "signed_off_at",
    StudyEvent.Kind.VOIDED: "voided_at",
}


class BrokenLedger(ValueError):  # noqa: N818  (it is a finding, not an error)
    """The first thing that is not as it was recorded, in one line."""


@dataclass(frozen=True, slots=True)
class Chain:
    """An unbroken chain: of the study or of a reader."""

    owner: str
    head: Head

    def __str__(self) -> str:
        return f"{self.owner}: {self.head.length} events, head {self.head.hash}"


def study_chain(study: Study) -> Chain:
    """Where the study's chain ends by its last event; nothing is verified."""
    return Chain(f"study '{study}'", record_events.study_head(study))


def verify(study: Study) -> list[Chain]:
    """Follow every chain of a study and compare what it records with what is there.

    In this order: the study's chain, its name, the state it led to, what opening fixed,
    what was said of the readers at enrolling, every reader's chain and its recorded
    end, the roles, the files, the triggers. Any state will do; readers may go on rating
    meanwhile. What an event of an earlier version does not hold is not compared.

    Returns:
        The study's chain, then each enrolment's in the order of enrolling.

    Raises:
        BrokenLedger: at the first thing that is not as it was recorded.
    """
    # One statement gives the events and the state, so that a study that is locked
    # meanwhile does not seem broken.
    owner, genesis = f"study '{study}'", study_genesis(study.uuid)
    rows = study.events.select_related("user", "study").order_by("number")
    events, head = _follow(owner, genesis, rows, record_events.study_links)
    _check_states(owner, events)
    _check_name(owner, events[0])
    enrolments = list(study.enrolments.select_related("reader", "study").order_by("pk"))
    opened = _details(events, StudyEvent.Kind.OPENED)
    lists = _recorded_lists(events)
    try:
        _check_opening(study, enrolments, opened, lists)
    except digests.UnknownVersion as unknown:
        raise BrokenLedger(
            f"What opening fixed of study '{study}' is of {unknown}, which is unknown "
            "here; a later version of the application can verify it."
        ) from unknown
    _check_enrolling(enrolments, events, lists)
    _check_moments(enrolments, events)
    chains = [_reader_chain(enrolment, events) for enrolment in enrolments]
    _check_roles(study)
    for name in case_files.damaged_files(study):
        raise BrokenLedger(f"File {name} of {owner} is not as imported.")
    for problem in triggers.problems(connection):
        raise BrokenLedger(problem)
    return [Chain(owner, head), *chains]


def check_analyses(study: Study) -> None:
    """Every file of the study's analyses is as it was recorded.

    Apart from `verify`: the ratings do not rest on them, and a report that was lost
    must not keep the ratings from being exported or analysed anew.

    Raises:
        BrokenLedger: at the first that is gone or changed.
    """
    try:
        recorded_analyses.check_files(study)
    except Refusal as refusal:
        raise BrokenLedger(str(refusal)) from refusal


def _recorded_lists(events: Iterable[StudyEvent]) -> dict[str, Mapping[str, Any]]:
    """What is on record of every reader's list, by the UUID of the enrolment."""
    opened = _details(events, StudyEvent.Kind.OPENED)
    first = opened["lists"] if opened else []
    # A run that began after another was voided has the list that the void recorded.
    later = [e.details["list"] for e in events if e.kind == StudyEvent.Kind.VOIDED]
    return {row["enrolment"]: row for row in (*first, *later)}


def _reader_chain(enrolment: Enrolment, events: Iterable[StudyEvent]) -> Chain:
    """Follow the chain of a reader to the end that it had at the lock."""
    owner = _owner(enrolment)
    genesis = enrolment_genesis(enrolment.study.uuid, enrolment.uuid)
    answers = record_events.rating_events(enrolment)
    _, head = _follow(owner, genesis, answers, record_events.enrolment_links)
    if locked := _details(events, StudyEvent.Kind.LOCKED):
        ends = {end["enrolment"]: end for end in locked["chains"]}
        _check_end(owner, head, ends.get(str(enrolment.uuid)))
    return Chain(owner, head)


def _owner(enrolment: Enrolment) -> str:
    run = f", run {enrolment.run}" if enrolment.run > 1 else ""
    return f"reader {enrolment.reader}{run}"


def _follow(
    owner: str,
    genesis: str,
    rows: "QuerySet[AnyEvent]",
    links: Callable[[Iterable[AnyEvent]], Iterator[Link]],
) -> tuple[list[AnyEvent], Head]:
    """The events of a chain, whose columns are what their payloads say, and its end."""
    try:
        events = list(rows)
    except ValueError as error:  # such as a 13th month, which SQLite keeps
        # Payloads can be read in any case and tell which event was always like that.
        _head(owner, genesis, (Link(*row) for row in rows.values_list(*TEXT)))
        raise BrokenLedger(f"Broken at {owner}: an event cannot be read.") from error
    return events, _head(owner, genesis, links(events))


def _head(owner: str, genesis: str, links: Iterable[Link]) -> Head:
    try:
        return follow(genesis, links)
    except BrokenChain as broken:
        raise BrokenLedger(f"Broken at {owner}, {broken}.") from broken


def _check_states(owner: str, events: Sequence[StudyEvent]) -> None:
    if not events or events[0].kind != StudyEvent.Kind.CREATED:
        raise BrokenLedger(f"Broken at {owner}, event 1: it is not that of creating.")
    reached = [Study.State.DRAFT]
    reached += [STATE_AFTER[e.kind] for e in events if e.kind in STATE_AFTER]
    if reached != list(Study.State)[: len(reached)]:
        ways = ", ".join(reached)
        raise BrokenLedger(f"Broken at {owner}: its events lead through {ways}.")
    if events[0].study.state != reached[-1]:
        raise BrokenLedger(
            f"Broken at {owner}, event {len(events)}: its events end at {reached[-1]} "
            f"and the study is {events[0].study.state}."
        )


def _check_name(owner: str, created: StudyEvent) -> None:
    name = created.details.get("name", created.study.name)
    if created.study.name != name:
        raise BrokenLedger(f"The name of {owner} was recorded as '{name}'.")


def _details(events: Iterable[StudyEvent], kind: StudyEvent.Kind) -> Any:
    """What the event of this kind recorded; None when there is none yet."""
    return next((event.details for event in events if event.kind == kind), None)


def _check_opening(
    study: Study,
    enrolments: Iterable[Enrolment],
    opened: Mapping[str, Any] | None,
    lists: Mapping[str, Mapping[str, Any]],
) -> None:
    """Protocol, stimuli and lists are those that the event of opening recorded."""
    if opened is None:
        return
    study.refresh_from_db()
    if digests.protocol_sha256(study, opened) != opened["protocol"]:
        raise BrokenLedger(f"The protocol of study '{study}' is not that of opening.")
    if digests.stimuli_sha256(study, opened) != opened["stimuli"]:
        raise BrokenLedger(
            f"Cases, maps or arms of study '{study}' are not those of opening."
        )
    reader_lists = ReaderLists(study)
    there = {str(enrolment.uuid): enrolment for enrolment in enrolments}
    for uuid, row in lists.items():
        if uuid not in there:
            raise BrokenLedger(f"The enrolment of reader {row['reader']} is gone.")
    for uuid, enrolment in there.items():
        reader = enrolment.reader
        if uuid not in lists:
            raise BrokenLedger(f"Reader {reader} was not enrolled at opening.")
        if reader.get_username() != lists[uuid]["reader"]:
            raise BrokenLedger(
                f"Reader {reader} was '{lists[uuid]['reader']}' at opening."
            )
        if digests.list_sha256(enrolment, lists[uuid]) != lists[uuid]["sha256"]:
            raise BrokenLedger(f"The list of reader {reader} is not that of opening.")
        order = lists[uuid].get("order", 1)
        if order not in get_args(Order):
            raise digests.UnknownVersion(f"order {order}")
        shown = enrolment.presentations.order_by("position").values_list(*LIST_FIELDS)
        drawn = [
            tuple(getattr(presentation, name) for name in LIST_FIELDS)
            for presentation in reader_lists.presentations(enrolment, order)
        ]
        if list(shown) != drawn:
            raise BrokenLedger(
                f"The list of reader {reader} is not the one that its seed gives."
            )


def _check_enrolling(
    enrolments: Iterable[Enrolment],
    events: Iterable[StudyEvent],
    lists: Mapping[str, Mapping[str, Any]],
) -> None:
    """Who reads, and since when, stands at the enrolments as it was recorded."""
    said = {
        e.details["reader"]: e.details
        for e in events
        if e.kind == StudyEvent.Kind.ENROLLED
    }
    for enrolment in enrolments:
        name, uuid = enrolment.reader.get_username(), str(enrolment.uuid)
        recorded = {**said.get(name, {}), **lists.get(uuid, {})}
        there = {
            "experience": enrolment.experience,
            "conflicts_of_interest": enrolment.conflicts_of_interest,
            "enrolled_at": record_events.enrolled_at(enrolment),
        }
        for field, value in there.items():
            if recorded.get(field, value) != value:
                raise _changed(field, enrolment)


def _changed(field: str, enrolment: Enrolment) -> BrokenLedger:
    return BrokenLedger(f"{field} of {_owner(enrolment)} is not as it was recorded.")


def _check_roles(study: Study) -> None:
    """Nobody holds a role that the record does not give them."""
    with transaction.atomic():
        # Under the lock that a role is given under: both are of one moment.
        Study.objects.select_for_update(no_key=True).get(pk=study.pk)
        held, recorded = roles.held_in(study), roles.recorded_in(study)
    for name in sorted(held.keys() | recorded.keys()):
        if held.get(name) != recorded.get(name):
            raise BrokenLedger(f"The roles of {name} are not as they were recorded.")


def _check_moments(
    enrolments: Iterable[Enrolment], events: Iterable[StudyEvent]
) -> None:
    """Consent, sign-off and void stand at the enrolments as their events have them."""
    events = [event for event in events if event.kind in MOMENTS]
    recorded = {(event.kind, event.details["enrolment"]): event.at for event in events}
    languages = {
        event.details["enrolment"]: event.details.get("language", "")
        for event in events
        if event.kind == StudyEvent.Kind.CONSENTED
    }
    for enrolment in enrolments:
        for kind, field in MOMENTS.items():
            if getattr(enrolment, field) != recorded.get((kind, str(enrolment.uuid))):
                raise _changed(field, enrolment)
        if enrolment.language != languages.get(str(enrolment.uuid), ""):
            raise _changed("language", enrolment)


def _check_end(owner: str, head: Head, end: Mapping[str, Any] | None) -> None:
    """The chain ends where it ended when the study was locked."""
    if end is None:
        raise BrokenLedger(f"Broken at {owner}: the lock recorded no such chain.")
    if head.length != end["length"]:
        raise BrokenLedger(
            f"Broken at {owner}, event {min(head.length, end['length']) + 1}: the "
            f"chain has {head.length} events and had {end['length']} at the lock."
        )
    if head.hash != end["head"]:
        raise BrokenLedger(
            f"Broken at {owner}, event {head.length}: the chain was written anew; its "
            "head is not that of the lock."
        )
