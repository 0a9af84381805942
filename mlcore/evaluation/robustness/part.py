"""How a network's diagnoses hold up under attack (Han et al. 2021, Figure 1)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    margin_eps: Sequence[float] | None = None,
    steps: int,
    images: int | None = None,
    batch_size: int = BATCH_SIZE,
    device: torch.device,
) -> list[dict[str, object]]:
    """AUC and loss on `test` against the strength of PGD, in eval mode and float32.

    The attack starts at the image, goes `steps` steps of alpha = eps / 2, and is scored
    through every branch of the network, whichever it came through. Images without any
    known label are left out: nothing can be attacked there.

    Args:
        eps: strengths of the attack on the loss; 0, the clean images, is added.
        margin_eps: of the attack on the margin (see `summed_margin`); default `eps`.
        images: the first so many of the split with a known label, or all.
        batch_size: images attacked at a time.

    Returns:
        Per variant, attack ("pgd" on the loss, or "margin"), attacked branch, strength
        and scored branch: a row per finding with its AUC on n known labels, then one of
        finding "all" with the mean of the defined AUCs and the mean loss over all known
        labels of n images. An undefined AUC is None, with a reason. `zero_gradients`
        counts the images that the attack could not change (see `Attacker`).

    Raises:
        EngineError: no test image has a known label, or a setting is out of range.
    """
    if images is not None and images < 1:
        raise EngineError("Robustness wants at least 1 image.")
    sweeps = {
        "pgd": _sweep(eps, steps),
        "margin": _sweep(eps if margin_eps is None else margin_eps, steps),
    }
    shown = load_images(table, labelled_rows(table)[:images], device)
    rows: list[dict[str, object]] = []
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
                    rows += [head | each for each in measured]
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


@dataclass(frozen=True)
class Verdict:
    """What the sweep says of one branch's scores.

    A network holds against an attack up to the strength at which half of what its mean
    AUC has above 0.5 on clean images is left, there and at every weaker one.

    Attributes:
        variant, scored: whose scores.
        clean_auc: mean AUC on clean images; None if it is undefined.
        holds_own: up to which eps they hold against the attack on the loss through the
            scored branch itself, the one that the training saw.
        holds_all: and against every attack that was tried at that eps; None, both, if
            `clean_auc` is below 0.6 or undefined.
        masked: they hold against their own attack only: at some eps another one, which
            knows less or has no loss to saturate, costs them more than that half. The
            gradients are then masked, and the robustness is none (Athalye et al. 2018).
        text: the same in words.
    """

    variant: str
    scored: str
    clean_auc: float | None
    holds_own: float | None
    holds_all: float | None
    masked: bool
    text: str


# Below this there is too little above chance to be lost.
_LEAST_AUC = 0.6
# Two attacks whose AUCs differ by less count as one.
_LEAST_GAP = 0.05


# Mean AUC by eps, by the attack and the branch that it came through.
_Curves = dict[tuple[str, str], dict[float, float]]


def verdicts(rows: Sequence[Mapping[str, object]]) -> list[Verdict]:
    """One for each variant and scored branch of the rows of `robustness`."""
    found: dict[tuple[str, str], _Curves] = {}
    for row in rows:
        if row["finding"] == ALL:
            curves = found.setdefault((str(row["variant"]), str(row["scored"])), {})
            attack = str(row["attack"]), str(row["attacked"])
            curve = curves.setdefault(attack, {})
            if row["auc"] is not None:
                curve[_number(row["eps"])] = _number(row["auc"])
    return [_verdict(*scores, curves) for scores, curves in found.items()]


def _verdict(variant: str, scored: str, curves: _Curves) -> Verdict:
    name = f"{variant}[{scored}]"
    own = curves.pop(("pgd", scored))
    clean = own.get(0.0)
    if clean is None or clean < _LEAST_AUC:
        known = "undefined" if clean is None else f"{clean:.3f}"
        text = f"{name} has too little to lose: its mean AUC on clean images is {known}"
        return Verdict(variant, scored, clean, None, None, False, f"{text}.")
    line = 0.5 + (clean - 0.5) / 2
    weakest = dict(own)
    breaking: list[tuple[float, float, str, str]] = []
    for (attack, attacked), curve in curves.items():
        for eps, area in curve.items():
            weakest[eps] = min(weakest.get(eps, area), area)
            gap = own.get(eps, area) - area
            if gap >= _LEAST_GAP and own[eps] >= line > area:
                breaking.append((gap, eps, attack, attacked))
    held = _holds(own, line), _holds(weakest, line)
    if breaking:
        text = f"{name} {_masked_text(own, scored, max(breaking))}"
    else:
        text = f"{name} {_plain_text(own, scored, *held)}"
    return Verdict(variant, scored, clean, *held, bool(breaking), text)


def _masked_text(
    own: Mapping[float, float], scored: str, worst: tuple[float, float, str, str]
) -> str:
    gap, eps, attack, attacked = worst
    if attacked != scored:
        only = "when attacked through the branch that it is scored on"
    else:
        only = "while the attack raises the loss and not the margin"
    return (
        f"is robust only {only}: at eps {eps:g} its mean AUC is {own[eps]:.3f} under "
        f"{_named('pgd', scored)}, but {own[eps] - gap:.3f} under "
        f"{_named(attack, attacked)} ({own[0.0]:.3f} on clean images). Its gradients "
        "are masked."
    )


def _plain_text(
    own: Mapping[float, float], scored: str, holds_own: float, holds_all: float
) -> str:
    if not holds_own:
        return (
            f"is not robust: {_named('pgd', scored)} takes more than half of what its "
            f"mean AUC of {own[0.0]:.3f} has above chance at the weakest eps."
        )
    return (
        f"keeps half of what its mean AUC of {own[0.0]:.3f} has above chance up to eps "
        f"{holds_own:g} under {_named('pgd', scored)}, and up to eps {holds_all:g} "
        "under every attack."
    )


def _holds(curve: Mapping[float, float], line: float) -> float:
    held = 0.0
    for eps in sorted(curve):
        if curve[eps] < line:
            break
        held = eps
    return held


def _named(attack: str, attacked: str) -> str:
    raised = {"pgd": "loss", "margin": "margin"}[attack]
    return f"the attack on the {raised} through {attacked}"


def _number(value: object) -> float:
    assert isinstance(value, int | float)  # noqa: S101
    return float(value)


def _sweep(eps: Sequence[float], steps: int) -> list[AttackConfig]:
    # At 0 nothing moves: one step is enough to count the gradients that are zero.
    return [
        AttackConfig(eps=each, alpha=each / 2, steps=steps if each else min(steps, 1))
        for each in sorted({0.0, *eps})
    ]


def _scores(
    attack: Attacker, images: Images, scored: Sequence[Branch], batch_size: int
) -> dict[Branch, Tensor]:
    """Logits (n, classes) on the CPU through each branch, of images attacked once."""
    logits: dict[Branch, list[Tensor]] = {branch: [] for branch in scored}
    for pixels, labels in images.batches(batch_size):
        attacked = attack(pixels, labels)
        for branch, found in logits.items():
            found.append(_forward(attack.network, attacked, branch))
    return {branch: torch.cat(found) for branch, found in logits.items()}


@torch.no_grad()
def _forward(network: GreyNetwork, images: Tensor, branch: Branch) -> Tensor:
    with attacking(network, branch):
        return network(images).cpu()  # type: ignore[no-any-return]


def _measures(
    logits: Tensor, labels: Tensor, classes: tuple[str, ...]
) -> Iterator[dict[str, object]]:
    labels = labels.cpu()
    areas = auc_per_class(logits, labels, classes)
    known = torch.isfinite(labels).sum(dim=0).tolist()
    undefined = {"reason": "no positive or no negative image"}
    for (finding, area), n in zip(areas.items(), known, strict=True):
        row: dict[str, object] = {"finding": finding, "n": n, "auc": area}
        yield row if area is not None else row | undefined
    defined = [area for area in areas.values() if area is not None]
    row = {
        "finding": ALL,
        "n": len(labels),
        "auc": sum(defined) / len(defined) if defined else None,
        "loss": loss_of(logits, labels),
    }
    yield row if defined else row | undefined
