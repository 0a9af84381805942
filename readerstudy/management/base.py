"""Base of the commands: whatever a user can cause ends in one line.

The exit status is 2 where the command line or the settings are wrong, and 1 where the
input or the state is.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from readerstudy.analysis.csv_records import RatingsError
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import ProtocolError
from readerstudy.trial.verification import BrokenLedger


class OneLineCommand(BaseCommand):
    """A command that does its `work`.

    `failed` begins the line where a file cannot be read or written.
    """

    failed = "The command failed"

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if parser.called_from_command_line:
            # Django would print the whole usage before the line.
            setattr(parser, "error", lambda line: parser.exit(2, f"{line}\n"))  # noqa: B010
        return parser

    def handle(self, **options: Any) -> str | None:
        try:
            return self.work(options)
        except (Refusal, ProtocolError, BrokenLedger, RatingsError) as error:
            raise CommandError(str(error)) from error
        except BrokenPipeError:  # such as: ... | head; the command line answers it
            raise
        except OSError as error:  # such as a full disk
            place = error.filename or options.get("out")
            named = f" ({place})" if place else ""
            line = f"{self.failed}: {error.strerror or error}{named}."
            raise CommandError(line) from error

    def work(self, options: dict[str, Any]) -> str | None:
        """Do it; returns what is to be told at the end, if anything."""
        raise NotImplementedError
