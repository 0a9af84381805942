"""`verify_ledger` from outside, and where else the heads are printed."""

import json

import pytest

from readerstudy.models import RatingEvent
from readerstudy.trial.enrolment import void_run
from readerstudy.trial.record import digests
from readerstudy.trial.recorded_analyses import analyses_folder
from readerstudy.trial.study import lock_study
from readerstudy.trial.verification import verify
from tests.readerstudy.commands import refusal, run
from tests.readerstudy.factories import (
    answer,
    coordinator,
    make_study,
    rate_all,
    said,
)
from tests.readerstudy.tampering import past_the_triggers


@pytest.fixture
def study(tmp_path, rhea):
    """Locked."""
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=2)
    rate_all(study.enrolments.get())
    lock_study(study=study, by=coordinator(), reason="over")
    return study


def test_it_prints_a_line_for_each_chain(study):
    lock, last = study.events.last(), RatingEvent.objects.last()
    assert run("verify_ledger", study).splitlines() == [
        f"study 'Chest maps': 6 events, head {lock.hash}",
        f"reader rhea: 12 events, head {last.hash}",
    ]


def test_it_ends_with_the_first_broken_link(study):
    with past_the_triggers():
        RatingEvent.objects.filter(number=4).update(answer=said(1, comment="forged"))
    assert refusal("verify_ledger", study) == (
        "Broken at reader rhea, event 4: answer is not as it was recorded."
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_it_compares_the_files_of_analyses(study, how, tmp_path):
    run("analyze_ratings", study)
    heads = run("verify_ledger", study)
    (folder,) = analyses_folder(study).iterdir()
    file = folder / "report.html"
    if how == "gone":
        file.unlink()
        said = f"File report.html of analysis {folder.name} cannot be read."
    else:
        file.write_text("better")
        said = f"File report.html of analysis {folder.name} is not as it was recorded."
    assert refusal("verify_ledger", study) == said
    # The ratings do not rest on it.
    assert run("export_ratings", study, "--out", tmp_path / "ratings.csv")
    assert heads.startswith(str(verify(study)[0]))


def test_it_says_which_studies_there_are(study):
    said = refusal("verify_ledger", "Knee")
    assert said == "No study is called 'Knee'. There is Chest maps."


def test_an_analysis_keeps_and_prints_the_heads_of_the_lock(
    study, unrendered, tmp_path
):
    said = run("analyze_ratings", study, "--out", tmp_path / "out")
    lock, last = study.events.last(), RatingEvent.objects.last()
    analysis = json.loads((tmp_path / "out" / "analysis.json").read_text())
    fixed = {"version": digests.VERSION}
    assert analysis["run"]["ledger"] == {
        "number": 6,
        "hash": lock.hash,
        "chains": [{"reader": "rhea", "run": 1, "length": 12, "head": last.hash}],
        "voided": [],
        "protocol": digests.protocol_sha256(study, fixed),
        "allocation": digests.stimuli_sha256(study, fixed),
    }
    assert f"Record: locked by event 6, hash {lock.hash}." in said
    assert f"Record of rhea: 12 events, head {last.hash}." in said
    assert said.endswith(f"study 'Chest maps': 6 events, head {lock.hash}.")


def test_an_analysis_that_is_recorded_prints_its_own_event_as_the_head(study):
    said = run("analyze_ratings", study)
    last = study.events.last()
    assert last.kind == "analysed"
    assert said.endswith(f"Record now: study 'Chest maps': 7 events, head {last.hash}.")


def test_an_analysis_names_the_runs_that_it_leaves_out(tmp_path, rhea):
    study = make_study(tmp_path / "other", readers=[rhea], name="Voided", cases=2)
    answer(study.enrolments.get().presentations.first(), rhea)
    void_run(enrolment=study.enrolments.get(), by=coordinator(), reason="wrong glasses")
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    said = run("analyze_ratings", study, "--out", tmp_path / "out")
    analysis = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert analysis["run"]["ledger"]["voided"] == [
        {"reader": "rhea", "run": 1, "answers": 1, "reason": "wrong glasses"}
    ]
    assert "Not analysed, voided: run 1 of rhea (wrong glasses)." in said
    report = (tmp_path / "out" / "report.html").read_text()
    assert "run 1 of rhea, answers kept: 1, reason: wrong glasses" in report


@pytest.mark.parametrize("command", ["analyze_ratings", "export_ratings"])
def test_nothing_is_made_of_ratings_that_are_not_as_recorded(study, tmp_path, command):
    with past_the_triggers():
        RatingEvent.objects.filter(kind="rate").update(answer=said(5))
    told = refusal(command, study, "--out", tmp_path / "out")
    assert told.startswith("Broken at reader rhea, event ")
    assert not (tmp_path / "out").exists()
