"""Plotting that the figures share: variants in their colours, panels, ticks."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mlcore.reporting.figures import FULL_WIDTH, VariantStyle, variant_styles
from mlcore.reporting.page import MINUS
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.table import Analysis

# Beyond these widths, in characters, names under an axis are turned.
_ROOM = 62


def styles_of(analysis: Analysis) -> dict[str, VariantStyle]:
    """How each variant of the analysis is drawn, by its code."""
    return variant_styles(analysis["run"]["variants"])


def datasets_of(analysis: Analysis) -> list[str]:
    """The data sets, and ALL behind them where there are several."""
    datasets = list(analysis["run"]["datasets"])
    return datasets if len(datasets) == 1 else [*datasets, ALL]


def named(dataset: str) -> str:
    """A data set as a panel's title has it."""
    return "all data sets" if dataset == ALL else dataset


def figure_of(height: float, width: float = FULL_WIDTH) -> Figure:
    """An empty figure of so many inches whose parts make room for each other."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05)
    return figure


def variant_handle(variant: str, style: VariantStyle) -> Line2D:
    """The variant's entry in a legend: its point, in its colour."""
    return Line2D(
        [], [], label=variant, color=style.colour, marker=style.marker, linestyle=""
    )


def label_columns(grid: NDArray[Any]) -> None:
    """Ticks' names under the lowest visible panel of each column, as it may be empty
    below."""
    for column in grid.T:
        lowest = [axis for axis in column if axis.get_visible()][-1:]
        for axis in lowest:
            axis.tick_params(labelbottom=True)


def name_ticks(axis: Axes, names: Sequence[str], panels: int = 1) -> None:
    """Names at 0, 1, ... under one of `panels` axes; turned where they lack room."""
    turned = sum(len(name) + 2 for name in names) > _ROOM / panels
    axis.set_xticks(
        range(len(names)),
        labels=list(names),
        rotation=40 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )
    axis.tick_params(axis="x", length=0)


def points(value: float) -> str:
    """Rating points to two places, with a proper minus and no minus zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", MINUS)
