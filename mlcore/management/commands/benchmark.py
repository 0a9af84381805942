"""How fast training is on this device: a shell around `mlcore.benchmark`."""

from typing import Any

from django.core.management.base import CommandParser

from mlcore.benchmark.command_line import ENDING, add_arguments, benchmark
from mlcore.management.base import OneLineCommand


class Command(OneLineCommand):
    ending = ENDING
    help = "Measure how fast training and saliency are, beside a plain loop."

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def work(self, options: dict[str, Any]) -> None:
        self.stdout.write(benchmark(options, self.stderr.write), ending="")
