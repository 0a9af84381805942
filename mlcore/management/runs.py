"""Which runs a command takes: those named, or each variant's newest."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.runs import LoadedRun, check_runs, choose_runs, load_run, open_run
from mlcore.management.locate import runs_root


def chosen_runs(
    table: ImageTable, folders: Sequence[Path | str] | None, device: torch.device
) -> list[LoadedRun]:
    """Load the finished runs in `folders`, or each variant's newest on `table`.

    Raises:
        EngineError: there is none, or they cannot be compared.
    """
    if folders is None:
        runs = choose_runs(runs_root(table.name))
    else:
        runs = [open_run(Path(folder)) for folder in folders]
    check_runs(runs, table)
    return [load_run(run.folder, device) for run in runs]
