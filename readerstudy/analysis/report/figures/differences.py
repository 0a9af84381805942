"""Histograms of the differences between variants, image by image, and a forest plot."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mlcore.reporting.figures import (
    DIM,
    INK,
    SOFT,
    Drawing,
    VariantStyle,
    figure_style,
    legend,
)
from mlcore.reporting.words import told
from readerstudy.analysis.ratings import Ratings
from readerstudy.analysis.report.answer import where
from readerstudy.analysis.report.figures.plotting import (
    datasets_of,
    figure_of,
    label_columns,
    named,
    points,
    styles_of,
)
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.table import Analysis, Row
from readerstudy.analysis.units import Unit, under_policy, units

# Steps a rating point is divided into at most, so that bars stay wide enough to see.
MOST_STEPS = 8
# Panels beside each other, so that they stay wide enough to see.
MOST_ABREAST = 3
TIE = "#8d96a0"
# What a difference speaks for, and how it is drawn: label, colour, filled.
INFERENCES = {
    "FRRC": ("these readers, images in general", SOFT, "white"),
    "RRRC": ("readers and images in general", INK, INK),
}


@figure_style()
def difference_bars(analysis: Analysis, ratings: Ratings) -> Drawing | None:
    """Histograms of the differences that Wilcoxon's test ranks, a panel per pair.

    An image counts once: A minus B of the means over all readers. A bar holds one
    value, or with many readers a few neighbouring ones; that at zero holds ties alone.
    """
    tested = under_policy(ratings, analysis["run"]["options"]["missing"])
    pooled = [
        unit
        for unit in units(tested, pooling=analysis["run"]["options"]["pooling"])
        if unit.primary and len(unit.blocks)
    ]
    if not pooled:
        return None
    styles = styles_of(analysis)
    pairs = list(combinations(range(len(styles)), 2))
    lines = [
        (unit, pairs[start : start + MOST_ABREAST])
        for unit in pooled
        for start in range(0, len(pairs), MOST_ABREAST)
    ]
    figure = figure_of(1.45 * len(lines) + 0.85)
    grid = figure.subplots(
        len(lines),
        min(len(pairs), MOST_ABREAST),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    reach = 0.0
    for number, (line, (unit, shown)) in enumerate(zip(grid, lines, strict=True)):
        titled = number == 0 or len(pairs) > MOST_ABREAST
        reach = max(reach, _panels(line, unit, shown, styles, titled=titled))
    label_columns(grid)
    edge = max(reach, 1.0) + 0.6
    grid[0][0].set_xlim(-edge, edge)
    figure.supxlabel("Difference in rating points, mean over the readers", fontsize=8.5)
    legend(figure, _difference_handles(styles))
    words = "Differences between variants, image by image, over all readers"
    return Drawing(
        "differences",
        figure,
        f"{words} ({_counts(pooled)}). The grey bar at zero holds the ties, which the "
        "test drops; the numbers count images: B rated higher, tied, A rated higher.",
        f"{words}. {told(_difference_words(analysis))}",
    )


def _panels(
    line: Sequence[Axes],
    unit: Unit,
    pairs: Sequence[tuple[int, int]],
    styles: dict[str, VariantStyle],
    *,
    titled: bool,
) -> float:
    """A line of histograms of one unit; the largest difference in rating points."""
    names, reach = list(styles), 0.0
    for axis in line[len(pairs) :]:
        axis.set_visible(False)
    for axis, (a, b) in zip(line, pairs, strict=False):
        pair = unit.pair(a, b)
        d = np.round(pair.differences, 9)
        reach = max(reach, float(np.abs(d).max()) / pair.divisor)
        _histogram(axis, d, pair.divisor, [styles[names[place]] for place in (a, b)])
        if titled:
            title = f"{names[a]} \N{MINUS SIGN} {names[b]}"
            axis.set_title(title, loc="center", pad=16)
    line[0].set_ylabel("images")
    line[0].yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    line[0].margins(y=0.22)
    line[0].annotate(
        unit.dataset,
        (0, 1),
        (-28, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        weight="bold",
    )
    return reach


def _counts(pooled: Sequence[Unit]) -> str:
    return ", ".join(
        f"{unit.dataset}: n = {len(unit.blocks)} images" for unit in pooled
    )


def _histogram(
    axis: Axes, d: Floats, divisor: int, styles: Sequence[VariantStyle]
) -> None:
    """`d` is in steps of 1 / divisor rating points; `styles` of A and of B."""
    steps = -(-divisor // MOST_STEPS)
    # Away from zero, so that no difference joins the ties.
    places = np.sign(d) * np.ceil(np.abs(d) / steps)
    values, counts = np.unique(places, return_counts=True)
    width = steps / divisor
    colours = [
        TIE if value == 0 else styles[0 if value > 0 else 1].colour for value in values
    ]
    axis.bar(values * width, counts, width=0.86 * width, color=colours)
    axis.axvline(0, color=SOFT, linewidth=0.8, zorder=0.5)
    axis.grid(visible=False, axis="x")
    counts_above = (
        (0.02, "left", int((d < 0).sum()), styles[1].colour),
        (0.5, "center", int((d == 0).sum()), DIM),
        (0.98, "right", int((d > 0).sum()), styles[0].colour),
    )
    for x, side, count, colour in counts_above:
        text = f"{count} tied" if side == "center" else f"{count}"
        axis.text(
            x,
            1.0,
            text,
            transform=axis.transAxes,
            ha=side,
            va="bottom",
            fontsize=7.5,
            color=colour,
            weight="bold",
        )


def _difference_handles(styles: dict[str, VariantStyle]) -> list[Patch]:
    return [
        *(
            Patch(color=style.colour, label=f"{variant} rated higher")
            for variant, style in styles.items()
        ),
        Patch(color=TIE, label="tie"),
    ]


def _difference_words(analysis: Analysis) -> list[str]:
    return [
        f"{row['dataset']}, {row['pair']}: {row['n_pos']} above zero, {row['n_zero']} "
        f"at zero, {row['n_neg']} below"
        for row in where(analysis["wilcoxon"], primary=True)
    ]


@figure_style()
def difference_forest(analysis: Analysis) -> Drawing | None:
    """Pooled differences with 95 % intervals, for these readers and for any."""
    rows = [
        row
        for row in analysis.get("mrmc", [])
        if row["inference"] in INFERENCES and row["mean_diff"] is not None
    ]
    if not rows:
        return None
    datasets = [name for name in datasets_of(analysis) if where(rows, dataset=name)]
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    pitch = len(pairs) + 0.9
    figure = figure_of(0.3 * pitch * len(datasets) + 0.95)
    axis = figure.subplots()
    for number, dataset in enumerate(datasets):
        top = number * pitch
        if number % 2 == 0:
            axis.axhspan(
                top - 0.95, top + pitch - 0.95, color="#f4f6f8", zorder=0, lw=0
            )
        for place, pair in enumerate(pairs):
            inferences = where(rows, dataset=dataset, pair=pair)
            _estimates(axis, inferences, top + place)
    axis.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axis.set_ylim(len(datasets) * pitch - 0.95, -0.95)
    _forest_names(axis, datasets, pairs, pitch)
    axis.set_xlabel("Difference in rating points, A minus B (95 % interval)")
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -0.5), max(high, 0.5))
    legend(figure, [_inference_handle(name) for name in INFERENCES])
    words = "Differences between variants, over the images that all readers rated"
    return Drawing(
        "pooled_differences",
        figure,
        f"{words}. Left of zero B is rated higher. A difference without an interval: "
        "the interval is not defined (see the table).",
        f"{words}. {told([_estimate_words(row) for row in rows])}",
    )


def _estimates(axis: Axes, rows: Sequence[Row], y: float) -> None:
    """The estimate with one interval above the other, and their numbers at the edge."""
    for row in rows:
        _, colour, fill = INFERENCES[row["inference"]]
        at = y + (0.17 if row["inference"] == "RRRC" else -0.17)
        if row["ci_lo"] is not None:
            axis.plot([row["ci_lo"], row["ci_hi"]], [at, at], color=colour, lw=1.6)
        axis.plot(
            row["mean_diff"], at, marker="o", color=colour, mfc=fill, mew=1.3, ls=""
        )
        axis.text(
            1.015,
            at,
            _interval_text(row),
            transform=axis.get_yaxis_transform(),
            va="center_baseline",
            fontsize=6.8,
            color=INK if row["inference"] == "RRRC" else DIM,
        )


def _interval_text(row: Row) -> str:
    text = points(row["mean_diff"])
    if row["ci_lo"] is not None:
        text += f" ({points(row['ci_lo'])} to {points(row['ci_hi'])})"
    return text


def _forest_names(
    axis: Axes, datasets: Sequence[str], pairs: Sequence[str], pitch: float
) -> None:
    """Pairs at their lines, and each data set over its own."""
    ticks = [
        number * pitch + place
        for number in range(len(datasets))
        for place in range(len(pairs))
    ]
    names = [pair.replace("-", " \N{MINUS SIGN} ") for pair in pairs] * len(datasets)
    axis.set_yticks(ticks, labels=names)
    for number, dataset in enumerate(datasets):
        axis.text(
            0.008,
            number * pitch - 0.6,
            named(dataset),
            transform=axis.get_yaxis_transform(),
            weight="bold",
            va="center",
        )
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _inference_handle(name: str) -> Line2D:
    label, colour, fill = INFERENCES[name]
    return Line2D([], [], color=colour, marker="o", mfc=fill, mew=1.3, label=label)


def _estimate_words(row: Row) -> str:
    label = INFERENCES[row["inference"]][0]
    return f"{row['dataset']}, {row['pair']}, {label}: {_interval_text(row)}"
