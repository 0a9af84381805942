"""Pixel files of a case bundle: plain `.npy`, compared with what their manifest says.

A file comes from another machine and is not trusted; nothing in it is ever unpickled.
"""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from readerstudy.trial.policies import Refusal

IMAGE_DTYPES = ("uint8", "uint16")
OVERLAY_DTYPE = "int8"
MASK_DTYPE = "uint8"
# As the header of a .npy file names them, little-endian.
DESCRIPTIONS = {"uint8": "|u1", "uint16": "<u2", "int8": "|i1"}
ITEM_SIZES = {"uint8": 1, "uint16": 2, "int8": 1}
# A .npy header of these plain arrays takes 128 bytes.
LARGEST_HEADER = 4096


class BundleError(Refusal):
    """A bundle that cannot become a study: the file and what is wrong with it."""


@dataclass(frozen=True)
class PixelFile:
    """A `.npy` file of a bundle, as its manifest describes it."""

    path: Path
    sha256: str
    dtype: str
    height: int
    width: int


def checked_content(file: PixelFile) -> bytes:
    """The whole content of a file, once it is what the manifest says.

    Raises:
        BundleError: it is not.
    """
    path = file.path
    size = file.height * file.width * ITEM_SIZES[file.dtype]
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{path}: not a file.")
        if found.st_size > size + LARGEST_HEADER:
            raise BundleError(f"{path}: larger than its height and width allow.")
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}.") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise BundleError(f"{path}: its SHA-256 is not the one in the manifest.")
    try:
        pixels = raw_pixels(content, file.dtype, file.height, file.width)
    except ValueError as error:
        raise BundleError(f"{path}: {error}.") from error
    if file.dtype == OVERLAY_DTYPE and b"\x80" in pixels:
        raise BundleError(f"{path}: holds -128; a map's values are -127 to 127.")
    return content


def check_unsigned(file: PixelFile) -> None:
    """Refuse a map below zero, of an arm whose maps have no sign.

    Raises:
        BundleError: it has a value below 0.
    """
    content = checked_content(file)
    pixels = raw_pixels(content, file.dtype, file.height, file.width)
    if pixels.translate(None, bytes(range(128))):
        raise BundleError(f"{file.path}: below 0, but its arm's maps are unsigned.")


def raw_pixels(content: bytes, dtype: str, height: int, width: int) -> bytes:
    """The pixels in a `.npy` file of exactly this type and shape.

    numpy's own reader evaluates the header, fails on a broken one in ways that it does
    not document, and takes pickles and archives too. All that may stand there is one
    text, so it is compared, as format version 1.0 lays it down and numpy writes it.

    Returns:
        Little-endian pixels, row by row, height x width x item size bytes.

    Raises:
        ValueError: anything else is in the file.
    """
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("not a .npy file (version 1.0)")
    start = 10 + int.from_bytes(content[8:10], "little")
    found = content[10:start].strip()
    wanted = (
        f"{{'descr': '{DESCRIPTIONS[dtype]}', 'fortran_order': False, "
        f"'shape': ({height}, {width}), }}"
    )
    if found != wanted.encode():
        header = found[:100].decode("latin-1")
        raise ValueError(f"its header is {header!r}, not {wanted!r}")
    pixels = content[start:]
    if len(pixels) != height * width * ITEM_SIZES[dtype]:
        raise ValueError("more or fewer pixels than its height and width say")
    return pixels
