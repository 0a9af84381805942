"""Does the network tell who is ill? Areas under the ROC curve on the test split."""

from collections.abc import Sequence

import numpy as np
import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import load_images
from mlcore.engine.config import EngineError
from mlcore.engine.predict import auc, predict
from mlcore.engine.runs import LoadedRun


def classifier_metrics(
    table: ImageTable, runs: Sequence[LoadedRun], *, device: torch.device
) -> list[dict[str, object]]:
    """Clean AUC per finding and variant on `test`, through the clean branch `std`.

    Returns:
        Rows with split, finding, variant, branch, n, n_pos and auc; auc is None, with a
        reason, where there is no positive or no negative.

    Raises:
        EngineError: the table has no test image.
    """
    indices = table.split_indices("test")
    if not len(indices):
        raise EngineError(f"{table.name} has no image in the test split to evaluate.")
    images = load_images(table, indices, device)
    labels = table.labels[indices]
    rows: list[dict[str, object]] = []
    for run in runs:
        scores = predict(run.network, images, branch="std").numpy()
        for column, finding in enumerate(table.classes):
            area = auc(scores[:, column], labels[:, column])
            row: dict[str, object] = {
                "split": "test",
                "finding": finding,
                "variant": run.run.variant,
                "branch": "std",
                "n": int(np.isfinite(labels[:, column]).sum()),
                "n_pos": int((labels[:, column] == 1).sum()),
                "auc": area,
            }
            if area is None:
                row["reason"] = "no positive or no negative image"
            rows.append(row)
    return rows
