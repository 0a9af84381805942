"""Writer of an image table: record by record, resumable where it was left.

The rows stream into a hidden folder beside the table, which takes the table's place
when it is complete. After each record a journal in it says which record that was and
how long every file is. An import that was interrupted or killed, or that met a bad
file, goes on behind the last record that has not changed since.
"""

import csv
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mlcore.datasets.record import (
    ImageRecord,
    TableDescription,
    TableImage,
    Unreadable,
)
from mlcore.datasets.table import (
    BOX_COLUMNS,
    MANIFEST_COLUMNS,
    MARKER,
    MASK_COLUMNS,
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    SCHEMA_VERSION,
    ImageTable,
    TableError,
    content_sha256,
    open_table,
)
from mlcore.datasets.writing.decode_ahead import DECODING
from mlcore.datasets.writing.growing_files import ArrayStream, Cell, CsvStream
from mlcore.datasets.writing.label_counts import Counts
from mlcore.files import (
    OccupiedError,
    canonical_json,
    only_process,
    replace_folder,
    sha256_bytes,
    sha256_file,
    write_json,
)

# No more work than this is lost to a power cut or a killed process.
_CHECKPOINT_SECONDS = 5.0
_PLAN, _JOURNAL = "plan", "journal.csv"


@dataclass(frozen=True)
class _Done:
    """A line of the journal: a record, the files' sizes after it, and its problem."""

    fingerprint: str
    sizes: tuple[int, ...]
    problem: str

    def cells(self) -> tuple[Cell, ...]:
        return self.fingerprint, " ".join(map(str, self.sizes)), self.problem


@contextmanager
def open_writer(
    folder: Path, description: TableDescription, root: Path | None = None
) -> Iterator["TableWriter"]:
    """Yield a writer of the table in `folder`; what it wrote is kept until it finishes.

    Args:
        root: folder of the sources; a file that changed below it is read anew.

    Raises:
        TableError: another process imports this table, or the description is of none.
    """
    _check_description(description)
    unfinished = folder.parent / f".{folder.name}.unfinished"
    with ExitStack() as stack:
        try:
            stack.enter_context(only_process(unfinished))
        except OccupiedError:
            raise TableError(
                f"{folder.name} is being imported by another process."
            ) from None
        _keep_if_planned(unfinished, _plan(description))
        writer = TableWriter(folder, unfinished, description, root)
        stack.callback(writer.close)
        try:
            yield writer
        except BaseException:
            with suppress(OSError, ValueError):  # a full disk, or closed
                writer.checkpoint()
            raise


class TableWriter:
    """Rows of a table, one record after the other; see `open_writer`.

    Call `begin` once, then `add` for every record that it yields, then `finish`.

    Attributes:
        kept: number of records that an earlier import had done already.
        problems: of the records that were left out, each with its file.
    """

    def __init__(
        self,
        folder: Path,
        unfinished: Path,
        description: TableDescription,
        root: Path | None,
    ) -> None:
        self.kept = 0
        self.problems: list[str] = []
        self._folder, self._unfinished = folder, unfinished
        self._description, self._root = description, root
        self._counts = Counts(description.classes)
        self._hashed: set[str] = set()
        self._new: list[_Done] = []
        self._checkpointed = time.monotonic()
        image = (description.image_size, description.image_size)
        self._images = ArrayStream(unfinished / "images.npy", "|u1", image)
        self._labels = ArrayStream(
            unfinished / "labels.npy", "<f4", (len(description.classes),)
        )
        self._masks = ArrayStream(unfinished / "masks.npy", "|u1", image)
        self._rows = CsvStream(
            unfinished / "table.csv", REQUIRED_COLUMNS + OPTIONAL_COLUMNS
        )
        self._boxes = CsvStream(unfinished / "boxes.csv", BOX_COLUMNS)
        self._mask_rows = CsvStream(unfinished / "masks.csv", MASK_COLUMNS)
        self._manifest = CsvStream(unfinished / "manifest.csv", MANIFEST_COLUMNS)
        self._streams: Sequence[ArrayStream | CsvStream] = (
            *(self._images, self._labels, self._masks),
            *(self._rows, self._boxes, self._mask_rows, self._manifest),
        )
        self._journal = CsvStream(
            unfinished / _JOURNAL, ("fingerprint", "sizes", "problem")
        )

    def begin(
        self, records: Iterable[ImageRecord], *, keep_problems: bool = True
    ) -> Iterator[ImageRecord]:
        """The records that are still to be added.

        Those that an earlier import had done are checked and counted here, up to the
        first that has changed, or that was left out if `keep_problems` is false; what
        came after that one is dropped.
        """
        rest, first = iter(records), None
        kept: list[_Done] = []
        for done in self._earlier():
            first = next(rest, None)
            again = done.problem and not keep_problems
            if first is None or again or self._fingerprint(first) != done.fingerprint:
                break
            if done.problem:
                self.problems.append(done.problem)
            else:
                self._counts.add(first, _findings(first))
                self._hashed.update(first.files)
            kept.append(done)
            first = None
        sizes = kept[-1].sizes if kept else (0,) * len(self._streams)
        for stream, size in zip(self._streams, sizes, strict=True):
            stream.cut(size)
        self._journal.cut(0)
        for done in kept:
            self._journal.append(done.cells())
        self.kept = len(kept)
        return chain(() if first is None else (first,), rest)

    def add(self, image: TableImage | Unreadable) -> None:
        """Write a record, or note that it is left out."""
        record = image.record
        problem = image.problem if isinstance(image, Unreadable) else ""
        if isinstance(image, Unreadable):
            self.problems.append(problem)
            self._manifest.append((record.source_path, "", problem))
        else:
            self._counts.add(record, _findings(image))
            self._append(image)
        sizes = tuple(stream.size for stream in self._streams)
        self._new.append(_Done(self._fingerprint(record), sizes, problem))
        if time.monotonic() - self._checkpointed > _CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Make what was added survive anything: the rows first, then the journal."""
        for stream in self._streams:
            stream.sync()
        for done in self._new:
            self._journal.append(done.cells())
        self._journal.sync()
        self._new.clear()
        self._checkpointed = time.monotonic()

    def finish(self) -> ImageTable:
        """Put the table in its place and open it.

        Raises:
            TableError: there is no image.
        """
        counts = self._counts.summary()
        kept = [stream for stream in self._streams if not stream.empty]
        needless = [stream.path for stream in self._streams if stream.empty]
        for stream in kept:
            stream.finish()
        for path in (*needless, self._unfinished / _JOURNAL, self._unfinished / _PLAN):
            path.unlink()
        # The disk works while the processor hashes. Leaving the block waits for both.
        with ThreadPoolExecutor(len(kept)) as pool:
            synced = [pool.submit(stream.sync) for stream in kept]
            self._write_dataset_json(counts)
        for sync in synced:
            sync.result()
        self.close()
        open_table(self._unfinished)  # as any reader would, before the old one goes
        replace_folder(self._unfinished, self._folder)
        return open_table(self._folder)

    def close(self) -> None:
        for stream in (*self._streams, self._journal):
            stream.close()

    def _earlier(self) -> list[_Done]:
        """The journal's lines, as far as the files are long enough for them."""
        with (self._unfinished / _JOURNAL).open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))[1:]
        done = [
            _Done(line[0], tuple(map(int, line[1].split())), line[2])
            for line in lines
            if len(line) == 3
        ]
        held = [stream.held() for stream in self._streams]
        while done and any(
            size > has for size, has in zip(done[-1].sizes, held, strict=True)
        ):
            done.pop()
        return done

    def _append(self, image: TableImage) -> None:
        record = image.record
        self._images.append(image.pixels)
        self._labels.append(np.array(record.labels, dtype="<f4"))
        self._rows.append(_table_row(image))
        for box in image.boxes:
            numbers = (f"{value:.6f}" for value in (box.x, box.y, box.w, box.h))
            self._boxes.append((record.image_id, box.finding, *numbers))
        for finding, mask in image.masks.items():
            self._mask_rows.append((record.image_id, finding, self._masks.size))
            self._masks.append(mask.astype(np.uint8))
        for path, sha256 in image.sha256.items():
            if path not in self._hashed:
                self._manifest.append((path, sha256, ""))
        self._hashed.update(record.files)

    def _fingerprint(self, record: ImageRecord) -> str:
        """Stands for the record and for the state of its files."""
        content = (
            *(record.image_id, record.patient_id, record.split, record.source_path),
            *(record.view, str(record.age), record.sex, str(record.labels)),
            *(str(box) for box in record.boxes),
            *sorted(record.masks),
            *(str(file_state(self._root, name)) for name in record.files),
        )
        return sha256_bytes(canonical_json(content))[:16]

    def _write_dataset_json(self, counts: dict[str, Any]) -> None:
        description, folder = self._description, self._unfinished
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
            "left_out": len(self.problems),
            "files": {
                path.name: sha256_file(path) for path in sorted(folder.iterdir())
            },
        }
        info["sha256"] = content_sha256(info)
        write_json(folder / "dataset.json", info)


def file_state(root: Path | None, name: str) -> tuple[str, int, int]:
    """What tells that a source file is the one it was: path, size, time of change.

    A file that is not there has the size -1.
    """
    if root is None:
        return name, 0, 0
    try:
        state = (root / name).stat()
    except FileNotFoundError:
        return name, -1, 0
    return name, state.st_size, state.st_mtime_ns


def _check_description(description: TableDescription) -> None:
    if description.image_size < 1:
        raise TableError("The image size must be at least one pixel.")
    classes = description.classes
    if not classes or not all(classes) or len(set(classes)) != len(classes):
        raise TableError("A table needs one or more classes with different names.")


def _findings(image: ImageRecord | TableImage) -> tuple[str, ...]:
    """Of the masks and boxes; a marker's mask is of none."""
    masked = (name for name in image.masks if name != MARKER)
    return (*masked, *(box.finding for box in image.boxes))


def _plan(description: TableDescription) -> bytes:
    """Stands for all that the rows of one record depend on, besides the record."""
    return canonical_json(
        {
            "schema_version": SCHEMA_VERSION,
            "modality": description.modality,
            "classes": description.classes,
            "image_size": description.image_size,
            "source_format": description.source_format,
            "source_root": description.source_root,
            "options": description.options,
            "decoding": DECODING,
        }
    )


def _keep_if_planned(unfinished: Path, plan: bytes) -> None:
    """Empty the folder unless it holds the beginning of this very table."""
    path = unfinished / _PLAN
    if path.exists() and path.read_bytes() == plan:
        return
    for old in unfinished.iterdir():
        old.unlink()
    path.write_bytes(plan)


def _table_row(image: TableImage) -> tuple[Cell, ...]:
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
