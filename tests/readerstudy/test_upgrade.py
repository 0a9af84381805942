"""Databases of earlier versions go through every migration since.

Each in a process of its own, with the settings that a person's database has.
"""

# ruff: noqa: S608  (all of the SQL is this file's own)

import itertools
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from uuid import UUID

import psycopg
import pytest

from readerstudy.trial.archive.study_rows import TABLES, rows_of
from readerstudy.trial.archive.transfer import import_study
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.flat import FLAT_FIELDS, from_flat, to_flat
from readerstudy.trial.record.hash_chain import Link, enrolment_genesis, follow
from tests.both_halves import POSTGRES, unreachable
from tests.conftest import ROOT, missing
from tests.readerstudy.left_on_disk import ALL, BEFORE_QUESTIONS

MIGRATE = """
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "migrate", *{}, "--verbosity=0"])
"""
TO_NOW = MIGRATE.format([])


def to(migration):
    return MIGRATE.format(["readerstudy", migration])


VERIFY = """
from readerstudy.models import Study
from readerstudy.trial.verification import BrokenLedger, verify
for study in Study.objects.order_by("pk"):
    try:
        print(*verify(study), sep="\\n")
    except BrokenLedger as broken:
        print(broken)
"""
ROWS = """
import json
from readerstudy.models import Study
from readerstudy.trial.archive.study_rows import rows_of
print(json.dumps({study.name: rows_of(study) for study in Study.objects.all()}))
"""
GUARDED = ("ratingevent", "studyevent")
# Of a rating, under the next number.
COLUMNS = (
    '"enrolment_id", "presentation_id", "username", "at", "previous_hash", "payload", '
    '"hash", "overlay_sha256", "stage", "language", "reason", "viewer", "user_id"'
)
COPY_WITHOUT_ANSWER = (
    f'INSERT INTO "readerstudy_ratingevent" ({COLUMNS}, "number", "kind", "answer") '
    f"SELECT {COLUMNS}, \"number\" + 1000, 'change', '{{\"answers\": {{}}}}' "
    'FROM "readerstudy_ratingevent" WHERE "kind" = \'rate\''
)
CHAINS = (
    'SELECT e.id, e.uuid, s.uuid, s.name, u.username, e.run FROM "readerstudy_study" s '
    'JOIN "readerstudy_enrolment" e ON e.study_id = s.id '
    'JOIN "auth_user" u ON u.id = e.reader_id'
)


class Database:
    """A database of before, the files beside it, and the process that upgrades it."""

    def __init__(self, left, folder, address):
        self.left = left
        self.heads = (folder / "heads.txt").read_text().splitlines()
        self._address = address
        shutil.copytree(folder / "studies", folder / "data" / "studies")
        self._environment = {
            **os.environ,
            "DATABASE_URL": address,
            "READERSTUDY_DATA": str(folder / "data"),
            "DJANGO_SETTINGS_MODULE": "readerstudy.settings",
        }

    def run(self, *programs):
        """Run them with the application set up. Returns what is printed, and told."""
        program = "\n".join(("import django", "django.setup()", *programs))
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr.strip().splitlines()

    def damage(self, *statements):
        """What somebody can do who drops the triggers first."""
        for table, act in itertools.product(GUARDED, ("update", "delete")):
            on = f' ON "readerstudy_{table}"' if isinstance(self, PostgreSQL) else ""
            self.execute(f'DROP TRIGGER "readerstudy_{table}_refuse_{act}"{on}')
        for sql in statements:
            self.execute(sql)


class SQLite(Database):
    def __init__(self, left, folder):
        self._path = folder / "database.sqlite3"
        super().__init__(left, folder, f"sqlite:///{self._path}")

    def execute(self, sql):
        with closing(sqlite3.connect(self._path)) as connection, connection:
            return connection.execute(sql).fetchall()


class PostgreSQL(Database):
    def __init__(self, left, folder, server, name):
        super().__init__(left, folder, f"{server.rsplit('/', 1)[0]}/{name}")

    def execute(self, sql):
        with psycopg.connect(self._address) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def fill(self, tables):
        self.run(MIGRATE.format(["auth"]), to(self.left.migration))
        with psycopg.connect(self._address) as connection:
            for table, rows in tables.items():
                connection.execute(
                    f'INSERT INTO "{table}" SELECT * '
                    f'FROM json_populate_recordset(NULL::"{table}", %s)',
                    [json.dumps(rows)],
                )


@pytest.fixture(scope="module")
def server():
    """The address of a PostgreSQL server's own database."""
    url = os.environ.get("TEST_POSTGRES_URL", POSTGRES)
    if reason := unreachable(url):
        missing(f"a PostgreSQL server ({reason})")
    return f"{url.rsplit('/', 1)[0]}/postgres"


@contextmanager
def named_database(server, template="template1"):
    name = f"upgrade_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield name
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module", params=ALL, ids=str)
def left(request):
    return request.param


@pytest.fixture(scope="module")
def filled(server, left, tmp_path_factory):
    """A PostgreSQL database with the rows of before, to copy from."""
    folder = left.unpack(tmp_path_factory.mktemp("filled"))
    with named_database(server) as name:
        rows = json.loads((folder / "postgresql.json").read_text())
        PostgreSQL(left, folder, server, name).fill(rows)
        yield name


@pytest.fixture
def sqlite_database(tmp_path, left):
    return SQLite(left, left.unpack(tmp_path / "left"))


@pytest.fixture
def postgresql_database(tmp_path, server, left, filled):
    with named_database(server, filled) as name:
        yield PostgreSQL(left, left.unpack(tmp_path / "left"), server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, left):
    return request.getfixturevalue(f"{request.param}_database")


def test_every_study_verifies_after_the_upgrade(database):
    hashes = 'SELECT "id", "hash" FROM "readerstudy_{}" ORDER BY "id"'
    before = [database.execute(hashes.format(table)) for table in GUARDED]
    said, told = database.run(TO_NOW, VERIFY)
    assert said == database.heads
    assert told == []
    assert [database.execute(hashes.format(table)) for table in GUARDED] == before
    check_with_payloads_alone(database)


def check_with_payloads_alone(database):
    """No model, no column but these two, and no Django."""
    heads = {}
    for key, enrolment, study, name, reader, run in database.execute(CHAINS):
        links = database.execute(
            'SELECT "payload", "hash" FROM "readerstudy_ratingevent" '
            f'WHERE "enrolment_id" = {key} ORDER BY "number"'
        )
        genesis = enrolment_genesis(UUID(str(study)), UUID(str(enrolment)))
        head = follow(genesis, (Link(*link) for link in links))
        heads[name, reader, run] = f"{head.length} events, head {head.hash}"
    assert len(heads) == 10
    for (_, reader, run), head in heads.items():
        owner = f"reader {reader}, run {run}" if run > 1 else f"reader {reader}"
        assert f"{owner}: {head}" in database.heads


NEVER = (sqlite3.IntegrityError, psycopg.errors.IntegrityConstraintViolation)


def test_the_way_back_and_here_again_loses_nothing(database):
    assert database.run(to("0004"), to("0003")) == ([], [])
    with pytest.raises(NEVER, match="never changed"):
        database.execute('DELETE FROM "readerstudy_ratingevent"')
    assert database.run(TO_NOW, VERIFY) == (database.heads, [])


def test_from_documents_there_is_no_way_back_and_nothing_is_lost(database):
    program = f"""
from django.db.migrations.exceptions import IrreversibleError
try:
    {to("0004").strip().splitlines()[-1]}
except IrreversibleError as error:
    print(error)
"""
    imports = "from django.core.management import execute_from_command_line"
    (said,), told = database.run(TO_NOW, imports, program)
    assert "0005_study_is_data is not reversible" in said
    assert told == []
    with pytest.raises(NEVER, match="never changed"):
        database.execute('DELETE FROM "readerstudy_ratingevent"')
    with pytest.raises(NEVER, match="what its study asks for"):
        database.execute(COPY_WITHOUT_ANSWER)
    assert database.run(TO_NOW, VERIFY) == (database.heads, [])


def test_the_protocol_is_that_of_the_same_fields(database):
    names = ", ".join(f'"{name}"' for name in FLAT_FIELDS)
    rows = database.execute(f'SELECT {names} FROM "readerstudy_study" ORDER BY "id"')
    assert len(rows) == 4
    fields = [dict(zip(FLAT_FIELDS, row, strict=True)) for row in rows]
    for row in fields:
        for name in ("anchors", "legend"):
            if isinstance(row[name], str):
                row[name] = json.loads(row[name])
        for name in ("ratings_can_change", "asks_confidence"):
            row[name] = bool(row[name])
    database.run(TO_NOW)
    made = [
        json.loads(text)
        for (text,) in database.execute(
            'SELECT CAST("protocol" AS text) FROM "readerstudy_study" ORDER BY "id"'
        )
    ]
    assert made == [from_flat(row) for row in fields]
    assert [to_flat(document) for document in made] == fields
    assert [Protocol.of(document).document for document in made] == made


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["locked", "unblinded"])
def test_an_archive_becomes_the_rows_that_the_database_became(
    sqlite_database, tmp_path, state
):
    archive = sqlite_database.left.unpack(tmp_path / "archives") / f"archive-{state}"
    (said,), _ = sqlite_database.run(TO_NOW, ROWS)
    imported = import_study(archive).study
    there = json.loads(said)[imported.name]
    here = json.loads(json.dumps(rows_of(imported)))
    assert here.keys() == there.keys() == TABLES.keys()
    assert without_keys(here) == without_keys(there)
    assert all(here.values())


def without_keys(tables):
    """The rows, with the place of a row among those of its table for its key."""
    places = {
        model: {row["id"]: place for place, row in enumerate(tables[table])}
        for table, (model, _) in TABLES.items()
    }
    found = {}
    for table, (model, _) in TABLES.items():
        referring = {
            field.attname: places[field.related_model]
            for field in model._meta.concrete_fields
            if field.related_model in places
        }
        found[table] = [
            {
                name: referring[name].get(value) if name in referring else value
                for name, value in row.items()
                if name != "id"
            }
            for row in tables[table]
        ]
    return found


# Damage

FIELDS = "hash is not that of its fields; one was changed"
PAYLOAD = "hash is not that of its payload; one was changed"
GAP = "its number is 5; an event was removed or added"


def of_study(name):
    return f"(SELECT id FROM readerstudy_study WHERE name = '{name} maps')"


def event(study, number):
    return f'study_id = {of_study(study)} AND "number" = {number}'


def answer(study, reader, number, run=1):
    return (
        "enrolment_id = (SELECT id FROM readerstudy_enrolment "
        f"WHERE study_id = {of_study(study)} AND run = {run} AND reader_id = "
        f"(SELECT id FROM auth_user WHERE username = '{reader}')) "
        f'AND "number" = {number}'
    )


def changed(column, value, where):
    table = "ratingevent" if "enrolment" in where else "studyevent"
    return f'UPDATE readerstudy_{table} SET "{column}" = {value} WHERE {where}'


def not_recorded(owner, number, column):
    return f"Broken at {owner}, event {number}: {column} is not as it was recorded."


def test_damage_is_kept_and_told_and_stops_no_upgrade(database):
    database.damage(
        changed("reason", "'none'", event("Draft", 9)),
        changed("rating", 5, answer("Open", "rhea", 2)),
        changed("username", "'omar'", answer("Open", "zoë", 3)),
        f"DELETE FROM readerstudy_ratingevent WHERE {answer('Locked', 'rhea', 4)}",
        changed("viewer", "'{}'", answer("Unblinded", "rhea", 2)),
        changed("hash", "'é'", answer("Unblinded", "omar", 3)),
        changed("previous_hash", "''", answer("Unblinded", "zoë", 5)),
    )
    said, told = database.run(TO_NOW, VERIFY)
    missing_triggers = [line for line in told if "(readerstudy.W001)" in line]
    assert len(missing_triggers) == 4
    found = [line for line in told if line.startswith("Broken")]
    if database.left is BEFORE_QUESTIONS:
        # What these events record was written on the day, and is compared.
        assert found == []
        assert said == [
            not_recorded("study 'Draft maps'", 9, "reason"),
            not_recorded("reader rhea", 2, "answer"),
            f"Broken at reader rhea, event 4: {GAP}.",
            not_recorded("reader rhea", 2, "viewer"),
        ]
        return
    assert found == [
        f"Broken before this upgrade and kept as it is: {line}."
        for line in (
            f"study 'Draft maps', event 9: {FIELDS}",
            f"reader rhea, run 1 of study 'Open maps', event 2: {FIELDS}",
            f"reader zoë, run 1 of study 'Open maps', event 3: {FIELDS}",
            f"reader rhea, run 1 of study 'Locked maps', event 4: {GAP}",
            f"reader rhea, run 1 of study 'Unblinded maps', event 2: {FIELDS}",
            f"reader omar, run 1 of study 'Unblinded maps', event 3: {FIELDS}",
            "reader zoë, run 1 of study 'Unblinded maps', event 5: previous_hash is "
            "not that of the event before",
        )
    ]
    assert said == [
        f"Broken at study 'Draft maps', event 9: {PAYLOAD}.",
        f"Broken at reader rhea, event 2: {PAYLOAD}.",
        f"Broken at reader rhea, event 4: {GAP}.",
        f"Broken at reader rhea, event 2: {PAYLOAD}.",
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("question", "'Is it there?'"),
        ("anchors", """'["a", "b", "c", "d", "e", "f"]'"""),
        ("anchors", "'7'"),
        ("anchors", """'"abcdef"'"""),
        ("instructions", "'Hurry.'"),
        ("consent", "'?'"),
        ("opacity", "0.25"),
        ("display_mode", "'beside'"),
        ("legend", """'["one", "two", "three"]'"""),
        ("legend", "'null'"),
        ("blocks", "'other'"),
        ("sessions", "2"),
        ("sessions", "0"),
        ("washout_days", "1"),
        ("repeats", "0.2"),
        ("ratings_can_change", "NOT ratings_can_change"),
        ("asks_confidence", "NOT asks_confidence"),
        ("primary_analysis", "'none'"),
    ],
)
@pytest.mark.parametrize("study", ["Locked"])
def test_a_changed_protocol_is_told_after_the_upgrade_too(
    database, study, column, value
):
    database.execute(
        f'UPDATE readerstudy_study SET "{column}" = {value} '
        f"WHERE name = '{study} maps'"
    )
    said, told = database.run(TO_NOW, VERIFY)
    assert told == []
    unbroken = [line for line in database.heads if line in said]
    assert f"The protocol of study '{study} maps' is not that of opening." in said
    # The study of three chains, and no other.
    assert len(unbroken) == len(database.heads) - 3


def test_what_no_column_should_hold_stops_no_upgrade_either(sqlite_database):
    """SQLite keeps it, and Django fails on some of it."""
    database = sqlite_database
    deep = 900 * "[" + 900 * "]"
    database.damage(
        changed("at", "'2026-13-01 00:00:00'", event("Draft", 8)),
        changed("at", "'2026-13-01 00:00:00'", answer("Open", "rhea", 4)),
        changed("at", "'yesterday'", answer("Open", "zoë", 1)),
        changed("viewer", "'1e999'", answer("Open", "rhea", 2, run=2)),
        changed("viewer", f"'{deep}'", answer("Locked", "rhea", 3)),
        changed("comment", "x'00ff'", answer("Locked", "omar", 6)),
        changed("old_rating", "'abc'", answer("Unblinded", "rhea", 7)),
        changed("old_rating", "1e999", answer("Unblinded", "omar", 1)),
    )
    said, told = database.run(TO_NOW, VERIFY)
    found = [line.partition("as it is: ")[2] for line in told]
    if database.left is BEFORE_QUESTIONS:
        assert list(filter(None, found)) == []
        assert [line.partition(", ")[0] for line in said[:2]] == [
            "Broken at study 'Draft maps'",
            "Broken at reader rhea",
        ]
        assert said[2:] == []
        return
    assert list(filter(None, found)) == [
        f"study 'Draft maps', event 8: {FIELDS}.",
        f"reader rhea, run 1 of study 'Open maps', event 4: {FIELDS}.",
        f"reader zoë, run 1 of study 'Open maps', event 1: {FIELDS}.",
        f"reader rhea, run 2 of study 'Open maps', event 2: {FIELDS}.",
        f"reader rhea, run 1 of study 'Locked maps', event 3: {FIELDS}.",
        f"reader omar, run 1 of study 'Locked maps', event 6: {FIELDS}.",
        f"reader rhea, run 1 of study 'Unblinded maps', event 7: {FIELDS}.",
        f"reader omar, run 1 of study 'Unblinded maps', event 1: {FIELDS}.",
    ]
    assert said == [
        f"Broken at study 'Draft maps', event 8: {PAYLOAD}.",
        f"Broken at reader rhea, event 4: {PAYLOAD}.",
        f"Broken at reader rhea, event 3: {PAYLOAD}.",
        f"Broken at reader rhea, event 7: {PAYLOAD}.",
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rating", "2.5"),
        ("confidence", "1.5"),
        ("confidence", "3"),
        ("comment", "x'00ff'"),
        ("comment", "'{}'"),
    ],
)
def test_whatever_stands_in_an_answer_becomes_one_that_is_told(
    sqlite_database, column, value
):
    """As far as the checks of before let it in."""
    database = sqlite_database
    database.damage(changed(column, value, answer("Unblinded", "rhea", 2)))
    said, _ = database.run(TO_NOW, VERIFY)
    assert said[-1].startswith("Broken at reader rhea, event 2: ")
