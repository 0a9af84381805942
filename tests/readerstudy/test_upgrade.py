"""Databases made before events had a payload go through every migration since.

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

from readerstudy.trial.record.hash_chain import Link, enrolment_genesis, follow
from tests.both_halves import POSTGRES, unreachable
from tests.conftest import ROOT, missing
from tests.readerstudy.before_payload import unpack

MIGRATE = """
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "migrate", *{}, "--verbosity=0"])
"""
TO_BEFORE = MIGRATE.format(["readerstudy", "0003"])
TO_NOW = MIGRATE.format([])
VERIFY = """
from readerstudy.models import Study
from readerstudy.trial.verification import BrokenLedger, verify
for study in Study.objects.order_by("pk"):
    try:
        print(*verify(study), sep="\\n")
    except BrokenLedger as broken:
        print(broken)
"""
GUARDED = ("ratingevent", "studyevent")
CHAINS = (
    'SELECT e.id, e.uuid, s.uuid, s.name, u.username, e.run FROM "readerstudy_study" s '
    'JOIN "readerstudy_enrolment" e ON e.study_id = s.id '
    'JOIN "auth_user" u ON u.id = e.reader_id'
)


class Database:
    """A database of before, the files beside it, and the process that upgrades it."""

    def __init__(self, folder, address):
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
    def __init__(self, folder):
        self._path = folder / "database.sqlite3"
        super().__init__(folder, f"sqlite:///{self._path}")

    def execute(self, sql):
        with closing(sqlite3.connect(self._path)) as connection, connection:
            return connection.execute(sql).fetchall()


class PostgreSQL(Database):
    def __init__(self, folder, server, name):
        super().__init__(folder, f"{server.rsplit('/', 1)[0]}/{name}")

    def execute(self, sql):
        with psycopg.connect(self._address) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def fill(self, tables):
        self.run(MIGRATE.format(["auth"]), TO_BEFORE)
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
    name = f"before_payload_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield name
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def filled(server, tmp_path_factory):
    """A PostgreSQL database with the rows of before, to copy from."""
    folder = unpack(tmp_path_factory.mktemp("filled"))
    with named_database(server) as name:
        rows = json.loads((folder / "postgresql.json").read_text())
        PostgreSQL(folder, server, name).fill(rows)
        yield name


@pytest.fixture
def sqlite_database(tmp_path):
    return SQLite(unpack(tmp_path))


@pytest.fixture
def postgresql_database(tmp_path, server, filled):
    with named_database(server, filled) as name:
        yield PostgreSQL(unpack(tmp_path), server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
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


def test_the_way_back_and_here_again_loses_nothing(database):
    assert database.run(TO_NOW, TO_BEFORE) == ([], [])
    table = '"readerstudy_ratingevent"'
    with pytest.raises(
        (sqlite3.IntegrityError, psycopg.errors.IntegrityConstraintViolation),
        match="never changed",
    ):
        database.execute(f"DELETE FROM {table}")
    assert database.run(TO_NOW, VERIFY) == (database.heads, [])


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
    assert [line for line in told if line.startswith("Broken")] == [
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
    missing_triggers = [line for line in told if "(readerstudy.W001)" in line]
    assert len(missing_triggers) == 4
    assert said == [
        f"Broken at study 'Draft maps', event 9: {PAYLOAD}.",
        f"Broken at reader rhea, event 2: {PAYLOAD}.",
        f"Broken at reader rhea, event 4: {GAP}.",
        f"Broken at reader rhea, event 2: {PAYLOAD}.",
    ]


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
