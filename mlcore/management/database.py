"""Whether the database can take the rows that mirror a command's work."""

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.models import Model


def require_table(model: type[Model]) -> None:
    """Fail before the work, not after it, if the admin's row cannot be written."""
    try:
        model._default_manager.exists()
    except DatabaseError as error:
        message = "The database is not ready: run `manage.py migrate` first."
        raise CommandError(message) from error
