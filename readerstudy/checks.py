"""System checks of the record's triggers, for `check --database` and `--deploy`."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from readerstudy import triggers

HINT = (
    "Rows of the record could be changed meanwhile: run `manage.py verify_ledger` on "
    "every study. Then make the triggers anew: manage.py shell -c 'from django.db "
    "import connection; from readerstudy import triggers; triggers.install(connection)'"
)
HINT_BEFORE = (
    "Rows of the record could be changed meanwhile: `manage.py migrate` makes the "
    "triggers anew; then run `manage.py verify_ledger` on every study."
)


def check_triggers(
    *,
    databases: Sequence[str] | None = None,
    **kwargs: Any,  # noqa: ARG001  (Django hands in more)
) -> list[CheckMessage]:
    """E001 for each trigger of `databases` that is missing or was altered.

    A plain `check` names no database and this says nothing. Before an upgrade it is
    W001, which does not stop `migrate`: that makes the triggers anew.
    """
    messages: list[CheckMessage] = []
    for alias in databases or ():
        if lines := triggers.problems(connections[alias]):
            is_old = _waits_for_an_upgrade(connections[alias])
            messages += [
                Warning(line, hint=HINT_BEFORE, id="readerstudy.W001")
                if is_old
                else Error(line, hint=HINT, id="readerstudy.E001")
                for line in lines
            ]
    return messages


def check_triggers_deployed(
    *,
    databases: Sequence[str] | None = None,
    **kwargs: Any,  # noqa: ARG001
) -> list[CheckMessage]:
    """The same for `check --deploy`, of the default database as far as it answers."""
    if databases:
        return []  # `check_triggers` tells
    try:
        return check_triggers(databases=[DEFAULT_DB_ALIAS])
    except OperationalError:
        return []  # where the settings are checked, the database need not be


def _waits_for_an_upgrade(connection: BaseDatabaseWrapper) -> bool:
    loader = MigrationLoader(connection)
    last = loader.graph.leaf_nodes("readerstudy")
    return not set(last) <= set(loader.applied_migrations)
