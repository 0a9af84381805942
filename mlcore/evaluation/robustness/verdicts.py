"""Robustness or masked gradients: what a sweep of attacks says of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlcore.evaluation.part import Row
from mlcore.evaluation.robustness.measure import ALL

# Below this there is too little above chance to be lost.
_LEAST_AUC = 0.6
# Two attacks whose AUCs differ by less count as one.
_LEAST_GAP = 0.05

# Mean AUC by eps, by the attack and the branch that it came through.
_Curves = dict[tuple[str, str], dict[float, float]]


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


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One for each variant and scored branch of the rows of `robustness`."""
    curves_of: dict[tuple[str, str], _Curves] = {}
    for row in rows:
        if row["finding"] == ALL:
            curves = curves_of.setdefault((row["variant"], row["scored"]), {})
            curve = curves.setdefault((row["attack"], row["attacked"]), {})
            if row["auc"] is not None:
                curve[row["eps"]] = row["auc"]
    return [_verdict(*scores, curves) for scores, curves in curves_of.items()]


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
