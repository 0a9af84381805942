"""Stacked bars of how often each score was given; means and standard deviations."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patches import Patch

from mlcore.reporting.figures import (
    DIM,
    INK,
    Drawing,
    VariantStyle,
    figure_style,
    legend,
)
from mlcore.reporting.words import told
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.report.answer import where
from readerstudy.analysis.report.figures.plotting import (
    figure_of,
    name_ticks,
    styles_of,
    variant_handle,
)
from readerstudy.analysis.table import Analysis, Row

# Light to dark, of a hue that no variant has: order is seen without colour.
SCORES = ("#f1edf5", "#d9cbe5", "#bb9fd0", "#9770b6", "#6e4394", "#3f1d5f")
_BETWEEN = LinearSegmentedColormap.from_list("scores", SCORES)
# The smallest share, in percent, that is written into its piece of a bar.
LEAST_LABEL = 5.0
LEAST_SMALL_LABEL = 14.0


@figure_style()
def score_bars(analysis: Analysis) -> Drawing | None:
    """Shares of the scores per data set and variant (Han et al. 2021, Figure 5).

    None for a slider, whose scores are too many.
    """
    if not _scores(analysis):
        return None
    datasets = analysis["run"]["datasets"]
    bars = len(analysis["run"]["variants"])
    figure = figure_of(0.34 * bars * len(datasets) + 0.75)
    axes = figure.subplots(len(datasets), 1, sharex=True, squeeze=False)[:, 0]
    table = where(analysis["score_distribution"], reader=ALL)
    for axis, dataset in zip(axes, datasets, strict=True):
        _bars(axis, where(table, dataset=dataset), analysis, LEAST_LABEL)
        _means_beside(axis, dataset, analysis)
        axis.set_title(dataset)
    axes[-1].set_xlabel("Share of the ratings (%)")
    legend(figure, _score_handles(analysis))
    words = "How often each score was given, per data set and variant, over all readers"
    return Drawing(
        "scores",
        figure,
        f"{words}. Shares of at least {LEAST_LABEL:.0f} % are written out; at the "
        "right, the mean and the number of ratings.",
        f"{words}. {told(_score_words(table, datasets, analysis))}",
    )


@figure_style()
def score_bars_by_reader(analysis: Analysis) -> Drawing | None:
    """The same per reader: a row of panels for each, a column for each data set.

    None for one reader, of whom `score_bars` has shown all, and for a slider.
    """
    run = analysis["run"]
    readers, datasets = run["readers"], run["datasets"]
    if len(readers) == 1 or not _scores(analysis):
        return None
    figure = figure_of(0.22 * len(run["variants"]) * len(readers) + 0.95)
    grid = figure.subplots(len(readers), len(datasets), sharex=True, squeeze=False)
    for line, reader in zip(grid, readers, strict=True):
        for axis, dataset in zip(line, datasets, strict=True):
            rows = where(analysis["score_distribution"], reader=reader, dataset=dataset)
            _bars(axis, rows, analysis, LEAST_SMALL_LABEL * len(datasets) / 3)
            if axis is not line[0]:
                axis.set_yticks([])
        line[0].set_ylabel(reader, rotation=0, ha="right", va="center", weight="bold")
    for axis, dataset in zip(grid[0], datasets, strict=True):
        axis.set_title(dataset)
    figure.supxlabel("Share of the ratings (%)", fontsize=8.5)
    legend(figure, _score_handles(analysis))
    words = "How often each reader gave each score, per data set and variant"
    return Drawing(
        "scores_by_reader",
        figure,
        f"{words}. An empty line: the reader gave no rating there.",
        f"{words}: a row of panels for each of {len(readers)} readers, all numbers are "
        "in score_distribution.csv.",
    )


def _bars(axis: Axes, rows: Sequence[Row], analysis: Analysis, least: float) -> None:
    """A bar per variant, a piece a score; `least`: see LEAST_LABEL."""
    styles = styles_of(analysis)
    scores = _scores(analysis)
    colours = _colours(len(scores))
    for place, variant in enumerate(styles):
        start = 0.0
        for row in where(rows, variant=variant):
            share = row["percent"] or 0.0
            at = scores.index(row["score"])
            label = "" if share < least else f"{share:.0f}"
            dark = 2 * at >= len(scores)
            _piece(axis, place, (start, share), colours[at], (label, dark))
            start += share
    axis.set_xlim(0, 100)
    axis.set_ylim(len(styles) - 0.45, -0.55)
    axis.set_yticks(range(len(styles)), labels=list(styles))
    _colour_ticks(axis, list(styles.values()))
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[["left", "bottom"]].set_visible(False)


def _piece(
    axis: Axes,
    place: int,
    extent: tuple[float, float],
    colour: str,
    label: tuple[str, bool],
) -> None:
    """`extent`: start and length. `label`: its text, and whether it is on dark."""
    (start, share), (text, dark) = extent, label
    axis.barh(
        place,
        share,
        left=start,
        height=0.8,
        color=colour,
        edgecolor="white",
        linewidth=0.7,
    )
    if text:
        axis.text(
            start + share / 2,
            place,
            text,
            ha="center",
            va="center_baseline",
            fontsize=7,
            color="white" if dark else INK,
        )


def _colour_ticks(axis: Axes, styles: Sequence[VariantStyle]) -> None:
    for label, style in zip(axis.get_yticklabels(), styles, strict=True):
        label.set_color(style.colour)
        label.set_fontweight("bold")


def _means_beside(axis: Axes, dataset: str, analysis: Analysis) -> None:
    (row,) = where(analysis["table1_means"], reader=ALL, dataset=dataset)
    for place, variant in enumerate(analysis["run"]["variants"]):
        mean, count = row["mean"][variant], row["n"][variant]
        text = "no rating" if mean is None else f"mean {mean:.2f}   n {count:,}"
        axis.text(
            1.015,
            place,
            text,
            transform=axis.get_yaxis_transform(),
            va="center_baseline",
            fontsize=7.5,
            color=DIM,
        )


def _scores(analysis: Analysis) -> list[int]:
    scores: list[int] = analysis["run"]["question"]["scores"]
    return scores


def _colours(number: int) -> Sequence[str]:
    """That many from light to dark."""
    if number == len(SCORES):
        return SCORES
    return [to_hex(_BETWEEN(place / (number - 1))) for place in range(number)]


def _score_handles(analysis: Analysis) -> list[Patch]:
    first, *middle, last = _scores(analysis)
    names = [f"rated {first} (lowest)", *map(str, middle), f"{last} (highest)"]
    return [
        Patch(facecolor=colour, edgecolor="#b9c0c8", linewidth=0.5, label=name)
        for colour, name in zip(_colours(len(names)), names, strict=True)
    ]


def _score_words(
    table: Sequence[Row], datasets: Sequence[str], analysis: Analysis
) -> list[str]:
    phrases = []
    first, *_, last = _scores(analysis)
    scores = f"{first} to {last}"
    for dataset in datasets:
        for variant in analysis["run"]["variants"]:
            rows = where(table, dataset=dataset, variant=variant)
            shares = [row["percent"] for row in rows]
            percentages = (
                "no rating"
                if None in shares
                else ", ".join(f"{share:.0f} %" for share in shares)
            )
            phrases.append(f"{dataset}, {variant}, scores {scores}: {percentages}")
    return phrases


@figure_style()
def means(analysis: Analysis) -> Drawing:
    """Mean and SD of each reader's ratings, and of all, a panel per data set."""
    run = analysis["run"]
    datasets, styles = run["datasets"], styles_of(analysis)
    several = len(run["readers"]) > 1
    readers = [*run["readers"], ALL] if several else list(run["readers"])
    down = len(datasets)
    figure = figure_of(1.5 * down + 0.75)
    axes = figure.subplots(down, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, dataset in zip(axes, datasets, strict=True):
        rows = where(analysis["table1_means"], dataset=dataset)
        for place, (variant, style) in enumerate(styles.items()):
            aside = (place - (len(styles) - 1) / 2) * min(0.2, 0.7 / len(styles))
            _mean_points(axis, rows, readers, variant, style, aside)
        if several:
            axis.axvspan(len(readers) - 1.5, len(readers) - 0.5, color="#f4f6f8", lw=0)
        axis.set_title(dataset)
        if scores := _scores(analysis):
            axis.set_yticks(scores)
        axis.set_xlim(-0.5, len(readers) - 0.5)
        axis.grid(visible=False, axis="x")
    axes[0].set_ylim(*_reach(analysis))
    name_ticks(axes[-1], ["all readers" if name == ALL else name for name in readers])
    figure.supylabel("Rating (mean ± SD)", fontsize=8.5)
    legend(figure, [variant_handle(*entry) for entry in styles.items()])
    words = "Mean ± SD of the ratings, per reader and data set"
    phrases = [
        f"{row['dataset']}, {row['reader']}, {variant}: {text}"
        for row in analysis["table1_means"]
        if row["reader"] == ALL
        for variant, text in row["text"].items()
        if text
    ]
    return Drawing(
        "means",
        figure,
        f"{words}. An SD tells how a reader's ratings differ from image to image; it "
        "is no measure of how certain the mean is.",
        f"{words}. {told(phrases)}",
    )


def _reach(analysis: Analysis) -> tuple[float, float]:
    """The ends of the scale, and where the lowest bar ends if that is below: mean less
    SD may well be."""
    scores = _scores(analysis) or [0, 100]
    pad = (scores[-1] - scores[0]) / 5
    ends: list[float] = [
        mean - (row["sd"][variant] or 0.0)
        for row in analysis["table1_means"]
        for variant, mean in row["mean"].items()
        if mean is not None
    ]
    return min([float(scores[0]), *ends]) - 0.2 * pad, scores[-1] + 0.25 * pad


def _mean_points(
    axis: Axes,
    rows: Sequence[Row],
    readers: Sequence[str],
    variant: str,
    style: VariantStyle,
    aside: float,
) -> None:
    by_reader = {row["reader"]: row for row in rows}
    for place, reader in enumerate(readers):
        row = by_reader.get(reader)
        if row is None or row["mean"][variant] is None:
            continue
        axis.errorbar(
            place + aside,
            row["mean"][variant],
            yerr=row["sd"][variant] or 0.0,
            color=style.colour,
            marker=style.marker,
            markersize=5,
            elinewidth=1.1,
            capsize=2,
            linestyle="",
        )
