"""Finished runs in, an evaluation out: who is told ill, and where the maps point."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.datasets.table import TableError, open_table
from mlcore.engine.config import EngineError
from mlcore.engine.networks import find_device
from mlcore.evaluation.discrimination import classifier_metrics
from mlcore.evaluation.localization import localization
from mlcore.evaluation.report import Row, write_evaluation
from mlcore.management.choice import chosen_runs
from mlcore.management.locate import table_folder


class Command(BaseCommand):
    help = "Evaluate the variants on the test split: AUC, and where the maps point."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", help="name of a data set, or its folder")
        parser.add_argument(
            "--runs",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="run folders (each variant's newest finished one)",
        )
        parser.add_argument(
            "--redraws", type=int, default=10_000, help="of the bootstrap (10000)"
        )
        parser.add_argument("--seed", type=int, default=1, help="of the redraws (1)")
        parser.add_argument(
            "--device", help="cpu, cuda or cuda:N (a GPU if there is one)"
        )
        parser.add_argument(
            "--out",
            type=Path,
            metavar="DIR",
            help="default: reports/evaluation-DATASET in the data folder",
        )

    def handle(self, **options: Any) -> None:
        if options["redraws"] < 1:
            raise CommandError("--redraws must be at least 1.", returncode=2)
        if options["seed"] < 0:
            raise CommandError("--seed must be at least 0.", returncode=2)
        try:
            self._evaluate(options)
        except (EngineError, TableError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:  # such as a full disk
            reason = f"{error.strerror or error} ({error.filename or options['out']})"
            raise CommandError(f"The evaluation was not written: {reason}.") from error

    def _evaluate(self, options: dict[str, Any]) -> None:
        table = open_table(table_folder(options["dataset"]))
        device = find_device(options["device"])
        runs = chosen_runs(table, options["runs"], device)
        tables = {
            "classifier_metrics": classifier_metrics(table, runs, device=device),
            "localization": localization(
                table,
                runs,
                redraws=options["redraws"],
                seed=options["seed"],
                device=device,
            ),
        }
        run: Row = {
            "dataset": table.name,
            "dataset_sha256": table.sha256,
            "runs": {run.run.variant: run.run.config.name for run in runs},
            "checkpoints": {run.run.variant: run.checkpoint_sha256 for run in runs},
            "redraws": options["redraws"],
            "seed": options["seed"],
            "versions": {"numpy": np.__version__, "torch": str(torch.__version__)},
        }
        default = Path(settings.READERSTUDY_DATA) / "reports"
        out = options["out"] or default / f"evaluation-{table.name}"
        write_evaluation(out, tables, run)
        for line in _summary(tables):
            self.stdout.write(line)
        self.stdout.write(f"Evaluation of {table.name}: {out / 'evaluation.json'}")


def _summary(tables: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = ["AUC on the test split (clean images, branch std):"]
    for row in tables["classifier_metrics"]:
        area = "undefined" if row["auc"] is None else f"{row['auc']:.3f}"
        lines.append(f"  {row['finding']:<20} {row['variant']:<10} {area}")
    if not tables["localization"]:
        lines.append("No finding of the test split has a mask or box to point to.")
        return lines
    lines.append("Saliency energy inside the finding (95 % bootstrap over cases):")
    for row in tables["localization"]:
        name = f"{row['variant']}[{row['branch']}]"
        head = f"  {row['finding']:<20} {row['map']:<12} {name:<16}"
        if row["ratio"] is None:
            lines.append(f"{head} undefined: every map is zero everywhere")
            continue
        interval = f"{row['energy_inside']:.3f} ({row['lo']:.3f} to {row['hi']:.3f})"
        lines.append(
            f"{head} {interval}, area {row['area_share']:.3f}: {row['ratio']:.1f} times"
        )
    return lines
