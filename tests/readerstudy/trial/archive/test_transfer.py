"""The restore drill: export, empty database, import, and the same to the byte."""

import json
import stat
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.utils import timezone

from mlcore.files import sha256_file
from readerstudy.models import Presentation, Study
from readerstudy.trial.archive.study_rows import TABLES, rows_of
from readerstudy.trial.archive.transfer import import_study
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.enrolment import (
    consent,
    record_display_check,
    sign_off,
    void_run,
)
from readerstudy.trial.exports.tables import EXPORTS
from readerstudy.trial.study import lock_study, unblind_case, unblind_study
from readerstudy.trial.verification import verify
from tests.readerstudy.archives import (
    contents,
    export,
    forget,
    read_rows,
    write_rows,
)
from tests.readerstudy.commands import run
from tests.readerstudy.factories import (
    answer,
    coordinator,
    give,
    make_study,
    rate_all,
)


@pytest.fixture
def study(tmp_path, rhea, omar, ada):
    """Locked, with a row of every kind and whatever is hard to carry."""
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=3,
        training=1,
        protocol={
            "repeats": 0.25,
            "asks_confidence": True,
            "opacity": 1.0,
            "washout_days": 0,
            "question": "Wie nützlich?\u2028\U0001f480",
            "instructions": "one\ntwo\tthree",
            "consent": "I agree.",
        },
    )
    for user, role in ((ada, "allocator"), (coordinator(), "statistician")):
        give(study, user, role)
    record_display_check(
        enrolment=omar.enrolments.get(), user=omar, answers={"pixels": 1e5, "ok": True}
    )
    first, *rest = omar.enrolments.get().presentations.order_by("position")
    answer(first, omar, None, cannot_judge="image_quality")
    for p in rest:
        viewer = {"active_ms": 1234, "zoom": 2.0, "window": [1e-7, 0.1 + 0.2, 1e22]}
        given = answer(p, omar, p.position % 6, confidence=2, viewer=viewer)
        if p.position % 3 == 0:
            answer(p, omar, 5, confidence=5, comment="é \r\n=1", change=given.number)
    sign_off(
        enrolment=omar.enrolments.get(),
        user=omar,
        password="omar-pass",
        told_apart="never",
    )
    answer(rhea.enrolments.get().presentations.first(), rhea, 1, confidence=1)
    new = void_run(enrolment=rhea.enrolments.get(), by=coordinator(), reason="ill")
    consent(enrolment=new, user=rhea)
    for p in new.presentations.order_by("position"):
        answer(p, rhea, p.position % 5, confidence=3)
    unblind_case(case=study.cases.first(), by=ada, reason="an emergency")
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    return study


@pytest.fixture
def archive(study, tmp_path):
    return export(study, tmp_path / "archive")


def analysis_of(study, folder):
    """Every file that an analysis writes."""
    run("analyze_ratings", study, "--out", folder)
    return contents(folder)


def exported(study):
    """Everything that leaves the study as one file."""
    names = set(EXPORTS) - ({"allocation"} if study.state == "locked" else set())
    return {name: EXPORTS[name](study, blinded=False) for name in names}


# The drill


@pytest.mark.slow
@pytest.mark.parametrize("unblinded", [True, False])
def test_what_comes_back_is_what_was_exported(study, unrendered, tmp_path, unblinded):
    if unblinded:
        unblind_study(study=study, by=coordinator(), reason="analysis")
    before = {
        "analysis": analysis_of(study, tmp_path / "before"),
        "exports": exported(study),
        "rows": rows_of(study),
        "files": contents(case_files.study_folder(study)),
        "chains": verify(study),
    }
    archive = export(study, tmp_path / "archive")
    forget(study)
    assert Study.objects.count() == Presentation.objects.count() == 0
    # Another study in the way, so that no key can be as it was.
    reader = User.objects.create(username="other")
    make_study(tmp_path / "other", readers=[reader], name="Other")
    imported = import_study(archive)
    assert exported(imported.study) == before["exports"]
    assert contents(case_files.study_folder(imported.study)) == before["files"]
    assert verify(imported.study) == imported.chains == before["chains"]
    assert imported.new == ["ada", "omar", "rhea"]
    assert imported.known == ["coordinator"]
    # But for the keys, every row is the same, microseconds included.
    after = rows_of(imported.study)
    for table, (model, _) in TABLES.items():
        keys = {"id"} | {
            field.attname
            for field in model._meta.concrete_fields
            if field.related_model not in (None, User)
        }
        assert [without(keys, row) for row in after[table]] == [
            without(keys, row) for row in before["rows"][table]
        ], table
        assert after[table], f"{table} was tested with no row"
    assert analysis_of(imported.study, tmp_path / "after") == before["analysis"]


def without(keys, row):
    return {key: value for key, value in row.items() if key not in keys}


def test_a_second_export_of_what_came_back_holds_the_same(archive, study, tmp_path):
    forget(study)
    second = export(import_study(archive).study, tmp_path / "second")
    forget(Study.objects.get())
    assert import_study(second).chains == verify(Study.objects.get())


def test_every_model_of_a_study_is_carried():
    models = set(apps.get_app_config("readerstudy").get_models())
    assert {model for model, _ in TABLES.values()} == models


def test_only_its_own_rows_leave_with_a_study(study, tmp_path):
    reader = User.objects.create(username="xanthippe")
    other = make_study(tmp_path / "other", readers=[reader], name="Other")
    rate_all(other.enrolments.get())
    lock_study(study=other, by=coordinator(), reason="over")
    text = "".join(
        path.read_text()
        for path in export(study, tmp_path / "archive").rglob("*.json*")
        if path.parent.name != "files"
    )
    assert "Other" not in text
    assert "xanthippe" not in text
    assert str(other.uuid) not in text
    assert Presentation.objects.filter(enrolment__study=other).exists()


def test_nobodys_password_or_address_is_in_it(study, tmp_path):
    User.objects.update(email="someone@example.org", last_name="Smith")
    text = b"".join(contents(export(study, tmp_path / "archive")).values())
    for user in User.objects.all():
        assert user.password.encode() not in text or not user.password
    assert b"someone@" not in text
    assert b"Smith" not in text


def test_only_the_owner_can_read_it(archive):
    for path in archive.rglob("*"):
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
        assert others == 0, path


def test_the_manifest_has_the_hash_of_every_file(archive):
    files = contents(archive)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["files"] == {name: sha256_file(archive / name) for name in files}
    # Images, maps and the bundle's manifest; a table each.
    assert len([n for n in files if n.startswith("files/")]) == 4 * 4 + 1
    assert len([n for n in files if n.startswith("rows/")]) == len(TABLES)


def test_analyses_come_along_but_not_what_is_still_written(study, tmp_path):
    folder = case_files.study_folder(study) / "analyses"
    for name in ("20260301T120000Z", ".20260302T120000Z.x1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "analysis.json").write_text("{}")
    archive = export(study, tmp_path / "archive")
    forget(study)
    folder = case_files.study_folder(import_study(archive).study) / "analyses"
    assert list(contents(folder)) == ["20260301T120000Z/analysis.json"]


def test_people_keep_the_accounts_that_they_have(archive, study, rhea):
    forget(study, people=False)
    password = rhea.password
    imported = import_study(archive)
    assert imported.new == []
    rhea.refresh_from_db()
    assert rhea.password == password
    assert rhea.enrolments.count() == 2


def test_new_people_cannot_log_in(archive, study):
    forget(study)
    import_study(archive)
    assert not User.objects.get(username="omar").has_usable_password()
    assert not User.objects.filter(is_staff=True).exists()


def test_the_other_databases_ways_of_writing_a_number_do_not_matter(archive, study):
    """PostgreSQL sorts the keys of an object and writes 1e5 as 100000; SQLite keeps the
    text."""
    forget(study)
    for table, column in (("rating_event", "viewer"), ("case", "windows")):
        changed = read_rows(archive, table)
        for row in changed:
            text = json.dumps(row[column], sort_keys=True)
            row[column] = json.loads(text.replace("1e+22", "1" + 22 * "0"))
        write_rows(archive, table, changed)
    events = read_rows(archive, "study_event")
    for row in events:
        if row["kind"] == "display_checked":
            assert row["details"]["answers"]["pixels"] == 100000
            row["details"]["answers"] = {"ok": True, "pixels": 100000}
    write_rows(archive, "study_event", events)
    import_study(archive)


def test_times_are_those_of_the_export(archive, study):
    created, enrolled = study.created_at, study.enrolments.first().enrolled_at
    forget(study)
    back = import_study(archive).study
    assert back.created_at == created
    assert back.enrolments.order_by("pk").first().enrolled_at == enrolled
    assert timezone.now() - back.created_at > timedelta(0)
