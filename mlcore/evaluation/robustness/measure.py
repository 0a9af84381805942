"""Adversarial robustness: AUC and loss under PGD (Han et al. 2021, Figure 1)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import Images, load_images
from mlcore.engine.config import AttackConfig, EngineError
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import Branch, attacking
from mlcore.engine.model.networks import full_precision
from mlcore.engine.model.objectives import summed_bce
from mlcore.engine.model.predict import Attacker, SummedLoss, auc_per_class, loss_of
from mlcore.engine.runs import LoadedRun
from mlcore.errors import UsageError
from mlcore.evaluation.part import Row

BATCH_SIZE = 256
# The row of a strength that stands for all findings.
ALL = "all"


def summed_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """-(2y - 1) z, summed over the known labels: how far on the wrong side logits lie.

    Its gradient to a logit is 1 or -1 however sure the network is, where that of the
    cross-entropy vanishes (in float32 from a right logit of about 17 on).

    Args:
        logits: (N, C).
        labels: (N, C), 1, 0, or NaN where not known.
    """
    return -(torch.nan_to_num(2 * labels - 1) * logits).sum()


# What an attack raises, by the name that its rows carry.
LOSSES: Mapping[str, SummedLoss] = {"pgd": summed_bce, "margin": summed_margin}


def robustness(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    eps: Sequence[float],
    margin_eps: Sequence[float],
    steps: int,
    images: int | None = None,
    batch_size: int = BATCH_SIZE,
    device: torch.device,
) -> list[Row]:
    """AUC and loss on `test` against the strength of PGD, in eval mode and float32.

    The attack starts at the image, goes `steps` steps of alpha = eps / 2, and is scored
    through every branch of the network, whichever it came through. Images without any
    known label are left out: nothing can be attacked there.

    Args:
        eps: strengths of the attack on the loss; 0, the clean images, is added.
        margin_eps: of the attack on the margin (see `summed_margin`).
        images: the first so many of the split with a known label, or all.
        batch_size: images attacked at a time.

    Returns:
        Per variant, attack ("pgd" on the loss, or "margin"), attacked branch, strength
        and scored branch: a row per finding with its AUC on n known labels, then one of
        finding "all" with the mean of the defined AUCs and the mean loss over all known
        labels of n images. An undefined AUC is None, with a reason. `zero_gradients`
        counts the images that the attack could not change (see `Attacker`).

    Raises:
        EngineError: no test image has a known label.
        UsageError: a setting is out of range.
    """
    if images is not None and images < 1:
        raise UsageError("Robustness wants at least 1 image.")
    sweeps = {"pgd": _sweep(eps, steps), "margin": _sweep(margin_eps, steps)}
    shown = load_images(table, labelled_rows(table)[:images], device)
    rows: list[Row] = []
    for run in runs:
        for name, attacked in product(sweeps, run.branches):
            for config in sweeps[name]:
                attack = Attacker(run.network, config, attacked, loss=LOSSES[name])
                with full_precision(run.network):
                    scores = _scores(attack, shown, run.branches, batch_size)
                for scored, logits in scores.items():
                    head = {
                        "variant": run.variant,
                        "attacked": attacked,
                        "scored": scored,
                        "attack": name,
                        "eps": config.eps,
                        "alpha": config.alpha,
                        "steps": steps,
                        "zero_gradients": int(attack.zero_gradients),
                    }
                    measured = _measures(logits, shown.labels, table.classes)
                    rows += [head | row for row in measured]
    return rows


def labelled_rows(table: ImageTable) -> NDArray[np.int64]:
    """The rows of `test` with at least one known label, ascending.

    Raises:
        EngineError: there is none.
    """
    rows = table.split_indices("test")
    rows = rows[np.isfinite(table.labels[rows]).any(axis=1)]
    if not len(rows):
        raise EngineError(f"{table.name} has no test image with a known label.")
    return rows


def _sweep(eps: Sequence[float], steps: int) -> list[AttackConfig]:
    # At 0 nothing moves: one step is enough to count the gradients that are zero.
    return [
        AttackConfig(
            eps=strength, alpha=strength / 2, steps=steps if strength else min(steps, 1)
        )
        for strength in sorted({0.0, *eps})
    ]


def _scores(
    attack: Attacker, images: Images, scored: Sequence[Branch], batch_size: int
) -> dict[Branch, Tensor]:
    """Logits (n, classes) on the CPU through each branch, of images attacked once."""
    logits: dict[Branch, list[Tensor]] = {branch: [] for branch in scored}
    for pixels, labels in images.batches(batch_size):
        attacked = attack(pixels, labels)
        for branch, batches in logits.items():
            batches.append(_forward(attack.network, attacked, branch))
    return {branch: torch.cat(batches) for branch, batches in logits.items()}


@torch.no_grad()
def _forward(network: GreyNetwork, images: Tensor, branch: Branch) -> Tensor:
    with attacking(network, branch):
        return network(images).cpu()  # type: ignore[no-any-return]


def _measures(
    logits: Tensor, labels: Tensor, classes: tuple[str, ...]
) -> Iterator[Row]:
    labels = labels.cpu()
    areas = auc_per_class(logits, labels, classes)
    known = torch.isfinite(labels).sum(dim=0).tolist()
    undefined = {"reason": "no positive or no negative image"}
    for (finding, area), n in zip(areas.items(), known, strict=True):
        row: Row = {"finding": finding, "n": n, "auc": area}
        yield row if area is not None else row | undefined
    defined = [area for area in areas.values() if area is not None]
    row = {
        "finding": ALL,
        "n": len(labels),
        "auc": sum(defined) / len(defined) if defined else None,
        "loss": loss_of(logits, labels),
    }
    yield row if defined else row | undefined
