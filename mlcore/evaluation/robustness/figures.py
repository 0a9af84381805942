"""Figures of robustness: what noise an attack adds, and what it costs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mlcore.evaluation.arms import Arm, arms_of, distinct
from mlcore.evaluation.part import Row
from mlcore.evaluation.plotting import (
    arm_handle,
    chance_handle,
    chance_line,
    show_image,
)
from mlcore.evaluation.robustness.examples import AttackExample
from mlcore.reporting.figures import (
    FULL_WIDTH,
    Drawing,
    figure_style,
    legend,
    variant_styles,
)
from mlcore.reporting.words import span

# Every pair of attacked and scored branch, in dashes; the last two as on the left.
_PAIR_DASHES = {
    ("std", "adv"): (4.0, 1.4),
    ("adv", "std"): (2.4, 1.2),
    ("std", "std"): (1.0, 1.0),
    ("adv", "adv"): (7.0, 1.4, 1.4, 1.4),
}
_MEASURES = (("auc", "AUC (mean over findings)"), ("loss", "Loss (cross-entropy)"))


@figure_style()
def robustness_curves(rows: Sequence[Row]) -> Drawing | None:
    """Mean AUC and loss against the strength of the attack (Figure 1d, e).

    Left: every network scored through the branch that is attacked. Right, where a
    network has two branches: every pair of attacked and scored branch.

    Args:
        rows: of robustness; those of finding "all" are drawn.
    """
    total = [row for row in rows if row["finding"] == "all"]
    pgd = [row for row in total if row["attack"] == "pgd"]
    if not pgd:
        return None
    dual = _variants_with_two_branches(pgd)
    across = 1 + len(dual)
    width = FULL_WIDTH if dual else 0.6 * FULL_WIDTH
    figure = Figure(figsize=(width, 4.9))
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
    grid = figure.subplots(2, across, sharex=True, sharey="row", squeeze=False)
    for line, (measure, title) in enumerate(_MEASURES):
        _same_branch(grid[line, 0], total, measure)
        for column, variant in enumerate(dual, 1):
            _every_pair(grid[line, column], pgd, variant, measure)
        grid[line, 0].set_ylabel(title)
        if measure == "auc":
            for axis in grid[line]:
                chance_line(axis, 0.5)
    grid[0, 0].set_title("Scored as attacked")
    for column, variant in enumerate(dual, 1):
        grid[0, column].set_title(f"{variant}, attacked branch to scored branch")
        grid[0, column].legend(
            fontsize=7.5, handlelength=3.2, frameon=True, edgecolor="none", framealpha=1
        )
    figure.supxlabel(
        "Strength of the attack, eps (pixel units of [0, 1])", fontsize=8.5
    )
    handles = [*(arm_handle(arm, points=False) for arm in _attacked_arms(pgd))]
    if any(row["attack"] == "margin" for row in total):
        handles.append(_margin_handle())
    legend(figure, [*handles, chance_handle("chance (AUC)")])
    return Drawing("robustness", figure, _caption(pgd, dual), _words(pgd))


def _variants_with_two_branches(rows: Sequence[Row]) -> list[str]:
    return [
        variant
        for variant in distinct(rows, "variant")
        if any(row["variant"] == variant and row["scored"] == "adv" for row in rows)
    ]


def _attacked_arms(rows: Sequence[Row]) -> list[Arm]:
    return arms_of(
        [{"variant": row["variant"], "branch": row["attacked"]} for row in rows]
    )


def _curve(
    rows: Sequence[Row], variant: str, attacked: str, scored: str, measure: str
) -> tuple[list[float], list[float]]:
    points = sorted(
        (row["eps"], row[measure])
        for row in rows
        if (row["variant"], row["attacked"], row["scored"])
        == (variant, attacked, scored)
        and row.get(measure) is not None
    )
    return [eps for eps, _ in points], [value for _, value in points]


def _same_branch(axis: Axes, rows: Sequence[Row], measure: str) -> None:
    for attack in ("pgd", "margin"):
        of_attack = [row for row in rows if row["attack"] == attack]
        for arm in _attacked_arms(of_attack):
            curve = _curve(of_attack, arm.variant, arm.branch, arm.branch, measure)
            if attack == "pgd":
                axis.plot(*curve, **arm.line | {"marker": ""})
            else:
                axis.plot(*curve, **arm.line | {"linestyle": ""}, ms=3, alpha=0.75)


def _every_pair(axis: Axes, rows: Sequence[Row], variant: str, measure: str) -> None:
    colour = variant_styles(distinct(rows, "variant"))[variant].colour
    for (attacked, scored), dashes in _PAIR_DASHES.items():
        axis.plot(
            *_curve(rows, variant, attacked, scored, measure),
            color=colour if attacked == scored else "#6b7580",
            linestyle=(0, dashes),
            label=f"{attacked} to {scored}",
        )


def _margin_handle() -> Line2D:
    return Line2D(
        [], [], color="#56606c", marker="o", ls="", ms=3, label="margin attack (points)"
    )


def _caption(rows: Sequence[Row], dual: Sequence[str]) -> str:
    steps = span([row["steps"] for row in rows])
    text = (
        f"AUC (mean over the findings) and loss on the test split under PGD of {steps} "
        f"steps, alpha = eps / 2 (n = {span([row['n'] for row in rows])} images)."
    )
    if dual:
        text += (
            f" Right: every branch of {' and '.join(dual)} attacked, and every one "
            "scored. A network that holds only where it is scored as attacked, or only "
            "where it is not, is not robust."
        )
    return text


def _words(rows: Sequence[Row]) -> str:
    phrases = []
    strongest = max(row["eps"] for row in rows)
    for row in rows:
        if row["eps"] == strongest and row["auc"] is not None:
            pair = (
                f"{row['variant']} attacked through {row['attacked']}, scored through"
            )
            phrases.append(f"{pair} {row['scored']}: AUC {row['auc']:.2f}")
    return (
        f"AUC and loss against the strength of the attack. At eps {strongest:g}: "
        + "; ".join(phrases)
        + "."
    )


@figure_style()
def attack_rows(examples: Sequence[AttackExample]) -> Drawing | None:
    """Image, magnified noise and their sum for each network (Figure 1a to c)."""
    if not examples:
        return None
    side = 1.75
    figure = Figure(figsize=(3.3 * side, side * len(examples) * 1.12 + 0.35))
    figure.set_layout_engine("compressed", h_pad=0.05, w_pad=0.04)
    grid = figure.subplots(len(examples), 3, squeeze=False)
    arms = arms_of([{"variant": e.variant, "branch": e.branch} for e in examples])
    labels = {(arm.variant, arm.branch): arm for arm in arms}
    for line, example in zip(grid, examples, strict=True):
        noise = np.asarray(example.attacked, float) - np.asarray(example.image, float)
        show_image(line[0], example.image)
        show_image(line[1], 0.5 + noise / (2 * (example.eps or 1.0)))
        show_image(line[2], example.attacked)
        arm = labels[example.variant, example.branch]
        line[0].set_ylabel(arm.label, color=arm.colour, fontweight="bold")
        if example.outcome:
            line[2].set_xlabel(example.outcome, fontsize=8)
    shades = {f"{0.5 / example.eps:,.0f}" for example in examples if example.eps}
    magnified = f"Noise x {shades.pop()}" if len(shades) == 1 else "Noise, magnified"
    eps = ", ".join(dict.fromkeys(f"{example.eps:g}" for example in examples))
    for axis, title in zip(
        grid[0], ("Image", magnified, f"Sum (eps {eps})"), strict=True
    ):
        axis.set_title(title)
    images = ", ".join(dict.fromkeys(example.image_id for example in examples))
    words = (
        f"An image, the noise of a PGD attack of strength eps {eps} on each network "
        "and the sum of both"
    )
    outcomes = "; ".join(
        f"{labels[e.variant, e.branch].label}: {e.outcome}"
        for e in examples
        if e.outcome
    )
    return Drawing(
        "attack",
        figure,
        f"{words} (n = {len({e.image_id for e in examples})} image, {images}). "
        "Grey is no noise; black and white are -eps and eps.",
        f"{words}. {outcomes or 'The sum looks like the image'}.",
    )
