"""Base of the commands: whatever a user can cause ends in one line.

The exit status is 2 where the command line or the settings are wrong, and 1 where the
input or the state is.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.bundle.writing import CaseBundleError
from mlcore.engine.arguments import FAILURES, Ending, complain_in_one_line


class OneLineCommand(BaseCommand):
    """A command that does its `work`, and else ends as its `ending` says."""

    ending: Ending

    def create_parser(
        self, prog_name: str, subcommand: str, **kwargs: Any
    ) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if parser.called_from_command_line:
            complain_in_one_line(parser)
        return parser

    def handle(self, **options: Any) -> str | None:
        try:
            return self.work(options)
        except BrokenPipeError:  # such as: ... | head; the command line answers it
            raise
        except (CaseBundleError, *FAILURES) as error:
            line, status = self.ending.explain(error, self.place(options))
            raise CommandError(line, returncode=status) from error

    def work(self, options: dict[str, Any]) -> str | None:
        """Do it; returns what is to be told at the end, if anything."""
        raise NotImplementedError

    def place(self, options: dict[str, Any]) -> object:
        """Where the command writes."""
        return options.get("out")
