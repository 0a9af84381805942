"""Training and development images of a table, and whether they suffice."""

import shlex

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import nested_subset
from mlcore.engine.config import EngineError
from mlcore.engine.run_config import RunConfig
from mlcore.engine.training.distributed import World
from mlcore.engine.training.progress import OnEvent
from mlcore.errors import UsageError


def training_rows(
    table: ImageTable, config: RunConfig, world: World, on_event: OnEvent
) -> dict[str, NDArray[np.int64]]:
    """The rows to train on and to select by; warns of findings that cannot be scored.

    Raises:
        EngineError: another table, too few images, or a finding without a positive.
    """
    if table.sha256 != config.dataset_sha256:
        raise EngineError(
            f"{table.folder} is not the table that the run was set up on."
        )
    rows = {split: table.split_indices(split) for split in ("train", "dev")}
    whole = len(rows["train"])
    rows["train"] = nested_subset(
        table.patient_ids, rows["train"], config.fraction, config.seed
    )
    for split, least in (("train", 2), ("dev", 1)):
        count = len(rows[split])
        if count < least:
            images = "image" if count == 1 else "images"
            raised = split == "train" and whole >= least
            raise EngineError(
                f"{table.name} has {count} {images} in {split}"
                + (f" at --fraction {config.fraction:g}" if raised else "")
                + f"; training needs at least {least}."
                + (" Raise --fraction." if raised else "")
            )
    _check_batches(len(rows["train"]), config.train.batch_size, world)
    _check_findings(table, rows, config.fraction, on_event)
    return rows


def _check_batches(images: int, batch_size: int, world: World) -> None:
    smallest = images // -(-images // batch_size)
    if world.size > 1 and smallest // world.size < 2:
        raise UsageError(
            f"{world.size} processes share batches of {smallest} images, and batch "
            "norm needs 2 in each. Start fewer, or raise --set batch_size."
        )


def _check_findings(
    table: ImageTable,
    rows: dict[str, NDArray[np.int64]],
    fraction: float,
    on_event: OnEvent,
) -> None:
    absent = []
    for column, finding in enumerate(table.classes):
        labels = {split: table.labels[rows[split], column] for split in rows}
        if not (labels["train"] == 1).any():
            absent.append(finding)
        for split, known in labels.items():
            for label, words in ((1, "shows"), (0, "is known to be without")):
                if not (known == label).any() and finding not in absent:
                    message = f"no image in {split} {words} {finding}."
                    on_event({"event": "warning", "message": message})
    if absent:
        others = shlex.join(name for name in table.classes if name not in absent)
        change = (
            "Raise --fraction."
            if fraction < 1
            else f"Import the data set with --classes {others}."
        )
        raise EngineError(
            f"No image in train shows {' or '.join(absent)}: that cannot be learnt. "
            + change
        )
