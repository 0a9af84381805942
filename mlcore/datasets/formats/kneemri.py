"""kneeMRI (Štajduhar et al. 2017): anterior cruciate ligaments in sagittal knee MRI.

A folder with `metadata.csv` and the pickled volumes in `vol01` to `vol10`, beside it or
under `volumetric_data`; a part of the volumes suffices. Every slice through the region
of interest around the ligament becomes one image: the whole slice, as in Han et al.
(Nature Communications 2021), who had 3,081 of them from 917 volumes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.decoding.pickled_array import read_array
from mlcore.datasets.formats.format import Format, Option, Source
from mlcore.datasets.formats.lists import read_csv, require_columns, source_digest
from mlcore.datasets.record import ImageRecord
from mlcore.datasets.splits import assign_splits
from mlcore.datasets.table import Box, TableError

# In the order of aclDiagnosis 0, 1, 2. The name of the first tells the drawing of cases
# that it is no pathology.
CLASSES = ("Healthy", "Partial ACL Tear", "Complete ACL Tear")
METADATA = "metadata.csv"
# The ROI's height stands before its width.
COLUMNS = (
    "examId",
    "seriesNo",
    "aclDiagnosis",
    "roiX",
    "roiY",
    "roiZ",
    "roiHeight",
    "roiWidth",
    "roiDepth",
    "volumeFilename",
)
# The paper's shares, of slices.
SHARES: Mapping[str, float] = {"train": 0.8, "dev": 0.1, "test": 0.1}
SPLIT_BY = ("exam", "slice")
LEAKY = (
    "split by slice, as in the paper, which is leaky: neighbouring slices of one knee "
    "lie in training and test, and every slice counts as a patient of its own, in "
    "intervals and in the drawing of cases too"
)
_GREY_LEVELS = 2**16
_MAX_DEPTH = 1000  # slices; a slip in this number would else fill the memory


@dataclass(frozen=True)
class _Volume:
    """A row of metadata.csv; `path` is empty if its volume is not there.

    `roi` is x, y, width and height in pixels of a slice, `slices` those it spans.
    """

    exam: str
    series: str
    diagnosis: int
    roi: tuple[int, int, int, int]
    slices: range
    path: str


def read_kneemri(root: Path, *, seed: int, split_by: str = "exam") -> Source:
    """Read the folder `root`; volumes are read later, in parts of one slice.

    Of the slices 80, 10 and 10 % are `train`, `dev` and `test`, stratified by
    diagnosis. The ROI is the box of a torn ligament.

    Args:
        seed: of the splits.
        split_by: `exam` keeps all slices of an exam in one split; `slice` is the
            paper's way, and leaky: every slice is then a patient of its own.

    Raises:
        TableError: the metadata are missing or malformed, or no volume is there.
    """
    if split_by not in SPLIT_BY:
        raise TableError(f'"{split_by}" is not one of {", ".join(SPLIT_BY)}.')
    listed = _read_metadata(root)
    held = [volume for volume in listed if volume.path]
    if not held:
        raise TableError(
            f"None of the {len(listed)} volumes that {METADATA} lists is in {root}; "
            "they belong into vol01/ to vol10/ or volumetric_data/vol01/ and so on."
        )
    slices = [(volume, z) for volume in held for z in volume.slices]
    leaky = split_by == "slice"
    patients = [_image_id(*one) if leaky else one[0].exam for one in slices]
    splits = _drawn(slices, patients, seed)
    missing = len(listed) - len(held)
    return Source(
        format="kneemri",
        root=root,
        modality="mri",
        classes=CLASSES,
        label_policy="one of three diagnoses an exam, given to each of its ROI slices",
        records=(
            _record(root, *one, patient, split)
            for one, patient, split in zip(slices, patients, splits, strict=True)
        ),
        count=len(slices),
        digest=source_digest(
            {"format": "kneemri", "seed": seed, "split_by": split_by},
            [root / METADATA],
            root,
            (volume.path for volume in held),
        ),
        decoded_in="processes",
        notes=(
            *([f"listed volumes that are not there: {missing}"] if missing else []),
            *([LEAKY] if leaky else []),
        ),
    )


def read_part(
    path: Path, part: tuple[int, ...], _options: Mapping[str, Any]
) -> GreyImage:
    """Read the slice `part` = (z,) of the volume at `path`, see `display`.

    Without a window: a slice is shown from its own minimum to its own maximum.

    Raises:
        TableError: as `pickled_array.read_array`; the volume has no such slice, or
            spans more than 16 bits.
    """
    (z,) = part
    state = path.stat() if path.exists() else None
    volume = _volume(path, state and (state.st_size, state.st_mtime_ns))
    if z >= len(volume):
        raise TableError(f"{path} has {len(volume)} slices; slice {z} is asked for.")
    low, high = int(volume[z].min()), int(volume[z].max())
    offset = min(low, 0)
    if high - offset >= _GREY_LEVELS:
        raise TableError(f"{path}: the values {low} to {high} do not fit into 16 bits.")
    pixels = (volume[z].astype(np.int64) - offset).astype(np.uint16)
    return GreyImage(pixels=pixels, rescale_intercept=float(offset))


# One volume for its two to six slices, and the one that another thread is at.
@lru_cache(maxsize=2)
def _volume(path: Path, _state: tuple[int, int] | None) -> NDArray[np.integer[Any]]:
    return read_array(path, dimensions=3)


def _read_metadata(root: Path) -> list[_Volume]:
    path = root / METADATA
    header, rows = read_csv(path)
    require_columns(path, header, COLUMNS)
    volumes = _find_volumes(root)
    seen: dict[str, int] = {}
    listed = []
    for row in rows:
        where, cells = row.where, row.cells()
        name = cells["volumeFilename"]
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise TableError(f"{where}: {name!r} is no file name of a volume.")
        volume = _read_row(cells, volumes.get(name, ""), where)
        # Two volumes of one series would give images of one name.
        for key in (name, f"exam {volume.exam} series {volume.series}"):
            if seen.setdefault(key, row.line) != row.line:
                raise TableError(f"{where}: {key} is already in line {seen[key]}.")
        listed.append(volume)
    return listed


def _read_row(cells: Mapping[str, str], path: str, where: str) -> _Volume:
    exam, series, diagnosis, x, y, z, height, width, depth = (
        _whole_number(column, cells[column], where) for column in COLUMNS[:-1]
    )
    if diagnosis >= len(CLASSES):
        raise TableError(f"{where}: unknown aclDiagnosis {diagnosis}; known: 0, 1, 2.")
    if not (height and width and 0 < depth <= _MAX_DEPTH):
        raise TableError(f"{where}: the ROI is empty, or is no part of a knee.")
    return _Volume(
        exam=str(exam),
        series=str(series),
        diagnosis=diagnosis,
        roi=(x, y, width, height),
        slices=range(z, z + depth),
        path=path,
    )


def _whole_number(column: str, text: str, where: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise TableError(f'{where}, column "{column}": "{text}" is no whole number.')
    return int(text)


def _find_volumes(root: Path) -> dict[str, str]:
    """Path below `root` of every volume, by file name."""
    return {
        path.name: path.relative_to(root).as_posix()
        for pattern in ("vol[0-9][0-9]/*", "volumetric_data/vol[0-9][0-9]/*")
        for path in sorted(root.glob(pattern))
    }


def _drawn(
    slices: Sequence[tuple[_Volume, int]], patients: Sequence[str], seed: int
) -> tuple[str, ...]:
    labels = np.array([_labels(volume) for volume, _ in slices], dtype=np.float32)
    rng = np.random.default_rng(seed)
    return assign_splits(patients, labels, rng=rng, shares=SHARES)


def _labels(volume: _Volume) -> tuple[float, ...]:
    return tuple(float(number == volume.diagnosis) for number in range(len(CLASSES)))


def _image_id(volume: _Volume, z: int) -> str:
    return f"{volume.exam}-{volume.series}-{z}"


def _record(
    root: Path, volume: _Volume, z: int, patient: str, split: str
) -> ImageRecord:
    torn = volume.diagnosis > 0
    return ImageRecord(
        image_id=_image_id(volume, z),
        patient_id=patient,
        split=split,
        labels=_labels(volume),
        read=partial(read_part, root / volume.path, (z,), {}),
        source_path=f"{volume.path}#{z}",
        files=(volume.path,),
        boxes=(Box(CLASSES[volume.diagnosis], *volume.roi),) if torn else (),
        boxes_in_pixels=True,
    )


FORMAT = Format(
    name="kneemri",
    title="the Rijeka knee MRI",
    read=read_kneemri,
    recognises=lambda root: (root / METADATA).is_file(),
    options=(
        Option(
            name="split_by",
            choices=SPLIT_BY,
            help="exam (default); slice is the paper's, and leaky: slices of one knee "
            "then lie in training and test",
        ),
    ),
    read_part=read_part,
)
