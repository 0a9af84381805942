"""Look-up of the study and the people that a command line names.

An argument that is not UTF-8 reaches Python with bytes that no database takes; it names
nobody.
"""

from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.db import OperationalError, ProgrammingError

from readerstudy.models import Study


def find_study(name: str) -> Study:
    """The study called `name`; otherwise a `CommandError` that lists the studies."""
    try:
        with ready_database():
            return Study.objects.get(name=name)
    except (Study.DoesNotExist, UnicodeEncodeError):
        names = Study.objects.order_by("name").values_list("name", flat=True)
        there = _listed(names) or "none yet; `manage.py create_study` makes one"
        line = f"No study is called '{name}'. There is {there}."
        raise CommandError(line, returncode=2) from None


def find_user(username: str) -> User:
    """The user called `username`; otherwise a `CommandError` that lists the users."""
    try:
        with ready_database():
            return User.objects.get(username=username)
    except (User.DoesNotExist, UnicodeEncodeError):
        names = User.objects.order_by("username").values_list("username", flat=True)
        there = f"There is {_listed(names)}; add" if names else "Add"
        raise CommandError(
            f"No user is called '{username}'. {there} people in the admin under Users, "
            "the first one with `manage.py createsuperuser`.",
            returncode=2,
        ) from None


@contextmanager
def ready_database() -> Iterator[None]:
    """A `CommandError` where the database is not there or was not migrated."""
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        cause = str(error).splitlines()[0]
        raise CommandError(
            f"The database is not ready ({cause}): run `manage.py migrate` first."
        ) from error


def existing_path(text: str) -> Path:
    """The path that an argument names; for `type` of argparse, which ends with 2."""
    path = Path(text)
    if not path.exists():
        raise ArgumentTypeError(f"{text} is not there")
    return path


def _listed(names: Iterable[Any], most: int = 10) -> str:
    every = [str(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
