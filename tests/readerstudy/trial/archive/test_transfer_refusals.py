"""What is not exported, and what is not imported and leaves nothing behind."""

import itertools
import shutil
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings

from readerstudy.models import Case, Enrolment, RatingEvent, Study
from readerstudy.trial.archive.study_rows import TABLES
from readerstudy.trial.archive.transfer import ArchiveError, import_study
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import template
from readerstudy.trial.study import lock_study
from readerstudy.trial.verification import BrokenLedger, verify
from tests.readerstudy.archives import (
    contents,
    drop_row,
    export,
    read_rows,
    reseal,
    set_column,
    write_rows,
)
from tests.readerstudy.factories import coordinator, make_study, rate_all, said
from tests.readerstudy.tampering import past_the_triggers


def locked_study(folder, reader):
    """Small, for there are many ways to damage an archive."""
    study = make_study(folder, readers=[reader], cases=1)
    rate_all(study.enrolments.get())
    lock_study(study=study, by=coordinator(), reason="over")
    return study


@pytest.fixture
def study(tmp_path, rhea):
    return locked_study(tmp_path / "bundle", rhea)


@pytest.fixture(scope="module")
def kept_archive(django_db_setup, django_db_blocker, tmp_path_factory):
    """The archive of a study that is in no database any more."""
    folder = tmp_path_factory.mktemp("kept")
    with (
        django_db_blocker.unblock(),
        override_settings(READERSTUDY_DATA=folder / "data"),
        transaction.atomic(),
    ):
        study = locked_study(folder / "bundle", User.objects.create(username="rhea"))
        export(study, folder / "archive")
        transaction.set_rollback(True)
    return folder / "archive"


@pytest.fixture
def archive(db, kept_archive, tmp_path):
    return shutil.copytree(kept_archive, tmp_path / "archive")


def refused(folder, match):
    """The import is refused in one line and leaves nothing behind."""
    before = {model: model.objects.count() for model, _ in TABLES.values()}
    people = set(User.objects.values_list("username", flat=True))
    with pytest.raises(Refusal, match=match) as caught:
        import_study(folder)
    assert "\n" not in str(caught.value)
    assert {model: model.objects.count() for model in before} == before
    assert set(User.objects.values_list("username", flat=True)) == people
    return str(caught.value)


def files_of_studies(data_folder):
    return list(data_folder.glob("studies/*"))


# What is not exported


@pytest.mark.parametrize("state", ["draft", "open"])
def test_a_study_that_is_not_locked_is_not_exported(study, tmp_path, state):
    Study.objects.update(state=state)
    study.refresh_from_db()
    with pytest.raises(Refusal, match=f"is {state}; ratings leave it"):
        export(study, tmp_path / "archive")
    assert contents(tmp_path / "archive") == {}


def test_a_study_with_a_broken_ledger_is_not_exported(study, tmp_path):
    with past_the_triggers():
        RatingEvent.objects.filter(number=4).update(answer=said(5))
    with pytest.raises(BrokenLedger, match="event 4"):
        export(study, tmp_path / "archive")


def test_a_study_with_a_damaged_file_is_not_exported(study, tmp_path):
    name = study.cases.first().file
    (case_files.study_folder(study) / name).write_bytes(b"")
    with pytest.raises(BrokenLedger, match=f"File {name}"):
        export(study, tmp_path / "archive")


# What is not imported


def test_a_study_that_is_here_is_not_imported_again(study, tmp_path):
    files = contents(case_files.study_folder(study))
    told = refused(export(study, tmp_path / "own"), "is here already")
    assert told == "Study 'Chest maps' is here already; nothing was imported."
    assert contents(case_files.study_folder(study)) == files
    assert verify(study)


def test_a_study_of_a_name_that_is_taken_is_not_imported(archive, tmp_path):
    reader = User.objects.create(username="someone")
    make_study(tmp_path / "other", readers=[reader], name="Chest maps")
    refused(archive, "There is another study 'Chest maps' here; nothing was imported")


def test_a_folder_that_is_there_is_left_alone(archive):
    (row,) = read_rows(archive, "study")
    folder = case_files.study_folder(Study(uuid=UUID(row["uuid"])))
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    refused(archive, "is there, without its study in the database")
    assert list(contents(folder)) == ["thesis.txt"]


@pytest.mark.parametrize("place", ["manifest.json", "rows/arm.jsonl", "files"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_archive_is_refused(archive, data_folder, place, damage):
    path = archive / place
    if path.is_dir():
        path = sorted(path.glob("*.npy"))[3]
    if damage == "missing":
        path.unlink()
        told = refused(archive, "missing|no such file")
    else:
        path.write_bytes(path.read_bytes()[:-2])
        told = refused(archive, "SHA-256 is not the one in the manifest|not valid JSON")
    assert str(path) in told
    assert files_of_studies(data_folder) == []


def test_a_file_too_many_is_refused(archive):
    (archive / "files" / "more.npy").write_bytes(b"")
    refused(archive, r"more\.npy: not in the manifest")


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_link_that_leads_elsewhere_is_refused(archive, tmp_path, kind):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    path = archive / "files" / "link"
    path.symlink_to(tmp_path / "secret" / ("file" if kind == "link" else ""))
    refused(archive, "link: not a file")


ANSWER_REFUSED = "rows: rating_event: .*an answer is what its study asks for"
OTHER = template("paper") | {"opacity": 0.1}


def add_row(table):
    def tamper(folder):
        there = read_rows(folder, table)
        write_rows(folder, table, [*there, there[-1] | {"id": 10**6}])

    return tamper


def text_of(table, text):
    def tamper(folder):
        (folder / "rows" / f"{table}.jsonl").write_text(text)
        reseal(folder)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            set_column("rating_event", "answer", said(0), 3),
            "answer is not as it was re",
        ),
        (
            set_column("rating_event", "stage", "image"),
            "stage is not as it was recorde",
        ),
        (
            set_column("rating_event", "language", "x"),
            "language is not as it was recor",
        ),
        (set_column("rating_event", "answer", said(7), 3), ANSWER_REFUSED),
        (set_column("rating_event", "answer", {}, 3), ANSWER_REFUSED),
        (set_column("rating_event", "answer", None, 3), "rows: rating_event: "),
        (set_column("rating_event", "answer", said(3)), "rows: rating_event: "),
        (set_column("study_event", "reason", "x", 3), "reason is not as it was record"),
        (set_column("rating_event", "payload", "x"), "payload is not the canonical JS"),
        (set_column("rating_event", "payload", None), "rows: rating_event: .*payload"),
        (set_column("study_event", "hash", "0" * 64), "hash is not that of its payloa"),
        (drop_row("rating_event"), "the chain has 5 events and had 6 at the lock"),
        (drop_row("rating_event", 3), "its number is 5; an event was removed or added"),
        (drop_row("study_event"), "its events end at open and the study is locked"),
        (drop_row("presentation"), "rating_event: presentation_id is .* no such row"),
        (drop_row("enrolment"), "presentation: enrolment_id is .* no such row"),
        (set_column("arm", "letter", "W"), "Cases, maps or arms .* not those of openi"),
        (set_column("case", "training", True), "Cases, maps or arms .* not those of o"),
        (set_column("study", "protocol", OTHER), "The protocol .* not that of opening"),
        (set_column("study", "state", "unblinded"), "its events end at locked"),
        (set_column("study", "state", "open"), "the study is open; it has to be lock"),
        (set_column("study", "state", "shut"), "not the row of a study"),
        (set_column("study", "state", []), "not the row of a study"),
        (set_column("study", "uuid", "../../etc"), "not the row of a study"),
        (set_column("study", "uuid", 7), "not the row of a study"),
        (set_column("study", "name", "a\0b"), "the study has no name"),
        (set_column("study", "protocol", {}), ANSWER_REFUSED),
        (set_column("study", "protocol", "paper"), ANSWER_REFUSED),
        (set_column("study", "protocol", None), "rows: study: .*protocol"),
        (set_column("case", "truth", {}), "Cases, maps or arms .* not those of openi"),
        (
            set_column("enrolment", "language", "de"),
            "language of reader rhea is not as",
        ),
        (set_column("presentation", "case_id", 10**9), "presentation: case_id is 1000"),
        (set_column("presentation", "arm_id", None), "rows: presentation: .*arm_id"),
        (set_column("study", "id", []), "rows: study: unhashable"),
        (
            set_column("enrolment", "voided_at", "2026-01-01T00:00:00Z"),
            "voided_at of r",
        ),
        (set_column("enrolment", "seed", "0" * 32), "The list of reader rhea is not"),
        (set_column("enrolment", "reader_id", "coordinator"), "was 'rhea' at opening"),
        (set_column("enrolment", "reader_id", 1), "reader_id is '1', no user name"),
        (set_column("enrolment", "reader_id", ""), "reader_id is '', no user name"),
        (set_column("enrolment", "reader_id", "x" * 151), "'x{151}', no user name"),
        (set_column("enrolment", "reader_id", ["x"]), "no user name"),
        (set_column("enrolment", "reader_id", None), "rows: enrolment: .*reader_id"),
        (set_column("presentation", "overlay_id", 10**9), "overlay_id is 1000000000"),
        (set_column("presentation", "overlay_id", {}), "presentation: unhashable type"),
        (set_column("presentation", "token", "t"), "The list of reader rhea is not"),
        (set_column("presentation", "position", 10**30), "rows: presentation: "),
        (set_column("presentation", "position", "x"), "x.* must be an integer"),
        (set_column("rating_event", "at", "yesterday"), "yesterday.* invalid format"),
        (
            set_column("rating_event", "at", "2026-01-01T00:00:00"),
            "without a time zone",
        ),
        (
            set_column("rating_event", "reason", "a\0b"),
            "rows: rating_event|reason is n",
        ),
        (set_column("membership", "allocator", True), "roles of coordinator are not"),
        (set_column("membership", "user_id", "x"), "roles of coordinator are not as"),
        (drop_row("membership"), "The roles of rhea are not as they were recorded"),
        (set_column("case", "more", 1), "case: a column too many or too few: more"),
        (set_column("case", "file", "../x.npy"), r"a file '\.\./x\.npy' not in it"),
        (set_column("overlay", "file", "/etc/passwd"), "a file '/etc/passwd' not in"),
        (add_row("study"), "one study is needed, 2 found"),
        (add_row("presentation"), "rows: presentation: "),
        (add_row("study_event"), "rows: study_event: "),
        (text_of("arm", "[]\n"), r"arm\.jsonl: line 1: must be an object"),
        (text_of("arm", "{}\n"), "arm: a column too many or too few: id, letter"),
        (text_of("arm", '{"id": NaN}\n'), "line 1: not valid JSON"),
        (text_of("study", ""), "one study is needed, 0 found"),
        (text_of("arm", "[" * 100_000), "not valid JSON"),
    ],
    ids=itertools.count(),
)
def test_a_tampered_archive_is_refused(archive, data_folder, tamper, message):
    """With the hashes of the manifest made anew, too."""
    tamper(archive)
    refused(archive, message)
    assert files_of_studies(data_folder) == []
    assert (
        Study.objects.count() == Case.objects.count() == Enrolment.objects.count() == 0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", r"manifest\.json: must be an object"),
        ("{}", r"manifest\.json: schema_version: is missing"),
        ('{"schema_version": 1, "files": []}', "files: must be an object"),
        ('{"schema_version": 4, "files": {}}', "schema_version: must be 1 or 2 or 3"),
        ('{"schema_version": true, "files": {}}', "schema_version: must be 1 or 2 or "),
        ('{"files": {}, "files": {}}', 'the key "files" stands twice'),
    ],
)
def test_another_manifest_is_refused(archive, text, message):
    (archive / "manifest.json").write_text(text)
    refused(archive, message)


def test_a_folder_that_is_no_archive_is_refused(tmp_path, db):
    refused(tmp_path, "no such file; an archive is needed")
    refused(tmp_path / "nowhere", "no such file; an archive is needed")


def test_an_archive_without_a_table_is_refused(archive):
    (archive / "rows" / "arm.jsonl").unlink()
    reseal(archive)
    refused(archive, r'manifest\.json: files\["rows/arm\.jsonl"\]: is missing')


def test_a_full_disk_leaves_nothing(archive, data_folder, monkeypatch):
    write, written = case_files.write_new, []

    def fill(path, content, **options):
        written.append(path)
        if len(written) == 5:
            raise OSError(28, "No space left on device", str(path))
        write(path, content, **options)

    monkeypatch.setattr(case_files, "write_new", fill)
    with pytest.raises(OSError, match="No space left"):
        import_study(archive)
    assert files_of_studies(data_folder) == []
    assert Study.objects.count() == 0
    monkeypatch.undo()
    assert import_study(archive).study.name == "Chest maps"


def test_an_archive_error_is_a_refusal():
    """Commands and pages catch the one and so the other."""
    assert issubclass(ArchiveError, Refusal)
