"""Which runs a command takes, those named or each variant's newest, and whose maps."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.model import saliency
from mlcore.engine.runs import LoadedRun, check_runs, choose_runs, load_run, open_run
from mlcore.management.locate import runs_root


def add_method_argument(parser: ArgumentParser) -> None:
    """Add `--method`, how maps are made."""
    known = ", ".join(method.name for method in saliency.METHODS)
    default = saliency.GRADIENT.name
    parser.add_argument("--method", default=default, help=f"of {known} ({default})")


def chosen_runs(
    table: ImageTable,
    folders: Sequence[Path | str] | None,
    device: torch.device,
    method: saliency.Method,
    warn: Callable[[str], object],
) -> list[LoadedRun]:
    """Load the finished runs in `folders`, or each variant's newest on `table`.

    Args:
        method: how their maps are to be made.
        warn: is told of each run that had to be passed over; one in `folders` never is.

    Raises:
        EngineError: there is none, or they cannot be compared.
    """
    if folders is None:
        runs = choose_runs(runs_root(table.name), warn)
    else:
        runs = [open_run(Path(folder)) for folder in folders]
    check_runs(runs, table)
    return [load_run(run.folder, device, method) for run in runs]
