"""DICOM pixel data: the stored values, from whatever they are compressed with.

Transfer syntaxes of pydicom and its pylibjpeg plug-ins are read: little and big endian,
deflated, JPEG, JPEG-LS, JPEG 2000 and RLE.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlcore.datasets.decoding.dicom_file import IMAGE_TAGS, opened, printable
from mlcore.datasets.decoding.grey_image import Pixels
from mlcore.datasets.table import TableError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Where Pillow begins to suspect a decompression bomb; see `image_files`.
MAX_PIXELS = 89_478_485

_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_420",
    "YBR_ICT",
    "YBR_RCT",
)
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_END_OF_ITEMS = b"\xfe\xff\xdd\xe0"
# The frame headers of JPEG (SOF0 to SOF15 without DHT, JPG, DAC) and of JPEG-LS.
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, eq=False)
class StoredImage:
    """One frame as it is stored, and what else the file says.

    Attributes:
        header: the attributes of `IMAGE_TAGS` that the file has.
        index: of the frame, from 0.
        pixels: uint8 (up to 8 bits stored) or uint16, (H, W). Signed values have
            `offset` added; bits that are not stored are zero. Colour became luma.
        offset: half the range for signed values, else 0.
        monochrome: whether the attributes on grey levels apply.
    """

    header: "Dataset"
    index: int
    pixels: Pixels
    offset: int
    monochrome: bool


def read_stored(path: Path, frame: int | None) -> StoredImage:
    """Decode frame `frame` (from 1) of the file; call it inside `dicom_file.reading`.

    Of a multi-frame file only the frame wanted is read.

    Raises:
        TableError: see `dicom.read_dicom`.
    """
    with opened(path, IMAGE_TAGS) as (header, stream):
        if str(header.get("BurnedInAnnotation")).upper() == "YES":
            raise TableError(
                f"{path} has writing burned into its pixels (BurnedInAnnotation YES), "
                "which may name the patient; it is not read."
            )
        syntax = _transfer_syntax(path, header)
        _check_form(path, header)
        index = _frame_index(path, header, frame)
        array = _decode(path, header, stream, syntax, index)
    if header.SamplesPerPixel == 3:
        return StoredImage(header, index, _luma(array), 0, monochrome=False)
    pixels, offset = _unsigned(header, array, native=not syntax.is_encapsulated)
    return StoredImage(header, index, pixels, offset, monochrome=True)


def _transfer_syntax(path: Path, header: "Dataset") -> Any:
    """The UID; guessed from the encoding where the file has no meta information."""
    from pydicom import uid

    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = header.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        syntax = uid.ImplicitVRLittleEndian if implicit else explicit
        header.file_meta.TransferSyntaxUID = syntax
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise TableError(
            f"{path} has an unknown transfer syntax ({printable(str(syntax), 64)})."
        )
    return syntax


def _check_form(path: Path, header: "Dataset") -> None:
    """Refuse, before anything is decoded, what is no grey or colour image of 8 to 16
    bits, or is too large."""
    if "Rows" not in header and "Columns" not in header:
        raise TableError(f"{path} is a DICOM file without an image.")
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel"):
        if not isinstance(header.get(name), int) or header[name].value < 1:
            raise TableError(f"{path} has no valid {name}.")
    if header.Rows * header.Columns > MAX_PIXELS:
        raise TableError(
            f"{path} is larger than 89 megapixels (a decompression bomb?)."
        )
    allocated, stored = header.BitsAllocated, header.BitsStored
    if allocated not in (8, 16):
        raise TableError(f"{path} has {allocated} bits a pixel; 8 or 16 are read.")
    if not stored <= header.get("HighBit", stored - 1) + 1 <= allocated:
        raise TableError(f"{path}: BitsStored, HighBit and BitsAllocated disagree.")
    kind = header.get("PhotometricInterpretation", "")
    colour = header.SamplesPerPixel == 3 and kind in _COLOUR and allocated == 8
    if not colour and not (header.SamplesPerPixel == 1 and kind in _MONOCHROME):
        shown = f"{printable(str(kind), 16)} with {header.SamplesPerPixel}"
        raise TableError(
            f"{path} is {shown} x {allocated} bits; "
            "monochrome images and colour of 3 x 8 bits are read."
        )


def _frame_index(path: Path, header: "Dataset", frame: int | None) -> int:
    count = int(header.get("NumberOfFrames") or 1)
    if frame is None and count > 1:
        raise TableError(
            f"{path} holds {count} frames: name one in each row, in a column "
            '"frame" (from 1).'
        )
    number = 1 if frame is None else frame
    if not 1 <= number <= count:
        raise TableError(f"{path} has no frame {number}; it holds {count}.")
    return number - 1


def _decode(
    path: Path, header: "Dataset", stream: BinaryIO, syntax: Any, index: int
) -> NDArray[Any]:
    """One frame as pydicom decodes it, (H, W) or (H, W, 3)."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import RLELossless

    vr, length = _enter_pixels(path, stream, header.original_encoding[1])
    # Bits that are not stored are removed below, high bit and all.
    options = as_pixel_options(
        header,
        transfer_syntax_uid=syntax,
        pixel_keyword="PixelData",
        pixel_vr=vr,
        correct_unused_bits=False,
        view_only=True,  # what is made of it is a copy anyway
    )
    if syntax.is_encapsulated != (length == _UNDEFINED):
        raise TableError(f"{path}: its pixels are not in its transfer syntax.")
    if syntax.is_encapsulated:
        _check_items(path, stream)
        _check_codestream(path, header, stream, options, index)
    else:
        _check_length(path, header, stream, length)
    # pylibjpeg's RLE decoder panics over damaged data: a Rust traceback on the screen
    # and no Exception. pydicom's own takes 7 ms instead of 2 for 512 x 512 pixels.
    plugin = "pydicom" if syntax == RLELossless else "pylibjpeg"
    array: NDArray[Any]
    array, _ = get_decoder(syntax).as_array(
        stream,
        index=index,
        decoding_plugin=plugin if syntax.is_encapsulated else "",
        **options,
    )
    return array


def _enter_pixels(path: Path, stream: BinaryIO, little: bool | None) -> tuple[str, int]:
    """Bring `stream` to the first byte of the pixels; their VR and length.

    Some files are encoded with implicit VR where their transfer syntax is explicit.
    """
    order = "<" if little else ">"
    head = stream.read(8)
    if len(head) < 8:
        raise TableError(f"{path} has no pixel data, or is truncated.")
    tag = struct.unpack(f"{order}HH", head[:4])
    if tag != (0x7FE0, 0x0010):
        raise TableError(f"{path} has pixels of floating point; 8 or 16 bits are read.")
    explicit = head[4:6] in (b"OB", b"OW", b"UN")
    size = stream.read(4) if explicit else head[4:]
    (length,) = struct.unpack(f"{order}L", size)
    return head[4:6].decode() if explicit else "OW", length


def _remaining(stream: BinaryIO) -> int:
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end - here


def _check_length(path: Path, header: "Dataset", stream: BinaryIO, length: int) -> None:
    from pydicom.pixels.utils import get_expected_length

    expected = get_expected_length(header)
    there = min(length, _remaining(stream))
    # More is no harm: some writers pad the pixels.
    if there < expected:
        raise TableError(
            f"{path} is truncated: {there} bytes of pixels, and {expected} are needed."
        )


def _check_items(path: Path, stream: BinaryIO) -> None:
    """Walk over the compressed fragments; decoders take half of one for a whole."""
    start, left = stream.tell(), _remaining(stream)
    while left >= 8:
        head = stream.read(8)
        if head[:4] == _END_OF_ITEMS:
            break
        (length,) = struct.unpack("<L", head[4:])
        left -= 8 + length
        if head[:4] != _ITEM or left < 0:
            raise TableError(f"{path} is truncated or damaged within its pixels.")
        stream.seek(length, os.SEEK_CUR)
    stream.seek(start)


def _check_codestream(
    path: Path,
    header: "Dataset",
    stream: BinaryIO,
    options: dict[str, Any],
    index: int,
) -> None:
    """The compressed image must be as large as the header says: decoders ask for the
    memory of what the compressed image says."""
    from pydicom.encaps import get_frame

    start = stream.tell()
    frame = get_frame(
        stream,
        index,
        number_of_frames=options["number_of_frames"],
        extended_offsets=options.get("extended_offsets"),
    )
    stream.seek(start)
    size = codestream_size(frame)
    if size is not None and size != (header.Rows, header.Columns):
        raise TableError(
            f"{path}: its compressed image is {size[1]} x {size[0]} pixels, its header "
            f"says {header.Columns} x {header.Rows}."
        )


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 image gives itself.

    None if it is none of these (as RLE), or leaves its height open.
    """
    siz = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # behind the boxes of a JP2 file
    if siz >= 0:
        x1, y1, x0, y0 = struct.unpack_from(">4L", frame, siz + 8)
        return y1 - y0, x1 - x0
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        if frame[at + 1] in _FRAME_MARKERS:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return (rows, columns) if rows else None
        at += 1 if frame[at + 1] == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4])
    return None


def _unsigned(
    header: "Dataset", array: NDArray[Any], *, native: bool
) -> tuple[Pixels, int]:
    """Stored values without the bits around them, signed ones with an offset."""
    bits = header.BitsStored
    native_order = array.astype(array.dtype.newbyteorder("="), copy=False)
    values = native_order.view(f"u{array.itemsize}")
    below = header.get("HighBit", bits - 1) + 1 - bits
    if native and below:
        values = values >> below
    kind: type[np.uint8 | np.uint16] = np.uint8 if bits <= 8 else np.uint16
    # Each copy costs as much as reading the pixels did.
    pixels: Pixels = (values & (2**bits - 1)).astype(kind, copy=False)
    if header.get("PixelRepresentation", 0) != 1:
        return pixels, 0
    offset = 2 ** (bits - 1)
    pixels ^= kind(offset)
    return pixels, offset


def _luma(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(array.astype(np.uint8)).convert("L"))
