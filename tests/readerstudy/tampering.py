"""What somebody could do to a record who may change the schema of the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from readerstudy import triggers


@contextmanager
def past_the_triggers() -> Iterator[None]:
    """Without triggers inside, with them again afterwards."""
    # PostgreSQL changes no table for which checks of foreign keys are still to come.
    connection.check_constraints()
    triggers.remove(connection)
    yield
    connection.check_constraints()
    triggers.install(connection)
