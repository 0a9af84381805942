"""Finished runs in, an evaluation out: who is told ill, and where the maps point."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.datasets.table import TableError, open_table
from mlcore.engine.config import EngineError
from mlcore.engine.model.networks import find_device
from mlcore.engine.model.saliency import find_method
from mlcore.evaluation.answer import answer
from mlcore.evaluation.evaluate import (
    PARTS,
    EvaluationSettings,
    Subject,
    evaluate,
)
from mlcore.evaluation.figures import draw
from mlcore.evaluation.localization.pointing import MARKER_OF
from mlcore.evaluation.report import write_report
from mlcore.management.locate import table_folder
from mlcore.management.runs import add_method_argument, chosen_runs

_HELP = {
    "redraws": "of the bootstrap",
    "seed": "of everything random",
    "eps_max": "the strongest attack, of [0, 1]",
    "attack_steps": "of the attack",
    "attack_images": "test images to attack",
    "map_images": "test images of the parameter randomisation",
    "surface_images": "test images with a loss surface",
    "surface_points": "of a loss surface, a side",
    "slope_images": "test images of the Lipschitz estimate",
    "cka_images": "test images of the biased CKA",
}


class Command(BaseCommand):
    help = "Evaluate the variants on the test split and write a report."

    def add_arguments(self, parser: CommandParser) -> None:
        some: dict[str, Any] = {"nargs": "+", "action": "extend"}
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
            help=f"of {', '.join(PARTS)} (all of them)",
        )
        for name, value in asdict(EvaluationSettings()).items():
            add(
                f"--{name.replace('_', '-')}",
                type=float if isinstance(value, float) else int,
                default=value,
                metavar="N",
                help=f"{_HELP[name]} ({'all' if value is None else value})",
            )
        add("--device", help="cpu, cuda or cuda:N (a GPU if there is one)")
        add(
            "--out",
            type=Path,
            metavar="DIR",
            help="default: reports/evaluation-DATASET in the data folder",
        )

    def handle(self, **options: Any) -> None:
        try:
            self._evaluate(options)
        except (EngineError, TableError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:  # such as a full disk
            reason = f"{error.strerror or error} ({error.filename or options['out']})"
            raise CommandError(f"The evaluation was not written: {reason}.") from error
        except torch.OutOfMemoryError as error:
            raise CommandError(
                "The GPU's memory does not suffice. Without it: --device cpu, slower."
            ) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; no evaluation was written.") from None

    def _evaluate(self, options: dict[str, Any]) -> None:
        how = EvaluationSettings(**{name: options[name] for name in _HELP})
        table = open_table(table_folder(options["dataset"]))
        other = options["external"]
        external = None if other is None else open_table(table_folder(other))
        device = find_device(options["device"])
        method = find_method(options["method"])
        runs = chosen_runs(table, options["runs"], device, method)
        made = evaluate(
            Subject(table, external, runs, device, how),
            options["only"] or tuple(PARTS),
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
            "redraws": how.redraws,
            "seed": how.seed,
            "settings": asdict(how),
            "versions": {"numpy": np.__version__, "torch": str(torch.__version__)},
            "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        default = Path(settings.READERSTUDY_DATA) / "reports"
        out = options["out"] or default / f"evaluation-{table.name}"
        page = write_report(out, made.tables, run, draw(made.tables, made.exhibits))
        for sentence in answer(made.tables):
            self.stdout.write(sentence)
        for line in _summary(made.tables):
            self.stdout.write(line)
        self.stdout.write(f"Evaluation of {table.name}: {page}")


def _summary(tables: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = []
    if "classifier_metrics" in tables:
        lines.append("AUC on clean test images (95 % bootstrap over patients):")
    for row in tables.get("classifier_metrics", ()):
        if row["split"] == "test":
            name = f"{row['dataset']}, {row['finding']}"
            value = _interval(row, "auc", "auc_lo", "auc_hi")
            lines.append(f"  {name:<30} {row['variant']:<10} {value}")
    if "localization" in tables:
        lines.append("Share of the map inside the finding (the map readers see):")
    for row in tables.get("localization", ()):
        # Of a marker only the finding's own map is judged.
        told = row["map"] == "all findings" or row["finding"].startswith(MARKER_OF)
        if row["measure"] == "energy_inside" and told:
            name = f"{row['variant']}[{row['branch']}]"
            times = "" if row["ratio"] is None else f", {row['ratio']:.1f} times chance"
            value = _interval(row, "value", "lo", "hi")
            lines.append(f"  {row['finding']:<30} {name:<16} {value}{times}")
    lines += [row["text"] for row in tables.get("robustness_verdicts", ())]
    return lines


def _interval(row: dict[str, Any], value: str, low: str, high: str) -> str:
    if row[value] is None:
        return f"undefined: {row.get('reason')}"
    if row[low] is None:
        return f"{row[value]:.3f}"
    return f"{row[value]:.3f} ({row[low]:.3f} to {row[high]:.3f})"
