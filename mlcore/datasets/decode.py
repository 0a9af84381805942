"""Decode image files at full depth, bring them to the table's size, many at a time.

Files are PNG, JPEG or TIFF with one image of 8 or 16 bits a channel; colour becomes
grey (ITU-R 601 luma, as Pillow does it), an alpha channel is dropped.
"""

import struct
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mlcore.datasets.table import ImageRecord, Mask, Pixels, TableError
from mlcore.datasets.write import TableImage

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

# Pillow warns of images above 89 megapixels and refuses twice as many. No radiograph
# comes near either, so the warning is an error too; as a filter it holds in any thread.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

# What Pillow raises for a file that is damaged somewhere inside; TypeError for a TIFF
# whose second image has no width.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read_image(path: Path) -> Pixels:
    """Decode the file at `path`: uint8 or uint16 (H, W), grey, at its own size.

    Raises:
        TableError: it is not there, is no image, is damaged, holds several images, is
            larger than 89 megapixels, or has a depth other than 8 or 16 bits.
    """
    try:
        with path.open("rb") as file:
            image = Image.open(file, formats=FORMATS)
            if image.format == "PNG":
                image.verify()  # checksums: decoding alone lets flipped bits pass
                file.seek(0)
                image = Image.open(file, formats=FORMATS)
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise TableError(f"{path} holds {frames} images; one a file is needed.")
            image.load()
            return _grey(image, path)
    except TableError:
        raise
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except UnidentifiedImageError:
        raise TableError(f"{path} is no PNG, JPEG or TIFF image.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TableError(
            f"{path} is larger than 89 megapixels (a decompression bomb?)."
        ) from None
    except _DAMAGED as error:
        raise TableError(f"{path} does not decode: {error}") from error


def _grey(image: Image.Image, path: Path) -> Pixels:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":  # 32 bits, or 16 in a file that Pillow could not tell
        wide = np.asarray(image)
        if wide.min() >= 0 and wide.max() <= np.iinfo(np.uint16).max:
            return wide.astype(np.uint16)
    if image.mode in ("I", "F"):
        raise TableError(f"{path} has 32 bits a pixel; 8 or 16 are read.")
    return np.asarray(image.convert("L"))


def read_mask(path: Path) -> Mask:
    """Decode a mask: bool (H, W), true where it exceeds half of its own maximum.

    That reads masks of 0 and 1, of 0 and 255, and with soft or compressed edges.

    Raises:
        TableError: as `read_image`, or nothing is inside.
    """
    pixels = read_image(path)
    if not pixels.any():
        raise TableError(f"The mask {path} is empty.")
    inside: Mask = pixels > pixels.max() / 2
    return inside


def to_uint8(pixels: Pixels, size: int) -> NDArray[np.uint8]:
    """Bring an image to uint8 (size, size).

    Both sides are resized, so a rectangle becomes a square, as in the paper. The filter
    is Pillow's bilinear one, which averages over all source pixels when it shrinks (the
    authors' `torchvision` resize uses the same). 16-bit images are first scaled from
    their own minimum and maximum to 0..255, since scanners leave most of the 16 bits
    unused; a constant image becomes 0. 8-bit images keep their values.
    """
    if pixels.dtype == np.uint8:
        if pixels.shape == (size, size):
            return pixels.astype(np.uint8)
        image = Image.fromarray(pixels)
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    low, high = float(pixels.min()), float(pixels.max())
    scale = 255 / (high - low) if high > low else 0.0
    image = Image.fromarray((pixels.astype(np.float32) - low) * np.float32(scale))
    resized = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    grey: NDArray[np.uint8] = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    return grey


def mask_to_size(mask: Mask, size: int) -> Mask:
    """Bring a mask to bool (size, size): the pixels of which at least half is inside.

    A lesion too small for that keeps the pixels it covers most.
    """
    if mask.shape == (size, size):
        return mask
    image = Image.fromarray(mask.astype(np.float32))
    share = np.asarray(image.resize((size, size), Image.Resampling.BOX))
    return (share > 0) & (share >= min(0.5, float(share.max())))


def prepare(record: ImageRecord, size: int) -> TableImage:
    """Decode one record and bring its image and masks to `size`."""
    pixels = record.pixels()
    height, width = pixels.shape
    masks = {}
    for finding, source in record.masks.items():
        mask = source() if callable(source) else source
        if mask.shape != pixels.shape:
            raise TableError(
                f"{record.image_id}: the mask of {finding} is {mask.shape[1]} x "
                f"{mask.shape[0]} pixels, the image {width} x {height}."
            )
        masks[finding] = mask_to_size(mask, size)
    return TableImage(
        record=record,
        pixels=to_uint8(pixels, size),
        width=width,
        height=height,
        masks=masks,
    )


def prepared(
    records: Iterable[ImageRecord], size: int, workers: int
) -> Iterator[TableImage]:
    """Decode `records` in `workers` threads, in their order.

    Threads suffice because Pillow releases the interpreter lock while it decodes and
    resizes. At most two images a worker are ahead of the consumer, so memory does not
    grow with the number of records.
    """
    return map_ahead(lambda record: prepare(record, size), records, workers)


def map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Iterator[_Result]:
    """`map(function, items)` in threads, in order, at most 2 x `workers` items ahead.

    The first exception ends it; calls that have not begun are dropped then.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
