"""Decode image files at full depth.

PNG, JPEG and TIFF files hold one image of 8 or 16 bits a channel; colour becomes grey
(ITU-R 601 luma, as Pillow does it), an alpha channel is dropped.
"""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mlcore.datasets.record import GreyImage, Pixels
from mlcore.datasets.table import Mask, TableError

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


def read_grey(path: Path) -> GreyImage:
    """Decode the file at `path` as an image without a window of its own.

    Raises:
        TableError: as `read_image`.
    """
    return GreyImage(pixels=read_image(path))


def _grey(image: Image.Image, path: Path) -> Pixels:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":  # 32 bits, or 16 in a file that Pillow could not tell
        wide = np.asarray(image)
        if wide.min() >= 0 and wide.max() <= np.iinfo(np.uint16).max:
            return wide.astype(np.uint16)
    if image.mode in ("I", "F"):
        raise TableError(f"{path} has 32 bits a pixel; 8 or 16 are read.")
    return np.asarray(image if image.mode == "L" else image.convert("L"))


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
