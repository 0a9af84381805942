"""Evaluation of finished runs: tables, figures and a report of every part."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from django.conf import settings
from django.core.management.base import CommandParser

from mlcore.datasets.table import open_table
from mlcore.engine.arguments import Ending
from mlcore.engine.model.networks import find_device
from mlcore.engine.model.saliency import find_method
from mlcore.evaluation.answer import answer
from mlcore.evaluation.evaluate import (
    all_options,
    checked_settings,
    draw,
    evaluate,
    in_page_order,
    summary,
)
from mlcore.evaluation.part import Subject
from mlcore.evaluation.report import write_report
from mlcore.management.base import OneLineCommand
from mlcore.management.locate import table_folder
from mlcore.management.runs import add_method_argument, chosen_runs, gpu_memory


class Command(OneLineCommand):
    help = "Evaluate the variants on the test split and write a report."
    ending = Ending(
        failed="The evaluation was not written",
        interrupted="Interrupted; no evaluation was written.",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        some: dict[str, Any] = {"nargs": "+", "action": "extend"}
        parts = "; ".join(f"{part.name}, {part.asks}" for part in in_page_order())
        add = parser.add_argument
        add("dataset", help="name of a data set, or its folder")
        add(
            "--runs",
            **some,
            type=Path,
            metavar="PATH",
            help="run folders (each variant's newest finished one)",
        )
        add_method_argument(parser)
        add("--external", metavar="DATASET", help="test there as well")
        add(
            "--only",
            **some,
            metavar="PART",
            help=f"what to measure (all of it): {parts}",
        )
        for option in all_options():
            option.add_to(parser)
        add("--device", help="cpu, cuda or cuda:N (a GPU if there is one)")
        add(
            "--out",
            type=Path,
            metavar="DIR",
            help="default: reports/evaluation-DATASET in the data folder",
        )

    @gpu_memory()
    def work(self, options: dict[str, Any]) -> None:
        how = checked_settings(options)
        table = open_table(table_folder(options["dataset"]))
        other = options["external"]
        external = None if other is None else open_table(table_folder(other))
        device = find_device(options["device"])
        method = find_method(options["method"])
        runs = chosen_runs(table, options["runs"], device, method, self.stderr.write)
        made = evaluate(
            Subject(table, external, runs, device, how, self.stderr.write),
            options["only"],
            on_part=lambda name: self.stdout.write(f"{name} ..."),
        )
        run: dict[str, Any] = {
            "dataset": table.name,
            "dataset_sha256": table.sha256,
            "external": None if external is None else external.name,
            "external_sha256": None if external is None else external.sha256,
            "runs": {run.variant: run.config.name for run in runs},
            "checkpoints": {run.variant: run.checkpoint_sha256 for run in runs},
            "maps": {run.variant: run.legend.quantity for run in runs},
            "redraws": how["redraws"],
            "seed": how["seed"],
            "settings": how,
            "versions": {"numpy": np.__version__, "torch": str(torch.__version__)},
            "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        default = Path(settings.READERSTUDY_DATA) / "reports"
        out = options["out"] or default / f"evaluation-{table.name}"
        page = write_report(out, made.tables, run, draw(made.tables, made.exhibits))
        for sentence in answer(made.tables):
            self.stdout.write(sentence)
        for line in summary(made.tables):
            self.stdout.write(line)
        self.stdout.write(f"Evaluation of {table.name}: {page}")
