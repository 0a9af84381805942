import pytest

from readerstudy.trial.enrolment import void_run
from readerstudy.trial.exports.tables import EXPORTS, ratings_table
from readerstudy.trial.study import lock_study, unblind_study
from tests.readerstudy.commands import refusal, run
from tests.readerstudy.factories import answer, coordinator, give, make_study, rate_all


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
    lock = study.events.get(kind="locked")
    assert said.splitlines() == [
        f"6 rows of 'Chest maps' are in {out}.",
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
    assert (line in said.splitlines()) == (name in ("ratings", "imrmc"))


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
    counted = {"ledger": f"{lines} events", "protocol": "1 protocol"}.get(
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
