"""A report tells what is recorded of a study, and no arm."""

import json

import pytest

from readerstudy.models import Study
from readerstudy.trial.enrolment import enrol, record_display_check
from readerstudy.trial.exports.reporting_facts import study_facts
from readerstudy.trial.study import lock_study, open_study
from tests.readerstudy.factories import begin, coordinator, make_study


@pytest.fixture
def study(tmp_path, rhea, omar):
    draft = make_study(
        tmp_path / "bundle", readers=[rhea], cases=2, training=3, opened=False
    )
    enrol(
        study=draft,
        reader=omar,
        by=coordinator(),
        experience="radiologist, 8 years",
        conflicts_of_interest="trained a model",
    )
    open_study(study=draft, by=coordinator(), reason="ready")
    begin(draft)
    return draft


def test_it_tells_who_read_and_under_which_conditions(study, rhea):
    enrolment = study.enrolments.get(reader=rhea)
    for room in ("dark", "dark", "bright"):
        answers = {"room": room, "calibrated": "yes"}
        record_display_check(enrolment=enrolment, user=rhea, answers=answers)
    facts = study_facts(study)
    assert facts["qualification"] == (
        "omar: radiologist, 8 years, conflicts of interest: trained a model"
    )
    assert facts["training"] == "3 practice cases of their own, never analysed"
    assert facts["display"] == (
        "3 checks with a test pattern; monitor calibrated to GSDF: yes 3; "
        "light in the room: bright 1, dark 2"
    )
    assert facts["selection"].startswith("phantom: 5 cases drawn by seed")
    assert facts["question"] == study.protocol["questions"][0]["text"]


def test_it_tells_when_and_why_the_study_was_opened_and_locked(study):
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    facts = study_facts(study)
    assert (facts["opening"]["reason"], facts["lock"]["reason"]) == ("ready", "over")
    assert facts["opening"]["lists"]


def test_what_is_not_recorded_is_empty(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    facts = study_facts(study)
    assert (facts["qualification"], facts["training"], facts["display"]) == ("",) * 3


def test_it_names_no_arm(study):
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    text = json.dumps(study_facts(Study.objects.get()), default=str)
    for word in ("standard", "single_bn", "dual_bn", "run-of-", '"X"', '"Y"', '"Z"'):
        assert word not in text
