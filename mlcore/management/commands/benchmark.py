"""How fast training is on this device: a shell around `mlcore.benchmark`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.benchmark.command_line import add_arguments, benchmark
from mlcore.engine.arguments import complain_in_one_line
from mlcore.engine.config import EngineError


class Command(BaseCommand):
    help = "Measure how fast training and saliency are, beside a plain loop."

    def add_arguments(self, parser: CommandParser) -> None:
        if parser.called_from_command_line:
            complain_in_one_line(parser)
        add_arguments(parser)

    def handle(self, **options: Any) -> None:
        try:
            table = benchmark(options, self.stderr.write)
        except EngineError as error:
            raise CommandError(str(error), returncode=2) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted.") from None
        self.stdout.write(table, ending="")
