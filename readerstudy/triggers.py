"""Database triggers that let the rows of a record be added and nothing else.

They hold against raw SQL, querysets and the admin alike. Whoever may change the schema
can drop them: `problems()` tells, and the hash chains tell what was done meanwhile.

Django changes a SQLite table by building it anew, and the triggers of the old table go
without a word. Hence every migration that touches a guarded table ends with
`InstallTriggers`, and each after the first begins with `SuspendTriggers`. The trigger
that checks answers comes along from the migration on that made them documents.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from readerstudy import answer_triggers

GUARDED = ("presentation", "ratingevent", "studyevent")

MESSAGE = "rows of a record are added, never changed or removed"
SQLITE_ACTS = ("update", "delete")
# What PostgreSQL keeps of a trigger in pg_trigger.tgtype: 1 for each row, 2 before,
# 8 delete, 16 update, 32 truncate. Of UPDATE and DELETE for each row, as in SQLite:
# loading a dump asks with an UPDATE whether the row is there already.
POSTGRESQL_TYPES = {"update": 1 + 2 + 16, "delete": 1 + 2 + 8, "truncate": 2 + 32}
INSERT_OF_ROW = 1 + 2 + 4
POSTGRESQL_BODY = (
    f" BEGIN RAISE EXCEPTION '%: {MESSAGE}', TG_TABLE_NAME"
    " USING ERRCODE = 'integrity_constraint_violation'; END "
)
POSTGRESQL_FOUND = """
    SELECT c.relname, t.tgname, t.tgtype::int, t.tgenabled::text,
           t.tgqual IS NULL AND t.tgattr::text = '', p.prosrc
      FROM pg_trigger t
      JOIN pg_class c ON c.oid = t.tgrelid
      JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE NOT t.tgisinternal AND pg_table_is_visible(c.oid)
"""


def guarded_tables() -> list[str]:
    """The tables whose rows are a record."""
    models = (apps.get_model("readerstudy", name) for name in GUARDED)
    return [model._meta.db_table for model in models]


def install(connection: BaseDatabaseWrapper) -> None:
    """Make the triggers of all guarded tables, anew where there are some."""
    _execute(connection, guarded_tables(), creating_sql)
    if _has_answers(connection):
        with connection.cursor() as cursor:
            for sql in answer_triggers.creating_sql(connection.vendor):
                cursor.execute(sql, params=None)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers of all guarded tables."""
    _execute(connection, guarded_tables(), dropping_sql)


def problems(connection: BaseDatabaseWrapper) -> list[str]:
    """What is missing or not as `install` makes it, a line each; empty when all is.

    A table or column that is not there lacks nothing: the database was not migrated
    yet.
    """
    there = set(connection.introspection.table_names())
    tables = [table for table in guarded_tables() if table in there]
    checked = answer_triggers.TABLE in there and _has_answers(connection)
    if connection.vendor == "postgresql":
        return _postgresql_problems(connection, tables, checked)
    return _sqlite_problems(connection, tables, checked)


def creating_sql(vendor: str, table: str) -> list[str]:
    """The statements that guard `table`, whether or not it is guarded."""
    if vendor == "postgresql":
        return [*dropping_sql(vendor, table), *_postgresql_triggers(table)]
    triggers = [_sqlite_trigger(table, act) for act in SQLITE_ACTS]
    return [*dropping_sql(vendor, table), *triggers]


def dropping_sql(vendor: str, table: str) -> list[str]:
    """The statements that leave `table` unguarded."""
    is_checked = table == answer_triggers.TABLE
    checks = answer_triggers.dropping_sql(vendor) if is_checked else []
    if vendor == "postgresql":
        drops = [
            f'DROP TRIGGER IF EXISTS "{_name(table, act)}" ON "{table}"'
            for act in POSTGRESQL_TYPES
        ]
        return [*drops, f'DROP FUNCTION IF EXISTS "{_function(table)}"', *checks]
    drops = [f'DROP TRIGGER IF EXISTS "{_name(table, act)}"' for act in SQLITE_ACTS]
    return [*drops, *checks]


class InstallTriggers(Operation):
    """The last operation of a migration that touches guarded tables.

    Args:
        models: lower-case names of the guarded models that exist at this migration.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, models: Sequence[str]) -> None:
        self.models = models

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """A trigger is no part of a model."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002  (the signature is Django's)
        to_state: ProjectState,
    ) -> None:
        self._change(app_label, schema_editor, to_state, creating_sql)
        if self._has_answers(app_label, to_state):
            for sql in answer_triggers.creating_sql(schema_editor.connection.vendor):
                schema_editor.execute(sql, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002
        to_state: ProjectState,
    ) -> None:
        self._change(app_label, schema_editor, to_state, dropping_sql)

    def describe(self) -> str:
        return f"Guard the rows of {', '.join(self.models)}"

    def _has_answers(self, app_label: str, state: ProjectState) -> bool:
        if "ratingevent" not in self.models:
            return False
        fields = state.apps.get_model(app_label, "ratingevent")._meta.fields
        return any(field.name == "answer" for field in fields)

    def _change(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        state: ProjectState,
        statements: Callable[[str, str], list[str]],
    ) -> None:
        for name in self.models:
            table = state.apps.get_model(app_label, name)._meta.db_table
            for sql in statements(schema_editor.connection.vendor, table):
                # None: a per cent sign in it is no placeholder.
                schema_editor.execute(sql, params=None)


class SuspendTriggers(InstallTriggers):
    """The first operation of a later migration: triggers go, for it may change rows.

    On the way back it is the last one and makes them anew.
    """

    def database_forwards(self, *args: Any, **kwargs: Any) -> None:
        super().database_backwards(*args, **kwargs)

    def database_backwards(self, *args: Any, **kwargs: Any) -> None:
        super().database_forwards(*args, **kwargs)

    def describe(self) -> str:
        return f"Let the rows of {', '.join(self.models)} be changed meanwhile"


def _has_answers(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(
            cursor, answer_triggers.TABLE
        )
    return any(column.name == "answer" for column in columns)


def _execute(
    connection: BaseDatabaseWrapper,
    tables: Sequence[str],
    statements: Callable[[str, str], list[str]],
) -> None:
    with connection.cursor() as cursor:
        for table in tables:
            for sql in statements(connection.vendor, table):
                cursor.execute(sql)


def _name(table: str, act: str) -> str:
    return f"{table}_refuse_{act}"


def _function(table: str) -> str:
    return f"{table}_refuse"


def _sqlite_trigger(table: str, act: str) -> str:
    """SQLite keeps this very text, to compare with."""
    return (
        f'CREATE TRIGGER "{_name(table, act)}" BEFORE {act.upper()} ON "{table}" '
        f"BEGIN SELECT RAISE(ABORT, '{table}: {MESSAGE}'); END"
    )


def _postgresql_triggers(table: str) -> list[str]:
    function = _function(table)
    made = [
        f'CREATE FUNCTION "{function}"() RETURNS trigger '
        f"LANGUAGE plpgsql AS $${POSTGRESQL_BODY}$$"
    ]
    for act in POSTGRESQL_TYPES:
        name = _name(table, act)
        each = "STATEMENT" if act == "truncate" else "ROW"
        made += [
            f'CREATE TRIGGER "{name}" BEFORE {act.upper()} ON "{table}" '
            f'FOR EACH {each} EXECUTE FUNCTION "{function}"()',
            # It then fires under session_replication_role = replica too.
            f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{name}"',
        ]
    return made


def _sqlite_problems(
    connection: BaseDatabaseWrapper, tables: Sequence[str], checked: bool
) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        found = dict(cursor.fetchall())
        cursor.execute("PRAGMA recursive_triggers")
        (recursive,) = cursor.fetchone()
    made = {
        (table, _name(table, act)): _sqlite_trigger(table, act)
        for table in tables
        for act in SQLITE_ACTS
    }
    if checked:
        made[answer_triggers.TABLE, answer_triggers.NAME] = answer_triggers.SQLITE
    lines = [
        _problem(table, name, name in found)
        for (table, name), sql in made.items()
        if found.get(name) != sql
    ]
    if not recursive:
        # Without it INSERT OR REPLACE removes a row past the trigger.
        lines.append("This connection has PRAGMA recursive_triggers off.")
    return lines


def _postgresql_problems(
    connection: BaseDatabaseWrapper, tables: Sequence[str], checked: bool
) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(POSTGRESQL_FOUND)
        found = {(table, name): tuple(rest) for table, name, *rest in cursor.fetchall()}
    made = {
        (table, _name(table, act)): (kind, "A", True, POSTGRESQL_BODY)
        for table in tables
        for act, kind in POSTGRESQL_TYPES.items()
    }
    if checked:
        check = (INSERT_OF_ROW, "A", True, answer_triggers.POSTGRESQL_BODY)
        made[answer_triggers.TABLE, answer_triggers.NAME] = check
    return [
        _problem(table, name, (table, name) in found)
        for (table, name), properties in made.items()
        if found.get((table, name)) != properties
    ]


def _problem(table: str, name: str, found: bool) -> str:
    what = "is not as it was made" if found else "is missing"
    return f"The trigger {name} that guards {table} {what}."
