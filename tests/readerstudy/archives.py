"""A study exported, a database after a fire, and an archive that was changed."""

import json
import shutil

from django.contrib.auth.models import User

from mlcore.files import sha256_file
from readerstudy.trial.archive.study_rows import TABLES
from readerstudy.trial.archive.transfer import export_study
from readerstudy.trial.cases import files as case_files
from tests.readerstudy.tampering import past_the_triggers


def export(study, folder):
    folder.mkdir()
    export_study(study, folder)
    return folder


def forget(study, *, people=True):
    """What is left after a fire: nothing of the study, nobody of its people."""
    shutil.rmtree(case_files.study_folder(study))
    with past_the_triggers():
        for model, way in reversed(TABLES.values()):
            model.objects.filter(**{way: study.pk}).delete()
        if people:
            User.objects.all().delete()


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def reseal(folder):
    """Write the manifest anew, as somebody would who changed the archive on purpose."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {
        file.relative_to(folder).as_posix(): sha256_file(file)
        for file in folder.rglob("*")
        if file.is_file() and file != path
    }
    path.write_text(json.dumps(manifest))


def read_rows(folder, table):
    lines = (folder / "rows" / f"{table}.jsonl").read_text().split("\n")
    return [json.loads(line) for line in lines if line]


def write_rows(folder, table, rows):
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "rows" / f"{table}.jsonl").write_text(text)
    reseal(folder)


def set_column(table, column, value, which=0):
    """A way to tamper with an archive, its hashes made anew."""

    def tamper(folder):
        changed = read_rows(folder, table)
        changed[which][column] = value
        write_rows(folder, table, changed)

    return tamper


def drop_row(table, which=-1):
    """Another one."""

    def tamper(folder):
        kept = read_rows(folder, table)
        del kept[which]
        write_rows(folder, table, kept)

    return tamper
