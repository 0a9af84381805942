"""Power curves: how likely a planned study finds a shift."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mlcore.reporting.figures import DIM, INK, Drawing, figure_style, legend
from mlcore.reporting.words import told
from readerstudy.analysis.planning.power import GENERAL_LEVEL, Power
from readerstudy.analysis.report.figures.plotting import figure_of

# Of numbers of readers, light to dark; no variant's colours.
_COLOURS = ("#b08cc9", "#8a5fae", "#643a8c", "#3f1d5f", "#26103a")
MOST_READERS = len(_COLOURS)
_DASHES = (0, (3, 1.4))
_MARKERS = ("o", "s", "D", "^", "v")


@figure_style()
def power_curves(powers: Sequence[Power], alpha: float) -> Drawing:
    """Power against the number of images: a panel per shift, a line per readers.

    Raises:
        ValueError: more numbers of readers than can be told apart.
    """
    shifts = list(dict.fromkeys(p.shift for p in powers))
    readers = sorted({p.readers for p in powers})
    if len(readers) > MOST_READERS:
        raise ValueError(
            f"{MOST_READERS} numbers of readers can be told apart in a figure; got "
            f"{len(readers)}"
        )
    looks = dict(zip(readers, zip(_COLOURS, _MARKERS, strict=True), strict=False))
    figure = figure_of(3.1)
    axes = figure.subplots(1, len(shifts), sharex=True, sharey=True, squeeze=False)[0]
    for axis, shift in zip(axes, shifts, strict=True):
        axis.axhline(80, color=DIM, linestyle=(0, (2, 2)), linewidth=0.9)
        for count, look in looks.items():
            curve = [p for p in powers if (p.readers, p.shift) == (count, shift)]
            _lines(axis, sorted(curve, key=lambda p: p.images), *look)
        axis.set_title(f"shift of {shift:g} rating points")
        axis.set_ylim(-3, 103)
    figure.supxlabel("Images of a data set", fontsize=8.5)
    axes[0].set_ylabel("Power (%)")
    general_label = f"readers in general, P < {GENERAL_LEVEL:g}"
    legend(
        figure,
        [
            *(
                Line2D([], [], color=c, marker=m, label=f"{count} readers")
                for count, (c, m) in looks.items()
            ),
            Line2D([], [], color=INK, label=f"these readers, P < {alpha:g}"),
            Line2D([], [], color=INK, ls=_DASHES, lw=1.1, label=general_label),
        ],
    )
    words = "Share of simulated studies that find the shifted variant above another"
    numbers = [
        f"shift {p.shift:g}, {p.readers} readers, {p.images} images: "
        f"{100 * p.pair:.0f} %"
        for p in powers
    ]
    return Drawing(
        "power",
        figure,
        f"{words}: by Friedman's test and Wilcoxon's at P < {alpha:g} (these readers), "
        "and with readers and images random at P < .05 (readers in general).",
        f"{words}. {told(numbers)}",
    )


def _lines(axis: Axes, powers: Sequence[Power], colour: str, marker: str) -> None:
    """Of one number of readers: full for these readers, hollow for any."""
    images = [p.images for p in powers]
    shares = [100 * p.pair for p in powers]
    axis.plot(images, shares, color=colour, marker=marker)
    general = [100 * p.general for p in powers if p.general is not None]
    if general:
        hollow: dict[str, Any] = {
            "markerfacecolor": "white",
            "linestyle": _DASHES,
            "linewidth": 1.1,
        }
        axis.plot(images, general, color=colour, marker=marker, **hollow)
