"""Plotting that the figures share: panels, forest plots, entries of legends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mlcore.evaluation.arms import Arm
from mlcore.reporting.figures import DIM, FULL_WIDTH, SOFT

# Of an interval's text, so that several fit into a row.
DASH = "\N{EN DASH}"


def panels(count: int, *, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of at most `columns`, each `height` inches.

    The column width is that of a full row, so that panels look alike in all figures.
    """
    across = min(count, columns)
    down = -(-count // across)
    width = FULL_WIDTH * (1 if count >= columns else count / columns + 0.08)
    figure = Figure(figsize=(min(width, FULL_WIDTH), height * down + 0.45))
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.05)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    axes = [axis for line in grid for axis in line]
    for axis in axes[count:]:
        axis.remove()
    for axis in axes[max(0, count - across) : count]:
        axis.tick_params(labelbottom=True)
    return figure, axes[:count]


def arm_handle(arm: Arm, *, points: bool = True, line: bool = True) -> Line2D:
    """The arm's entry in a legend."""
    look = dict(arm.line)
    if not points:
        look["marker"] = ""
    if not line:
        look["linestyle"] = ""
    return Line2D([], [], label=arm.label, **look)


def chance_handle(label: str = "chance") -> Line2D:
    return Line2D([], [], color=SOFT, linestyle=(0, (2, 2)), lw=1, label=label)


def chance_line(axis: Axes, level: float, *, across: bool = True) -> None:
    """A dashed line at the level that needs no knowledge."""
    draw = axis.axhline if across else axis.axvline
    draw(level, color=SOFT, linestyle=(0, (2, 2)), linewidth=1, zorder=1)


@dataclass(frozen=True)
class Estimate:
    """One line of a forest. `value` None: undefined; without limits: only a point."""

    value: float | None
    lo: float | None = None
    hi: float | None = None
    marks: tuple[tuple[float, str], ...] = ()


def forest(
    axis: Axes,
    groups: Sequence[str],
    arms: Sequence[Arm],
    estimate: Callable[[str, Arm], Estimate | None],
    *,
    numbers: bool,
) -> None:
    """Points with intervals, a band per group, an arm per line in it.

    `marks` of an estimate are further levels, drawn as grey points of the given shape.
    `numbers` writes each estimate at the right edge.
    """
    pitch = len(arms) + 1.0
    for number, group in enumerate(groups):
        if number % 2 == 0:
            start = number * pitch - 1
            axis.axhspan(start, start + pitch, color="#f4f6f8", zorder=0, lw=0)
        for place, arm in enumerate(arms):
            line = estimate(group, arm)
            if line is not None:
                _forest_line(axis, number * pitch + place, arm, line, numbers)
    middle = (len(arms) - 1) / 2
    ticks = [number * pitch + middle for number in range(len(groups))]
    axis.set_yticks(ticks, labels=list(groups))
    axis.set_ylim(len(groups) * pitch - 1, -1)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _forest_line(axis: Axes, y: float, arm: Arm, line: Estimate, numbers: bool) -> None:
    edge: dict[str, Any] = {
        "transform": axis.get_yaxis_transform(),
        "va": "center",
        "fontsize": 7,
    }
    if line.value is None:
        axis.text(1.02 if numbers else 0.04, y, "undefined", color=DIM, **edge)
        return
    for level, shape in line.marks:
        axis.plot(
            level, y, marker=shape, color=SOFT, markersize=6, mfc="white", ls="", mew=1
        )
    if line.lo is not None and line.hi is not None:
        axis.plot([line.lo, line.hi], [y, y], color=arm.colour, linewidth=1.5)
    axis.plot(line.value, y, **arm.line | {"linestyle": ""})
    if numbers:
        text = f"{line.value:.2f}"
        if line.lo is not None and line.hi is not None:
            text += f" ({line.lo:.2f}{DASH}{line.hi:.2f})"
        axis.text(1.02, y, text, color=arm.colour, **edge)


def show_image(axis: Axes, image: NDArray[Any]) -> None:
    """A grey image without axes; integers span 0 to 255, floats 0 to 1."""
    top = 255 if np.issubdtype(image.dtype, np.integer) else 1
    axis.imshow(image, cmap="gray", vmin=0, vmax=top)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
