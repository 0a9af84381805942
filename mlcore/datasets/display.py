"""The drawn cases as a radiologist sees them: from their source, at full depth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlcore.datasets.decode import read_image, to_uint8
from mlcore.datasets.phantom import redrawn
from mlcore.datasets.table import ImageTable, Pixels, TableError

MAX_SIDE = 2048
PHANTOM_SIDE = 512
# Two versions of Pillow round differently by a grey level here and there; another
# image, or the same one turned over, differs by far more.
_SAME_IMAGE = 2.0


@dataclass(frozen=True)
class Window:
    """A display window by DICOM PS3.3 C.11.2.1.2.1 (linear).

    A value x is shown at clamp01((x - (center - 0.5)) / (width - 1) + 0.5); `center`
    and `width` are in rescaled pixel values, `width` is at least 2.
    """

    label: str
    center: float
    width: float


@dataclass(frozen=True, eq=False)
class DisplayImage:
    """One case for the reading page.

    Attributes:
        pixels: uint8 or uint16 (H, W), at most 2048 a side.
        source: `original` (decoded from the source file, or a phantom redrawn) or
            `table` (the file is gone).
        windows: presets, the first one is the default.
        rescale_slope, rescale_intercept: stored value to the windows' unit.
        inverted: whether low values are bright (DICOM MONOCHROME1).
        padding_value: stored value of pixels outside the image, if there is one.
        pixel_spacing_mm: height and width of a pixel, if known.
    """

    pixels: Pixels
    source: Literal["original", "table"]
    windows: tuple[Window, ...]
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    inverted: bool = False
    padding_value: int | None = None
    pixel_spacing_mm: tuple[float, float] | None = None


def display_case(table: ImageTable, row: int, root: Path | None = None) -> DisplayImage:
    """Bring one image of a table to the screen, from its source below `root`.

    Raises:
        TableError: as `display_image`; or the phantom has changed since the import.
    """
    if table.source_format != "phantom":
        return display_image(table.source_file(row, root), table.images[row])
    recipe = table.source_paths[row]
    if not np.array_equal(redrawn(recipe, table.image_size), table.images[row]):
        raise TableError(
            f"{table.name} was made by another version of the phantom: import it again."
        )
    pixels = redrawn(recipe, max(PHANTOM_SIDE, table.image_size))
    return DisplayImage(pixels, "original", windows_of(pixels))


def display_image(source: Path | None, table_image: NDArray[np.uint8]) -> DisplayImage:
    """Bring a case to the screen from its `source` file.

    Args:
        source: the file it was imported from, or None if there never was one.
        table_image: uint8 (S, S), what the networks saw; shown if the file is gone.

    Raises:
        TableError: the file does not decode, or it is not the image in the table:
            readers must judge a map on the image that it was made from.
    """
    if source is None or not source.exists():
        pixels: Pixels = table_image.astype(np.uint8)
        return DisplayImage(pixels, "table", windows_of(pixels))
    pixels = read_image(source)
    seen = to_uint8(pixels, table_image.shape[0])
    difference = np.abs(seen.astype(np.int16) - table_image).mean()
    if difference > _SAME_IMAGE:
        raise TableError(
            f"{source} is not the image that was imported; import it again, or give "
            "the folder of the import with --source."
        )
    pixels = _fit(pixels)
    return DisplayImage(pixels, "original", windows_of(pixels))


def windows_of(pixels: Pixels) -> tuple[Window, ...]:
    """Presets for an image: 0..255 for 8 bits; for 16 bits its own range, and without
    the darkest and brightest hundredth."""
    if pixels.dtype == np.uint8:
        return (_window("full range", 0, 255),)
    low, high = np.percentile(pixels, (1, 99), method="nearest")
    return (
        _window("full range", float(pixels.min()), float(pixels.max())),
        _window("1st to 99th percentile", float(low), float(high)),
    )


def _window(label: str, low: float, high: float) -> Window:
    """The window that shows `low` black and `high` white."""
    return Window(label, center=(low + high + 1) / 2, width=max(high - low + 1, 2.0))


def _fit(pixels: Pixels) -> Pixels:
    """Shrink an image to at most 2048 a side, keeping its aspect and depth."""
    height, width = pixels.shape
    longest = max(height, width)
    if longest <= MAX_SIDE:
        return pixels
    sides = tuple(max(1, round(side * MAX_SIDE / longest)) for side in (width, height))
    image = Image.fromarray(pixels.astype(np.float32))
    resized = np.asarray(image.resize((sides[0], sides[1]), Image.Resampling.BILINEAR))
    shrunk: Pixels = np.rint(resized).astype(pixels.dtype)
    return shrunk
