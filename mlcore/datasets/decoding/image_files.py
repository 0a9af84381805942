"""Image files, decoded at full depth.

PNG, JPEG and TIFF files hold one image of 8 or 16 bits a channel; colour becomes grey
(ITU-R 601 luma, as Pillow does it), an alpha channel is dropped. NumPy files hold one
array (H, W) of uint8, uint16 or int16. DICOM files are read by `dicom`.
"""

import struct
import tokenize
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mlcore.datasets.decoding.dicom import read_dicom
from mlcore.datasets.decoding.dicom_file import is_dicom
from mlcore.datasets.decoding.dicom_pixels import MAX_PIXELS
from mlcore.datasets.decoding.grey_image import GreyImage, Pixels, Window
from mlcore.datasets.table import Mask, TableError

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

_ARRAYS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16), np.dtype(bool))
_PHOTOMETRIC = 262  # the tag of a TIFF file; its value 0 is WhiteIsZero
_HALF = 2**15  # makes int16 uint16

# Pillow warns of images above 89 megapixels and refuses twice as many. No radiograph
# comes near either, so the warning is an error too; as a filter it holds in any thread.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Of tags that are odd, and that nobody needs here.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

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
# What NumPy raises besides for a header that is no Python.
_DAMAGED_ARRAY = (
    *_DAMAGED,
    OverflowError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)


def read_image(path: Path) -> Pixels:
    """Decode the file at `path`: uint8 or uint16 (H, W), grey, at its own size,
    turned as its EXIF orientation says.

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
            # Pillow turns a TIFF itself. A mask and a reader's eyes expect it of all.
            if image.format != "TIFF" and "exif" in image.info:
                return _grey(ImageOps.exif_transpose(image), path)
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


def read_grey(
    path: Path, frame: int | None = None, window: Window | None = None
) -> GreyImage:
    """Decode the file at `path`: PNG, JPEG, TIFF, NumPy or DICOM.

    Args:
        frame: of a multi-frame DICOM file, from 1; other files hold one image.
        window: a default window, which comes before the file's own.

    Raises:
        TableError: as `read_image`, `read_array` and `dicom.read_dicom`.
    """
    if is_dicom(path):
        return read_dicom(path, frame, window)
    if frame not in (None, 1):
        raise TableError(f"{path} has no frame {frame}; only DICOM files have several.")
    windows = () if window is None else (window,)
    if path.suffix.lower() != ".npy":
        return GreyImage(pixels=read_image(path), windows=windows)
    array = read_array(path)
    if array.dtype == np.bool_:
        raise TableError(f"{path} is of bool; uint8, uint16 and int16 are read.")
    if array.dtype == np.int16:
        pixels = array.view(np.uint16) ^ np.uint16(_HALF)
        return GreyImage(
            pixels=pixels, rescale_intercept=-float(_HALF), windows=windows
        )
    return GreyImage(pixels=array, windows=windows)


def read_array(path: Path) -> NDArray[Any]:
    """Read a NumPy file: uint8, uint16, int16 or bool (H, W), in this machine's order
    of bytes. Nothing in it is ever unpickled.

    Raises:
        TableError: it is not there, is no such array, is truncated, or is larger than
            89 megapixels.
    """
    try:
        # As a map, so that a short file cannot ask for the memory of a large array.
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except _DAMAGED_ARRAY as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TableError(f"{path} does not decode: {reason}") from error
    if array.ndim != 2 or 0 in array.shape:
        raise TableError(f"{path} has shape {array.shape}; height x width is needed.")
    if array.size > MAX_PIXELS:
        raise TableError(f"{path} is larger than 89 megapixels.")
    kind = array.dtype.newbyteorder("=")
    if kind not in _ARRAYS:
        raise TableError(f"{path} is of {kind}; uint8, uint16 and int16 are read.")
    return np.array(array, dtype=kind, order="C")


def _grey(image: Image.Image, path: Path) -> Pixels:
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint16)
        # Pillow turns images of 8 bits over, and these not.
        return ~deep if _white_is_zero(image) else deep
    if image.mode == "I":  # 32 bits, or 16 in a file that Pillow could not tell
        wide = np.asarray(image)
        if wide.min() >= 0 and wide.max() <= np.iinfo(np.uint16).max:
            return wide.astype(np.uint16)
    if image.mode in ("I", "F"):
        raise TableError(f"{path} has 32 bits a pixel; 8 or 16 are read.")
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _white_is_zero(image: Image.Image) -> bool:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags.get(_PHOTOMETRIC) == 0


def read_mask(path: Path) -> Mask:
    """Decode a mask: bool (H, W), true where it exceeds half of its own maximum.

    That reads masks of 0 and 1, of 0 and 255, and with soft or compressed edges.

    Raises:
        TableError: as `read_image` or `read_array`, or nothing is inside.
    """
    array = path.suffix.lower() == ".npy"
    pixels: NDArray[Any] = read_array(path) if array else read_image(path)
    if pixels.dtype not in (np.bool_, np.uint8, np.uint16):
        raise TableError(f"The mask {path} is of {pixels.dtype}; bool is read.")
    if not pixels.any():
        raise TableError(f"The mask {path} is empty.")
    inside: Mask = pixels if pixels.dtype == np.bool_ else pixels > pixels.max() / 2
    return inside
