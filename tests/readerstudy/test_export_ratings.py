import json
from hashlib import sha256

import pytest

from readerstudy.trial.enrolment import void_run
from readerstudy.trial.exports.tables import EXPORTS, ratings_table
from readerstudy.trial.protocol.document import of_template
from readerstudy.trial.rating import record_answer, record_shown
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.commands import refusal, run
from tests.readerstudy.factories import (
    answer,
    begin,
    coordinator,
    give,
    make_study,
    rate_all,
)


@pytest.fixture
def study(tmp_path, rhea):
    """Locked."""
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=2)
    rate_all(study.enrolments.get())
    lock_study(study=study, by=coordinator(), reason="over")
    return study


def test_it_writes_the_table(study, tmp_path):
    out = tmp_path / "made" / "ratings.csv"
    said = run("export_ratings", study, "--out", out)
    protocol = out.with_name("protocol.json")
    lock = study.events.get(kind="locked")
    assert said.splitlines() == [
        f"6 rows of 'Chest maps' are in {out}.",
        f"Protocol: {protocol}, SHA-256 {sha256(protocol.read_bytes()).hexdigest()}.",
        f"Record: locked by event {lock.number}, hash {lock.hash}.",
        f"Record now: study 'Chest maps': {lock.number} events, head {lock.hash}.",
    ]
    assert out.read_text() == ratings_table(study, blinded=True).csv()


@pytest.mark.parametrize("name", EXPORTS)
def test_it_names_the_runs_that_are_not_in_the_table(tmp_path, rhea, name):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    run_1 = study.enrolments.get()
    void_run(enrolment=run_1, by=coordinator(), reason="wrong\nglasses")
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    unblind_study(study=study, by=coordinator(), reason="analysis")
    said = run("export_ratings", study, "--format", name, "--out", tmp_path / "file")
    line = "Not in it, voided: run 1 of rhea (wrong glasses)."
    assert (line in said.splitlines()) == (name in ("ratings", "answers", "imrmc"))


def test_it_prints_where_the_studys_chain_ends_after_the_lock(study, eve, tmp_path):
    """Or an event after the lock could be cut off and nobody would know."""
    give(study, eve, "statistician")
    last = study.events.last()
    said = run("export_ratings", study, "--out", tmp_path / "ratings.csv")
    assert said.splitlines()[-1] == (
        f"Record now: study 'Chest maps': {last.number} events, head {last.hash}."
    )
    assert last.kind == "role_given"


@pytest.mark.parametrize(("options", "word"), [([], "dual_bn"), (["--blinded"], ",Z,")])
def test_it_names_the_variants_once_unblinded(study, tmp_path, options, word):
    unblind_study(study=study, by=coordinator(), reason="analysis")
    out = tmp_path / "ratings.csv"
    run("export_ratings", study, "--out", out, *options)
    assert word in out.read_text()
    assert ("dual_bn" in out.read_text()) == (word == "dual_bn")


def test_a_refused_export_leaves_the_file_that_was_there(tmp_path, rhea):
    study = make_study(tmp_path / "other", readers=[rhea], name="Open")
    out = tmp_path / "ratings.csv"
    out.write_text("before")
    said = refusal("export_ratings", study, "--out", out)
    assert said == "Study 'Open' is open; ratings leave it once it is locked."
    assert out.read_text() == "before"


def test_it_refuses_a_folder_as_its_file(study, tmp_path):
    assert refusal("export_ratings", study, "--out", tmp_path).startswith(f"{tmp_path}")


def test_it_says_which_studies_there_are(study, tmp_path):
    said = refusal("export_ratings", "Knee", "--out", tmp_path / "ratings.csv")
    assert said == "No study is called 'Knee'. There is Chest maps."
    assert not (tmp_path / "ratings.csv").exists()


@pytest.mark.parametrize("name", EXPORTS)
def test_it_writes_every_format(study, tmp_path, name):
    unblind_study(study=study, by=coordinator(), reason="analysis")
    out = tmp_path / "file"
    said = run("export_ratings", study, "--format", name, "--out", out)
    assert {"": out.read_text()} == EXPORTS[name](study, blinded=False)
    lines = len(out.read_text().splitlines())
    counted = {"ledger": f"{lines} events", "protocol": "2 questions"}.get(
        name, f"{lines - 1} rows"
    )
    assert said.startswith(f"{counted} of 'Chest maps' are in {out}.\n")


def test_a_comment_of_many_lines_is_one_row(tmp_path, rhea):
    study = make_study(tmp_path / "other", readers=[rhea], name="Lines", cases=1)
    first = study.enrolments.get().presentations.first()
    answer(first, rhea, 1, comment="one\r\ntwo\nthree")
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    said = run("export_ratings", study, "--out", tmp_path / "ratings.csv")
    assert said.startswith("3 rows of 'Lines'")


def test_the_allocation_of_a_locked_study_is_refused(study, tmp_path):
    out = tmp_path / "allocation.csv"
    said = refusal("export_ratings", study, "--format", "allocation", "--out", out)
    assert said == (
        "Study 'Chest maps' is locked; its allocation leaves it once it is unblinded."
    )
    assert not out.exists()


# The protocol beside it


def test_the_protocol_beside_it_is_what_opening_fixed(study, tmp_path):
    run("export_ratings", study, "--out", tmp_path / "ratings.csv")
    text = (tmp_path / "protocol.json").read_bytes()
    assert json.loads(text) == study.protocol
    opened = study.events.get(kind="opened")
    assert opened.details["protocol"] == sha256(text).hexdigest()
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "protocol.json",
        "ratings.csv",
    ]


def test_another_protocol_is_not_overwritten(study, tmp_path):
    other = tmp_path / "protocol.json"
    other.write_text("{}")
    said = refusal("export_ratings", study, "--out", tmp_path / "ratings.csv")
    assert said == f"{other} is another protocol; name a file elsewhere."
    assert other.read_text() == "{}"
    assert not (tmp_path / "ratings.csv").exists()


def test_the_place_of_the_protocol_is_not_for_a_table(study, tmp_path):
    said = refusal("export_ratings", study, "--out", tmp_path / "protocol.json")
    assert said == f"{tmp_path / 'protocol.json'} is for the protocol; name another."


def test_the_protocol_alone_is_a_format_of_its_own(study, tmp_path):
    out = tmp_path / "protocol.json"
    run("export_ratings", study, "--format", "protocol", "--out", out)
    assert json.loads(out.read_text()) == study.protocol
    assert [path.name for path in tmp_path.glob("*.json")] == ["protocol.json"]


# A study that asks something else


FINDINGS = ("Cardiomegaly", "Nodule")


@pytest.fixture
def sliders(tmp_path, rhea):
    """Two findings whose truth is known, each a slider before and with the map."""
    protocol = {**of_template("aided-reading"), "findings": list(FINDINGS)}
    study = make_study(
        tmp_path / "bundle", readers=[rhea], cases=2, protocol=protocol, opened=False
    )
    for case in study.cases.all():
        case.truth = {name: {"label": int(name in case.findings)} for name in FINDINGS}
        case.save(update_fields=["truth"])
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    given = dict.fromkeys(FINDINGS, 30)
    for place in study.enrolments.get().presentations.filter(session=1):
        for stage, key in (("image", "probability_before"), ("map", "probability")):
            record_shown(presentation=place, user=rhea)
            answers = {"answers": {key: given}}
            record_answer(presentation=place, user=rhea, stage=stage, answer=answers)
    return study


def locked(study):
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    return study


def test_a_column_a_question_and_a_row_an_answer(sliders, tmp_path):
    locked(sliders)
    (row, *_) = [
        r for r in ratings_table(sliders, blinded=True).records() if r["shown_at"]
    ]
    assert list(row)[4:6] == ["probability.Cardiomegaly", "probability.Nodule"]
    assert row["probability_before.Nodule"] == 30
    answers = EXPORTS["answers"](sliders, blinded=True)[""].splitlines()
    assert len(answers) == 1 + 6 * 5
    assert sum(line.endswith("answered") for line in answers) == 2 * 4
    codebook = EXPORTS["codebook"](sliders, blinded=True)[""]
    assert 'ratings,probability_before.Nodule,integer,"0 to 100, or empty"' in codebook


def test_imrmc_has_a_file_for_each_finding_with_its_truth(tmp_path, sliders):
    locked(sliders)
    out = tmp_path / "imrmc.csv"
    said = run("export_ratings", sliders, "--format", "imrmc", "--out", out)
    names = ["imrmc-1-probability.Cardiomegaly.csv", "imrmc-2-probability.Nodule.csv"]
    assert [f"6 rows of 'Chest maps' are in {tmp_path / name}." for name in names] == (
        said.splitlines()[:2]
    )
    text = (tmp_path / names[0]).read_text()
    assert "truth,phantom/phantom-0001,truth,0\n" in text
    assert "truth,phantom/phantom-0002,truth,1\n" in text
    assert text.count(",unaided,30\n") == 2
