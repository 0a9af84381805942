"""CheXpert in its official layout, original or small.

Irvin et al., CheXpert, AAAI 2019. A folder with `train.csv`, `valid.csv` and the images
under `train/` and `valid/`, of any size; a part of the images suffices. The four
batches of the original are read as they unpack as well.

Han et al. (Nature Communications 2021) trained on all 191,027 frontal images of
`train.csv` and do not say where their development set came from; here it is cut from
these.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

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
from mlcore.datasets.splits import assign_splits
from mlcore.datasets.table import TableError, check_patients
from mlcore.errors import UsageError

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
# The findings that ChestX-ray14 knows too, in the paper's order: the default.
OVERLAPPING = (
    "Cardiomegaly",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
)
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
LISTS = ("train", "valid")
FOLDERS = ("CheXpert-v1.0", "CheXpert-v1.0-small")
VALID_BATCH = "CheXpert-v1.0 batch 1 (validate & csv)"
TRAIN_BATCHES = "CheXpert-v1.0 batch [0-9] (train [0-9])"
# The paper gives no share. Zhang et al. (Radiology: AI 2024) had the same 191,027
# images and split them 6 to 1.
SHARES: Mapping[str, float] = {"train": 6 / 7, "dev": 1 / 7}

POLICIES: Mapping[str, str] = {
    "paper": "blank 0, uncertain 1 but Consolidation 0",
    "ignore": "blank 0, uncertain not known",
    "zeros": "blank 0, uncertain 0",
    "ones": "blank 0, uncertain 1",
}
_NEGATIVE, _POSITIVE, _UNCERTAIN = range(3)
_STATES = {
    "": _NEGATIVE,
    "0.0": _NEGATIVE,
    "0": _NEGATIVE,
    "1.0": _POSITIVE,
    "1": _POSITIVE,
    "-1.0": _UNCERTAIN,
    "-1": _UNCERTAIN,
}
# What stands before train/ or valid/ differs between the copies.
_PATH = re.compile(
    r"(?:.*/)?(?P<list>train|valid)/(?P<patient>patient[0-9]+)/"
    r"(?P<rest>study[0-9]+/[A-Za-z0-9_]+)\.jpg"
)

# The place of a class in FINDINGS, and what its three states become.
_Values = tuple[int, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class _Image:
    """A frontal image of train.csv or valid.csv; `path` is empty if it is not there.

    `states` has a byte for each of `FINDINGS`: what the list says of it.
    """

    image_id: str
    patient_id: str
    path: str
    states: bytes
    view: str
    age: int | None
    sex: str


def read_chexpert(
    root: Path,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
    uncertain: str = "paper",
) -> Source:
    """Read the folder `root`, or CheXpert's folder in it; images are decoded later.

    Frontal images only. Those of `valid.csv` are `test`; of the other patients a
    seventh are `dev`. A blank is 0.

    Args:
        seed: of the splits.
        classes: a choice of `FINDINGS`, in the order wanted; default `OVERLAPPING`.
        uncertain: what -1 becomes: 1, but 0 for Consolidation (`paper`), not known
            (`ignore`), 0 (`zeros`) or 1 (`ones`).

    Raises:
        TableError: a list is missing or malformed, or none of the images is there.
        UsageError: an unknown finding or policy.
    """
    names = chosen_classes(FINDINGS, OVERLAPPING if classes is None else classes)
    if uncertain not in POLICIES:
        policies = ", ".join(POLICIES)
        raise UsageError(f'--uncertain "{uncertain}" is not known; known: {policies}.')
    home = _home(root)
    lists = {name: _list(home, name) for name in LISTS}
    read = {name: _read_list(home, lists[name], name) for name in LISTS}
    held = _held(home, read)
    images = held["train"] + held["valid"]
    splits = (*_split(held["train"], seed), *["test"] * len(held["valid"]))
    values = _values(names, uncertain)
    return Source(
        format="chexpert",
        root=home,
        modality="xray",
        classes=names,
        label_policy=POLICIES[uncertain],
        records=(
            _record(home, image, split, values)
            for image, split in zip(images, splits, strict=True)
        ),
        count=len(images),
        digest=source_digest(
            {
                "format": "chexpert",
                "classes": names,
                "seed": seed,
                "uncertain": uncertain,
            },
            lists.values(),
            home,
            (image.path for image in images),
        ),
        notes=_notes(read, held),
    )


def _homes(root: Path) -> list[Path]:
    """The folders of CheXpert: `root` itself, and those below it."""
    return [
        folder
        for folder in (root, *(root / name for name in FOLDERS))
        if any((folder / below / "train.csv").exists() for below in ("", VALID_BATCH))
    ]


def _home(root: Path) -> Path:
    homes = _homes(root)
    if not homes:
        raise TableError(f"{root} has no train.csv, nor has {' or '.join(FOLDERS)}.")
    if len(homes) > 1 and homes[0] != root:
        raise TableError(f"{root} holds {' and '.join(FOLDERS)}; name one of them.")
    return homes[0]


def _list(home: Path, name: str) -> Path:
    """train.csv or valid.csv, which unpack into the first of four batches."""
    batch = home / VALID_BATCH / f"{name}.csv"
    return batch if batch.exists() else home / f"{name}.csv"


def _find_patients(home: Path, name: str) -> dict[str, str]:
    """The folder below `home` of each patient of `train` or `valid`."""
    if name == "train":
        folders = [home / "train", *sorted(home.glob(TRAIN_BATCHES))]
    else:
        folders = [home / "valid", home / VALID_BATCH / "valid"]
    patients: dict[str, str] = {}
    for folder in folders:
        if folder.is_dir():
            below = folder.relative_to(home).as_posix()
            with os.scandir(folder) as entries:
                patients |= {entry.name: f"{below}/{entry.name}" for entry in entries}
    return patients


def _read_list(home: Path, path: Path, name: str) -> tuple[list[_Image], int]:
    """The frontal images of a list, and how many others it has."""
    header, lines = read_csv(path)
    require_columns(path, header, (*COLUMNS, *FINDINGS))
    patients = _find_patients(home, name)
    images: dict[str, _Image] = {}
    for line in lines:
        image = _read_row(home, line.cells(), patients, line.where)
        if image is None:
            continue
        if image.image_id.partition("/")[0] != name:
            raise TableError(f"{line.where}: the image is not below {name}/.")
        if image.image_id in images:
            raise TableError(f"{line.where}: {image.image_id} is listed twice.")
        images[image.image_id] = image
    return list(images.values()), len(lines) - len(images)


def _read_row(
    home: Path, cells: Mapping[str, str], patients: Mapping[str, str], where: str
) -> _Image | None:
    """The image of a row of a list; None if it is lateral."""
    path, sex, age, side, view = (cells[column] for column in COLUMNS)
    if side == "Lateral":
        return None
    if side != "Frontal":
        raise TableError(f'{where}: "{side}" is neither Frontal nor Lateral.')
    match = _PATH.fullmatch(path)
    if match is None:
        raise TableError(
            f"{where}: {path!r} is no path of an image, such as "
            "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg."
        )
    if not re.fullmatch("[0-9]{1,3}", age):
        raise TableError(f'{where}: "{age}" is no age.')
    patient, rest = match["patient"], match["rest"]
    file = f"{patients[patient]}/{rest}.jpg" if patient in patients else ""
    return _Image(
        image_id=f"{match['list']}/{patient}/{rest}",
        patient_id=patient,
        path=file if file and (home / file).is_file() else "",
        states=_states([cells[name] for name in FINDINGS], where),
        view=plain_text(view, where),
        age=int(age) or None,
        sex="" if sex == "Unknown" else plain_text(sex, where),
    )


def _states(labels: Sequence[str], where: str) -> bytes:
    try:
        return bytes([_STATES[text] for text in labels])
    except KeyError as error:
        name = FINDINGS[labels.index(error.args[0])]
        raise TableError(
            f'{where}, column "{name}": "{error.args[0]}" is not 1, 0, -1 or empty.'
        ) from None


def _values(classes: Sequence[str], uncertain: str) -> tuple[_Values, ...]:
    other = {"ignore": float("nan"), "zeros": 0.0}.get(uncertain, 1.0)
    zero = {"Consolidation"} if uncertain == "paper" else set()
    return tuple(
        (FINDINGS.index(name), (0.0, 1.0, 0.0 if name in zero else other))
        for name in classes
    )


def _split(images: Sequence[_Image], seed: int) -> tuple[str, ...]:
    """`train` and `dev`, by patient, with what is positive and what is uncertain of
    every finding spread evenly: one seed gives one split, whatever the classes and
    the policy, so that trainings with different ones can be compared."""
    if not images:
        return ()
    states = np.frombuffer(b"".join(image.states for image in images), np.uint8)
    states = states.reshape(len(images), len(FINDINGS))
    labels = np.hstack([states == _POSITIVE, states == _UNCERTAIN]).astype(np.float32)
    patients = [image.patient_id for image in images]
    rng = np.random.default_rng(seed)
    return assign_splits(patients, labels, rng=rng, shares=SHARES)


def _record(
    home: Path, image: _Image, split: str, values: Sequence[_Values]
) -> ImageRecord:
    return ImageRecord(
        image_id=image.image_id,
        patient_id=image.patient_id,
        split=split,
        labels=tuple(becomes[image.states[at]] for at, becomes in values),
        read=partial(read_grey, home / image.path),
        source_path=image.path,
        files=(image.path,),
        view=image.view,
        age=image.age,
        sex=image.sex,
    )


def _held(
    home: Path, read: Mapping[str, tuple[list[_Image], int]]
) -> dict[str, list[_Image]]:
    """The images of each list that are there."""
    check_patients(
        [image.patient_id for images, _ in read.values() for image in images],
        [name for name, (images, _) in read.items() for _ in images],
    )
    held = {
        name: [image for image in images if image.path]
        for name, (images, _) in read.items()
    }
    if not any(held.values()):
        raise TableError(
            f"None of the frontal images that train.csv and valid.csv list is in "
            f"{home}; they belong into train/ and valid/."
        )
    return held


def _notes(
    read: Mapping[str, tuple[Sequence[_Image], int]],
    held: Mapping[str, Sequence[_Image]],
) -> tuple[str, ...]:
    """What a user should know, each only if it is so."""
    counts = {"lateral images, left out": sum(others for _, others in read.values())}
    for name, (images, _) in read.items():
        missing = len(images) - len(held[name])
        counts[f"frontal images of {name}.csv that are not there"] = missing
    return tuple(f"{text}: {count}" for text, count in counts.items() if count)


FORMAT = Format(
    name="chexpert",
    title="CheXpert, original or small",
    read=read_chexpert,
    recognises=lambda root: bool(_homes(root)),
    options=(
        replace(CLASSES_OPTION, help="of its fourteen; default the seven of the paper"),
        Option(
            name="uncertain",
            choices=tuple(POLICIES),
            help="what -1 becomes; as in the paper (1, Consolidation 0; default), not "
            "known, 0, 1",
        ),
    ),
    read_part=read_whole_file,
)
