"""Rows of the record are added and nothing else, whoever asks and however."""

import importlib

import pytest
from django.core.checks import Tags, run_checks
from django.core.management import CommandError, call_command
from django.db import (
    IntegrityError,
    OperationalError,
    connection,
    migrations,
    models,
    transaction,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from readerstudy import answer_triggers, triggers
from readerstudy.models import Presentation, RatingEvent, StudyEvent
from readerstudy.trial.policies import Refusal
from readerstudy.trial.readiness import readiness
from readerstudy.trial.study import open_study
from readerstudy.triggers import GUARDED, InstallTriggers, SuspendTriggers
from tests.readerstudy.factories import coordinator, make_study, rate_all
from tests.readerstudy.tampering import past_the_triggers

MODELS = {
    model._meta.db_table: model for model in (Presentation, RatingEvent, StudyEvent)
}
TABLES = list(MODELS)
RAW = {
    "update": 'UPDATE "{table}" SET "id" = "id"',
    "one update": 'UPDATE "{table}" SET "{column}" = 99 WHERE "id" = {id}',
    "delete": 'DELETE FROM "{table}"',
    "one delete": 'DELETE FROM "{table}" WHERE "id" = {id}',
    "upsert": 'INSERT INTO "{table}" SELECT * FROM "{table}" WHERE true '
    'ON CONFLICT ("id") DO UPDATE SET "{column}" = 99',
}
RAW_SQLITE = {
    "replace": 'REPLACE INTO "{table}" SELECT * FROM "{table}"',
    "insert or replace": 'INSERT OR REPLACE INTO "{table}" SELECT * FROM "{table}"',
    "update or replace": 'UPDATE OR REPLACE "{table}" SET "{column}" = 99',
}
RAW_POSTGRESQL = {
    "truncate": 'TRUNCATE "{table}" CASCADE',
    "replica": "SET LOCAL session_replication_role = replica; "
    'DELETE FROM "{table}" WHERE "id" = {id}',
}
RAW |= RAW_POSTGRESQL if connection.vendor == "postgresql" else RAW_SQLITE
ACTS = triggers.POSTGRESQL_TYPES if "truncate" in RAW else triggers.SQLITE_ACTS


@pytest.fixture
def study(tmp_path, rhea):
    """Open and rated."""
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    rate_all(study.enrolments.get())
    return study


def rows(table):
    return list(MODELS[table].objects.order_by("pk").values())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", RAW)
def test_raw_sql_is_refused(study, table, name):
    before = rows(table)
    column = "position" if table == "readerstudy_presentation" else "number"
    sql = RAW[name].format(table=table, column=column, id=before[0]["id"])
    connection.check_constraints()
    said = f"{table}: rows of a record are added, never changed or removed"
    if name == "truncate":
        said = "rows of a record are added, never changed or removed"  # of any table
    with (
        pytest.raises(IntegrityError, match=said),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
    assert rows(table) == before


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("act", ["update", "bulk_update", "delete", "save", "_raw"])
def test_querysets_and_rows_are_refused(study, table, act):
    before = rows(table)
    query = MODELS[table].objects.order_by("pk")
    row = query.last()
    acts = {
        "update": lambda: query.update(id=models.F("id")),
        "bulk_update": lambda: query.bulk_update([row], [_any_field(row)]),
        "delete": lambda: MODELS[table].objects.filter(pk=row.pk).delete(),
        "save": row.save,
        "_raw": lambda: query._raw_delete(query.db),
    }
    # Django itself protects the presentations of which there are events.
    said = "never changed|referenced through protected foreign keys"
    with pytest.raises(IntegrityError, match=said), transaction.atomic():
        acts[act]()
    assert rows(table) == before


def _any_field(row):
    return "position" if isinstance(row, Presentation) else "number"


def test_a_database_as_migrated_has_every_trigger(db):
    assert triggers.problems(connection) == []


def test_installing_twice_does_no_harm(db):
    triggers.install(connection)
    assert triggers.problems(connection) == []


# What the check finds


def drop(table, act):
    on = f' ON "{table}"' if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f'DROP TRIGGER "{table}_refuse_{act}"{on}')


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("act", ACTS)
def test_the_check_names_a_dropped_trigger(db, table, act):
    drop(table, act)
    said = f"The trigger {table}_refuse_{act} that guards {table} is missing."
    (error,) = run_checks(tags=[Tags.database], databases=["default"])
    assert (error.id, error.msg) == ("readerstudy.E001", said)
    (error,) = [
        e
        for e in run_checks(include_deployment_checks=True)
        if e.id == "readerstudy.E001"
    ]
    assert error.msg == said
    with pytest.raises(CommandError, match=said):
        call_command("check", databases=["default"])


def test_the_hint_of_the_check_makes_the_trigger_anew(db):
    drop("readerstudy_ratingevent", "update")
    (error,) = run_checks(tags=[Tags.database], databases=["default"])
    program = error.hint.split("shell -c '")[1].rstrip("'")
    exec(program, {})  # noqa: S102
    assert run_checks(tags=[Tags.database], databases=["default"]) == []


def test_the_check_names_a_trigger_that_was_altered(db):
    table = "readerstudy_ratingevent"
    drop(table, "update")
    when = {
        "sqlite": "BEGIN SELECT 1; END",
        "postgresql": f"FOR EACH ROW WHEN (false) EXECUTE FUNCTION {table}_refuse()",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER {table}_refuse_update BEFORE UPDATE ON {table} {when}"
        )
    assert triggers.problems(connection) == [
        f"The trigger {table}_refuse_update that guards {table} is not as it was made."
    ]


WEAKENING = {
    "sqlite": [("PRAGMA recursive_triggers=OFF", 1)],
    "postgresql": [
        # With the one that checks answers.
        ("ALTER TABLE readerstudy_ratingevent DISABLE TRIGGER ALL", 4),
        ("ALTER TABLE readerstudy_ratingevent ENABLE TRIGGER ALL", 4),
        (
            "CREATE OR REPLACE FUNCTION readerstudy_ratingevent_refuse() RETURNS "
            "trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            3,
        ),
    ],
}


@pytest.mark.parametrize(("sql", "lines"), WEAKENING[connection.vendor])
def test_the_check_names_what_would_let_triggers_be_passed(db, sql, lines):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found = triggers.problems(connection)
        if connection.vendor == "sqlite":
            # Of the connection, and so not taken back with the transaction.
            cursor.execute("PRAGMA recursive_triggers=ON")
    assert len(found) == lines


def test_a_study_does_not_open_without_triggers(tmp_path, rhea):
    draft = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    connection.check_constraints()
    drop("readerstudy_presentation", "delete")
    (problem,) = readiness(draft)
    assert problem.startswith("The trigger readerstudy_presentation_refuse_delete")
    with pytest.raises(Refusal, match="cannot open: The trigger readerstudy_present"):
        open_study(study=draft, by=coordinator(), reason="ready")
    assert not Presentation.objects.exists()


# Migrations


def touches_guarded(operation):
    inner = getattr(operation, "database_operations", [])
    names = {
        str(getattr(operation, name, "")).lower()
        for name in ("name", "model_name", "old_name", "new_name")
    }
    return bool(names & set(GUARDED)) or any(map(touches_guarded, inner))


def keeps_the_triggers(operations, first):
    """Whether a migration leaves guarded tables guarded, there and on the way back."""
    if not any(map(touches_guarded, operations)):
        return True
    ends = type(operations[-1]) is InstallTriggers
    return ends and (first or type(operations[0]) is SuspendTriggers)


def test_every_migration_that_touches_guarded_tables_makes_their_triggers_anew():
    loader = MigrationLoader(None)
    ours = [m for (app, _), m in loader.disk_migrations.items() if app == "readerstudy"]
    assert ours
    for migration in ours:
        first = bool(migration.initial)
        assert keeps_the_triggers(migration.operations, first), migration.name
        if type(migration.operations[-1]) is InstallTriggers:
            assert set(migration.operations[-1].models) <= set(GUARDED)


def test_that_rule_finds_a_migration_that_forgot():
    adding = migrations.AddField("ratingevent", "x", models.IntegerField(null=True))
    install, again = InstallTriggers(GUARDED), SuspendTriggers(GUARDED)
    other = migrations.AddField("case", "x", models.IntegerField(null=True))
    hidden = migrations.SeparateDatabaseAndState(database_operations=[adding])
    assert keeps_the_triggers([other], first=False)
    assert keeps_the_triggers([again, adding, install], first=False)
    assert not keeps_the_triggers([adding], first=True)
    assert not keeps_the_triggers([adding, install], first=False)
    assert not keeps_the_triggers([again, install, adding], first=False)
    assert not keeps_the_triggers([hidden], first=False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", ["studyevent", "ratingevent"])
def test_triggers_are_there_after_a_table_was_rebuilt_and_after_the_way_back(model):
    """And without the operations they are not: Django drops them silently on SQLite."""
    state = MigrationLoader(connection).project_state()
    changing = migrations.AlterField(
        model, "reason", models.TextField(blank=True, default="none")
    )
    bare = migrate([changing], state)
    assert bool(triggers.problems(connection)) == (connection.vendor == "sqlite")
    assert bare
    both = [SuspendTriggers(GUARDED), changing, InstallTriggers(GUARDED)]
    migration = migrate(both, state)
    assert triggers.problems(connection) == []
    with connection.schema_editor(atomic=True) as editor:
        migration.unapply(state.clone(), editor)
    assert triggers.problems(connection) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", ["study", "enrolment"])
def test_a_table_that_answers_are_checked_against_is_rebuilt_without_the_check(model):
    """On SQLite a migration that forgets it fails, and its developer is told."""
    state = MigrationLoader(connection).project_state()
    field = models.CharField(max_length=99, blank=True, default="none")
    adding = migrations.AddField(model, "later", field)
    if connection.vendor == "sqlite":
        with pytest.raises(OperationalError, match=answer_triggers.NAME):
            migrate([adding], state)
        assert triggers.problems(connection) == []
    both = [SuspendTriggers(GUARDED), adding, InstallTriggers(GUARDED)]
    migration = migrate(both, state)
    assert triggers.problems(connection) == []
    with connection.schema_editor(atomic=True) as editor:
        migration.unapply(state.clone(), editor)
    assert triggers.problems(connection) == []


def migrate(operations, state: ProjectState):
    migration = migrations.Migration("0099_test", "readerstudy")
    migration.operations = operations
    with connection.schema_editor(atomic=True) as editor:
        migration.apply(state.clone(), editor)
    return migration


@pytest.mark.django_db(transaction=True)
def test_the_first_migration_takes_its_triggers_along_on_the_way_back():
    module = importlib.import_module("readerstudy.migrations.0001_initial")
    (install,) = [o for o in module.Migration.operations if type(o) is InstallTriggers]
    state = MigrationLoader(connection).project_state()
    with connection.schema_editor(atomic=True) as editor:
        install.database_backwards("readerstudy", editor, state, state)
    # Of three tables, and the one that checks answers.
    expected = 3 * 2 + 1 if connection.vendor == "sqlite" else 3 * 3 + 1
    assert len(triggers.problems(connection)) == expected


# The tests' own way past


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_that_commits_begins_with_an_empty_guarded_database(study, turn):
    assert StudyEvent.objects.count() == 5
    assert triggers.problems(connection) == []
    with past_the_triggers():
        assert triggers.problems(connection) != []
    assert triggers.problems(connection) == []
