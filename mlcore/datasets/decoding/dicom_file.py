"""DICOM files, opened to read no more of them than an image needs.

Only the attributes of `IMAGE_TAGS` are ever read, and the pixels: no names, no dates,
no identifiers, no private attributes. (`PatientID` is read for the study's own hash,
and for nothing else, see `dicom_patient`.) Of the functional groups of a multi-frame
file only the items named in `dicom` are looked at.
"""

import io
import logging
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mlcore.datasets.table import TableError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

SUFFIXES = (".dcm", ".dicom")
_OTHERS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
IMAGE_TAGS = (
    # what and how it was taken
    "Modality",
    "ViewPosition",
    "BurnedInAnnotation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    # the pixels' form
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    # from pixels to grey
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "VOILUTFunction",
    "VOILUTSequence",
    "PresentationLUTShape",
    # the same by frame
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)

# A deflated data set is decompressed as a whole; beyond this it is refused.
MAX_DEFLATED_BYTES = 2**30

_PREAMBLE = 128
_HEAD = 4096
_DEFLATED = b"1.2.840.10008.1.2.1.99"
# A file without a preamble begins with group 2 or 8, in either order of bytes.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
# The libraries that decode for pydicom warn and log under their own names.
_LIBRARIES = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg")
# Python's warning filters and loggers belong to the whole process.
_QUIET = threading.RLock()


def is_dicom(path: Path) -> bool:
    """Whether the file is to be read as DICOM: by its suffix, or by the "DICM" at byte
    128 where the suffix tells nothing (IM.0001, or an identifier with dots)."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or (suffix not in _OTHERS and _has_preamble(path))


@contextmanager
def reading(path: Path, *, quoting: bool = True) -> Iterator[None]:
    """What pydicom and its plug-ins raise becomes one line; what they warn is dropped.

    Args:
        quoting: whether their message may be told, which can hold what they read.

    Raises:
        TableError: whatever happens inside. Decoders written in C or for pydicom raise
            any kind of exception for a damaged file.
    """
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    with _QUIET, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="|".join(_LIBRARIES))
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        except TableError:
            raise
        except FileNotFoundError:
            raise TableError(f"{path} is missing.") from None
        except MemoryError:
            raise TableError(f"{path} needs more memory than there is.") from None
        except Exception as error:  # noqa: BLE001  see above
            message = printable(str(error), 300) if quoting else ""
            reason = message or type(error).__name__
            raise TableError(f"{path} does not decode: {reason}") from None
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def opened(path: Path, tags: tuple[str, ...]) -> "Iterator[tuple[Dataset, BinaryIO]]":
    """The attributes `tags` of a file, and a stream at its pixels' element.

    Use it inside `reading`. A deflated file comes as what it was before.

    Raises:
        TableError: it is no DICOM file. (Without a preamble, it must begin like one.)
    """
    from pydicom import dcmread

    with path.open("rb") as file:
        head = file.read(_HEAD)
        whole = head[_PREAMBLE:].startswith(b"DICM")
        if not whole and head[:2] not in _FIRST_GROUPS:
            raise TableError(f"{path} is no DICOM file.")
        deflated = whole and _DEFLATED in head
        stream = _inflated(path, file) if deflated else file
        stream.seek(0)
        header = dcmread(
            stream, stop_before_pixels=True, force=True, specific_tags=_numbers(tags)
        )
        yield header, stream


@cache
def _numbers(keywords: tuple[str, ...]) -> "list[BaseTag]":
    """Their tags, which pydicom would look up anew for every file."""
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in keywords]


def _inflated(path: Path, file: BinaryIO) -> BinaryIO:
    """The data set of a deflated file, without its meta information."""
    from pydicom.filereader import read_file_meta_info

    # The meta information is not deflated; its first element gives its length.
    length = read_file_meta_info(path).FileMetaInformationGroupLength
    file.seek(_PREAMBLE + 4 + 12 + length)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflate.decompress(file.read(), MAX_DEFLATED_BYTES)
    if inflate.unconsumed_tail:
        raise TableError(
            f"{path} is larger than 1 GiB once decompressed (a decompression bomb?)."
        )
    if not inflate.eof:
        raise TableError(f"{path} is truncated.")
    return io.BytesIO(content)


def _has_preamble(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def printable(text: str, most: int) -> str:
    """The first `most` characters of `text` as one line that can be printed."""
    plain = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return plain[:most]
