"""Display images: cases as a radiologist sees them, from their source at full depth."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlcore.datasets.decoding.grey_image import (
    GreyImage,
    Pixels,
    Window,
    default_window,
    inside,
    range_window,
    to_uint8,
)
from mlcore.datasets.formats.all_formats import find_format
from mlcore.datasets.formats.format import Redraw
from mlcore.datasets.table import ImageTable, TableError, split_address

MAX_SIDE = 2048
REDRAWN_SIDE = 512
# Two versions of Pillow round differently by a grey level here and there; another
# image, or the same one turned over, differs by far more.
_SAME_IMAGE = 2.0


@dataclass(frozen=True, eq=False, kw_only=True)
class DisplayImage(GreyImage):
    """One case for the reading page; at most 2048 pixels a side, with a window.

    Attributes:
        source: `original` (decoded from the source file, or a phantom redrawn) or
            `table` (the file is gone).
    """

    source: Literal["original", "table"]


def display_case(table: ImageTable, row: int, root: Path | None = None) -> DisplayImage:
    """Bring one image of a table to the screen, from its source below `root`.

    If the source is gone, the image of the table is shown.

    Raises:
        TableError: the source does not decode, or it is not the image in the table:
            readers must judge a map on the image that it was made from.
    """
    seen = table.images[row]
    made_by = find_format(table.source_format)
    if made_by is not None and made_by.redraw is not None:
        return _redrawn(table, row, made_by.redraw)
    path = table.source_file(row, root)
    if path is None or not path.exists():
        return _displayed(GreyImage(pixels=seen.astype(np.uint8)), "table")
    if made_by is None or made_by.read_part is None:
        raise TableError(
            f'{table.folder} was imported as "{table.source_format}", a format that '
            "this version does not know."
        )
    part = split_address(table.source_paths[row])[1]
    image = made_by.read_part(path, part, table.options)
    difference = np.abs(to_uint8(image, len(seen)).astype(np.int16) - seen).mean()
    if difference > _SAME_IMAGE:
        raise TableError(
            f"{path} is not the image that was imported; import it again, or give "
            "the folder of the import with --source."
        )
    return _displayed(_fit(image), "original")


def _redrawn(table: ImageTable, row: int, redraw: Redraw) -> DisplayImage:
    source_path = table.source_paths[row]
    again = redraw(source_path, table.image_size, table.options)
    if not np.array_equal(again, table.images[row]):
        raise TableError(
            f"{table.name} was made by another version of {table.source_format}: "
            "import it again."
        )
    size = max(REDRAWN_SIDE, table.image_size)
    pixels = redraw(source_path, size, table.options)
    return _displayed(GreyImage(pixels=pixels), "original")


def _displayed(image: GreyImage, source: Literal["original", "table"]) -> DisplayImage:
    fields = {name: getattr(image, name) for name in GreyImage.__dataclass_fields__}
    return DisplayImage(**fields | {"windows": windows_of(image)}, source=source)


def windows_of(image: GreyImage) -> tuple[Window, ...]:
    """The image's presets. Without any: 0..255 for 8 bits; for 16 bits its own range,
    and without the darkest and brightest hundredth."""
    if image.windows:
        return image.windows
    if image.pixels.dtype == np.uint8:
        return (default_window(image),)
    low, high = np.percentile(inside(image), (1, 99), method="nearest")
    narrow = range_window(image, "1st to 99th percentile", float(low), float(high))
    return default_window(image), narrow


def _fit(image: GreyImage) -> GreyImage:
    """Shrink an image to at most 2048 a side, keeping its aspect and depth."""
    pixels, spacing = image.pixels, image.pixel_spacing_mm
    height, width = pixels.shape
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return image
    new = (max(1, round(height * scale)), max(1, round(width * scale)))
    grey = np.rint(_resized(pixels, new))
    shrunk: Pixels = grey.astype(np.uint8)
    if pixels.dtype == np.uint16:
        shrunk = grey.astype(np.uint16)
    if image.padding_value is not None:
        # What is a mixture of image and padding is neither; it counts as padding.
        padding = _resized(pixels == image.padding_value, new) > 0
        shrunk[padding] = image.padding_value
    if spacing is not None:
        spacing = (spacing[0] * height / new[0], spacing[1] * width / new[1])
    return replace(image, pixels=shrunk, pixel_spacing_mm=spacing)


def _resized(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    image = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR))
