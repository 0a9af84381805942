"""A reader begins, ends for good, or is made to begin anew; nothing is lost."""

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from readerstudy.models import Enrolment, RatingEvent
from readerstudy.trial.enrolment import (
    consent,
    enrol,
    record_display_check,
    sign_off,
    void_run,
)
from readerstudy.trial.exports.tables import ratings_table
from readerstudy.trial.policies import Refusal
from readerstudy.trial.rating import find_presentation, next_presentation, record_shown
from readerstudy.trial.record import events as record_events
from readerstudy.trial.study import lock_study
from readerstudy.trial.verification import verify
from tests.readerstudy.factories import (
    answer,
    begin,
    coordinator,
    give,
    make_study,
    rate_all,
    rating_of,
)
from tests.readerstudy.trial.at_once import at_once


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=2,
        begun=False,
        protocol={"consent": "I take part of my own will.", "washout_days": 0},
    )


@pytest.fixture
def enrolment(study, rhea):
    return study.enrolments.get(reader=rhea)


@pytest.fixture
def begun(study, enrolment):
    begin(study)
    enrolment.refresh_from_db()
    return enrolment


def signed(enrolment, **changes):
    options = {"password": "rhea-pass", "told_apart": "never", "words": ""}
    sign_off(enrolment=enrolment, user=enrolment.reader, **{**options, **changes})
    return enrolment


# Enrolling


def test_experience_and_conflicts_are_kept_with_the_enrolment(tmp_path, rhea, eve):
    draft = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    said = {
        "experience": "radiologist, 8 years",
        "conflicts_of_interest": "trained one of the models",
    }
    enrolment = enrol(study=draft, reader=eve, by=coordinator(), **said)
    assert {key: getattr(enrolment, key) for key in said} == said
    assert draft.events.last().details == {"reader": "eve", **said}


# Consent


def test_nothing_is_shown_before_consent(enrolment, rhea):
    presentation = next_presentation(enrolment)
    assert find_presentation(user=rhea, token=presentation.token) is None
    with pytest.raises(Refusal, match="rhea has not begun study"):
        record_shown(presentation=presentation, user=rhea)


def test_consent_is_recorded_once_with_its_text(study, enrolment, rhea):
    for _ in range(2):
        consent(enrolment=enrolment, user=rhea)
    event = study.events.get(kind="consented")
    assert event.user == rhea
    assert event.details == {
        "reader": "rhea",
        "enrolment": str(enrolment.uuid),
        "consent": "I take part of my own will.",
        "language": "en",
    }
    enrolment.refresh_from_db()
    assert enrolment.language == "en"
    assert enrolment.consented_at == event.at


def test_nobody_consents_for_another(enrolment, omar):
    with pytest.raises(Refusal, match="another reader's"):
        consent(enrolment=enrolment, user=omar)
    assert Enrolment.objects.filter(consented_at__isnull=False).count() == 0


def test_nobody_consents_to_a_study_that_is_over(study, enrolment, rhea):
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    with pytest.raises(Refusal, match="is locked"):
        consent(enrolment=enrolment, user=rhea)


@pytest.mark.django_db(transaction=True)
def test_consent_given_in_two_tabs_is_one(study, enrolment, rhea):
    def agree():
        return consent(enrolment=Enrolment.objects.get(pk=enrolment.pk), user=rhea)

    at_once(*[agree] * 4)
    assert study.events.filter(kind="consented").count() == 1


# The display


def test_each_display_check_is_recorded(study, begun, rhea):
    for room in ("dark", "bright"):
        record_display_check(enrolment=begun, user=rhea, answers={"room": room})
    events = study.events.filter(kind="display_checked")
    assert [event.details["answers"] for event in events] == [
        {"room": "dark"},
        {"room": "bright"},
    ]


def test_nobody_checks_anothers_display(begun, omar):
    with pytest.raises(Refusal, match="another reader's"):
        record_display_check(enrolment=begun, user=omar, answers={})


# Signing off


def test_signing_off_ends_the_readers_part_for_good(study, begun, rhea):
    rate_all(begun)
    presentation = begun.presentations.first()
    signed(begun, told_apart="mostly", words=" by their texture ")
    event = study.events.get(kind="signed_off")
    assert (event.user, event.at) == (rhea, begun.signed_off_at)
    assert event.details == {
        "reader": "rhea",
        "enrolment": str(begun.uuid),
        "told_apart": "mostly",
        "words": "by their texture",
    }
    assert find_presentation(user=rhea, token=presentation.token) is None
    standing = RatingEvent.objects.standing(presentation)
    with pytest.raises(Refusal, match="rhea has signed off"):
        answer(presentation, rhea, 5 - rating_of(standing), change=standing.number)
    with pytest.raises(Refusal, match="rhea has signed off"):
        signed(begun)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"password": "wrong"}, "not your password"),
        ({"password": ""}, "not your password"),
        ({"told_apart": ""}, "could tell the kinds of map apart"),
        ({"told_apart": "perhaps"}, "could tell the kinds of map apart"),
        ({"words": "a\0b"}, "can be kept"),
        ({"words": "x" * 2001}, "can be kept"),
    ],
)
def test_it_refuses_to_sign_off_with(begun, changes, problem):
    rate_all(begun)
    with pytest.raises(Refusal, match=problem):
        signed(begun, **changes)
    begun.refresh_from_db()
    assert begun.signed_off_at is None


def test_nobody_signs_off_with_maps_to_be_rated(begun):
    answer(next_presentation(begun), begun.reader)
    with pytest.raises(Refusal, match="5 maps are still to be rated"):
        signed(begun)


def test_the_lock_names_those_who_did_not_sign_off(study, begun):
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    signed(begun)
    lock_study(study=study, by=coordinator(), reason="over")
    assert study.events.last().details["not_signed_off"] == ["omar"]


def test_what_readers_could_tell_apart_is_read_from_the_record(study, begun):
    rate_all(begun)
    signed(begun, told_apart="sometimes", words="grain")
    assert record_events.told_apart(study) == {
        "rhea": {"told_apart": "sometimes", "words": "grain"}
    }


# Voiding


def test_voiding_keeps_a_run_and_opens_a_new_one(study, begun, rhea):
    events = rate_all(begun)
    new = void_run(enrolment=begun, by=coordinator(), reason="wrong glasses")
    assert (new.run, new.reader, new.consented_at) == (2, rhea, None)
    assert new.seed != begun.seed
    assert new.presentations.count() == begun.presentations.count()
    tokens = {p.token for p in (*new.presentations.all(), *begun.presentations.all())}
    assert len(tokens) == 12
    assert list(study.enrolments.current().filter(reader=rhea)) == [new]
    voids = list(begun.rating_events.filter(kind="void"))
    assert [e.presentation for e in voids] == [e.presentation for e in events]
    assert {(e.answer, e.stage) for e in voids} == {(None, "map")}
    assert [rating_of(e) for e in begun.rating_events.filter(kind="rate")] == [
        rating_of(e) for e in events
    ]
    assert {(e.user, e.reason) for e in voids} == {(coordinator(), "wrong glasses")}
    assert begun.rating_events.filter(kind="rate").count() == 6
    record = study.events.get(kind="voided")
    begun.refresh_from_db()
    assert begun.voided_at == record.at
    assert record.details["answers"] == 6
    assert record.details["list"] == record_events.list_details(new)
    assert len(verify(study)) == 4


def test_the_moment_of_a_void_is_written_once(study, begun):
    with CaptureQueriesContext(connection) as captured:
        void_run(enrolment=begun, by=coordinator(), reason="wrong glasses")
    written = [q["sql"] for q in captured if '"voided_at" = \'' in q["sql"]]
    assert [sql[:29] for sql in written] == ['UPDATE "readerstudy_enrolment']


@pytest.fixture
def washed_out(tmp_path, rhea):
    """Rhea's run, with practice, in a study with a washout of four weeks."""
    study = make_study(
        tmp_path / "other", readers=[rhea], name="Washout", cases=2, training=1
    )
    assert study.protocol["washout_days"] == 28
    return study.enrolments.get()


def begin_anew(enrolment):
    new = void_run(enrolment=enrolment, by=coordinator(), reason="wrong glasses")
    consent(enrolment=new, user=new.reader)
    return new


def test_a_new_run_waits_for_the_washout_from_the_last_map_seen(washed_out, rhea):
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        for presentation in washed_out.presentations.all()[:3]:
            answer(presentation, rhea)
    # Neither voiding nor a second void begins it anew.
    with time_machine.travel("2026-03-10T12:00:00Z", tick=False):
        new = begin_anew(begin_anew(washed_out))
        assert new.run == 3
        first = next_presentation(new)
        assert first.training
        assert find_presentation(user=rhea, token=first.token) is None
        with pytest.raises(Refusal, match="begins on 29 March 2026, 12:00 UTC"):
            record_shown(presentation=first, user=rhea)
    with time_machine.travel("2026-03-29T11:59:59Z", tick=False):
        assert find_presentation(user=rhea, token=first.token) is None
    with time_machine.travel("2026-03-29T12:00:00Z", tick=False):
        assert find_presentation(user=rhea, token=first.token) == first
        rate_all(new)
    assert verify(washed_out.study)


def test_a_new_run_of_who_saw_practice_alone_begins_at_once(washed_out, rhea):
    answer(next_presentation(washed_out), rhea)
    assert next_presentation(washed_out).training is False
    new = begin_anew(washed_out)
    assert find_presentation(user=rhea, token=next_presentation(new).token)


def test_a_new_run_waits_for_no_other_reader_or_study(study, washed_out, rhea, omar):
    begin(study)
    for reader in (rhea, omar):
        rate_all(study.enrolments.get(reader=reader))
    new = begin_anew(washed_out)
    assert find_presentation(user=rhea, token=next_presentation(new).token)


def test_nothing_more_is_written_to_a_void_run(study, begun, rhea):
    presentation = next_presentation(begun)
    void_run(enrolment=begun, by=coordinator(), reason="wrong glasses")
    assert find_presentation(user=rhea, token=presentation.token) is None
    with pytest.raises(Refusal, match="Run 1 of rhea is void"):
        record_shown(presentation=presentation, user=rhea)


def test_a_void_run_enters_no_export_and_does_not_hold_up_the_lock(study, begun, rhea):
    rate_all(begun, rating=0)
    new = void_run(enrolment=begun, by=coordinator(), reason="wrong glasses")
    consent(enrolment=new, user=rhea)
    rate_all(new, rating=5)
    rate_all(study.enrolments.get(reader__username="omar"), rating=5)
    lock_study(study=study, by=coordinator(), reason="over")
    rows = ratings_table(study, blinded=True).csv().splitlines()[1:]
    assert len(rows) == 12
    assert {row.split(",")[4] for row in rows} == {"5"}
    chains = record_events.recorded_at_lock(study)["chains"]
    assert [(chain["reader"], chain["run"]) for chain in chains] == [
        ("rhea", 1),
        ("omar", 1),
        ("rhea", 2),
    ]
    assert len(verify(study)) == 4


def test_a_signed_run_can_be_voided(study, begun):
    rate_all(begun)
    signed(begun)
    assert void_run(enrolment=begun, by=coordinator(), reason="late").run == 2
    assert record_events.told_apart(study) == {}
    assert verify(study)


def test_a_run_is_voided_once(begun):
    void_run(enrolment=begun, by=coordinator(), reason="wrong glasses")
    with pytest.raises(Refusal, match="Run 1 of rhea is void already"):
        void_run(enrolment=begun, by=coordinator(), reason="again")


@pytest.mark.parametrize("role", ["allocator", "statistician"])
def test_only_the_coordinator_voids(study, begun, eve, role):
    with pytest.raises(Refusal, match="eve is not coordinator"):
        void_run(enrolment=begun, by=give(study, eve, role), reason="why")
    with pytest.raises(Refusal, match="A reason is needed"):
        void_run(enrolment=begun, by=coordinator(), reason="")


def test_a_reader_has_one_run_at_a_time(begun):
    with pytest.raises(IntegrityError), transaction.atomic():
        Enrolment.objects.create(study=begun.study, reader=begun.reader, run=2)


@pytest.mark.django_db(transaction=True)
def test_a_run_voided_twice_at_once_is_voided_once(study, begun):
    by = coordinator()

    def void():
        own = Enrolment.objects.select_related("study").get(pk=begun.pk)
        return void_run(enrolment=own, by=by, reason="why")

    results = at_once(void, void)
    assert sum(isinstance(result, Refusal) for result in results) == 1
    assert study.enrolments.filter(reader=begun.reader).count() == 2
