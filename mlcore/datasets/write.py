"""Write an image table: whole or not at all, in memory that does not grow with it."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.record import ImageRecord
from mlcore.datasets.table import (
    BOX_COLUMNS,
    MARKER,
    MASK_COLUMNS,
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    SCHEMA_VERSION,
    SPLITS,
    Box,
    ImageTable,
    Mask,
    TableError,
    content_sha256,
    open_table,
)
from mlcore.files import atomic_folder, sha256_file, write_json

_WriteRow = Callable[[Sequence[str | int | float]], object]


@dataclass(frozen=True, kw_only=True)
class TableDescription:
    """What a table is, besides its images.

    Attributes:
        name: of the data set.
        modality: such as `xray`, `ct`, `mri`.
        classes: names of the findings, in the order of the records' labels.
        image_size: pixels a side.
        source_format: the importer that read the source.
        source_root: folder of the source files on this machine, or empty.
        source_digest: stands for the source and the options; equal digests mean that
            a new import would write the same table.
        options: of the import, as JSON values.
        label_policy: how the source's labels became 1, 0 and NaN.
        notes: what the importer has to say about the source.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    image_size: int
    source_format: str = ""
    source_root: str = ""
    source_digest: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    label_policy: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableImage:
    """A record with its pixels at the table's size.

    Attributes:
        record: what the importer found.
        pixels: uint8 (S, S).
        width, height: of the source image, in its own pixels.
        view: projection, from the record or from the file, or empty.
        pixel_spacing_mm: height and width of a pixel of the source image, if known.
        boxes: as fractions of width and height.
        masks: by finding, bool (S, S).
    """

    record: ImageRecord
    pixels: NDArray[np.uint8]
    width: int
    height: int
    view: str = ""
    pixel_spacing_mm: tuple[float, float] | None = None
    boxes: tuple[Box, ...] = ()
    masks: Mapping[str, Mask] = field(default_factory=dict)


def write_table(
    folder: Path, description: TableDescription, images: Iterable[TableImage]
) -> ImageTable:
    """Write the table into `folder` and open it.

    A table that lay there is replaced at the end in one step. If anything fails, an
    exception out of `images` included, it stays as it was.

    Raises:
        TableError: no image, an image_id twice, a patient in two splits, a wrong
            number of labels, a label that is not 1, 0 or NaN, a wrong size.
    """
    _check_description(description)
    with atomic_folder(folder) as new:
        counts = _write_images(new, description, images)
        for stem in ("boxes", "masks"):
            _drop_if_empty(new, stem)
        _write_dataset_json(new, description, counts)
        open_table(new)  # checked as any reader would, before the old one goes
    return open_table(folder)


def same_import(folder: Path, source_digest: str) -> ImageTable | None:
    """The table in `folder` if it was written from this very source, else None."""
    try:
        table = open_table(folder)
    except TableError:
        return None
    return table if table.source_digest == source_digest else None


def _check_description(description: TableDescription) -> None:
    if description.image_size < 1:
        raise TableError("The image size must be at least one pixel.")
    classes = description.classes
    if not classes or not all(classes) or len(set(classes)) != len(classes):
        raise TableError("A table needs one or more classes with different names.")


def _write_images(
    folder: Path, description: TableDescription, images: Iterable[TableImage]
) -> dict[str, Any]:
    """Stream all rows into `folder`; return the counts per split and class."""
    size, classes = description.image_size, description.classes
    ledger = _Ledger(classes)
    with ExitStack() as stack:
        arrays = {
            name: stack.enter_context(_array_stream(folder / f"{name}.npy", kind, row))
            for name, kind, row in (
                ("images", "|u1", (size, size)),
                ("labels", "<f4", (len(classes),)),
                ("masks", "|u1", (size, size)),
            )
        }
        rows = {
            name: stack.enter_context(_csv_stream(folder / f"{name}.csv", header))
            for name, header in (
                ("table", REQUIRED_COLUMNS + OPTIONAL_COLUMNS),
                ("boxes", BOX_COLUMNS),
                ("masks", MASK_COLUMNS),
            )
        }
        for image in images:
            ledger.add(image)
            _append(arrays, rows, image)
    return ledger.counts()


def _append(
    arrays: Mapping[str, "_ArrayStream"],
    rows: Mapping[str, _WriteRow],
    image: TableImage,
) -> None:
    record = image.record
    arrays["images"].append(image.pixels)
    arrays["labels"].append(np.array(record.labels, dtype="<f4"))
    rows["table"](_table_row(image))
    for box in image.boxes:
        numbers = (f"{value:.6f}" for value in (box.x, box.y, box.w, box.h))
        rows["boxes"]((record.image_id, box.finding, *numbers))
    for finding, mask in image.masks.items():
        rows["masks"]((record.image_id, finding, arrays["masks"].rows))
        arrays["masks"].append(mask.astype(np.uint8))


def _table_row(image: TableImage) -> tuple[str | int | float, ...]:
    record, spacing = image.record, image.pixel_spacing_mm or ("", "")
    return (
        record.image_id,
        record.patient_id,
        record.split,
        record.source_path,
        image.width,
        image.height,
        image.view,
        "" if record.age is None else record.age,
        record.sex,
        *spacing,
    )


class _Ledger:
    """Checks records as they pass, and counts them per split and class.

    An importer's mistake ends the import at its first row, not after the last.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._image_ids: set[str] = set()
        self._split_of: dict[str, str] = {}
        self._images = dict.fromkeys(SPLITS, 0)
        shape = (len(SPLITS), len(classes))
        self._positive = np.zeros(shape, dtype=np.int64)
        self._unknown = np.zeros(shape, dtype=np.int64)

    def add(self, image: TableImage) -> None:
        record = image.record
        if record.split not in SPLITS:
            raise TableError(
                f'{record.image_id}: unknown split "{record.split}"; known: '
                f"{', '.join(SPLITS)}."
            )
        if record.image_id in self._image_ids:
            raise TableError(f'The image "{record.image_id}" occurs twice.')
        self._image_ids.add(record.image_id)
        split = self._split_of.setdefault(record.patient_id, record.split)
        if split != record.split:
            raise TableError(
                f'Patient "{record.patient_id}" is in two splits ({split} and '
                f"{record.split}); a patient belongs to one."
            )
        labels = np.array(record.labels, dtype=float)
        unknown = np.isnan(labels)
        if labels.shape != (len(self._classes),) or not np.all(
            unknown | (labels == 0) | (labels == 1)
        ):
            raise TableError(
                f"{record.image_id}: needs {len(self._classes)} labels of 1, 0 or NaN, "
                f"not {record.labels}."
            )
        masked = (finding for finding in image.masks if finding != MARKER)
        for finding in (*masked, *(box.finding for box in image.boxes)):
            if finding not in self._classes:
                raise TableError(f'{record.image_id}: "{finding}" is not a class.')
        row = SPLITS.index(record.split)
        self._images[record.split] += 1
        self._positive[row] += labels == 1
        self._unknown[row] += unknown

    def counts(self) -> dict[str, Any]:
        if not self._image_ids:
            raise TableError("The source has no image.")
        splits = list(self._split_of.values())
        return {
            split: {
                "images": self._images[split],
                "patients": splits.count(split),
                "positive": dict(
                    zip(self._classes, self._positive[row].tolist(), strict=True)
                ),
                "unknown": dict(
                    zip(self._classes, self._unknown[row].tolist(), strict=True)
                ),
            }
            for row, split in enumerate(SPLITS)
        }


class _ArrayStream:
    """A `.npy` file that grows by rows; the header learns their number at the end.

    Not a memory map: on a full disk a write fails with an error that can be told,
    a map kills the process with a signal.
    """

    def __init__(self, path: Path, descr: str, row_shape: tuple[int, ...]) -> None:
        self.rows = 0
        self._descr = descr
        self._row_shape = row_shape
        self._path = path
        self._file = path.open("wb")
        self._write_header()

    def append(self, row: NDArray[Any]) -> None:
        if row.shape != self._row_shape or row.dtype != np.dtype(self._descr):
            raise TableError(
                f"A row of {self._path.name} must be {self._row_shape} of "
                f"{self._descr}, not {row.shape} of {row.dtype}."
            )
        self._file.write(np.ascontiguousarray(row).data)
        self.rows += 1

    def finish(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _write_header(self) -> None:
        # NumPy pads the header so that the first axis can grow to 21 digits in place.
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": self._descr,
                "fortran_order": False,
                "shape": (self.rows, *self._row_shape),
            },
        )


@contextmanager
def _array_stream(
    path: Path, descr: str, row_shape: tuple[int, ...]
) -> Iterator[_ArrayStream]:
    stream = _ArrayStream(path, descr, row_shape)
    try:
        yield stream
        stream.finish()
    finally:
        stream.close()


@contextmanager
def _csv_stream(path: Path, header: Sequence[str]) -> Iterator[_WriteRow]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield writer.writerow
        file.flush()
        os.fsync(file.fileno())


def _drop_if_empty(folder: Path, stem: str) -> None:
    """Remove `stem`'s files if its CSV file has no row but the header."""
    with (folder / f"{stem}.csv").open(encoding="utf-8") as file:
        empty = sum(1 for _ in file) == 1
    if empty:
        (folder / f"{stem}.csv").unlink()
        (folder / f"{stem}.npy").unlink(missing_ok=True)


def _write_dataset_json(
    folder: Path, description: TableDescription, counts: Mapping[str, Any]
) -> None:
    info: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": description.name,
        "modality": description.modality,
        "classes": list(description.classes),
        "image_size": description.image_size,
        "counts": counts,
        "source_format": description.source_format,
        "source_root": description.source_root,
        "source_digest": description.source_digest,
        "options": dict(description.options),
        "label_policy": description.label_policy,
        "notes": list(description.notes),
        "files": {path.name: sha256_file(path) for path in sorted(folder.iterdir())},
    }
    info["sha256"] = content_sha256(info)
    write_json(folder / "dataset.json", info)
