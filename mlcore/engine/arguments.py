"""Argument parsers and endings of commands, which say what is wrong in one line."""

import argparse
import errno
from dataclasses import dataclass
from typing import NoReturn

from mlcore.datasets.table import TableError
from mlcore.engine.config import EngineError
from mlcore.errors import UsageError

# What ends a command in one line; see `Ending`. Anything else is a bug.
FAILURES = (UsageError, EngineError, TableError, OSError, KeyboardInterrupt)
# The disk itself, or what one user or one file may take of it.
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def complain_in_one_line(parser: argparse.ArgumentParser) -> None:
    """Let wrong arguments end with one line and status 2, without the whole usage.

    A function and no class: the parsers of Django's commands are made by Django.
    """

    def error(message: str) -> NoReturn:
        parser.exit(2, f"{message}\n")

    setattr(parser, "error", error)  # noqa: B010


@dataclass(frozen=True)
class Ending:
    """What a command says when it ends before its work is done.

    Attributes:
        failed: begins the line where a file cannot be read or written.
        interrupted: the line after Ctrl-C.
        again: what to do once a disk has space again.
    """

    failed: str
    interrupted: str = "Interrupted."
    again: str = "give the same command again"

    def explain(self, error: BaseException, place: object = None) -> tuple[str, int]:
        """The line to end with after one of `FAILURES`, and the exit status.

        Args:
            place: where the command writes, for errors that name no file.
        """
        if isinstance(error, KeyboardInterrupt):
            return self.interrupted, 1
        if isinstance(error, OSError):
            where = error.filename or place
            named = f" ({where})" if where else ""
            line = f"{self.failed}: {error.strerror or error}{named}."
            if error.errno in DISK_IS_FULL:
                line += f" Free some space, then {self.again}."
            return line, 1
        return str(error), 2 if isinstance(error, UsageError) else 1
