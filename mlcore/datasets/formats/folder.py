"""Images of one's own: a folder with a `labels.csv`.

Images are PNG, JPEG, TIFF (8 or 16 bits), DICOM, or NumPy arrays (uint8, uint16,
int16). The table keeps their paths: they must not name a patient.

Columns of `labels.csv`:

- `file`: path of the image below the folder.
- `frame` (optional): which frame of a multi-frame DICOM file, from 1.
- `patient_id`: images of one patient share a split. If the column is missing and every
  image is DICOM, a keyed hash of the files' PatientID takes its place.
- `split` (optional): `train`, `dev` or `test` for every row; else drawn by patient.
- `view`, `age`, `sex` (optional): kept as they are.
- `mask` (optional): path of a mask (an image or a NumPy array) of the row's positive
  finding, or empty; with several findings `mask:<Finding>` columns.
- every other column is a finding: 1 present, 0 absent, empty not known.

A `boxes.csv` beside it (optional) has columns `file`, `finding`, `x`, `y`, `w`, `h`
and, where images are frames, `frame`: pixels of the image, from its upper left corner.

Both are UTF-8 with commas; a byte-order mark and Windows line ends do no harm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mlcore.datasets.decoding.dicom_file import is_dicom
from mlcore.datasets.decoding.dicom_patient import modality_of, patient_code
from mlcore.datasets.decoding.grey_image import LARGEST, GreyImage, Window
from mlcore.datasets.decoding.image_files import read_grey, read_mask
from mlcore.datasets.formats.folder_lists import (
    BOXES,
    LABELS,
    LabelRow,
    read_boxes,
    read_labels,
)
from mlcore.datasets.formats.format import (
    CLASSES_OPTION,
    WINDOW_OPTION,
    Format,
    OnError,
    Option,
    Source,
)
from mlcore.datasets.formats.lists import source_digest
from mlcore.datasets.record import ImageRecord
from mlcore.datasets.splits import assign_splits
from mlcore.datasets.table import Box, TableError, check_patients
from mlcore.errors import UsageError
from mlcore.files import canonical_json, sha256_bytes


def read_folder(
    root: Path,
    *,
    seed: int,
    modality: str | None = None,
    classes: Sequence[str] | None = None,
    ignore_columns: Sequence[str] = (),
    window: tuple[float, float] | None = None,
    identifier_key: bytes | None = None,
    on_error: OnError = "stop",
) -> Source:
    """Read `labels.csv` in `root`; images are decoded later.

    Args:
        seed: of the splits, where the file gives none.
        modality: such as `xray`, `ct`, `mri`; default what the first file says if all
            are DICOM, else `other`.
        classes: the columns that are findings, in the order wanted; default all.
        ignore_columns: columns that are not findings.
        window: centre and width of the default window, in rescaled values.
        identifier_key: of the hash that takes the place of PatientID.
        on_error: with `skip`, a file that is missing, or that names no patient, is no
            error here; its record's `read` then raises it.

    Raises:
        TableError: what is wrong in a list, with its line, or what is missing.
        UsageError: no window.
    """
    _check_window(window)
    columns, rows = read_labels(root, classes, ignore_columns)
    boxes = read_boxes(root, columns, rows)
    skip = on_error == "skip"
    if not skip:
        _check_files(root, rows)
    rows, problems = _with_patients(root, rows, identifier_key, skip=skip)
    dicom = [is_dicom(root / row.file) for row in rows]
    if modality is None:
        modality = _modality(root, rows, skip=skip) if all(dicom) else "other"
    splits = _splits(root / LABELS, rows, np.random.default_rng(seed))
    options: dict[str, Any] = {
        "format": "folder",
        "modality": modality,
        "classes": columns.classes,
        "seed": seed,
        "window": None if window is None else list(window),
    }
    return Source(
        format="folder",
        root=root,
        modality=modality,
        classes=columns.classes,
        label_policy="1 present, 0 absent, empty not known",
        records=(
            _record(root, row, split, options, boxes, problems)
            for row, split in zip(rows, splits, strict=True)
        ),
        count=len(rows),
        digest=_digest(root, rows, options),
        options=options,
        decoded_in="processes" if any(dicom) else "threads",
        notes=_notes(columns.findings, columns.classes, ignore_columns),
    )


def read_part(
    path: Path, part: tuple[int, ...], options: Mapping[str, Any]
) -> GreyImage:
    """Decode one image of a table of this format, see `display`."""
    window = options.get("window")
    return read_grey(
        path,
        frame=part[0] if part else None,
        window=None if window is None else Window("import", *map(float, window)),
    )


def _check_window(window: tuple[float, float] | None) -> None:
    if window is None:
        return
    center, width = window
    # Not-a-number fails both comparisons.
    if not (abs(center) < LARGEST and 1 <= width < LARGEST):
        raise UsageError(
            "--window needs a centre and a width of at least 1, both below a billion."
        )


def _check_files(root: Path, rows: Sequence[LabelRow]) -> None:
    missing = [
        name for row in rows for name in row.files if not (root / name).is_file()
    ]
    if missing:
        others = f" ({len(missing)} files in all)" if len(missing) > 1 else ""
        raise TableError(f"{root / missing[0]} of {LABELS} is missing{others}.")


def _with_patients(
    root: Path, rows: tuple[LabelRow, ...], key: bytes | None, *, skip: bool
) -> tuple[tuple[LabelRow, ...], dict[str, str]]:
    """Rows with the patients of their DICOM files where there is no column of patients,
    and what is wrong with a file."""
    if rows[0].patient_id:
        return rows, {}
    if not key:
        raise TableError("PatientID needs a key to be hashed with; there is none.")
    codes: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name in dict.fromkeys(row.file for row in rows):
        try:
            codes[name] = patient_code(root / name, key)
        except TableError as error:
            if not skip:
                raise
            codes[name], problems[name] = f"file {name}", str(error)
    return tuple(replace(row, patient_id=codes[row.file]) for row in rows), problems


def _modality(root: Path, rows: Sequence[LabelRow], *, skip: bool) -> str:
    """What the first file says; with `skip`, the first that can be read."""
    for row in rows:
        try:
            return modality_of(root / row.file)
        except TableError:
            if not skip:
                raise
    return "other"


def _splits(
    path: Path, rows: Sequence[LabelRow], rng: np.random.Generator
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


def _digest(root: Path, rows: Sequence[LabelRow], options: Mapping[str, Any]) -> str:
    # Patients may come from a key, which is in no list.
    patients = sha256_bytes(canonical_json([row.patient_id for row in rows]))
    lists = [path for path in (root / LABELS, root / BOXES) if path.exists()]
    files = dict.fromkeys(name for row in rows for name in row.files)
    return source_digest({**options, "patients": patients}, lists, root, files)


def _notes(
    findings: Sequence[str], classes: Sequence[str], ignored: Sequence[str]
) -> tuple[str, ...]:
    unused = sorted({*ignored, *findings} - set(classes))
    return (f"columns not used: {', '.join(unused)}",) if unused else ()


def _record(
    root: Path,
    row: LabelRow,
    split: str,
    options: Mapping[str, Any],
    boxes: Mapping[tuple[str, int | None], tuple[Box, ...]],
    problems: Mapping[str, str],
) -> ImageRecord:
    part = () if row.frame is None else (row.frame,)
    read = partial(read_part, root / row.file, part, dict(options))
    problem = problems.get(row.file)
    return ImageRecord(
        image_id=row.address,
        patient_id=row.patient_id,
        split=split,
        labels=row.labels,
        read=read if problem is None else partial(_refuse, problem),
        source_path=row.address,
        files=row.files,
        view=row.view,
        age=row.age,
        sex=row.sex,
        boxes=boxes.get((row.file, row.frame), ()),
        boxes_in_pixels=True,
        masks={
            name: partial(read_mask, root / mask) for name, mask in row.masks.items()
        },
    )


def _refuse(problem: str) -> NoReturn:
    raise TableError(problem)


FORMAT = Format(
    name="folder",
    title="images of your own and a labels.csv",
    read=read_folder,
    recognises=lambda root: (root / LABELS).is_file(),
    needs=("root", "seed", "on_error", "identifier_key"),
    options=(
        CLASSES_OPTION,
        Option(
            name="ignore_columns",
            nargs="+",
            metavar="NAME",
            help="columns of labels.csv that are no findings",
        ),
        Option(
            name="modality",
            choices=("xray", "ct", "mri", "other"),
            help="of the images; default what DICOM files say, else other",
        ),
        WINDOW_OPTION,
    ),
    read_part=read_part,
)
