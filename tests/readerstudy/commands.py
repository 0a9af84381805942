"""Runs a management command as a person would see it."""

import io

import pytest
from django.core.management import CommandError, call_command


def run(name: str, *args: object) -> str:
    """The command's standard output."""
    out = io.StringIO()
    call_command(name, *map(str, args), stdout=out)
    return out.getvalue().strip()


def refusal(name: str, *args: object) -> str:
    """The one line with which the command ends, and its exit status is 1 or 2."""
    with pytest.raises(CommandError) as caught:
        run(name, *args)
    assert caught.value.returncode in (1, 2)
    message = str(caught.value)
    assert "\n" not in message
    return message
