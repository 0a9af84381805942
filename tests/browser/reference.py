"""What the viewer shows, said slowly: one value at a time."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

# Of the map, below and above zero.
NEGATIVE = np.array([76, 141, 245])
POSITIVE = np.array([232, 80, 70])
GAP = 8


def grey_level(value, center, width, inverted=False):
    """DICOM PS3.3 C.11.2.1.2.1 for one rescaled value, 0 to 255."""
    if value <= center - 0.5 - (width - 1) / 2:
        share = 0.0
    elif value > center - 0.5 + (width - 1) / 2:
        share = 1.0
    else:
        share = (value - (center - 0.5)) / (width - 1) + 0.5
    return 255 * (1 - share if inverted else share)


def axis_weights(count, at, extent):
    """How much each of `count` pixels counts where a screen pixel's box lies.

    `at` is the share of the axis where the screen pixel's centre is, `extent` the
    number of screen pixels along the axis.
    """
    box = max(1.0, count / extent)
    low, high = max(0.0, at * count - box / 2), min(count, at * count + box / 2)
    overlaps = [max(0.0, min(i + 1, high) - max(i, low)) for i in range(count)]
    return np.array(overlaps) / (high - low)


def sampled(grid, v, u, height, width, padding=None):
    """The average of what is no padding at the shares (v, u), and its share."""
    rows = axis_weights(grid.shape[0], v, height)
    columns = axis_weights(grid.shape[1], u, width)
    weights = np.outer(rows, columns)
    if padding is not None:
        weights = np.where(grid == padding, 0.0, weights)
    share = weights.sum()
    return ((weights * grid).sum() / share if share > 0 else 0.0), share


@dataclass(kw_only=True)
class Picture:
    """A case, its map, and how they are shown, as the page is told of them."""

    pixels: np.ndarray
    overlay: np.ndarray
    center: float
    width: float
    slope: float = 1.0
    intercept: float = 0.0
    inverted: bool = False
    padding: int | None = None
    spacing: tuple[float, float] = (1.0, 1.0)
    opacity: float = 0.7
    threshold: float = 0.0
    side_by_side: bool = False
    zoom: float = 1.0
    middle: tuple[float, float] = (0.5, 0.5)  # x, y

    def panes(self, width, height) -> list[tuple[int, int, int, int]]:
        """x, y, width and height of each."""
        if not self.side_by_side:
            return [(0, 0, width, height)]
        half, low = (width - GAP) // 2, (height - GAP) // 2
        if self.fit(half, height) >= self.fit(width, low):
            return [(0, 0, half, height), (width - half, 0, half, height)]
        return [(0, 0, width, low), (0, height - low, width, low)]

    def fit(self, width, height) -> float:
        rows, columns = self.pixels.shape
        return min(width / columns, height / (rows * self.spacing[0] / self.spacing[1]))

    def colour(self, size: tuple[int, int], x: int, y: int) -> Any:
        """The colour of one canvas pixel."""
        shown = np.zeros(3)
        for number, (left, top, width, height) in enumerate(self.panes(*size)):
            if not (left <= x < left + width and top <= y < top + height):
                continue
            scale = self.fit(width, height) * self.zoom
            rows, columns = self.pixels.shape
            across = columns * scale
            down = rows * scale * self.spacing[0] / self.spacing[1]
            corner_x = left + math.floor(width / 2 - self.middle[0] * across + 0.5)
            corner_y = top + math.floor(height / 2 - self.middle[1] * down + 0.5)
            u, v = (x + 0.5 - corner_x) / across, (y + 0.5 - corner_y) / down
            if 0 <= u < 1 and 0 <= v < 1:
                shown = self.layers(number, v, u, down, across)
        return shown

    def layers(self, pane, v, u, down, across) -> Any:
        colour = np.zeros(3)
        if not (self.side_by_side and pane == 1):
            value, share = sampled(self.pixels, v, u, down, across, self.padding)
            value = self.slope * value + self.intercept
            grey = grey_level(value, self.center, self.width, self.inverted)
            colour = np.full(3, grey * share)
        if not (self.side_by_side and pane == 0):
            value, _ = sampled(self.overlay, v, u, down, across)
            alpha = self.opacity * abs(value) / 127
            if abs(value) < 127 * self.threshold:
                alpha = 0
            colour = (1 - alpha) * colour + alpha * (
                NEGATIVE if value < 0 else POSITIVE
            )
        return colour
