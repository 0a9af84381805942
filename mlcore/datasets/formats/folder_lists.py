"""`labels.csv` and `boxes.csv`, the lists of a folder of one's own; see `folder`."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcore.datasets.decoding.dicom_file import is_dicom
from mlcore.datasets.formats.lists import (
    CsvRow,
    chosen_classes,
    plain_text,
    read_csv,
    relative_path,
    require_columns,
)
from mlcore.datasets.table import SPLITS, Box, TableError

LABELS = "labels.csv"
BOXES = "boxes.csv"
META_COLUMNS = (
    "file",
    "frame",
    "patient_id",
    "split",
    "view",
    "age",
    "sex",
    "mask",
)
MASK_PREFIX = "mask:"
_VALUES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": float("nan")}
_BOX_COLUMNS = ("file", "finding", "x", "y", "w", "h")

Address = tuple[str, int | None]


@dataclass(frozen=True)
class Columns:
    """The findings of labels.csv; `classes` are those that are wanted."""

    findings: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class LabelRow:
    """A checked row of labels.csv; `line` is its line there.

    `patient_id` is empty where the column is missing, `frame` None where it is empty.
    `present` are the findings that are 1, wanted or not.
    """

    line: int
    file: str
    frame: int | None
    patient_id: str
    split: str
    labels: tuple[float, ...]
    present: tuple[str, ...]
    masks: Mapping[str, str]
    view: str
    age: int | None
    sex: str

    @property
    def address(self) -> str:
        """The image's `source_path`, see `table.split_address`."""
        return self.file if self.frame is None else f"{self.file}#{self.frame}"

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file, *self.masks.values())


def read_labels(
    root: Path, classes: Sequence[str] | None, ignore_columns: Sequence[str]
) -> tuple[Columns, tuple[LabelRow, ...]]:
    """Read and check `labels.csv` in `root`; the files it names are not looked at.

    Raises:
        TableError: what is wrong, with its line.
    """
    path = root / LABELS
    header, lines = read_csv(path)
    columns = _columns(path, header, classes, ignore_columns)
    if "patient_id" not in header:
        _check_all_dicom(root, lines)
    rows = tuple(_read_row(root, columns, line) for line in lines)
    first: dict[Address, int] = {}
    for row in rows:
        # An image of one frame is the same with and without its number.
        line = first.setdefault((row.file, row.frame or 1), row.line)
        if line != row.line:
            raise TableError(
                f"{LABELS} line {row.line}: {row.address} is already in line {line}."
            )
    return columns, rows


def read_boxes(
    root: Path, columns: Columns, rows: Sequence[LabelRow]
) -> dict[Address, tuple[Box, ...]]:
    """Boxes in pixels by file and frame, of the classes wanted; empty without a
    `boxes.csv` in `root`.

    Raises:
        TableError: what is wrong, with its line.
    """
    path = root / BOXES
    boxes: dict[Address, tuple[Box, ...]] = {}
    if not path.exists():
        return boxes
    header, lines = read_csv(path)
    require_columns(path, header, _BOX_COLUMNS)
    by_address = {(row.file, row.frame): row for row in rows}
    for line in lines:
        where, cells = line.where, line.cells()
        file = relative_path(root, plain_text(cells["file"], where), where)
        address = (file, _frame(cells, where))
        row = by_address.get(address)
        if row is None:
            raise TableError(f"{where}: {LABELS} has no such image ({file}).")
        box = _box(cells, where)
        if box.finding not in row.present:
            raise TableError(
                f'{where}: a box of "{box.finding}", which is not 1 in {LABELS}.'
            )
        if box.finding in columns.classes:
            boxes[address] = (*boxes.get(address, ()), box)
    return boxes


def _check_all_dicom(root: Path, lines: Sequence[CsvRow]) -> None:
    for line in lines:
        file = plain_text(line.cells()["file"], line.where)
        if not is_dicom(root / relative_path(root, file, line.where)):
            raise TableError(
                f'{root / LABELS} has no column "patient_id"; it may be left out only '
                f"where every image is a DICOM file ({file} is none)."
            )


def _box(cells: Mapping[str, str], where: str) -> Box:
    try:
        x, y, w, h = (float(cells[name]) for name in _BOX_COLUMNS[2:])
    except ValueError:
        raise TableError(f"{where}: x, y, w and h must be numbers.") from None
    if not (all(map(math.isfinite, (x, y, w, h))) and min(x, y) >= 0 < min(w, h)):
        raise TableError(f"{where}: x and y must be from 0 on, w and h above 0.")
    return Box(cells["finding"], x, y, w, h)


def _frame(cells: Mapping[str, str], where: str) -> int | None:
    text = cells.get("frame", "")
    if not re.fullmatch("([1-9][0-9]{0,8})?", text):
        raise TableError(f'{where}: frame "{text}" is not a whole number from 1 on.')
    return int(text) if text else None


def _columns(
    path: Path,
    header: tuple[str, ...],
    classes: Sequence[str] | None,
    ignore_columns: Sequence[str],
) -> Columns:
    require_columns(path, header, ("file", *ignore_columns))
    if len(set(header)) != len(header) or "" in header:
        raise TableError(f"{path}: two columns have the same name, or one has none.")
    others = [name for name in header if name not in (*META_COLUMNS, *ignore_columns)]
    findings = tuple(name for name in others if not name.startswith(MASK_PREFIX))
    if not findings:
        raise TableError(f"{path} has no column of a finding.")
    for name in others:
        plain_text(name, f"{path}: column")
        if name.removeprefix(MASK_PREFIX) not in findings:
            raise TableError(f'{path}: column "{name}" is of no finding.')
    return Columns(findings, chosen_classes(findings, classes))


def _read_row(root: Path, columns: Columns, line: CsvRow) -> LabelRow:
    where, cells = line.where, line.cells()
    if cells.get("patient_id") == "":
        raise TableError(f"{where}: patient_id is empty.")
    if cells.get("split", "") not in ("", *SPLITS):
        raise TableError(
            f'{where}: unknown split "{cells["split"]}"; known: {", ".join(SPLITS)}.'
        )
    for name in cells:
        if name in META_COLUMNS or name.startswith(MASK_PREFIX):
            plain_text(cells[name], where)
    age = cells.get("age", "")
    if not re.fullmatch("[0-9]{0,3}", age):
        raise TableError(f'{where}: age "{age}" is not a number of whole years.')
    return LabelRow(
        line=line.line,
        file=relative_path(root, cells["file"], where),
        frame=_frame(cells, where),
        # Two ways to write one accent must not make two patients.
        patient_id=unicodedata.normalize("NFC", cells.get("patient_id", "")),
        split=cells.get("split", ""),
        labels=tuple(_label(cells[name], name, where) for name in columns.classes),
        present=tuple(_present(cells, columns)),
        masks=_masks(root, cells, columns, where),
        view=cells.get("view", ""),
        age=int(age) if age else None,
        sex=cells.get("sex", ""),
    )


def _label(text: str, column: str, where: str) -> float:
    try:
        return _VALUES[text]
    except KeyError:
        raise TableError(
            f'{where}, column "{column}": "{text}" is not 1, 0 or empty. If this '
            "column is no finding, name it in --ignore-columns."
        ) from None


def _masks(
    root: Path, cells: Mapping[str, str], columns: Columns, where: str
) -> dict[str, str]:
    """Path of the mask of each class that has one."""
    present = _present(cells, columns)
    given = {
        name: path
        for name in columns.findings
        if (path := cells.get(f"{MASK_PREFIX}{name}"))
    }
    if cells.get("mask"):
        if len(present) != 1:
            raise TableError(
                f"{where}: a mask needs exactly one finding that is 1, here are "
                f"{len(present)}; use columns named {MASK_PREFIX}<Finding>."
            )
        given.setdefault(present[0], cells["mask"])
    for name in given:
        if name not in present:
            raise TableError(f'{where}: a mask of "{name}", which is not 1.')
    return {
        name: relative_path(root, path, where)
        for name, path in given.items()
        if name in columns.classes
    }


def _present(cells: Mapping[str, str], columns: Columns) -> list[str]:
    return [name for name in columns.findings if _VALUES.get(cells[name]) == 1]
