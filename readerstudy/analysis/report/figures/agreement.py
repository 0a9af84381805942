"""Heat maps of agreement: quadratic-weighted kappa of each pair of readers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from mlcore.reporting.figures import INK, Drawing, figure_style
from mlcore.reporting.words import told
from readerstudy.analysis.report.answer import where
from readerstudy.analysis.report.figures.plotting import (
    figure_of,
    label_columns,
    points,
)
from readerstudy.analysis.table import Analysis, Row

# White at no agreement beyond chance, blue above it, ochre below.
KAPPA_COLOURS = LinearSegmentedColormap.from_list(
    "kappa", ["#8a5a00", "#e9c98a", "#ffffff", "#8fb4d8", "#173f73"]
).with_extremes(bad="#eceff2")
KAPPA_RANGE = Normalize(-1, 1)
# Of a cell in inches: beyond this many readers there is no room for numbers.
MOST_NUMBERED = 10
# Maps beside each other.
MOST_ABREAST = 3


@figure_style()
def kappa_maps(analysis: Analysis) -> Drawing | None:
    """A heat map of readers by readers for each data set and variant."""
    readers = analysis["run"]["readers"]
    variants, datasets = analysis["run"]["variants"], analysis["run"]["datasets"]
    rows = [
        row
        for row in analysis.get("agreement_pairs", [])
        if row["variant"] in variants and row["dataset"] in datasets
    ]
    if not any(row["qkappa"] is not None for row in rows):
        return None
    names = 0.07 * max(len(reader) for reader in readers)
    # Names at the left make the maps narrower, and so lower.
    panel = 2.2 - names / MOST_ABREAST
    down = -(-len(variants) // MOST_ABREAST)
    figure = figure_of(panel * len(datasets) * down + names + 0.3)
    grid = figure.subplots(
        len(datasets) * down, MOST_ABREAST, sharex=True, sharey=True, squeeze=False
    )
    for axis in grid.flat:
        axis.set_visible(False)
    for number, dataset in enumerate(datasets):
        panels = grid[number * down : (number + 1) * down].flat
        for axis, variant in zip(panels, variants, strict=False):
            axis.set_visible(True)
            pairs = where(rows, dataset=dataset, variant=variant)
            _map(axis, pairs, readers)
            axis.set_title(f"{dataset}, {variant}")
    label_columns(grid)
    bar = figure.colorbar(
        ScalarMappable(KAPPA_RANGE, KAPPA_COLOURS),
        ax=grid,
        shrink=0.75 if len(grid) == 1 else 0.4,
        aspect=24,
        pad=0.015,
    )
    bar.outline.set_visible(False)
    bar.set_label("Quadratic-weighted kappa")
    words = "Agreement of each pair of readers, per data set and variant"
    kappas = [
        f"{row['dataset']}, {row['variant']}, {row['reader_a']} and {row['reader_b']}: "
        f"{row['qkappa']:.2f}"
        for row in rows
        if row["qkappa"] is not None
    ]
    return Drawing(
        "kappa",
        figure,
        f"{words}: 1 is perfect, 0 what chance would give. An empty cell: kappa is not "
        "defined (see the table).",
        f"{words}, as quadratic-weighted kappa. {told(kappas)}",
    )


def _map(axis: Axes, rows: Sequence[Row], readers: Sequence[str]) -> None:
    place = {reader: number for number, reader in enumerate(readers)}
    kappa = np.full((len(readers), len(readers)), np.nan)
    for row in rows:
        if row["qkappa"] is not None:
            a, b = place[row["reader_a"]], place[row["reader_b"]]
            kappa[a, b] = kappa[b, a] = row["qkappa"]
    axis.imshow(kappa, cmap=KAPPA_COLOURS, norm=KAPPA_RANGE)
    for (a, b), value in np.ndenumerate(kappa):
        if not np.isnan(value) and len(readers) <= MOST_NUMBERED:
            text = points(value).replace("0.", ".")
            dark = abs(value) > 0.62
            axis.text(
                b,
                a,
                text,
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if dark else INK,
            )
    axis.set_xticks(range(len(readers)), labels=readers, rotation=90)
    axis.set_yticks(range(len(readers)), labels=readers)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
