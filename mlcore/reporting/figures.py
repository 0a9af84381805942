"""Figure style of all reports, and a figure as files.

matplotlib is loaded only when something is drawn.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A figure of this width in inches fills the column of the page, on screen and paper.
FULL_WIDTH = 7.0
INK = "#1b1f24"
DIM = "#56606c"
SOFT = "#7b8591"


@dataclass(frozen=True)
class VariantStyle:
    """How a variant is drawn everywhere: in colour, and in shape for who sees none.

    Attributes:
        colour: #rrggbb, at least 3:1 against white; any two are told apart with every
            form of colour blindness (a test simulates them).
        marker: matplotlib's code of the point's shape.
        dashes: matplotlib's on-off lengths of the line; empty where it is solid.
    """

    colour: str
    marker: str
    dashes: tuple[float, ...] = ()


VARIANT_STYLES: Mapping[str, VariantStyle] = {
    "standard": VariantStyle("#1f3a6e", "o"),
    "single_bn": VariantStyle("#d65f00", "s", (4, 1.4)),
    "dual_bn": VariantStyle("#0e9a83", "D", (7, 1.4, 1.4, 1.4)),
    "mixed_bn": VariantStyle("#a04bd6", "^", (2.4, 1.2)),
    "noise": VariantStyle("#5c2e12", "v", (1.2, 1.2)),
    "unaided": VariantStyle("#0c000c", "P", (9, 2, 1.2, 2)),
}
# The same under other names: the paper's, and a blinded study's.
_ALIASES = {
    **dict(zip(("SSM", "SSBN", "SDBN"), VARIANT_STYLES, strict=False)),
    **dict(zip("XYZUVW", VARIANT_STYLES, strict=True)),
}

_FIGURE_STYLE: Mapping[str, Any] = {
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 8.5,
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "text.color": INK,
    # A name such as "$x^$" is a name; as mathematics it would end the drawing.
    "text.parse_math": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
    # Outlines instead of a font that may be missing, and ids that are not random.
    "svg.fonttype": "path",
    "svg.hashsalt": "mlcore",
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its words.

    Attributes:
        name: of its files, without ending.
        caption: what it shows, with the number of cases.
        alt: what one who cannot see it should know; never empty.
    """

    name: str
    figure: "Figure"
    caption: str
    alt: str


@dataclass(frozen=True)
class Picture:
    """A drawing as files. `width` is in inches; FULL_WIDTH fills the page."""

    name: str
    png: bytes
    svg: bytes
    caption: str
    alt: str
    width: float = FULL_WIDTH


def variant_styles(names: Sequence[str]) -> dict[str, VariantStyle]:
    """The style of each name.

    Known variants and their aliases (SSM, SSBN, SDBN; X to W) have their own; other
    names take those that are left, in order.

    Raises:
        ValueError: more names than styles.
    """
    known = {name: _ALIASES.get(name, name) for name in dict.fromkeys(names)}
    taken = {style for style in known.values() if style in VARIANT_STYLES}
    left = [style for style in VARIANT_STYLES if style not in taken]
    others = [name for name, style in known.items() if style not in VARIANT_STYLES]
    if len(others) > len(left):
        raise ValueError(
            f"{len(VARIANT_STYLES)} variants can be told apart in a figure; "
            f"got {len(known)}."
        )
    known.update(zip(others, left, strict=False))
    return {name: VARIANT_STYLES[style] for name, style in known.items()}


def legend(figure: "Figure", handles: Sequence[Any]) -> None:
    """One legend for all panels, above them, read line by line."""
    widths = [0.65 + 0.068 * len(str(handle.get_label())) for handle in handles]
    room = figure.get_figwidth()  # in inches, as the widths
    abreast = len(handles) if sum(widths) <= room else max(1, int(room / max(widths)))
    lines = -(-len(handles) // abreast)
    columns = -(-len(handles) // lines)
    # matplotlib fills column by column.
    ordered = [handle for start in range(columns) for handle in handles[start::columns]]
    box = figure.legend(
        handles=ordered,
        loc="outside upper left",
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.4,
    )
    box.set_alignment("left")


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of all reports, whatever the user's own settings of matplotlib.

    Also a decorator: `@figure_style()`.
    """
    import matplotlib.style

    with matplotlib.style.context(["default", dict(_FIGURE_STYLE)]):
        yield


def figure_files(figure: "Figure", dpi: int = 200) -> tuple[bytes, bytes]:
    """The figure as PNG and SVG; the same bytes for the same figure, no date inside."""
    png, svg = io.BytesIO(), io.BytesIO()
    with figure_style():
        figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None})
        figure.savefig(
            svg, format="svg", dpi=dpi, metadata={"Date": None, "Creator": None}
        )
    return png.getvalue(), svg.getvalue()


def rendered(drawing: Drawing) -> Picture:
    """The drawing as a picture for a page."""
    png, svg = figure_files(drawing.figure)
    return Picture(
        name=drawing.name,
        png=png,
        svg=svg,
        caption=drawing.caption,
        alt=drawing.alt,
        width=drawing.figure.get_figwidth(),
    )
