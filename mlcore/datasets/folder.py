"""A folder of one's own: images and a `labels.csv`.

Columns of `labels.csv`:

- `file`: path of the image below the folder.
- `patient_id`: images of one patient share a split.
- `split` (optional): `train`, `dev` or `test` for every row; else drawn by patient.
- `view`, `age`, `sex` (optional): kept as they are.
- `mask` (optional): path of a mask of the row's positive finding, or empty; with
  several findings `mask:<Finding>` columns.
- every other column is a finding: 1 present, 0 absent, empty not known.

The file is UTF-8 with commas; a byte-order mark and Windows line ends do no harm.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlcore.datasets.decode import read_grey, read_mask
from mlcore.datasets.record import GreyImage, ImageRecord
from mlcore.datasets.source import (
    CsvRow,
    Source,
    chosen_classes,
    plain_text,
    read_csv,
    relative_path,
    require_columns,
    source_digest,
)
from mlcore.datasets.splits import assign_splits
from mlcore.datasets.table import SPLITS, TableError, check_patients

LABELS = "labels.csv"
META_COLUMNS = ("file", "patient_id", "split", "view", "age", "sex", "mask")
MASK_PREFIX = "mask:"
_VALUES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": float("nan")}


@dataclass(frozen=True)
class _Columns:
    """The header of labels.csv; `classes` are those of `findings` that are wanted."""

    header: tuple[str, ...]
    findings: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """A checked row of labels.csv."""

    file: str
    patient_id: str
    split: str
    labels: tuple[float, ...]
    masks: Mapping[str, str]
    view: str
    age: int | None
    sex: str


def read_folder(
    root: Path,
    *,
    seed: int,
    modality: str,
    classes: Sequence[str] | None = None,
    ignore_columns: Sequence[str] = (),
) -> Source:
    """Read `labels.csv` in `root`; images are decoded later.

    Args:
        seed: of the splits, where the file gives none.
        modality: such as `xray`, `ct`, `mri`.
        classes: the columns that are findings, in the order wanted; default all.
        ignore_columns: columns that are not findings.

    Raises:
        TableError: what is wrong in `labels.csv`, with its line, or what is missing.
    """
    path = root / LABELS
    header, lines = read_csv(path)
    columns = _columns(path, header, classes, ignore_columns)
    rows = [_read_row(root, columns, line) for line in lines]
    _check_files(root, rows, lines)
    splits = _splits(path, rows, np.random.default_rng(seed))
    options = {
        "format": "folder",
        "modality": modality,
        "classes": columns.classes,
        "seed": seed,
    }
    files = [name for row in rows for name in (row.file, *row.masks.values())]
    unused = [*ignore_columns, *(set(columns.findings) - set(columns.classes))]
    return Source(
        format="folder",
        root=root,
        modality=modality,
        classes=columns.classes,
        label_policy="1 present, 0 absent, empty not known",
        records=(
            _record(root, row, split) for row, split in zip(rows, splits, strict=True)
        ),
        count=len(rows),
        digest=source_digest(options, [path], root, files),
        notes=(f"columns not used: {', '.join(sorted(unused))}",) if unused else (),
    )


def read_part(
    path: Path, _part: tuple[int, ...], _options: Mapping[str, Any]
) -> GreyImage:
    """Decode one image of a table of this format, see `display`."""
    return read_grey(path)


def _columns(
    path: Path,
    header: tuple[str, ...],
    classes: Sequence[str] | None,
    ignore_columns: Sequence[str],
) -> _Columns:
    require_columns(path, header, ("file", "patient_id", *ignore_columns))
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
    return _Columns(header, findings, chosen_classes(findings, classes))


def _read_row(root: Path, columns: _Columns, line: CsvRow) -> _Row:
    where = f"{LABELS} line {line.line}"
    header = columns.header
    if len(line.values) != len(header):
        raise TableError(
            f"{where}: {len(line.values)} values under {len(header)} columns."
        )
    cells = dict(zip(header, line.values, strict=True))
    if not cells["patient_id"]:
        raise TableError(f"{where}: patient_id is empty.")
    if cells.get("split", "") not in ("", *SPLITS):
        raise TableError(
            f'{where}: unknown split "{cells["split"]}"; known: {", ".join(SPLITS)}.'
        )
    for name in header:
        if name in META_COLUMNS or name.startswith(MASK_PREFIX):
            plain_text(cells[name], where)
    age = cells.get("age", "")
    if not re.fullmatch("[0-9]{0,3}", age):
        raise TableError(f'{where}: age "{age}" is not a number of whole years.')
    return _Row(
        file=relative_path(root, cells["file"]),
        patient_id=cells["patient_id"],
        split=cells.get("split", ""),
        labels=tuple(_label(cells[name], name, where) for name in columns.classes),
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
    root: Path, cells: Mapping[str, str], columns: _Columns, where: str
) -> dict[str, str]:
    """Path of the mask of each class that has one."""
    present = [name for name in columns.findings if _VALUES.get(cells[name]) == 1]
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
        name: relative_path(root, path)
        for name, path in given.items()
        if name in columns.classes
    }


def _check_files(root: Path, rows: Sequence[_Row], lines: Sequence[CsvRow]) -> None:
    first: dict[str, int] = {}
    missing = []
    for row, line in zip(rows, lines, strict=True):
        if row.file in first:
            raise TableError(
                f"{LABELS} line {line.line}: {row.file} is already in line "
                f"{first[row.file]}."
            )
        first[row.file] = line.line
        names = (row.file, *row.masks.values())
        missing += [name for name in names if not (root / name).is_file()]
    if missing:
        others = f" ({len(missing)} files in all)" if len(missing) > 1 else ""
        raise TableError(f"{root / missing[0]} of {LABELS} is missing{others}.")


def _splits(
    path: Path, rows: Sequence[_Row], rng: np.random.Generator
) -> tuple[str, ...]:
    patients = [row.patient_id for row in rows]
    given = tuple(row.split for row in rows)
    if not any(given):
        labels = np.array([row.labels for row in rows], dtype=np.float32)
        return assign_splits(patients, labels, rng=rng)
    if not all(given):
        raise TableError(f"{path}: split must be filled in for all rows or for none.")
    check_patients(patients, given)
    return given


def _record(root: Path, row: _Row, split: str) -> ImageRecord:
    return ImageRecord(
        image_id=row.file,
        patient_id=row.patient_id,
        split=split,
        labels=row.labels,
        read=partial(read_part, root / row.file, (), {}),
        source_path=row.file,
        files=(row.file, *row.masks.values()),
        view=row.view,
        age=row.age,
        sex=row.sex,
        masks={
            name: partial(read_mask, root / mask) for name, mask in row.masks.items()
        },
    )
