"""Which runs a command takes, those named or each variant's newest, and whose maps."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.config import EngineError
from mlcore.engine.model import saliency
from mlcore.engine.runs import LoadedRun, check_runs, choose_runs, load_run, open_run
from mlcore.errors import UsageError
from mlcore.management.locate import runs_root


def add_method_argument(parser: ArgumentParser) -> None:
    """Add `--method`, how maps are made."""
    known = ", ".join(method.name for method in saliency.METHODS)
    default = saliency.GRADIENT.name
    parser.add_argument("--method", default=default, help=f"of {known} ({default})")


@contextmanager
def gpu_memory() -> Iterator[None]:
    """An EngineError with a way out where the GPU's memory does not suffice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            "The GPU's memory does not suffice. Without it: --device cpu, slower."
        ) from error


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
        UsageError: no such folder, or they cannot be compared.
        EngineError: there is none, or it is not of this table.
    """
    for folder in folders or ():
        if not Path(folder).is_dir():
            raise UsageError(f"--runs {folder}: there is no such folder.")
    if folders is None:
        runs = choose_runs(runs_root(table.name), warn)
    else:
        runs = [open_run(Path(folder)) for folder in folders]
    check_runs(runs, table)
    return [load_run(run.folder, device, method) for run in runs]
