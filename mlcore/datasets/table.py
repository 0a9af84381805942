"""The image table: the one form in which every step after the import reads images.

A table is a folder:

- `dataset.json` says what it is and holds the SHA-256 of the other files.
- `images.npy` uint8 (N, S, S), S = `image_size` pixels a side; read as a memory map.
- `labels.npy` float32 (N, C): 1 present, 0 absent, NaN not known.
- `table.csv` one row per image, in the order of the images.
- `boxes.csv` (if the source has boxes) as fractions of width and height.
- `masks.npy` uint8 (M, S, S) with `masks.csv` (if the source has masks): row `index`
  of the array is the mask of one finding on one image, or of a `marker` on it.
- `manifest.csv` every source file that was read, below the source's folder, with its
  SHA-256, or with the problem for which its image was left out.

Nothing but NumPy and the standard library is needed: the engine opens tables on
machines where neither Django nor Pillow is installed.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.files import canonical_json, read_json, sha256_bytes, sha256_file

SCHEMA_VERSION = 1
SPLITS = ("train", "dev", "test")
REQUIRED_COLUMNS = (
    "image_id",
    "patient_id",
    "split",
    "source_path",
    "width",
    "height",
)
# Spacing is the height and the width of a pixel of the source image.
OPTIONAL_COLUMNS = ("view", "age", "sex", "row_spacing_mm", "column_spacing_mm")
BOX_COLUMNS = ("image_id", "finding", "x", "y", "w", "h")
MASK_COLUMNS = ("image_id", "finding", "index")
MANIFEST_COLUMNS = ("path", "sha256", "problem")
# Masks under this name are of a letter or the like on the image, which is no finding.
MARKER = "marker"
# Hashing pixels takes minutes on a large table; `verify_table` does it on request.
PIXEL_FILES = ("images.npy", "masks.npy")
# Rows held at once. Python looks for garbage after 700 new objects: with all rows held
# until the last, that took half of the time.
_HANDFUL = 128

Mask = NDArray[np.bool_]


# `volumes/17.mhd#20,30,40` is a part of the file `volumes/17.mhd`.
_ADDRESS = re.compile(r"(.+)#([0-9]+(?:,[0-9]+)*)", re.DOTALL)


class TableError(ValueError):
    """What is wrong with a source or a table, in one line for its user."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle around a finding, in fractions of the image's width and height.

    `x`, `y` is the upper left corner; all four lie in [0, 1].
    """

    finding: str
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class MaskSet:
    """The masks of a table: exact outlines of a finding, or of a marker, on an image.

    Attributes:
        pixels: uint8 (M, S, S), 1 inside and 0 outside; a memory map.
        rows: row of `pixels` by (image_id, finding).
    """

    pixels: NDArray[np.uint8]
    rows: Mapping[tuple[str, str], int]

    def get(self, image_id: str, finding: str) -> Mask | None:
        """The mask of `finding` on the image, bool (S, S), or None if there is none."""
        row = self.rows.get((image_id, finding))
        return None if row is None else self.pixels[row].astype(bool)


@dataclass(frozen=True, eq=False)
class ImageTable:
    """An opened image table. Arrays are read-only.

    Attributes:
        folder: where it lies.
        name, modality: as given at the import.
        classes: names of the findings, in the order of the labels' columns.
        image_size: pixels a side.
        images: uint8 (N, S, S), a memory map.
        labels: float32 (N, C): 1, 0 or NaN (not known).
        columns: each column of `table.csv` as strings, aligned with the images.
        source_format: the format it was imported from, or empty.
        source_root: folder of the sources on the machine of the import, or empty.
        source_digest: stands for the source and the options of the import, or empty.
        options: of the import, those that tell how an image is read among them.
        counts: by split: images, patients, and positive and unknown labels by class.
        sha256: stands for the table's content; the same on every machine.
    """

    folder: Path
    name: str
    modality: str
    classes: tuple[str, ...]
    image_size: int
    images: NDArray[np.uint8]
    labels: NDArray[np.float32]
    columns: Mapping[str, tuple[str, ...]]
    source_format: str
    source_root: str
    source_digest: str
    options: Mapping[str, Any]
    counts: Mapping[str, Any]
    sha256: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_ids(self) -> tuple[str, ...]:
        return self.columns["image_id"]

    @property
    def patient_ids(self) -> tuple[str, ...]:
        return self.columns["patient_id"]

    @property
    def splits(self) -> tuple[str, ...]:
        return self.columns["split"]

    @property
    def source_paths(self) -> tuple[str, ...]:
        return self.columns["source_path"]

    @cached_property
    def _split_array(self) -> NDArray[np.str_]:
        return np.array(self.splits)

    def split_indices(self, split: str) -> NDArray[np.int64]:
        """Rows of `split` (`train`, `dev` or `test`), ascending; may be empty."""
        if split not in SPLITS:
            raise TableError(f'Unknown split "{split}"; known: {", ".join(SPLITS)}.')
        return np.flatnonzero(self._split_array == split).astype(np.int64)

    def source_file(self, index: int, root: Path | None = None) -> Path | None:
        """Path of row `index`'s source below `root` (default: as at the import).

        None if the image was never a file or the import's folder is not known. The
        file need not exist.
        """
        relative = split_address(self.source_paths[index])[0]
        base = root or (Path(self.source_root) if self.source_root else None)
        if not relative or base is None:
            return None
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts:
            raise TableError(f'source_path "{relative}" leaves the source folder.')
        return base / parts

    def boxes(self) -> dict[str, tuple[Box, ...]]:
        """Boxes by image_id; empty if the table has none."""
        path = self.folder / "boxes.csv"
        boxes: dict[str, tuple[Box, ...]] = {}
        if not path.exists():
            return boxes
        rows = _read_columns(path, BOX_COLUMNS)
        for image_id, finding, *numbers in zip(
            *(rows[c] for c in BOX_COLUMNS), strict=True
        ):
            box = Box(finding, *(float(number) for number in numbers))
            boxes[image_id] = (*boxes.get(image_id, ()), box)
        return boxes

    def masks(self) -> MaskSet | None:
        """The masks, or None if the table has none."""
        if not (self.folder / "masks.csv").exists():
            return None
        rows = _read_columns(self.folder / "masks.csv", MASK_COLUMNS)
        pixels = _load_array(self.folder / "masks.npy", np.dtype(np.uint8), mapped=True)
        size = self.image_size
        if pixels.shape != (len(rows["index"]), size, size):
            raise TableError(f"masks.npy of {self.folder} does not match masks.csv.")
        keys = zip(rows["image_id"], rows["finding"], strict=True)
        return MaskSet(pixels, dict(zip(keys, map(int, rows["index"]), strict=True)))


def open_table(folder: Path) -> ImageTable:
    """Open the image table in `folder`.

    Shapes, columns, labels, splits and the hashes of the small files are checked;
    pixels are not (see `verify_table`). 191,027 images open in well under two seconds.

    Raises:
        TableError: what is missing or wrong, and in which file.
    """
    info = _read_info(folder)
    size, classes = info["image_size"], tuple(info["classes"])
    images = _load_array(folder / "images.npy", np.dtype(np.uint8), mapped=True)
    labels = _load_array(folder / "labels.npy", np.dtype(np.float32), mapped=False)
    columns = _read_columns(folder / "table.csv", REQUIRED_COLUMNS)
    count = len(columns["image_id"])
    for name, array, shape in (
        ("images.npy", images, (count, size, size)),
        ("labels.npy", labels, (count, len(classes))),
    ):
        if array.shape != shape:
            raise TableError(
                f"{folder / name} has shape {array.shape}, expected {shape} "
                "from table.csv and dataset.json."
            )
    _check_rows(folder, columns, labels)
    _check_hashes(folder, info["files"], skip=PIXEL_FILES)
    return ImageTable(
        folder=folder,
        name=info["name"],
        modality=info["modality"],
        classes=classes,
        image_size=size,
        images=images,
        labels=labels,
        columns=columns,
        source_format=str(info.get("source_format", "")),
        source_root=info["source_root"],
        source_digest=str(info.get("source_digest", "")),
        options=dict(info.get("options", {})),
        counts=info["counts"],
        sha256=info["sha256"],
    )


def verify_table(folder: Path) -> ImageTable:
    """Open the table in `folder` and compare every file's hash, pixels included."""
    table = open_table(folder)
    _check_hashes(folder, _read_info(folder)["files"], skip=())
    return table


def content_sha256(info: Mapping[str, Any]) -> str:
    """The table's own SHA-256, from the content of its `dataset.json`.

    Only what defines the content counts, so that the same table has the same hash on
    every machine and under every name.
    """
    keys = ("schema_version", "modality", "classes", "image_size", "files")
    return sha256_bytes(canonical_json({key: info[key] for key in keys}))


def split_address(source_path: str) -> tuple[str, tuple[int, ...]]:
    """The file of a `source_path`, and the numbers that name a part of it.

    >>> split_address("volumes/17.mhd#20,30,40")
    ('volumes/17.mhd', (20, 30, 40))
    """
    match = _ADDRESS.fullmatch(source_path)
    if match is None:
        return source_path, ()
    return match[1], tuple(int(number) for number in match[2].split(","))


def check_patients(patient_ids: Sequence[str], splits: Sequence[str]) -> None:
    """Raise TableError if the images of one patient lie in two splits."""
    seen = dict(zip(patient_ids, splits, strict=True))
    for patient, split in zip(patient_ids, splits, strict=True):
        if seen[patient] != split:
            raise TableError(
                f'Patient "{patient}" is in two splits ({split} and {seen[patient]}); '
                "a patient belongs to one."
            )


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not path.exists():
        raise TableError(f"{folder} is no image table: no dataset.json.")
    info = read_json(path, TableError)
    expected: dict[str, type] = {
        "schema_version": int,
        "name": str,
        "modality": str,
        "classes": list,
        "image_size": int,
        "counts": dict,
        "source_root": str,
        "files": dict,
        "sha256": str,
    }
    for key, kind in expected.items():
        if not isinstance(info.get(key), kind):
            raise TableError(f'{path}: "{key}" is missing or of the wrong type.')
    if info["schema_version"] != SCHEMA_VERSION:
        raise TableError(
            f"{path} has schema_version {info['schema_version']}; this version reads "
            f"{SCHEMA_VERSION}. Import the source again."
        )
    if not info["classes"] or len(set(info["classes"])) != len(info["classes"]):
        raise TableError(f"{path}: classes must be one or more different names.")
    if info["sha256"] != content_sha256(info):
        raise TableError(f"{path} was changed by hand: its sha256 does not match.")
    return info


def _load_array(path: Path, dtype: np.dtype[Any], *, mapped: bool) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except (OSError, ValueError, EOFError) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TableError(f"{path} must be an array of {dtype}.")
    array.flags.writeable = False
    return array


def _read_columns(path: Path, required: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """A CSV file by columns: half the time and memory of a dictionary per row."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            columns: list[list[str]] = [[] for _ in header]
            while handful := list(islice(rows, _HANDFUL)):
                if {len(row) for row in handful} != {len(header)}:
                    raise TableError(f"{path}: rows and header have different lengths.")
                for column, cells in zip(
                    columns, zip(*handful, strict=True), strict=True
                ):
                    column.extend(cells)
    except TableError:
        raise
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    if not columns or not columns[0]:
        raise TableError(f"{path} has no rows.")
    for name in required:
        if name not in header:
            raise TableError(f'{path} has no column "{name}".')
    return dict(zip(header, map(tuple, columns), strict=True))


def _check_rows(
    folder: Path,
    columns: Mapping[str, tuple[str, ...]],
    labels: NDArray[np.float32],
) -> None:
    path = folder / "table.csv"
    if len(set(columns["image_id"])) != len(columns["image_id"]):
        raise TableError(f"{path}: an image_id occurs twice.")
    unknown = sorted(set(columns["split"]) - set(SPLITS))
    if unknown:
        raise TableError(
            f'{path}: unknown split "{unknown[0]}"; known: {", ".join(SPLITS)}.'
        )
    check_patients(columns["patient_id"], columns["split"])
    if not np.all((labels == 0) | (labels == 1) | np.isnan(labels)):
        raise TableError(f"{folder / 'labels.npy'}: labels must be 1, 0 or NaN.")


def _check_hashes(
    folder: Path, files: Mapping[str, str], *, skip: Sequence[str]
) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise TableError(f"{path} is missing.")
        if name not in skip and sha256_file(path) != expected:
            raise TableError(
                f"{path} is not the file that the import wrote (SHA-256 differs). "
                "Import the source again."
            )
