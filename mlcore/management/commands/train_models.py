"""An image table in, a trained network per variant out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandParser

from mlcore.datasets.table import open_table
from mlcore.engine.run_config import to_json
from mlcore.engine.training.command_line import (
    ENDING,
    Job,
    add_arguments,
    carry_out,
    plan,
)
from mlcore.engine.training.distributed import joined
from mlcore.engine.training.progress import Event, OnEvent
from mlcore.management.base import OneLineCommand
from mlcore.management.database import require_table
from mlcore.management.locate import runs_root, table_folder
from mlcore.management.progress_bar import saying, shown
from mlcore.models import TrainingRun
from mlcore.recorder import recorded


class Command(OneLineCommand):
    help = "Train the variants of the classifier on a data set."
    ending = ENDING

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", help="name of a data set, or its folder")
        add_arguments(parser)

    def work(self, options: dict[str, Any]) -> None:
        with joined(options["device"]) as (world, device):
            table = open_table(table_folder(options["dataset"]))
            # The first process alone knows the database; all hear its complaint.
            world.from_main(lambda: require_table(TrainingRun))
            jobs = plan(table, runs_root(table.name), options, world)
            carry_out(
                jobs,
                table,
                options,
                world,
                device,
                say=saying(self.stdout),
                listening=self._recorded_and_shown,
            )

    @contextmanager
    def _recorded_and_shown(self, job: Job) -> Iterator[OnEvent]:
        name = job.config.name
        with (
            recorded(job.folder, name=name, config=to_json(job.config)) as record,
            shown(self.stdout, name) as show,
        ):

            def on_event(event: Event) -> None:
                record(event)
                show(event)

            yield on_event
