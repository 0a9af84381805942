"""What `manage.py check --database default` and `check --deploy` say of the records."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections

from readerstudy import triggers

HINT = (
    "Rows of the record could be changed meanwhile: run `manage.py verify_ledger` on "
    "every study. Then make the triggers anew: manage.py shell -c 'from django.db "
    "import connection; from readerstudy import triggers; triggers.install(connection)'"
)


def check_triggers(
    *,
    databases: Sequence[str] | None = None,
    **kwargs: Any,  # noqa: ARG001  (Django hands in more)
) -> list[CheckMessage]:
    """E001 for each trigger of `databases` that is missing or was altered.

    A plain `check` names no database and this says nothing.
    """
    return [
        Error(line, hint=HINT, id="readerstudy.E001")
        for alias in databases or ()
        for line in triggers.problems(connections[alias])
    ]


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
