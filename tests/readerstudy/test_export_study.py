"""`export_study` and `import_study` from outside, on another machine too."""

import stat

import pytest
from django.contrib.auth.models import User

from mlcore.files import sha256_file
from readerstudy.models import Study
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.study import lock_study, unblind_study
from tests.processes import python
from tests.readerstudy.archives import contents, forget
from tests.readerstudy.commands import refusal, run
from tests.readerstudy.factories import coordinator, make_study, rate_all


@pytest.fixture
def study(tmp_path, rhea, omar):
    """Locked."""
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=4,
        training=1,
        protocol={"repeats": 0.25},
    )
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    lock_study(study=study, by=coordinator(), reason="over")
    return study


def analysis(study, out):
    run("analyze_ratings", study, "--out", out)
    return contents(out)


@pytest.mark.slow
def test_the_drill(study, unrendered, tmp_path):
    archive = tmp_path / "vault" / "chest"
    before = analysis(study, tmp_path / "before")
    heads = run("verify_ledger", study)
    said = run("export_study", study, "--out", archive).splitlines()
    assert said == [
        f"Study 'Chest maps' is in {archive}: 30 files.",
        f"SHA-256 of its manifest: {sha256_file(archive / 'manifest.json')}",
        *heads.splitlines(),
        "It holds the allocation, which nobody who analyses the study may see before "
        "it is unblinded. Lock it away.",
    ]
    forget(study)
    User.objects.create(username="omar")
    assert run("import_study", archive).splitlines() == [
        "Study 'Chest maps' is here, locked, as exported.",
        *heads.splitlines(),
        "Taken for people who were here: omar.",
        "New, without a password: coordinator, rhea.",
    ]
    assert run("verify_ledger", study) == heads
    assert analysis(study, tmp_path / "after") == before


def test_the_archive_of_an_unblinded_study_is_no_secret(study, tmp_path):
    unblind_study(study=study, by=coordinator(), reason="analysis")
    said = run("export_study", study, "--out", tmp_path / "archive")
    assert "allocation" not in said


def test_nobody_else_can_look_into_the_folder(study, tmp_path):
    run("export_study", study, "--out", tmp_path / "archive")
    assert stat.S_IMODE((tmp_path / "archive").stat().st_mode) == 0o700


def test_what_the_server_reads_is_not_for_its_owner_alone(study, tmp_path):
    """Who imports need not be who serves."""
    modes = {path.name: path.stat().st_mode for path in files_of(study)}
    run("export_study", study, "--out", tmp_path / "archive")
    forget(study)
    run("import_study", tmp_path / "archive")
    back = files_of(Study.objects.get())
    assert {path.name: path.stat().st_mode for path in back} == modes


def files_of(study):
    return list(case_files.study_folder(study).iterdir())


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_written_over(study, tmp_path, kind):
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_text("years of work")
    else:
        out.symlink_to(tmp_path / "nowhere")
    said = refusal("export_study", study, "--out", out)
    assert said == f"{out} exists; an archive needs a folder of its own."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "data", "out"]


def test_a_study_that_is_not_locked_leaves_nothing(tmp_path, rhea):
    make_study(tmp_path / "other", readers=[rhea], name="Open")
    said = refusal("export_study", "Open", "--out", tmp_path / "archive")
    assert said == "Study 'Open' is open; ratings leave it once it is locked."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "other"]


def test_a_broken_study_leaves_nothing(study, tmp_path):
    for path in files_of(study):
        if path.suffix == ".npy":
            path.write_bytes(b"")
    said = refusal("export_study", study, "--out", tmp_path / "archive")
    assert said.endswith("of study 'Chest maps' is not as imported.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "data"]


def test_a_full_disk_leaves_nothing(study, tmp_path, monkeypatch):
    def fill(path, content, **options):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(case_files, "write_new", fill)
    said = refusal("export_study", study, "--out", tmp_path / "archive")
    assert said.startswith("The study was not exported: No space left on device (")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "data"]
    monkeypatch.undo()
    run("export_study", study, "--out", tmp_path / "archive")
    forget(study)
    monkeypatch.setattr(case_files, "write_new", fill)
    said = refusal("import_study", tmp_path / "archive")
    assert said.startswith("The study was not imported: No space left on device (")


def test_it_says_which_studies_there_are(study, tmp_path):
    said = refusal("export_study", "Knee", "--out", tmp_path / "archive")
    assert said == "No study is called 'Knee'. There is Chest maps."


def test_what_is_no_archive_is_refused(tmp_path, db):
    said = refusal("import_study", tmp_path)
    assert said == f"{tmp_path / 'manifest.json'}: no such file; an archive is needed."


@pytest.mark.slow
def test_a_study_goes_to_another_machine_and_comes_back(study, tmp_path):
    """The other machine has SQLite. Where this test runs on PostgreSQL, the study
    crosses from the one to the other and back."""
    before = analysis(study, tmp_path / "before")
    heads = run("verify_ledger", study)
    run("export_study", study, "--out", tmp_path / "there")
    other = tmp_path / "other"
    own = {
        "READERSTUDY_DATA": str(other),
        "DATABASE_URL": f"sqlite:///{other / 'readerstudy.sqlite3'}",
    }
    said = {}
    for command in (
        ["migrate"],
        ["import_study", tmp_path / "there"],
        ["verify_ledger", study.name],
        ["export_study", study.name, "--out", tmp_path / "back"],
        ["analyze_ratings", study.name, "--out", tmp_path / "other-analysis"],
    ):
        done = python("manage.py", *command, env=own)
        assert done.returncode == 0, done.stderr
        said[command[0]] = done.stdout.strip()
    assert said["verify_ledger"] == heads
    assert contents(tmp_path / "other-analysis") == before
    forget(study)
    run("import_study", tmp_path / "back")
    assert run("verify_ledger", study) == heads
    assert analysis(study, tmp_path / "after") == before
