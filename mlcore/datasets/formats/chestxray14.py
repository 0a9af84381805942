"""NIH ChestX-ray14 in its official layout.

Wang et al., ChestX-ray8, CVPR 2017. A folder with `Data_Entry_2017*.csv` and the images
under `images/` or `images_001/images/` to `images_012/images/`, of any size; a part of
the images suffices. `BBox_List_2017.csv` and the lists `test_list.txt` and
`train_val_list.txt` are used where they are there.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlcore.datasets.decoding.image_files import read_grey
from mlcore.datasets.formats.format import (
    CLASSES_OPTION,
    Format,
    Option,
    Source,
    read_whole_file,
)
from mlcore.datasets.formats.lists import (
    chosen_classes,
    plain_text,
    read_csv,
    require_columns,
    source_digest,
)
from mlcore.datasets.record import ImageRecord
from mlcore.datasets.splits import SHARES, assign_splits
from mlcore.datasets.table import Box, TableError, check_patients
from mlcore.files import sha256_file

# Official name to ours: CheXpert's names where both sets know a finding.
FINDINGS: Mapping[str, str] = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Infiltration": "Infiltration",
    "Mass": "Mass",
    "Nodule": "Nodule",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Emphysema": "Emphysema",
    "Fibrosis": "Fibrosis",
    "Pleural_Thickening": "Pleural Thickening",
    "Hernia": "Hernia",
}
CLASSES = tuple(FINDINGS.values())
NO_FINDING = "No Finding"
# Boxes were drawn on images of this size, and stay in its pixels in every copy.
BOX_FRAME = 1024
# The header's last two columns hold commas without quotes, so it is longer than it
# means; what is needed stands before them.
COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
TEST_LIST, TRAIN_VAL_LIST = "test_list.txt", "train_val_list.txt"
BOX_LIST = "BBox_List_2017.csv"
OUTSIDE_TEST: Mapping[str, float] = {"train": 0.875, "dev": 0.125}


@dataclass(frozen=True)
class _Entry:
    """A row of the entry list; `path` is empty if its image is not there."""

    file: str
    path: str
    findings: tuple[str, ...]
    patient_id: str
    age: int | None
    sex: str
    view: str


def read_chestxray14(
    root: Path,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
    test_list: Path | None = None,
) -> Source:
    """Read the folder `root`; images are decoded later.

    `No Finding` is no class: such an image has 0 everywhere. With `test_list.txt`, its
    images are `test`, and of the other patients an eighth are `dev`; an image in
    neither list is left out if `train_val_list.txt` is there too. Without the list 70,
    10 and 20 % of the images, by patient, are `train`, `dev` and `test`, and all
    patients with boxes are `test`.

    Args:
        seed: of the splits.
        classes: a choice of `CLASSES`, in the order wanted; default all fourteen.
        test_list: takes the place of both official lists: its images are `test`, of
            the patients it does not name an eighth are `dev`, and what else there is
            of its patients is left out. A line starts with a file name or path; what
            follows a space is ignored, as in the lists of CheXNet.

    Raises:
        TableError: a file is missing or malformed, or none of the images is there.
    """
    names = chosen_classes(CLASSES, classes)
    path = _entry_list(root)
    listed = _read_entries(path, _find_images(root))
    held = [entry for entry in listed if entry.path]
    if not held:
        raise TableError(
            f"None of the {len(listed)} images that {path.name} lists is in {root}; "
            "they belong into images/, or into images_001/images/ and so on."
        )
    boxes = _read_boxes(root / BOX_LIST)
    test = None if test_list is None else _read_test_list(test_list, listed)
    splits = _split(root, listed, boxes, test, np.random.default_rng(seed))
    entries = [entry for entry in held if entry.file in splits]
    return Source(
        format="chestxray14",
        root=root,
        modality="xray",
        classes=names,
        label_policy="a finding that is not listed is absent",
        records=(_record(root, entry, splits, names, boxes) for entry in entries),
        count=len(entries),
        digest=source_digest(
            _options(names, seed, test_list),
            [path, *_official(root, test_list)],
            root,
            (entry.path for entry in entries),
        ),
        notes=_notes(listed, entries, boxes, test),
    )


def _entry_lists(root: Path) -> list[Path]:
    """The entry lists in `root`; of both generations the later one (`_v2020`) last."""
    return sorted(root.glob("Data_Entry_2017*.csv"))


def _entry_list(root: Path) -> Path:
    lists = _entry_lists(root)
    if not lists:
        raise TableError(
            f"{root} has no Data_Entry_2017.csv or Data_Entry_2017_v2020.csv."
        )
    return lists[-1]


def _find_images(root: Path) -> dict[str, str]:
    """Path below `root` of every file in the image folders, by file name."""
    folders = [root / "images", *sorted(root.glob("images_*/images"))]
    return {
        path.name: path.relative_to(root).as_posix()
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
    }


def _read_entries(path: Path, images: Mapping[str, str]) -> list[_Entry]:
    header, rows = read_csv(path)
    require_columns(path, header, COLUMNS)
    places = [header.index(name) for name in COLUMNS]
    entries: dict[str, _Entry] = {}
    for row in rows:
        where = row.where
        if len(row.values) <= max(places):
            raise TableError(f"{where}: the row is too short.")
        file, findings, patient, age, sex, view = (row.values[i] for i in places)
        if file in entries:
            raise TableError(f"{where}: {file} is listed twice.")
        if not file or not patient:
            raise TableError(f"{where}: image or patient is empty.")
        for text in (file, patient, sex, view):
            plain_text(text, where)
        entries[file] = _Entry(
            file=file,
            path=images.get(file, ""),
            findings=_findings(findings, where),
            patient_id=patient,
            age=_age(age, where),
            sex=sex,
            view=view,
        )
    return list(entries.values())


def _findings(text: str, where: str) -> tuple[str, ...]:
    if text == NO_FINDING:
        return ()
    return tuple(_finding(name, where) for name in text.split("|"))


def _finding(name: str, where: str) -> str:
    if name not in FINDINGS:
        raise TableError(f'{where}: unknown finding "{name}".')
    return FINDINGS[name]


def _age(text: str, where: str) -> int | None:
    """Age in years. The oldest copies write 058Y, 011M and 003D."""
    if not text:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1] in "YMD" else (text, "Y")
    if not re.fullmatch("[0-9]{1,9}", number):
        raise TableError(f'{where}: "{text}" is no age.')
    years = int(number) // {"Y": 1, "M": 12, "D": 365}[unit]
    # A few rows say 400 and more: a slip of the source, so not known.
    return years if years <= 120 else None


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    """Boxes by image file, in fractions; empty if there is no list.

    The header names four numbers in one cell, so columns are taken by position.
    """
    boxes: dict[str, list[Box]] = {}
    if not path.exists():
        return boxes
    for row in read_csv(path)[1]:
        where = row.where
        try:
            file, label, *cells = row.values[:6]
            x, y, w, h = (float(cell) / BOX_FRAME for cell in cells)
        except ValueError:
            raise TableError(f"{where}: needs image, finding, x, y, w, h.") from None
        # The box list alone says "Infiltrate".
        finding = _finding({"Infiltrate": "Infiltration"}.get(label, label), where)
        if not (0 <= x < 1 and 0 <= y < 1 and w > 0 and h > 0):
            raise TableError(f"{where}: the box lies outside the image.")
        # Rounding in the source lets a few boxes end a fraction of a pixel outside.
        box = Box(finding, x, y, min(w, 1 - x), min(h, 1 - y))
        boxes.setdefault(file, []).append(box)
    return boxes


def _options(
    classes: Sequence[str], seed: int, test_list: Path | None
) -> dict[str, Any]:
    options = {"format": "chestxray14", "classes": classes, "seed": seed}
    return options | ({"test_list": sha256_file(test_list)} if test_list else {})


def _official(root: Path, test_list: Path | None) -> list[Path]:
    """The lists beside the entry list that are there and count."""
    lists = (BOX_LIST,) if test_list else (BOX_LIST, TEST_LIST, TRAIN_VAL_LIST)
    return [root / name for name in lists if (root / name).exists()]


def _split(
    root: Path,
    listed: Sequence[_Entry],
    boxes: Mapping[str, Sequence[Box]],
    given: Collection[str] | None,
    rng: np.random.Generator,
) -> dict[str, str]:
    """Split by file name; images that the lists leave out are not in it."""
    entries = [entry for entry in listed if entry.path]
    if given is not None:
        return _split_by(given, listed, rng)
    if not (root / TEST_LIST).exists():
        with_boxes = {entry.patient_id for entry in entries if entry.file in boxes}
        return _drawn(entries, rng, SHARES, with_boxes)
    test = _read_list(root / TEST_LIST)
    rest = [entry for entry in entries if entry.file not in test]
    if (root / TRAIN_VAL_LIST).exists():
        train_val = _read_list(root / TRAIN_VAL_LIST)
        rest = [entry for entry in rest if entry.file in train_val]
    splits = _drawn(rest, rng, OUTSIDE_TEST, ()) if rest else {}
    splits |= {entry.file: "test" for entry in entries if entry.file in test}
    kept = [entry for entry in entries if entry.file in splits]
    check_patients([e.patient_id for e in kept], [splits[e.file] for e in kept])
    return splits


def _read_test_list(path: Path, listed: Sequence[_Entry]) -> set[str]:
    """The image files that a given list names, each of which must be known."""
    known = {entry.file for entry in listed}
    names = set()
    for number, line in enumerate(_lines(path), start=1):
        if words := line.split():
            name = words[0].replace("\\", "/").rpartition("/")[2]
            if name not in known:
                raise TableError(
                    f"{path} line {number}: {name!r} is no image of the entry list."
                )
            names.add(name)
    if not names:
        raise TableError(f"{path} names no image.")
    return names


def _split_by(
    test: Collection[str], listed: Sequence[_Entry], rng: np.random.Generator
) -> dict[str, str]:
    """Split by file name; other images of the patients in `test` are not in it."""
    held = [entry for entry in listed if entry.path]
    in_test = {entry.file: "test" for entry in held if entry.file in test}
    if not in_test:
        raise TableError(f"None of the {len(test)} images of the test list is there.")
    # Also of those whose listed images are not there: nobody may train on them.
    patients = {entry.patient_id for entry in listed if entry.file in test}
    rest = [entry for entry in held if entry.patient_id not in patients]
    return in_test | (_drawn(rest, rng, OUTSIDE_TEST, ()) if rest else {})


def _drawn(
    entries: Sequence[_Entry],
    rng: np.random.Generator,
    shares: Mapping[str, float],
    in_test: Collection[str],
) -> dict[str, str]:
    labels = np.array([_labels(entry, CLASSES) for entry in entries], dtype=np.float32)
    patients = [entry.patient_id for entry in entries]
    splits = assign_splits(patients, labels, rng=rng, shares=shares, in_test=in_test)
    return {entry.file: split for entry, split in zip(entries, splits, strict=True)}


def _read_list(path: Path) -> set[str]:
    return {name for line in _lines(path) for name in line.split()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is not in UTF-8; save it as UTF-8.") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error}") from error


def _labels(entry: _Entry, classes: Sequence[str]) -> tuple[float, ...]:
    return tuple(float(name in entry.findings) for name in classes)


def _record(
    root: Path,
    entry: _Entry,
    splits: Mapping[str, str],
    classes: Sequence[str],
    boxes: Mapping[str, Sequence[Box]],
) -> ImageRecord:
    return ImageRecord(
        image_id=Path(entry.file).stem,
        patient_id=entry.patient_id,
        split=splits[entry.file],
        labels=_labels(entry, classes),
        read=partial(read_grey, root / entry.path),
        source_path=entry.path,
        files=(entry.path,),
        view=entry.view,
        age=entry.age,
        sex=entry.sex,
        boxes=tuple(box for box in boxes.get(entry.file, ()) if box.finding in classes),
    )


def _notes(
    listed: Sequence[_Entry],
    kept: Sequence[_Entry],
    boxes: Mapping[str, Sequence[Box]],
    test: Collection[str] | None,
) -> tuple[str, ...]:
    """What a user should know, each only if it is so."""
    held = {entry.file for entry in listed if entry.path}
    unlabelled = sum(
        box.finding not in entry.findings
        for entry in kept
        for box in boxes.get(entry.file, ())
    )
    left_out = "images in neither official list, left out"
    if test is not None:
        left_out = "images of the test list's patients that it does not name, left out"
    counts = {
        "listed images that are not there": len(listed) - len(held),
        "images of the test list that are not there": len(set(test or ()) - held),
        left_out: len(held) - len(kept),
        "boxes of a finding that the entry list does not give, kept": unlabelled,
    }
    return tuple(f"{text}: {count}" for text, count in counts.items() if count)


FORMAT = Format(
    name="chestxray14",
    title="NIH ChestX-ray14",
    read=read_chestxray14,
    recognises=lambda root: bool(_entry_lists(root)),
    options=(
        CLASSES_OPTION,
        Option(name="test_list", type=Path, help="file that names the test images"),
    ),
    read_part=read_whole_file,
)
