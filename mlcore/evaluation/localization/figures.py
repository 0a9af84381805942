"""Figures of saliency: the maps themselves, where they point, what they depend on."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mlcore.datasets.table import Mask
from mlcore.evaluation.arms import Arm, arms_of, distinct, of_arm
from mlcore.evaluation.localization.examples import SaliencyExample
from mlcore.evaluation.part import Row
from mlcore.evaluation.plotting import Estimate, arm_handle, forest, panels, show_image
from mlcore.reporting.figures import FULL_WIDTH, SOFT, Drawing, figure_style, legend
from mlcore.reporting.words import listed, span, told

# Blue below zero, white at it, red above: the two colours of the reading page.
SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#12409f", "#4c8df5", "#ffffff", "#e85046", "#9c1410"]
)
_MEASURE_TITLES = {
    "energy_inside": "Energy inside",
    "pointing_exact": "Pointing, exact",
    "pointing_near": "Pointing, near",
    "top_overlap": "Top-K overlap",
}
_SIMILARITY_TITLES = {
    "spearman_absolute": "Rank correlation of |map|",
    "pearson_signed": "Correlation of the signed map",
}
_EDGE = "#111111"
# What maps of nothing score: column, marker, name.
_CHANCES = (
    ("chance_uniform", "|", "uniform map"),
    ("chance_centre", "x", "centre prior"),
    ("chance_untrained", "+", "untrained network"),
)


@figure_style()
def saliency_rows(examples: Sequence[SaliencyExample]) -> Drawing | None:
    """Image and maps in a row (Figure 6): blue negative, red positive, outlined mask.

    Raises:
        ValueError: two examples have maps of different names.
    """
    if not examples:
        return None
    names = list(examples[0].maps)
    if any(list(example.maps) != names for example in examples):
        raise ValueError(
            "Every example must have a map of every variant, in one order."
        )
    across = 1 + len(names)
    side = FULL_WIDTH / across
    figure = Figure(figsize=(FULL_WIDTH, side * len(examples) + 0.8))
    figure.set_layout_engine("compressed", h_pad=0.05, w_pad=0.03)
    grid = figure.subplots(len(examples), across, squeeze=False)
    for line, example in zip(grid, examples, strict=True):
        show_image(line[0], example.image)
        line[0].set_ylabel(example.findings, fontsize=8)
        for axis, name in zip(line[1:], names, strict=True):
            shown = axis.imshow(example.maps[name], cmap=SIGNED, vmin=-1, vmax=1)
            _frame(axis)
        for axis in line:
            _outline(axis, example.mask)
    for axis, title in zip(grid[0], ["Image", *names], strict=True):
        axis.set_title(title)
    bar = figure.colorbar(
        shown, ax=grid[-1, :].tolist(), location="bottom", aspect=70, pad=0.02
    )
    bar.set_ticks([-1, -0.5, 0, 0.5, 1])
    quantity = examples[0].quantity
    bar.set_label(
        f"{quantity[0].upper()}{quantity[1:]} (normalised: -1 to 1)", fontsize=8
    )
    bar.outline.set_visible(False)
    marked = sum(example.mask is not None for example in examples)
    images = listed([f"{e.image_id} ({e.findings})" for e in examples])
    return Drawing(
        "saliency",
        figure,
        f"Saliency maps of {listed(names)}. {examples[0].meaning} Where it is white, "
        "the pixel hardly mattered. The line marks the finding, where its place is "
        f"known (n = {len(examples)} images, {marked} of them marked). Examples, not "
        "evidence: the forest plots count all images.",
        f"Rows of an image beside the maps of {listed(names)}, for {images}.",
    )


def _frame(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set(visible=True, color="#c9d0d7", linewidth=0.6)


def _outline(axis: Axes, mask: Mask | None) -> None:
    """The edge of the mask, dark on a light halo: seen on grey and on the maps."""
    if mask is None or not mask.any():
        return
    padded = np.pad(mask, 1).astype(float)
    place = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
    for colour, width in (("white", 2.2), (_EDGE, 0.9)):
        axis.contour(place[1], place[0], padded, [0.5], colors=colour, linewidths=width)
    axis.set(xlim=(-0.5, mask.shape[1] - 0.5), ylim=(mask.shape[0] - 0.5, -0.5))


@figure_style()
def localization_forest(rows: Sequence[Row], kind: str) -> Drawing | None:
    """How well the maps of one kind point, beside what maps of nothing score.

    Args:
        rows: of localization.
        kind: the `map` to draw: "all findings" or "own finding".
    """
    of_kind = [row for row in rows if row["map"] == kind]
    if not of_kind:
        return None
    arms, findings = arms_of(of_kind), distinct(of_kind, "finding")
    measures = distinct(of_kind, "measure")
    by_name = {
        (row["measure"], row["finding"], row["variant"], row["branch"]): row
        for row in of_kind
    }
    height = 0.17 * len(findings) * (len(arms) + 1) + 1.25
    figure = Figure(figsize=(FULL_WIDTH, height), layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    labels = {
        f"{finding}\nn = {_cases(of_kind, finding)}": finding for finding in findings
    }
    for axis, measure in zip(axes, measures, strict=True):

        def estimate(group: str, arm: Arm, measure: str = measure) -> Estimate | None:
            row = by_name.get((measure, labels[group], arm.variant, arm.branch))
            return None if row is None else _estimate(row)

        forest(axis, list(labels), arms, estimate, numbers=False)
        axis.set_title(_MEASURE_TITLES.get(measure, measure), fontsize=8.5)
        axis.set_xlim(left=0, right=1.03 * axis.get_xlim()[1])
        axis.xaxis.set_major_locator(MaxNLocator(3))
    figure.supxlabel("Score, 0 to 1 (95 % interval)", fontsize=8.5)
    legend(figure, [*(arm_handle(arm, line=False) for arm in arms), *_chance_handles()])
    what = (
        "the map of the whole diagnosis, which readers see"
        if kind == "all findings"
        else "the map of the finding's own loss term"
    )
    return Drawing(
        "localization_" + kind.split()[0],
        figure,
        f"Where the maps point: {what}, against masks and boxes of the test split "
        f"(n = {span([row['n'] for row in of_kind])} images per finding), "
        "with 95 % intervals of a bootstrap of the cases. In grey what maps of nothing "
        "score: a uniform map (bar), one that only prefers the centre (x), and those "
        "of networks that were never trained (+).",
        f"Forest plot for {what}. "
        + told([_words(row) for row in of_kind if row["measure"] == measures[0]]),
    )


def _cases(rows: Sequence[Row], finding: str) -> str:
    return span([row["n"] for row in rows if row["finding"] == finding])


def _estimate(row: Row) -> Estimate:
    levels = ((row.get(name), shape) for name, shape, _ in _CHANCES)
    marks = tuple((level, shape) for level, shape in levels if level is not None)
    return Estimate(row["value"], row.get("lo"), row.get("hi"), marks)


def _chance_handles() -> list[Line2D]:
    return [
        Line2D([], [], color=SOFT, marker=shape, ls="", ms=6, label=label)
        for _, shape, label in _CHANCES
    ]


def _words(row: Row) -> str:
    name = f"{row['finding']}, {row['variant']} [{row['branch']}], {row['measure']}"
    name = name.replace("_", " ")
    if row["value"] is None:
        return f"{name}: undefined"
    return f"{name}: {row['value']:.2f}, chance {row['chance_uniform']:.2f}"


@figure_style()
def randomization_curves(rows: Sequence[Row]) -> Drawing | None:
    """How alike the maps stay while layers are randomised, from the output on."""
    if not rows:
        return None
    arms, measures = arms_of(rows), distinct(rows, "measure")
    stages = dict(sorted({(row["stage"], row["layers"]) for row in rows}))
    figure, axes = panels(len(measures), columns=2, height=2.6)
    for axis, measure in zip(axes, measures, strict=True):
        for arm in arms:
            of_measure = sorted(
                (r for r in of_arm(rows, arm) if r["measure"] == measure),
                key=lambda row: row["stage"],
            )
            _randomised_line(axis, of_measure, arm)
        axis.axhline(0, color=SOFT, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        axis.set_title(_SIMILARITY_TITLES.get(measure, measure))
        axis.set_xticks(list(stages), labels=list(stages.values()))
    figure.supxlabel("Made random so far: this part and all to its left", fontsize=8.5)
    figure.supylabel("Similarity to the trained map", fontsize=8.5)
    legend(figure, [arm_handle(arm) for arm in arms])
    words = (
        "Parameter randomisation: how alike the maps stay to those of the trained "
        "network while its parts become random, from the output to the input"
    )
    return Drawing(
        "randomization",
        figure,
        f"{words} (mean and 95 % interval, n = {span([row['n'] for row in rows])} "
        "images). Maps that stay alike do not depend on what the network has learnt.",
        f"{words}. {_last_words(rows, arms)}",
    )


def _randomised_line(axis: Axes, rows: Sequence[Row], arm: Arm) -> None:
    known = [row for row in rows if row["value"] is not None]
    axis.plot([r["stage"] for r in known], [r["value"] for r in known], **arm.line)
    banded = [row for row in known if row["lo"] is not None]
    axis.fill_between(
        [row["stage"] for row in banded],
        [row["lo"] for row in banded],
        [row["hi"] for row in banded],
        color=arm.colour,
        alpha=0.13,
        linewidth=0,
    )


def _last_words(rows: Sequence[Row], arms: Sequence[Arm]) -> str:
    last = max(row["stage"] for row in rows)
    phrases = [
        f"{arm.label}, {row['measure'].replace('_', ' ')}: {row['value']:.2f}"
        for arm in arms
        for row in of_arm(rows, arm)
        if row["stage"] == last and row["value"] is not None
    ]
    return f"With every part random: {'; '.join(phrases) or 'undefined'}."
