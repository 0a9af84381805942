"""Figures of discrimination: curves, AUC with intervals, data size, labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from mlcore.evaluation.arms import Arm, arms_of, distinct, of_arm
from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.curves import OutcomeCurve
from mlcore.evaluation.part import Row
from mlcore.evaluation.plotting import (
    Estimate,
    arm_handle,
    chance_handle,
    chance_line,
    forest,
    panels,
)
from mlcore.reporting.figures import FULL_WIDTH, Drawing, figure_style, legend
from mlcore.reporting.words import listed, span, told

# Of label shares: no variant is meant, so none of their colours.
_SPLIT_GREYS = ("#2f3a45", "#65717d", "#8d97a1", "#5a3d14", "#8a6a35", "#ab8a52")


def roc_curves(curves: Sequence[OutcomeCurve]) -> Drawing | None:
    """Sensitivity against the rate of false positives, a panel per finding."""
    return _curves(
        curves,
        name="roc",
        x="False positive rate (1 - specificity)",
        y="Sensitivity",
        words="ROC curves on the test split. The dashed diagonal is chance; the large "
        "point is the operating point of the cutoff chosen on the development split.",
        steps="default",
    )


def precision_recall_curves(curves: Sequence[OutcomeCurve]) -> Drawing | None:
    """Precision against recall, a panel per finding."""
    return _curves(
        curves,
        name="precision_recall",
        x="Recall (sensitivity)",
        y="Precision",
        words="Precision-recall curves on the test split. The dashed line is chance, "
        "the share of positive cases.",
        steps="steps-pre",
    )


@figure_style()
def _curves(
    curves: Sequence[OutcomeCurve], *, name: str, x: str, y: str, words: str, steps: str
) -> Drawing | None:
    if not curves:
        return None
    findings = list(dict.fromkeys(curve.finding for curve in curves))
    arms = arms_of([{"variant": curve.variant} for curve in curves])
    figure, axes = panels(len(findings), columns=3, height=2.35)
    for axis, finding in zip(axes, findings, strict=True):
        of_finding = [curve for curve in curves if curve.finding == finding]
        if name == "roc":
            axis.plot([0, 1], [0, 1], color="#7b8591", ls=(0, (2, 2)), lw=1)
        else:
            chance_line(axis, of_finding[0].n_pos / of_finding[0].n)
        _outcome_panel(axis, of_finding, arms, steps, low=name == "roc")
        axis.set_title(finding)
    figure.supxlabel(x, fontsize=8.5)
    figure.supylabel(y, fontsize=8.5)
    legend(figure, [*(arm_handle(arm, points=False) for arm in arms), chance_handle()])
    counts = ", ".join(
        f"{finding} {n_pos:,} of {n:,}"
        for finding, n_pos, n in dict.fromkeys(
            (curve.finding, curve.n_pos, curve.n) for curve in curves
        )
    )
    best = told([f"{c.finding}, {c.variant}: {c.label}" for c in curves])
    return Drawing(
        name, figure, f"{words} Positive cases: {counts}.", f"{words} {best}"
    )


def _outcome_panel(
    axis: Axes,
    curves: Sequence[OutcomeCurve],
    arms: Sequence[Arm],
    steps: str,
    low: bool,
) -> None:
    by_variant = {arm.variant: arm for arm in arms}
    for place, curve in enumerate(reversed(curves)):
        arm = by_variant[curve.variant]
        x, y = _thinned(curve.x, curve.y)
        axis.plot(x, y, **arm.line | {"marker": ""}, drawstyle=steps)
        if curve.point is not None:
            axis.plot(*curve.point, **arm.line | {"linestyle": ""}, markersize=5.5)
        # Where such curves rarely are: below a ROC curve, above one of precision.
        axis.text(
            0.97,
            0.04 + 0.085 * place + (0 if low else 1 - 0.085 * len(curves)),
            curve.label,
            color=arm.colour,
            ha="right",
            fontsize=7.5,
            transform=axis.transAxes,
        )
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set_xticks([0, 0.5, 1])
    axis.set_yticks([0, 0.5, 1])


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The curve without points closer than a thousandth: too close to be seen."""
    grid = np.round(np.stack([x, y]) * 1000).astype(np.int64)
    moved = np.ones(len(x), dtype=bool)
    moved[1:] = (np.diff(grid, axis=1) != 0).any(axis=0)
    moved[-1:] = True
    return x[moved], y[moved]


@figure_style()
def auc_forest(rows: Sequence[Row]) -> Drawing | None:
    """AUC and interval per finding and variant, the external test set beside ours.

    Args:
        rows: of classifier_metrics; those of the split "test" are drawn.
    """
    tested = [row for row in rows if row["split"] == "test"]
    if not tested:
        return None
    arms = arms_of([{"variant": row["variant"]} for row in tested])
    findings = distinct(tested, "finding")
    sides = sorted(distinct(tested, "external"))
    height = 0.17 * len(findings) * (len(arms) + 1) + 1.15
    figure = Figure(figsize=(FULL_WIDTH, height), layout="constrained")
    axes = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
    for axis, external in zip(axes, sides, strict=True):
        shown = [row for row in tested if row["external"] == external]
        by_name = {(row["finding"], row["variant"]): row for row in shown}

        def estimate(
            finding: str, arm: Arm, by_name: dict[tuple[str, str], Row] = by_name
        ) -> Estimate | None:
            row = by_name.get((finding, arm.variant))
            if row is None:
                return None
            return Estimate(row["auc"], row.get("auc_lo"), row.get("auc_hi"))

        forest(axis, findings, arms, estimate, numbers=True)
        chance_line(axis, 0.5, across=False)
        kind = "external test set" if external else "test split"
        axis.set_title(f"{shown[0]['dataset']}, {kind}")
        axis.set_xlabel("AUC (95 % interval)")
    low = min(
        (row["auc_lo"] for row in tested if row.get("auc_lo") is not None), default=0.5
    )
    axes[0].set_xlim(max(0, min(0.45, low - 0.02)), 1.005)
    for axis in axes[1:]:
        axis.sharex(axes[0])
    legend(figure, [*(arm_handle(arm, line=False) for arm in arms), chance_handle()])
    cases = span([row["n"] for row in tested])
    return Drawing(
        "auc",
        figure,
        "Area under the ROC curve per finding and variant, with the 95 % interval of "
        f"a bootstrap of the cases (n = {cases} known cases per finding).",
        "Forest plot of the area under the ROC curve. "
        + told([_auc_words(row) for row in tested]),
    )


def _auc_words(row: Row) -> str:
    where = f"{row['dataset']}, {row['finding']}, {row['variant']}"
    if row["auc"] is None:
        return f"{where}: undefined"
    return f"{where}: {row['auc']:.2f}"


@figure_style()
def data_size(rows: Sequence[Row]) -> Drawing | None:
    """AUC against the share of the training images (Han et al. 2021, Figure 3)."""
    known = [row for row in rows if row["auc"] is not None]
    if not known:
        return None
    findings, arms = distinct(known, "finding"), arms_of(known)
    figure, axes = panels(len(findings), columns=3, height=2.0)
    ticks = sorted({(row["fraction"], row["images"]) for row in known})
    for axis, finding in zip(axes, findings, strict=True):
        for place, arm in enumerate(arms):
            of_panel = sorted(
                (row for row in of_arm(known, arm) if row["finding"] == finding),
                key=lambda row: row["fraction"],
            )
            aside = 1.05 ** (place - (len(arms) - 1) / 2)  # so that bars do not overlap
            axis.errorbar(
                [row["fraction"] * aside for row in of_panel],
                [row["auc"] for row in of_panel],
                yerr=[row["sd"] or 0.0 for row in of_panel],
                capsize=2,
                elinewidth=1,
                **arm.line,
            )
        chance_line(axis, 0.5)
        axis.set_xscale("log")
        axis.set_title(finding)
        axis.set_xticks(
            [fraction for fraction, _ in ticks],
            labels=[f"{fraction:.3g}\n{images:,}" for fraction, images in ticks],
        )
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_xlim(ticks[0][0] / 1.5, ticks[-1][0] * 1.5)
    figure.supxlabel("Share of the training images, and their number", fontsize=8.5)
    figure.supylabel("AUC (mean and SD)", fontsize=8.5)
    legend(figure, [*(arm_handle(arm) for arm in arms), chance_handle()])
    words = "AUC on the test split of networks trained on a part of the training images"
    cases = span([row["n"] for row in known])
    return Drawing(
        "data_size",
        figure,
        f"{words}: mean and standard deviation over bootstrap redraws of the cases "
        f"(n = {cases} known cases per finding).",
        f"{words}: {listed([arm.label for arm in arms])}, one panel for each of "
        f"{listed(findings)}.",
    )


@figure_style()
def label_distribution(rows: Sequence[Row]) -> Drawing | None:
    """The share of positive cases per finding, data sets and splits side by side."""
    known = [row for row in rows if row["share"] is not None]
    if not known:
        return None
    findings = distinct(known, "finding")
    groups = list(dict.fromkeys((row["dataset"], row["split"]) for row in known))
    colours = {
        group: _SPLIT_GREYS[number % len(_SPLIT_GREYS)]
        for number, group in enumerate(groups)
    }
    pitch = len(groups) + 1.0
    figure = Figure(
        figsize=(FULL_WIDTH, 0.16 * len(findings) * pitch + 1.0), layout="constrained"
    )
    axis = figure.subplots()
    for row in known:
        group = (row["dataset"], row["split"])
        y = findings.index(row["finding"]) * pitch + groups.index(group)
        axis.barh(y, 100 * row["share"], height=0.86, color=colours[group])
        axis.annotate(
            f"{row['positive']:,} of {row['positive'] + row['negative']:,}",
            (100 * row["share"], y),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    middle = (len(groups) - 1) / 2
    axis.set_yticks(
        [number * pitch + middle for number in range(len(findings))], labels=findings
    )
    axis.set_ylim(len(findings) * pitch - 1, -1)
    axis.set_xlim(0, 1.2 * max(100 * row["share"] for row in known) or 1)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("Positive cases (% of the known)")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    legend(
        figure,
        [
            Line2D([], [], color=colours[group], lw=7, label=", ".join(group))
            for group in groups
        ],
    )
    words = "Share of positive cases among those whose label is known, per finding"
    shares = [
        f"{row['dataset']} {row['split']}, {row['finding']}: {100 * row['share']:.1f} %"
        for row in known
    ]
    return Drawing(
        "label_distribution",
        figure,
        f"{words}, split and data set; the numbers are positive of known images.",
        f"{words}. {told(shares)}",
    )
