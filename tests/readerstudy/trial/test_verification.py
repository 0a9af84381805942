"""A record that was changed is found, and the first broken link is named."""

import json
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, models
from django.utils import timezone

from readerstudy import triggers
from readerstudy.models import (
    Arm,
    Case,
    Enrolment,
    Membership,
    Overlay,
    Presentation,
    RatingEvent,
    Study,
    StudyEvent,
)
from readerstudy.trial.cases.files import study_folder
from readerstudy.trial.enrolment import enrol, void_run, withdraw
from readerstudy.trial.order import design
from readerstudy.trial.record import digests
from readerstudy.trial.record import events as record_events
from readerstudy.trial.record.hash_chain import Head, link_after
from readerstudy.trial.study import lock_study, open_study, unblind_study
from readerstudy.trial.verification import BrokenLedger, verify
from tests.conftest import ROOT
from tests.readerstudy.factories import (
    answer,
    coordinator,
    make_study,
    rate_all,
    rating_of,
    said,
)
from tests.readerstudy.tampering import past_the_triggers
from tests.readerstudy.trial.at_once import rate_in_processes

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(tmp_path, rhea, omar):
    """Locked. Rhea rated all her six, Omar his first three."""
    study = make_study(tmp_path / "bundle", readers=[rhea, omar], cases=2)
    rate_all(study.enrolments.get(reader=rhea))
    for presentation in study.enrolments.get(reader=omar).presentations.all()[:3]:
        answer(presentation, omar, 5)
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    return study


@pytest.fixture
def rheas(study, rhea):
    return RatingEvent.objects.filter(enrolment__reader=rhea)


def found(study):
    with pytest.raises(BrokenLedger) as caught:
        verify(Study.objects.get(pk=study.pk))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(events, change):
    """What a skilled forger does: every text, column and hash anew from the first on.

    `change` gets an event and its record, to change both.
    """
    head = Head(events[0].number - 1, events[0].previous_hash)
    for event in events:
        content = json.loads(event.payload)
        change(event, content["record"])
        kept = content.keys() & {"schema", "record"}
        link = link_after(head, {name: content[name] for name in kept})
        study = isinstance(event, StudyEvent)
        schemas = record_events.STUDY_SCHEMAS if study else record_events.RATING_SCHEMAS
        for name, value in record_events._columns_to_write(link, schemas).items():
            setattr(event, name, value)
        event.save()
        head = Head(event.number, event.hash)


def set_in_record(number, **values):
    """A change of one event, for `rewrite`."""

    def change(event, record):
        if event.number == number:
            record.update(values)

    return change


# Unbroken


@pytest.mark.parametrize("state", ["draft", "open", "locked", "unblinded"])
def test_an_untouched_record_verifies_in_every_state(tmp_path, rhea, omar, state):
    study = make_study(
        tmp_path / "bundle", readers=[rhea, omar], cases=1, opened=state != "draft"
    )
    if state != "draft":
        rate_all(study.enrolments.get(reader=rhea))
    if state in ("locked", "unblinded"):
        lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    if state == "unblinded":
        unblind_study(study=study, by=coordinator(), reason="analysis")
    chains = {chain.owner: chain.head for chain in verify(study)}
    assert list(chains) == ["study 'Chest maps'", "reader rhea", "reader omar"]
    assert chains["study 'Chest maps'"] == record_events.study_head(study)
    for enrolment in study.enrolments.all():
        head = record_events.enrolment_head(enrolment)
        assert chains[f"reader {enrolment.reader}"] == head
        rated = state != "draft" and enrolment.reader == rhea
        assert head.length == (6 if rated else 0)


def test_the_lock_records_where_each_chain_ended(study):
    chains = StudyEvent.objects.get(kind="locked").details["chains"]
    assert [(c["reader"], c["length"]) for c in chains] == [("rhea", 12), ("omar", 6)]
    for chain in chains:
        enrolment = study.enrolments.get(uuid=chain["enrolment"])
        assert chain["head"] == enrolment.rating_events.last().hash


def test_opening_records_a_hash_for_every_list(study):
    lists = StudyEvent.objects.get(kind="opened").details["lists"]
    assert [row["reader"] for row in lists] == ["rhea", "omar"]
    assert len({row["sha256"] for row in lists}) == 2


def test_an_event_records_what_was_shown(rheas):
    for event in rheas:
        assert event.overlay_sha256 == event.presentation.overlay.sha256
        assert event.username == "rhea"
        assert event.at.microsecond % 1000 == 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_eight_processes_that_rate_at_once_leave_an_unbroken_chain(tmp_path, rhea):
    """All in one chain, the hard case: every event wants the next number."""
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=16)
    tokens = list(Presentation.objects.values_list("token", flat=True))
    told = rate_in_processes("rhea", *(tokens[start::8] for start in range(8)))
    assert told == [""] * 8
    _, chain = verify(study)
    assert (chain.owner, chain.head.length) == ("reader rhea", 96)
    assert RatingEvent.objects.filter(kind="rate", answer=said(3)).count() == 48


def test_the_record_of_a_study_holds_nothing_that_tells_an_arm(study):
    text = str(list(study.events.values("reason", "details")))
    secrets = [
        *Presentation.objects.values_list("token", flat=True),
        *Enrolment.objects.values_list("seed", flat=True),
        *Overlay.objects.values_list("file", flat=True),
        *Overlay.objects.values_list("sha256", flat=True),
        *Arm.objects.values_list("variant", flat=True),
    ]
    assert [secret for secret in secrets if secret in text] == []


def test_a_hash_cannot_be_guessed_without_token_and_file_name(study, rheas):
    """With all else known the maps of a case could be tried until a hash fits."""
    event = rheas.get(number=4)
    record = json.loads(event.payload)["record"]
    assert record["presentation"] == event.presentation.token
    head = Head(3, event.previous_hash)
    assert link_after(head, {"schema": 2, "record": record}).hash == event.hash
    guessed = {"schema": 2, "record": {**record, "presentation": "another"}}
    assert link_after(head, guessed).hash != event.hash
    fixed = study.events.get(kind="opened").details
    assert digests.stimuli_sha256(study, fixed) == fixed["stimuli"]
    with past_the_triggers():
        Overlay.objects.filter(pk=event.presentation.overlay_id).update(file="another")
    assert digests.stimuli_sha256(study, fixed) != fixed["stimuli"]


# Ratings


@pytest.mark.parametrize(
    "change",
    [
        {"answer": said(0)},
        {"at": models.F("at") + timedelta(milliseconds=1)},
        {"reason": "none"},
        {"stage": "image"},
        {"language": "de"},
        {"viewer": {"zoom": 2}},
        {"overlay_sha256": "0" * 64},
        {"username": "omar"},
        {"kind": "change"},
        {"previous_hash": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_column_of_a_rating_is_found(study, rheas, change):
    with past_the_triggers():
        rheas.filter(number=10).update(**change)
    (field,) = change
    assert found(study) == (
        f"Broken at reader rhea, event 10: {field} is not as it was recorded."
    )


HASH = "hash is not that of its payload; one was changed"
TEXT = "payload is not the canonical JSON of an event"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"rating":5', '"rating":4', HASH),
        ('"record"', '"schema":2,"record"', TEXT),
        ('"record"', '"schema":9,"recorded"', TEXT),
        ('"reason":""', '"reason": ""', TEXT),
        ('"reason":""', '"reason":NaN', TEXT),
        ('"record"', '"record":0,"record"', TEXT),
        ("{", "[", TEXT),
        ("{", "", TEXT),
        ('"number":10', '"number":true', "its number is True; an event was removed or"),
        ('"number":10', '"number":11', "its number is 11; an event was removed or"),
    ],
)
def test_a_changed_payload_is_found(study, rheas, old, new, told):
    event = rheas.get(number=10)
    assert old in event.payload
    with past_the_triggers():
        event.payload = event.payload.replace(old, new, 1)
        event.save()
    assert found(study).startswith(f"Broken at reader rhea, event 10: {told}")


def test_a_changed_hash_is_found(study, rheas):
    with past_the_triggers():
        rheas.filter(number=10).update(hash="0" * 64)
    assert found(study) == f"Broken at reader rhea, event 10: {HASH}."


def test_a_rating_changed_in_payload_and_column_alike_is_found(study, rheas):
    event = rheas.get(number=10)
    with past_the_triggers():
        event.payload = event.payload.replace('"rating":5', '"rating":4')
        event.answer = said(4)
        event.save()
    assert found(study) == f"Broken at reader rhea, event 10: {HASH}."


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"schema": 9, "record": {}}, "its schema is 9, which this version does not"),
        ({"schema": [], "record": {}}, "its payload lacks what an event records"),
        ({"record": {"kind": "rate"}}, "its payload lacks what an event records"),
        ({"record": []}, "its payload lacks what an event records"),
        ({}, "its payload lacks what an event records"),
    ],
)
def test_an_event_that_nobody_here_can_read_is_told(study, rheas, content, told):
    """With its hash and all: such as one of a later version of the application."""
    event = rheas.last()
    link = link_after(Head(event.number - 1, event.previous_hash), content)
    with past_the_triggers():
        rheas.filter(pk=event.pk).update(payload=link.payload, hash=link.hash)
    assert found(study).startswith(f"Broken at reader rhea, event 12: {told}")


@pytest.mark.parametrize("model", [RatingEvent, StudyEvent])
def test_every_column_of_an_event_is_compared_with_its_payload(study, model):
    """But for the database's own keys: what those refer to is compared by its name."""
    studies = model is StudyEvent
    schemas = record_events.STUDY_SCHEMAS if studies else record_events.RATING_SCHEMAS
    record = json.loads(model.objects.first().payload)["record"]
    # Of the time when an answer was not a document.
    record |= {"rating": 4, "confidence": None, "comment": "clear"}
    for columns in schemas.values():
        compared = {name.partition(".")[0] for name in columns(record)}
        fields = {field.name for field in model._meta.concrete_fields}
        place = {"number", "previous_hash", "payload", "hash"}
        assert fields - {"id", "user"} == compared | place


def test_an_event_that_records_more_leaves_those_before_it_verifying(
    tmp_path, rhea, monkeypatch
):
    """And one that records less: a later schema, in the middle of a reader's run."""
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=2)
    first, second, *_ = study.enrolments.get().presentations.order_by("position")
    answer(first, rhea, 4)
    record = {
        "enrolment": str(first.enrolment.uuid),
        "presentation": second.token,
        "at": "2026-12-02T09:00:00.000000Z",
        "user": "rhea",
        "language": "de",
        "stage": "image",
    }

    def columns(record):
        return {
            "enrolment.uuid": record["enrolment"],
            "presentation.token": record["presentation"],
            "overlay_sha256": second.overlay.sha256,
            "kind": RatingEvent.Kind.SHOWN,
            "reason": record["stage"],
            "username": record["user"],
            "at": datetime.fromisoformat(record["at"]),
        }

    schemas = {**record_events.RATING_SCHEMAS, 3: columns}
    head = record_events.enrolment_head(first.enrolment)
    link = link_after(head, {"schema": 3, "record": record})
    event = RatingEvent.objects.create(
        enrolment=first.enrolment,
        presentation=second,
        user=rhea,
        **record_events._columns_to_write(link, schemas),
    )
    assert found(study).endswith(
        "event 3: its schema is 3, which this version does not know."
    )
    monkeypatch.setattr(record_events, "RATING_SCHEMAS", schemas)
    assert verify(study)[1].head == Head(3, link.hash)
    with past_the_triggers():
        RatingEvent.objects.filter(pk=event.pk).update(reason="map")
    assert found(study).endswith("event 3: reason is not as it was recorded.")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL keeps its types")
@pytest.mark.parametrize("table", ["ratingevent", "studyevent"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("yesterday", ", event 1: at is not as it was recorded."),
        ("2026-13-01 00:00:00", ": an event cannot be read."),
    ],
)
def test_a_row_that_cannot_be_read_is_told_in_a_line(study, table, value, told):
    with past_the_triggers(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE readerstudy_{table} SET at = %s", [value])  # noqa: S608
    owner = "reader rhea" if table == "ratingevent" else "study 'Chest maps'"
    assert found(study) == f"Broken at {owner}{told}"


def test_a_rating_moved_to_another_presentation_is_found(study, rheas):
    with past_the_triggers():
        other = rheas.get(number=12).presentation
        rheas.filter(number=12).delete()
        rheas.filter(number=10).update(presentation=other)
    assert found(study) == (
        "Broken at reader rhea, event 10: presentation.token is not as it was recorded."
    )


def test_a_changed_rating_with_a_hash_to_match_breaks_the_next(study, rheas):
    event = rheas.get(number=4)
    with past_the_triggers():
        rewrite([event], set_in_record(4, answer=said(5 - rating_of(event))))
    assert found(study) == (
        "Broken at reader rhea, event 5: previous_hash is not the hash of event 4."
    )


def test_a_chain_that_was_written_anew_has_not_the_head_of_the_lock(study, rheas):
    with past_the_triggers():
        rewrite(list(rheas), set_in_record(4, answer=said(0)))
    assert found(study).startswith(
        "Broken at reader rhea, event 12: the chain was written anew"
    )


@pytest.mark.parametrize("number", [1, 4, 11])
def test_a_removed_event_is_found(study, rheas, number):
    with past_the_triggers():
        rheas.filter(number=number).delete()
    assert found(study) == (
        f"Broken at reader rhea, event {number}: its number is {number + 1}; an event "
        "was removed or added."
    )


@pytest.mark.parametrize("kept", [11, 5, 0])
def test_a_chain_that_lost_its_end_is_found(study, rheas, kept):
    with past_the_triggers():
        rheas.filter(number__gt=kept).delete()
    assert found(study) == (
        f"Broken at reader rhea, event {kept + 1}: the chain has {kept} events and had "
        "12 at the lock."
    )


def test_an_added_event_is_found_though_its_hash_is_right(study, omar):
    """Inserting needs no way past the triggers."""
    enrolment = study.enrolments.get(reader=omar)
    record_events.add_rating_event(
        enrolment=enrolment,
        presentation=enrolment.presentations.get(position=4),
        kind=RatingEvent.Kind.SHOWN,
        stage=RatingEvent.Stage.MAP,
        user=omar,
    )
    assert found(study) == (
        "Broken at reader omar, event 7: the chain has 7 events and had 6 at the lock."
    )


def test_an_event_pushed_in_between_is_found(study, rheas, omar):
    enrolment = study.enrolments.get(reader=omar)
    events = RatingEvent.objects.filter(enrolment=enrolment)
    with past_the_triggers():
        for number in (6, 5, 4, 3):
            events.filter(number=number).update(number=number + 1)
        copy = events.get(number=2)
        copy.pk, copy.number, copy.kind, copy.answer = None, 3, "shown", None
        copy.presentation = enrolment.presentations.get(position=4)
        copy.save()
    assert found(study).startswith("Broken at reader omar, event 3: its number is 2;")


def test_chains_of_two_readers_in_each_others_place_are_found(study, rhea, omar):
    one, two = (study.enrolments.get(reader=reader) for reader in (rhea, omar))
    with past_the_triggers():
        ones = list(one.rating_events.values_list("pk", flat=True))
        one.rating_events.update(number=models.F("number") + 100)
        two.rating_events.update(enrolment=one)
        RatingEvent.objects.filter(pk__in=ones).update(
            enrolment=two, number=models.F("number") - 100
        )
    assert found(study) == (
        "Broken at reader rhea, event 1: previous_hash is not the chain's genesis."
    )


def test_another_account_behind_a_rating_is_found(study, rheas, omar):
    with past_the_triggers():
        rheas.filter(number=3).update(user=omar)
    assert found(study) == (
        "Broken at reader rhea, event 3: user was recorded as 'rhea' and is 'omar' now."
    )


def test_an_event_of_another_readers_presentation_is_found(study, rheas, omar):
    """With every hash computed anew, before the lock."""
    with past_the_triggers():
        StudyEvent.objects.filter(kind="locked").delete()
        Study.objects.update(state="open")
        foreign = Presentation.objects.get(enrolment__reader=omar, position=6)

        def give(event, record):
            if event.number > 11:
                event.presentation = foreign
                record["presentation"] = foreign.token

        rewrite(list(rheas), give)
    assert found(study) == (
        "Broken at reader rhea, event 12: presentation is another reader's."
    )


def test_what_was_shown_is_compared_with_the_map_of_the_presentation(study, rheas):
    with past_the_triggers():
        StudyEvent.objects.filter(kind="locked").delete()
        Study.objects.update(state="open")
        rewrite(list(rheas), set_in_record(7, overlay_sha256="0" * 64))
    assert found(study) == (
        "Broken at reader rhea, event 7: overlay_sha256 is not that of its "
        "presentation's map."
    )


# The study


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "another"},
        {"details": {}},
        {"at": models.F("at") + timedelta(milliseconds=1)},
        {"username": "rhea"},
        {"kind": "unblinded"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_column_of_a_study_event_is_found(study, change):
    with past_the_triggers():
        study.events.filter(number=5).update(**change)
    (field,) = change
    assert found(study) == (
        f"Broken at study 'Chest maps', event 5: {field} is not as it was recorded."
    )


def test_a_removed_study_event_is_found(study):
    with past_the_triggers():
        study.events.filter(number=2).delete()
    assert found(study).startswith(
        "Broken at study 'Chest maps', event 2: its number is 3"
    )


def test_a_study_without_events_is_found(study):
    with past_the_triggers():
        study.events.all().delete()
    assert found(study).startswith("Broken at study 'Chest maps', event 1")


def test_a_lock_that_was_taken_back_is_found(study):
    with past_the_triggers():
        study.events.filter(kind="locked").delete()
    assert found(study) == (
        "Broken at study 'Chest maps', event 7: its events end at open and the study "
        "is locked."
    )


@pytest.mark.parametrize("state", ["draft", "open", "unblinded"])
def test_a_state_that_no_event_led_to_is_found(study, state):
    Study.objects.update(state=state)
    assert found(study).endswith(f"end at locked and the study is {state}.")


def test_a_state_that_was_left_out_is_found(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    kind = StudyEvent.Kind.LOCKED
    record_events.add_study_event(study, kind, None)
    Study.objects.update(state="locked")
    assert found(study).endswith("its events lead through draft, locked.")


def test_a_list_that_its_seed_does_not_give_is_found(study, monkeypatch):
    drawn = design.presentation_list

    def another(**plan):
        # Another seed may, once in a hundred times, give both readers the same list.
        return drawn(**plan)[::-1]

    assert verify(study)
    monkeypatch.setattr(design, "presentation_list", another)

    assert "is not the one that its seed gives" in found(study)


def test_a_study_under_another_identity_is_found(study):
    Study.objects.update(uuid=uuid4())
    assert found(study) == (
        "Broken at study 'Chest maps', event 1: previous_hash is not the chain's "
        "genesis."
    )


# What opening fixed


LIST = "The list of reader rhea is not that of opening."
SEED = "The list of reader rhea is not the one that its seed gives."
STIMULI = "Cases, maps or arms of study 'Chest maps' are not those of opening."
PROTOCOL = "The protocol of study 'Chest maps' is not that of opening."


def swap(query, field):
    """Exchange a field of the first two rows, past a constraint that it is unique."""
    one, two = query.order_by("pk")[:2]
    first, second = getattr(one, field), getattr(two, field)
    spare = 99 if isinstance(first, int) else ""
    for row, value in ((one, spare), (two, first), (one, second)):
        type(one).objects.filter(pk=row.pk).update(**{field: value})


def set_in_protocol(**changes):
    study = Study.objects.get()
    Study.objects.update(protocol=study.protocol | changes)


def set_in_question(**changes):
    first, *others = Study.objects.get().protocol["questions"]
    set_in_protocol(questions=[first | changes, *others])


def swap_in_list(field):
    """Of two presentations of Rhea's that differ in this alone, one in each place."""
    other = {"case_id": "arm_id", "arm_id": "case_id"}[field]
    rheas = Presentation.objects.filter(enrolment__reader__username="rhea")
    swap(rheas.filter(**{other: getattr(rheas.first(), other)}), field)


FIXED = {
    "question": (lambda: set_in_question(text="Is it there?"), PROTOCOL),
    "anchors": (lambda: set_in_question(anchors=["a"] * 6), PROTOCOL),
    "instructions": (lambda: set_in_protocol(instructions="Hurry."), PROTOCOL),
    "opacity": (lambda: set_in_protocol(opacity=0.1), PROTOCOL),
    "a key more": (lambda: set_in_protocol(more=1), PROTOCOL),
    "no protocol": (lambda: Study.objects.update(protocol=[]), PROTOCOL),
    "letters": (lambda: swap(Arm.objects, "letter"), STIMULI),
    "variants": (lambda: swap(Arm.objects, "variant"), STIMULI),
    "findings": (lambda: Case.objects.update(findings=["Mass"]), STIMULI),
    "truth": (lambda: Case.objects.update(truth={"Mass": {"label": True}}), STIMULI),
    "slope": (lambda: Case.objects.update(rescale_slope=2), STIMULI),
    "file": (lambda: Overlay.objects.update(sha256="0" * 64), STIMULI),
    "positions": (lambda: swap(Presentation.objects, "position"), LIST),
    "tokens": (lambda: Presentation.objects.update(token=models.F("id")), LIST),
    "cases": (lambda: swap_in_list("case_id"), LIST),
    "arms": (lambda: swap_in_list("arm_id"), SEED),
    "seed": (lambda: Enrolment.objects.update(seed="0" * 32), LIST),
}


@pytest.mark.parametrize("what", FIXED)
def test_what_was_fixed_at_opening_is_compared(study, what):
    tamper, told = FIXED[what]
    with past_the_triggers():
        tamper()
    assert found(study) == told


def test_a_presentation_that_is_gone_is_found(study):
    """Of Omar's, who did not rate the last one."""
    with past_the_triggers():
        Presentation.objects.filter(enrolment__reader__username="omar").last().delete()
    assert found(study) == "The list of reader omar is not that of opening."


def test_readers_in_each_others_place_are_found(study, rhea, omar):
    one, two = (study.enrolments.get(reader=reader) for reader in (rhea, omar))
    other = User.objects.create_user("other")
    for enrolment, reader in ((one, other), (two, rhea), (one, omar)):
        Enrolment.objects.filter(pk=enrolment.pk).update(reader=reader)
    assert found(study) == "Reader omar was 'rhea' at opening."


def test_a_renamed_reader_is_found(study, rhea):
    """Exports would give these ratings to another name."""
    User.objects.filter(pk=rhea.pk).update(username="eva")
    assert found(study).endswith("user was recorded as 'rhea' and is 'eva' now.")


def test_a_reader_who_came_after_opening_is_found(study, eve):
    Enrolment.objects.create(study=study, reader=eve)
    assert found(study) == "Reader eve was not enrolled at opening."


def test_a_reader_who_is_gone_is_found(study, omar):
    with past_the_triggers():
        RatingEvent.objects.filter(enrolment__reader=omar).delete()
        Presentation.objects.filter(enrolment__reader=omar).delete()
        Enrolment.objects.filter(reader=omar).delete()
    assert found(study) == "The enrolment of reader omar is gone."


# What was said of a reader, and of the study


@pytest.fixture
def enrolled(tmp_path, rhea):
    """Open, with rhea's second run, of whom something was said at enrolling."""
    study = make_study(tmp_path / "bundle", readers=[], cases=2, opened=False)
    enrol(
        study=study,
        reader=rhea,
        by=coordinator(),
        experience="radiologist, 8 years",
        conflicts_of_interest="none",
    )
    open_study(study=study, by=coordinator(), reason="ready")
    void_run(enrolment=study.enrolments.get(), by=coordinator(), reason="ill")
    assert len(verify(study)) == 3
    return study


@pytest.mark.parametrize("run", [1, 2])
@pytest.mark.parametrize(
    "change",
    [
        {"experience": "radiologist, 18 years"},
        {"conflicts_of_interest": ""},
        {"enrolled_at": models.F("enrolled_at") - timedelta(milliseconds=1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_said_at_enrolling_is_compared(enrolled, change, run):
    enrolled.enrolments.filter(run=run).update(**change)
    (field,) = change
    of = "reader rhea, run 2" if run == 2 else "reader rhea"
    assert found(enrolled) == f"{field} of {of} is not as it was recorded."


def test_what_was_said_of_a_reader_is_compared_in_a_draft_too(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    study.enrolments.update(experience="professor")
    assert found(study) == "experience of reader rhea is not as it was recorded."


def test_of_a_reader_who_came_back_the_last_word_counts(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    withdraw(enrolment=study.enrolments.get(), by=coordinator())
    enrol(study=study, reader=rhea, by=coordinator(), experience="10 years")
    assert verify(study)


def test_a_study_under_another_name_is_found(study):
    Study.objects.update(name="Lung maps")
    assert found(study) == "The name of study 'Lung maps' was recorded as 'Chest maps'."


def test_what_events_of_an_earlier_version_lack_is_not_compared(enrolled):
    """Of an enrolment they had the reader's name, of a list its hash."""
    names = ("version", "name", "experience", "conflicts_of_interest", "enrolled_at")
    later = (*names, "order", "language")

    def forget(event, record):
        details = record["details"]
        if event.kind == "opened":
            details["protocol"] = digests.protocol_sha256(enrolled, {})
            details["stimuli"] = digests.stimuli_sha256(enrolled, {})
        for row in (details, *details.get("lists", [details.get("list", {})])):
            for name in later:
                row.pop(name, None)

    with past_the_triggers():
        rewrite(list(enrolled.events.all()), forget)
    assert len(verify(enrolled)) == 3
    Study.objects.update(name="Lung maps")
    enrolled.enrolments.update(experience="10 years", enrolled_at=timezone.now())
    assert len(verify(Study.objects.get(pk=enrolled.pk))) == 3


def test_a_damaged_file_is_found(study):
    case = study.cases.first()
    (study_folder(study) / case.file).write_bytes(b"?")
    assert found(study) == (
        f"File {case.file} of study 'Chest maps' is not as imported."
    )


def test_a_missing_trigger_is_found(study):
    connection.check_constraints()
    triggers.remove(connection)
    assert found(study).startswith("The trigger readerstudy_presentation_refuse_")


# Somewhere else


def test_a_record_verifies_after_dumpdata_and_loaddata(study, tmp_path):
    before = verify(study)
    dump = tmp_path / "dump.json"
    call_command("dumpdata", "auth.user", "readerstudy", output=str(dump), verbosity=0)
    with past_the_triggers():
        for model in (RatingEvent, Presentation, StudyEvent, Enrolment, Overlay):
            model.objects.all().delete()
        for model in (Membership, Case, Arm, Study, User):
            model.objects.all().delete()
    call_command("loaddata", str(dump), verbosity=0)
    assert verify(Study.objects.get()) == before


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's file is copied")
@pytest.mark.django_db(transaction=True)
def test_a_copied_sqlite_file_verifies_in_another_process(study, tmp_path, data_folder):
    copy = tmp_path / "copy.sqlite3"
    with sqlite3.connect(copy) as target:
        connection.connection.backup(target)
    target.close()
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "verify_ledger", "Chest maps"],
        env={"DATABASE_URL": f"sqlite:///{copy}", "READERSTUDY_DATA": str(data_folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"reader rhea: 12 events, head {verify(study)[1].head.hash}" in done.stdout


@pytest.mark.parametrize("field", ["consented_at", "signed_off_at", "voided_at"])
def test_a_moment_that_no_event_tells_is_found(study, rhea, field):
    enrolment = Enrolment.objects.filter(study=study, reader=rhea)
    moment = enrolment.get().enrolled_at + timedelta(days=1)
    enrolment.update(**{field: moment})
    assert found(study) == f"{field} of reader rhea is not as it was recorded."


def test_a_language_that_no_event_tells_is_found(study, rhea):
    Enrolment.objects.filter(study=study, reader=rhea).update(language="de")
    assert found(study) == "language of reader rhea is not as it was recorded."


@pytest.mark.parametrize("role", ["statistician", "allocator", "coordinator"])
def test_a_role_that_no_event_gave_is_found(study, eve, role):
    Membership.objects.create(study=study, user=eve, **{role: True})
    assert found(study) == "The roles of eve are not as they were recorded."


def test_a_role_that_was_taken_without_an_event_is_found(study):
    Membership.objects.filter(user=coordinator()).update(coordinator=False)
    assert found(study) == "The roles of coordinator are not as they were recorded."
