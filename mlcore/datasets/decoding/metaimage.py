"""MetaImage volumes (`.mhd` with `.raw` or `.zraw`): where a point lies, and slices.

Not by SimpleITK, whose reader takes a misspelt offset for 0, follows a header to any
file, and returns other values from damaged compressed data (all seen with 2.5.7).
Coordinates in the world are millimetres in the order x, y, z; voxels are counted i, j,
k along the same axes, so an array of the volume is indexed [k, j, i].
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.table import TableError

Point = tuple[float, float, float]
Voxel = tuple[int, int, int]

# Bytes of a value. Hounsfield units are signed: air has about -1000.
ELEMENT_SIZES = {"MET_SHORT": 2, "MET_INT": 4}
MAX_SIDE = 4096  # voxels; the largest chest scans have about 1000 slices
_MAX_HEADER = 1 << 16  # bytes; an official header has about 400
_CHUNK = 1 << 20  # bytes
# How many numbers the fields of the geometry hold.
_NUMBERS = {"Offset": 3, "ElementSpacing": 3, "TransformMatrix": 9}
_LINE = re.compile(r"([A-Za-z][A-Za-z0-9_]*) *= *(.*?)\s*")


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume on disk; no voxel has been read.

    Attributes:
        path: of the `.mhd` file.
        data: path of the file with the voxels, in the same folder.
        size: number of voxels along x, y and z.
        origin: of the centre of the first voxel, in mm.
        spacing: of voxels, in mm.
        direction: (3, 3); its columns are the directions of the voxel axes.
        element: type of a stored value, with its byte order.
        compressed: whether the data are one zlib stream.
    """

    path: Path
    data: Path
    size: Voxel
    origin: NDArray[np.float64]
    spacing: NDArray[np.float64]
    direction: NDArray[np.float64]
    element: np.dtype[np.signedinteger[Any]]
    compressed: bool

    def continuous_index(self, point: Point) -> NDArray[np.float64]:
        """Where `point` lies in voxels: float64 (3,); whole at the centre of a voxel.

        inv(D) (point - origin) / spacing, so axes that run backwards come out right.
        """
        offset = np.asarray(point, dtype=np.float64) - self.origin
        steps: NDArray[np.float64] = np.linalg.inv(self.direction) @ offset
        return steps / self.spacing

    def voxel(self, point: Point) -> Voxel | None:
        """The voxel (i, j, k) that holds `point`; None outside the volume."""
        # Halves go up, as in ITK; numpy's `round` takes them to the even number.
        index = np.floor(self.continuous_index(point) + 0.5)
        if (index < 0).any() or (index >= self.size).any():
            return None
        i, j, k = (int(number) for number in index)
        return i, j, k


def open_volume(path: Path) -> Volume:
    """Read the header of the volume at `path` and check that its voxels are all there.

    Raises:
        TableError: it is missing, is no header of a 3-D scan of signed whole numbers,
            or its data file is missing, too short or not beside it.
    """
    fields = _read_header(path)
    _require(path, fields)
    geometry = {name: _numbers(path, fields, name) for name in _NUMBERS}
    if geometry["ElementSpacing"].min() <= 0:
        raise TableError(f"{path}: ElementSpacing must be above 0.")
    matrix = geometry["TransformMatrix"].reshape(3, 3)
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3):
        raise TableError(f"{path}: the axes of TransformMatrix are not perpendicular.")
    volume = Volume(
        path=path,
        size=_size(path, fields),
        data=_data_file(path, fields),
        origin=geometry["Offset"],
        spacing=geometry["ElementSpacing"],
        direction=matrix.T,  # the header writes one axis after the other
        element=_element(fields),
        compressed=_flag(fields, "CompressedData"),
    )
    needed = int(np.prod(volume.size, dtype=np.int64)) * volume.element.itemsize
    stored = volume.data.stat().st_size
    if not volume.compressed and stored < needed:
        raise TableError(
            f"{volume.data} has {stored} bytes, but {path.name} says {needed}; it is "
            "cut off. Copy it again."
        )
    return volume


def read_slice(
    volume: Volume, k: int, corner: tuple[int, int], shape: tuple[int, int]
) -> NDArray[np.int16]:
    """A rectangle of slice `k` as int16, of `shape` (rows, columns).

    Of an uncompressed volume only that slice is read; a compressed one is inflated
    whole (0.8 s for 300 slices of 512 x 512).

    Args:
        corner: the upper left corner as row j and column i.

    Raises:
        TableError: the rectangle leaves the volume, the data are damaged, or a value
            does not fit into 16 bits.
    """
    (top, left), (rows, columns) = corner, shape
    width, height, depth = volume.size
    if not (0 <= k < depth and top + rows <= height and left + columns <= width):
        raise TableError(
            f"{volume.path} is {width} x {height} x {depth} voxels; it has no "
            f"{columns} x {rows} at column {left}, row {top}, slice {k}."
        )
    values = _inflated_slice(volume, k) if volume.compressed else _slice(volume, k)
    values = values[top : top + rows, left : left + columns]
    limits = np.iinfo(np.int16)
    if values.min() < limits.min or values.max() > limits.max:
        raise TableError(f"{volume.path} has values beyond 16 bits; they are no HU.")
    return values.astype(np.int16)


def _read_header(path: Path) -> dict[str, str]:
    """The fields of a header, up to and with ElementDataFile, which ends it.

    Anything but `key = value` once a key is refused.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_HEADER).decode("ascii")
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is no MetaImage header: it is not text.") from None
    fields: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or match[1] in fields:
            raise TableError(
                f"{path} line {number}: not a field of a MetaImage header, or a second "
                "time."
            )
        fields[match[1]] = match[2]
        if match[1] == "ElementDataFile":
            break
    return fields


def _require(path: Path, fields: Mapping[str, str]) -> None:
    """Raise TableError for a kind of image that is not read."""
    read = {
        "NDims": "3",
        "BinaryData": "True",
        "HeaderSize": "0",
        "ElementNumberOfChannels": "1",
    }
    given = {"HeaderSize": "0", "ElementNumberOfChannels": "1"} | dict(fields)
    for name, value in read.items():
        if given.get(name, "").lower() != value.lower():
            raise TableError(
                f'{path}: {name} is "{given.get(name, "")}"; only {value} is read.'
            )
    if fields.get("ElementType") not in ELEMENT_SIZES:
        raise TableError(
            f'{path}: ElementType is "{fields.get("ElementType", "")}"; Hounsfield '
            f"units are read from {' or '.join(ELEMENT_SIZES)}."
        )


def _numbers(path: Path, fields: Mapping[str, str], name: str) -> NDArray[np.float64]:
    text = fields.get(name, "")
    try:
        numbers = np.array([float(number) for number in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != _NUMBERS[name] or not np.isfinite(numbers).all():
        raise TableError(
            f'{path}: {name} is "{text}"; it must be {_NUMBERS[name]} numbers.'
        )
    return numbers


def _flag(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "False").lower() == "true"


def _element(fields: Mapping[str, str]) -> np.dtype[np.signedinteger[Any]]:
    names = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    order = ">" if any(_flag(fields, name) for name in names) else "<"
    return np.dtype(f"{order}i{ELEMENT_SIZES[fields['ElementType']]}")


def _size(path: Path, fields: Mapping[str, str]) -> Voxel:
    text = fields.get("DimSize", "")
    if re.fullmatch(r"[0-9]{1,6} +[0-9]{1,6} +[0-9]{1,6}", text):
        x, y, z = (int(number) for number in text.split())
        if min(x, y, z) > 0 and max(x, y, z) <= MAX_SIDE:
            return x, y, z
    raise TableError(
        f'{path}: DimSize is "{text}"; it must be three numbers from 1 to {MAX_SIDE}.'
    )


def _data_file(path: Path, fields: Mapping[str, str]) -> Path:
    """The data file, which must be one file beside the header."""
    name = fields.get("ElementDataFile", "")
    # A per cent sign makes a pattern of the name; LIST and LOCAL are keywords.
    if name in ("", ".", "..", "LIST", "LOCAL") or re.search(r"[/\\%:]", name):
        raise TableError(
            f'{path}: ElementDataFile is "{name}"; it must be the name of one file '
            "in the same folder."
        )
    if not (path.parent / name).is_file():
        raise TableError(f"{path.parent / name}, the data of {path.name}, is missing.")
    return path.parent / name


def _slice(volume: Volume, k: int) -> NDArray[Any]:
    """Slice `k` (rows, columns) of an uncompressed volume."""
    columns, rows, _ = volume.size
    first = k * rows * columns * volume.element.itemsize
    try:
        values = np.fromfile(volume.data, volume.element, rows * columns, offset=first)
        return values.reshape(rows, columns)
    # ValueError: the file has become shorter since the header was read.
    except (OSError, ValueError) as error:
        raise TableError(f"{volume.data} does not read: {error}") from error


def _inflated_slice(volume: Volume, k: int) -> NDArray[Any]:
    """Slice `k` (rows, columns) of a compressed volume, in the memory of one slice.

    Inflated to the end, where the checksum is.
    """
    columns, rows, depth = volume.size
    count = columns * rows * volume.element.itemsize
    start, end, whole = k * count, (k + 1) * count, depth * count
    position, kept, stream = 0, bytearray(), zlib.decompressobj()
    try:
        with volume.data.open("rb") as file:
            while not stream.eof and position <= whole:
                chunk = stream.unconsumed_tail or file.read(_CHUNK)
                if not chunk:
                    break
                piece = stream.decompress(chunk, _CHUNK)
                kept += piece[max(0, start - position) : max(0, end - position)]
                position += len(piece)
    except zlib.error as error:
        raise TableError(f"{volume.data} does not inflate: {error}") from error
    if not stream.eof or position != whole:
        raise TableError(f"{volume.data} does not hold the {whole} bytes it should.")
    return np.frombuffer(kept, volume.element).reshape(rows, columns)
