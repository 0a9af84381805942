"""What the viewer shows, said slowly: one value at a time."""

import math

import numpy as np

# Of the map, below and above zero.
NEGATIVE = np.array([76, 141, 245])
POSITIVE = np.array([232, 80, 70])


def grey_level(value, center, width, inverted=False, padding=None):
    """DICOM PS3.3 C.11.2.1.2.1 for one value, 0 to 255."""
    if padding is not None and value == padding:
        return 0
    if value <= center - 0.5 - (width - 1) / 2:
        share = 0.0
    elif value > center - 0.5 + (width - 1) / 2:
        share = 1.0
    else:
        share = (value - (center - 0.5)) / (width - 1) + 0.5
    return math.floor(255 * (1 - share if inverted else share) + 0.5)


def bilinear(grid, y, x):
    """The value at a place in pixels, whose centres lie at half integers."""
    rows, columns = grid.shape
    y = min(max(y - 0.5, 0), rows - 1)
    x = min(max(x - 0.5, 0), columns - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    above = grid[top, left] + (x - left) * (grid[top, right] - grid[top, left])
    below = grid[bottom, left] + (x - left) * (grid[bottom, right] - grid[bottom, left])
    return above + (y - top) * (below - above)
