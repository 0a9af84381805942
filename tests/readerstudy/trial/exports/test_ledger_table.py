"""The exported ledger: anybody can verify it, and it tells no arm before its time."""

import hashlib
import json

import pytest
from django.contrib.auth.models import User

from readerstudy.models import Overlay, RatingEvent
from readerstudy.trial.enrolment import consent, sign_off, void_run
from readerstudy.trial.exports.tables import ledger_jsonl
from readerstudy.trial.policies import Refusal
from readerstudy.trial.study import lock_study, unblind_study
from readerstudy.trial.verification import verify
from tests.readerstudy.factories import (
    VARIANTS,
    answer,
    coordinator,
    make_study,
)
from tests.readerstudy.tampering import past_the_triggers


def heads_of(text):
    """A whole verifier of an exported ledger; returns each chain's length and head.

    It shares nothing with the application but what the codebook says.
    """

    def sha256(value):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    heads = {}
    for line in map(json.loads, text.splitlines()):
        genesis = sha256(line["chain"])
        length, head = heads.get(genesis, (0, genesis))
        assert line["number"] == length + 1
        assert line["previous_hash"] == head
        if "withheld" not in line:
            keys = {"record", "number", "previous_hash", "schema"} & line.keys()
            hashed = {key: line[key] for key in keys}
            assert line["hash"] == sha256(hashed)
        heads[genesis] = line["number"], line["hash"]
    return list(heads.values())


@pytest.fixture
def study(tmp_path, rhea, omar):
    """Locked, with all that can happen to an answer before."""
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=3,
        training=1,
        protocol={"asks_confidence": True, "opacity": 1.0},
    )
    presentations = list(omar.enrolments.get().presentations.order_by("position"))
    for p in presentations:
        given = answer(p, omar, 3, confidence=2, viewer={"zoom": 2.0, "ms": 1e5})
        answer(p, omar, 4, confidence=5, comment="Größe = \u2028?", change=given.number)
    sign_off(
        enrolment=omar.enrolments.get(),
        user=omar,
        password="omar-pass",
        told_apart="never",
    )
    answer(rhea.enrolments.get().presentations.first(), rhea, 1, confidence=1)
    void_run(enrolment=rhea.enrolments.get(), by=coordinator(), reason="ill")
    consent(enrolment=rhea.enrolments.current().get(), user=rhea)
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    return study


def unblind(study):
    unblind_study(study=study, by=coordinator(), reason="analysis")
    return study


def verified_heads(study):
    heads = [chain.head for chain in verify(study)]
    return [(head.length, head.hash) for head in heads if head.length]


@pytest.mark.parametrize("blinded", [True, False])
def test_a_verifier_of_twenty_lines_finds_the_heads(study, blinded):
    heads = verified_heads(study)
    assert heads_of(ledger_jsonl(study, blinded=blinded)) == heads
    unblind(study)
    assert heads_of(ledger_jsonl(study, blinded=blinded)) == verified_heads(study)


def test_every_event_is_a_line(study):
    lines = [
        json.loads(line) for line in ledger_jsonl(study, blinded=True).splitlines()
    ]
    assert len(lines) == study.events.count() + RatingEvent.objects.count()
    kinds = {line["record"]["kind"] for line in lines if "reader" in line}
    assert kinds == {"shown", "rate", "change", "void"}
    runs = {(line["reader"], line["run"]) for line in lines if "reader" in line}
    assert runs == {("rhea", 1), ("omar", 1)}


def test_once_unblinded_nothing_is_withheld(study):
    unblind(study)
    lines = ledger_jsonl(study, blinded=False).splitlines()
    (first, *_) = [json.loads(line) for line in lines if '"kind":"rate"' in line]
    event = RatingEvent.objects.get(hash=first["hash"])
    assert first["record"]["presentation"] == event.presentation.token
    assert first["record"]["overlay_sha256"] == event.presentation.overlay.sha256
    assert all("withheld" not in json.loads(line) for line in lines)


def test_the_verifier_sees_a_changed_rating(study):
    text = ledger_jsonl(unblind(study), blinded=False)
    assert '"rating":4' in text
    with pytest.raises(AssertionError):
        heads_of(text.replace('"rating":4', '"rating":5', 1))


def test_the_verifier_sees_a_missing_line(study):
    lines = ledger_jsonl(study, blinded=True).splitlines()
    with pytest.raises(AssertionError):
        heads_of("\n".join(lines[:3] + lines[4:]))


@pytest.mark.parametrize("unblinded", [True, False])
def test_blinded_it_tells_no_arm(study, unblinded):
    if unblinded:
        unblind(study)
    text = ledger_jsonl(study, blinded=unblinded)
    secrets = [*VARIANTS, "run-of"]
    for enrolment in study.enrolments.all():
        secrets.append(enrolment.seed)
        secrets += enrolment.presentations.values_list("token", flat=True)
    for overlay in Overlay.objects.all():
        secrets += [overlay.file, overlay.sha256]
    secrets += study.cases.values_list("file", flat=True)
    assert len(secrets) > 60
    assert [secret for secret in secrets if secret in text] == []


def test_blinded_it_depends_on_no_letter(study):
    """Other letters would change one hash, that of the stimuli at opening."""
    before = ledger_jsonl(study, blinded=True)
    for arm, letter in zip(study.arms.all(), "ABC", strict=True):
        arm.letter = letter
        arm.save(update_fields=["letter"])
    assert ledger_jsonl(study, blinded=True) == before


def test_a_forged_record_is_exported_as_it_is_and_found(study):
    event = RatingEvent.objects.filter(kind="change").first()
    with past_the_triggers():
        event.answer["answers"]["rating"] = 5
        event.payload = event.payload.replace('"rating":4', '"rating":5')
        event.save()
    unblind(study)
    with pytest.raises(AssertionError):
        heads_of(ledger_jsonl(study, blinded=False))


def test_a_column_that_is_not_what_was_recorded_is_refused(study):
    with past_the_triggers():
        RatingEvent.objects.filter(kind="change").update(answer={"answers": {}})
    with pytest.raises(Refusal, match="broken at event 3: answer is not as it was re"):
        ledger_jsonl(study, blinded=True)


def test_an_event_that_goes_with_no_row_is_refused_in_one_line(study):
    User.objects.filter(username="omar").update(username="nobody")
    with pytest.raises(Refusal, match="is broken at event 7: user was recorded") as no:
        ledger_jsonl(study, blinded=True)
    assert "\n" not in str(no.value)


def test_a_reader_without_an_event_has_no_line(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    lines = ledger_jsonl(study, blinded=True).splitlines()
    assert len(lines) == study.events.count()
