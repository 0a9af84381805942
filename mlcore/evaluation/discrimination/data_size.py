"""Data size against AUC: runs on fractions of the training images, side by side.

The paper's Figure 3: the same settings trained on 1 %, 10 % and all of the training
images, with mean and standard deviation over bootstrap redraws of the test cases.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.runs import FinishedRun, LoadedRun, finished_runs, load_run
from mlcore.evaluation.discrimination.metrics import discriminate
from mlcore.evaluation.discrimination.resampling import bootstrap, percentile_interval
from mlcore.evaluation.discrimination.scoring import score
from mlcore.evaluation.part import Row


def runs_on_fractions(
    runs: Sequence[FinishedRun], warn: Callable[[str], object]
) -> list[FinishedRun]:
    """The runs and their siblings on other fractions, by variant, smallest first.

    A sibling lies beside a run and differs from it in nothing but the fraction.

    Args:
        warn: is told of each run beside them that cannot be read.
    """
    family: list[FinishedRun] = []
    for run in runs:
        alike = {sibling.config.fraction: sibling for sibling in _siblings(run, warn)}
        alike[run.config.fraction] = run
        family += [alike[fraction] for fraction in sorted(alike)]
    return family


def _siblings(run: FinishedRun, warn: Callable[[str], object]) -> Iterator[FinishedRun]:
    for sibling in finished_runs(run.folder.parent, f"{run.variant}-*", warn):
        same = dataclasses.replace(sibling.config, fraction=run.config.fraction)
        if same == run.config:
            yield sibling


def data_size(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    redraws: int,
    seed: int,
    device: torch.device,
    warn: Callable[[str], object],
) -> list[Row]:
    """Area under the ROC curve on `test` per finding, variant and training fraction.

    Returns:
        Rows with fraction, images (trained on), n, n_pos, the area and, over the
        redraws of the test cases, its mean, sd and 95 % limits lo and hi; None with a
        `reason` where a class is missing. Empty unless a variant was trained on
        several fractions: there is nothing to compare.
    """
    family = runs_on_fractions(runs, warn)
    if len(family) == len(runs):
        return []
    rows: list[Row] = []
    # One network after the other: dozens of them need not fit on the device at once.
    for run in family:
        cases = score(
            table, [load_run(run.folder, device, runs[0].method)], "test", device=device
        )
        drawn = bootstrap(
            cases.scores,
            cases.labels,
            np.full((1, len(cases.findings)), np.nan),
            redraws=redraws,
            rng=np.random.default_rng(seed),
            patients=cases.patients,
        )
        for column, finding in enumerate(cases.findings):
            discrimination = discriminate(
                cases.scores[:, 0, column], cases.labels[:, column]
            )
            draws = drawn.auc[:, 0, column]
            spread = percentile_interval(draws)
            defined = discrimination.auc is not None
            rows.append(
                {
                    "finding": finding,
                    "variant": run.variant,
                    "fraction": run.config.fraction,
                    "run": run.config.name,
                    "images": run.result["images"]["train"],
                    "n": discrimination.n,
                    "n_pos": discrimination.n_pos,
                    "auc": discrimination.auc,
                    "mean": float(np.nanmean(draws)) if defined else None,
                    "sd": spread.sd if defined else None,
                    "lo": spread.low if defined else None,
                    "hi": spread.high if defined else None,
                    "reason": discrimination.reason,
                }
            )
    return rows
