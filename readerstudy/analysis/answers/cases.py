"""Reference regions of cases, and where points lie to them: inside or outside, how far
from, and how much of the image they cover."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from readerstudy.analysis.statistics.arrays import Booleans, Floats

Image = tuple[str, str]  # data set and name
MILLIMETRES, PIXELS = "mm", "px"


@dataclass(frozen=True, eq=False)
class Truth:
    """Where one finding of an image is, in pixels of the image as readers saw it.

    boxes: x, y, width, height, in fractions of a pixel too; they hold the pixels whose
      middle they hold, and at least one.
    mask: (height, width), True inside; None where there are only boxes.
    spacing_mm: between rows and between columns; None where it is not known.
    """

    dataset: str
    image: str
    finding: str
    height: int
    width: int
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    mask: Booleans | None = None
    spacing_mm: tuple[float, float] | None = None


@dataclass(frozen=True)
class Peak:
    """Where the map of an image under a variant is strongest, in pixels.

    A map that is as strong at several pixels has a peak at each of them.
    """

    dataset: str
    image: str
    variant: str
    x: int
    y: int


@dataclass(frozen=True, eq=False)
class Region:
    """All places of a finding, or of several, in one image."""

    truths: Sequence[Truth]

    def holds(self, x: int, y: int) -> bool:
        """Whether the pixel is one of the region's; there is no tolerance."""
        return any(_inside_box(box, x, y) for box in self._boxes) or any(
            _inside_mask(mask, x, y) for mask in self._masks
        )

    def distance(self, x: int, y: int, spacing: tuple[float, float]) -> float:
        """To the nearest pixel of the region, 0 inside; `spacing` of rows, columns."""
        if self.holds(x, y):
            return 0.0
        down, across = spacing
        to_boxes = [
            np.hypot(_beyond(y, t, h) * down, _beyond(x, left, w) * across)
            for left, t, w, h in self._boxes
        ]
        edge = (self._edge - (y, x)) * np.array(spacing)
        to_masks = np.sqrt((edge**2).sum(axis=1)).tolist()
        return float(min([*to_boxes, *to_masks]))

    @cached_property
    def area_share(self) -> float:
        """Of the image: how often a point set by chance would lie inside."""
        truth = self.truths[0]
        covered = np.zeros((truth.height, truth.width), bool)
        for x, y, w, h in self._boxes:
            covered[y : y + h, x : x + w] = True
        for mask in self._masks:
            covered |= mask
        return float(covered.mean())

    @cached_property
    def _boxes(self) -> list[tuple[int, int, int, int]]:
        return [_pixels(box) for truth in self.truths for box in truth.boxes]

    @cached_property
    def _masks(self) -> list[Booleans]:
        return [truth.mask for truth in self.truths if truth.mask is not None]

    @cached_property
    def _edge(self) -> Floats:
        """(n, 2): row and column of the masks' outermost pixels, one of which is the
        nearest to any pixel outside."""
        edges = [
            np.argwhere(mask & ~ndimage.binary_erosion(mask)) for mask in self._masks
        ]
        return np.concatenate([np.empty((0, 2)), *edges])


@dataclass(frozen=True, eq=False)
class Cases:
    """What is known of the cases beside what readers answered.

    truths: of any images; peaks: of the maps. unblinded: may be told what was computed
    from the maps of an arm? While a study conceals its arms it may not, for it would
    give them away.
    """

    truths: Sequence[Truth] = ()
    peaks: Sequence[Peak] = ()
    unblinded: bool = False
    _regions: dict[tuple[Image, str], Region | None] = field(
        default_factory=dict, init=False, repr=False
    )

    def region(self, image: Image, finding: str = "") -> Region | None:
        """Of a finding in an image, "" for all of them; None where nothing is known."""
        key = (image, finding)
        if key not in self._regions:
            truths = [
                truth
                for truth in self._of_image.get(image, ())
                if finding in (truth.finding, "")
                and (truth.boxes or (truth.mask is not None and truth.mask.any()))
            ]
            self._regions[key] = Region(truths) if truths else None
        return self._regions[key]

    def findings(self, image: Image) -> list[str]:
        """That have a region in the image, in the order given."""
        names = dict.fromkeys(t.finding for t in self._of_image.get(image, ()))
        return [name for name in names if self.region(image, name)]

    @cached_property
    def peaks_at(self) -> dict[tuple[Image, str], list[tuple[int, int]]]:
        """By image and variant, x and y of every pixel where its map is strongest."""
        at: dict[tuple[Image, str], list[tuple[int, int]]] = {}
        for peak in self.peaks:
            key = ((peak.dataset, peak.image), peak.variant)
            at.setdefault(key, []).append((peak.x, peak.y))
        return at

    def spacing(self, image: Image) -> tuple[float, float] | None:
        """Of rows and columns in mm, where the image's is known."""
        known = [truth.spacing_mm for truth in self._of_image.get(image, ())]
        return next((spacing for spacing in known if spacing), None)

    def unit(self, images: Iterable[Image]) -> str:
        """Millimetres where the spacing of every one of the images is known."""
        known = all(self.spacing(image) for image in images)
        return MILLIMETRES if known else PIXELS

    @cached_property
    def _of_image(self) -> Mapping[Image, list[Truth]]:
        of_image: dict[Image, list[Truth]] = {}
        for truth in self.truths:
            of_image.setdefault((truth.dataset, truth.image), []).append(truth)
        return of_image


def peaks_of(
    values: NDArray[np.integer[Any]],
    dataset: str,
    image: str,
    variant: str,
    size: tuple[int, int],
) -> list[Peak]:
    """Where |map| is largest; none of a map that is zero everywhere.

    `values` (rows, columns) cover the full extent of an image of `size` (height,
    width); a place on a coarser grid is the pixel at its middle.
    """
    strength = np.abs(values.astype(np.int64))
    if not strength.any():
        return []
    rows, columns = np.nonzero(strength == strength.max())
    down, across = size[0] / values.shape[0], size[1] / values.shape[1]
    y, x = ((rows + 0.5) * down).astype(int), ((columns + 0.5) * across).astype(int)
    return [
        Peak(dataset, image, variant, *place)
        for place in zip(x.tolist(), y.tolist(), strict=True)
    ]


def mask_of(
    shape: tuple[int, int], runs: Sequence[int], size: tuple[int, int]
) -> Booleans:
    """(height, width) of `size`: a mask that was kept as `runs`, how many pixels in
    turn lie outside and inside, row by row on a grid of `shape`."""
    inside = np.arange(len(runs)) % 2 == 1
    grid = np.repeat(inside, runs).reshape(shape)
    rows, columns = (
        ((np.arange(n) + 0.5) * grid.shape[axis] / n).astype(int)
        for axis, n in enumerate(size)
    )
    whole: Booleans = grid[np.ix_(rows, columns)]
    return whole


def _pixels(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    x, y, width, height = box
    left, across = _span(x, width)
    top, down = _span(y, height)
    return left, top, across, down


def _span(start: float, length: float) -> tuple[int, int]:
    """First and number of the pixels whose middle lies from `start` on."""
    first, end = ceil(start - 0.5), ceil(start + length - 0.5)
    return (first, end - first) if end > first else (int(start + length / 2), 1)


def _inside_box(box: tuple[int, int, int, int], x: int, y: int) -> bool:
    left, top, width, height = box
    return left <= x < left + width and top <= y < top + height


def _inside_mask(mask: Booleans, x: int, y: int) -> bool:
    height, width = mask.shape
    return 0 <= x < width and 0 <= y < height and bool(mask[y, x])


def _beyond(at: int, start: int, length: int) -> int:
    """How far it lies from the nearest of the pixels from `start` on."""
    return max(start - at, at - (start + length - 1), 0)
