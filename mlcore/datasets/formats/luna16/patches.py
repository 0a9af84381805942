"""CT patches derived from LUNA16, and how any patch of it becomes a grey image.

Two forms of the same set (Kaggle `kmader/lungnodemalignancy`, the paper's 6,691
patches): `all_patches.hdf5` with `ct_slices` (N, 64, 64) in HU and `slice_class`
(N, 1), 1 malignant and 0 benign; or a folder `malignant/` and a folder `benign/` (or
`1/` and `0/`) of image files, whose grey levels are shown as they are.

Nothing tells which patches come from one nodule or one patient.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.decoding.dicom_file import printable
from mlcore.datasets.decoding.grey_image import LARGEST, GreyImage, Window
from mlcore.datasets.decoding.image_files import SUFFIXES, read_grey
from mlcore.datasets.formats.format import Source
from mlcore.datasets.formats.lists import (
    chosen_classes,
    relative_path,
    source_digest,
)
from mlcore.datasets.record import ImageRecord
from mlcore.datasets.splits import assign_splits
from mlcore.datasets.table import TableError
from mlcore.errors import UsageError

CLASSES = ("Malignant",)
SHARES: Mapping[str, float] = {"train": 0.8, "dev": 0.1, "test": 0.1}
HDF5_SUFFIXES = (".hdf5", ".h5")
IMAGES, LABELS = "ct_slices", "slice_class"
LEAKY = (
    "each patch counts as a patient of its own, since the source names none: patches "
    "of one nodule may lie in training and test (leaky, as in the paper)"
)

# -600 to 300 HU, as the author of the derived set shows it.
PATCH_WINDOW = (-150.0, 900.0)
_PRESETS = (Window("lung", -600, 1500), Window("soft tissue", 40, 400))
# 16-bit images are unsigned, HU are not.
_OFFSET = -(2**15)
_FOLDERS = {"malignant": 1.0, "1": 1.0, "benign": 0.0, "0": 0.0}


def checked_window(window: tuple[float, float] | None) -> tuple[float, float]:
    """Centre and width of the default window; `PATCH_WINDOW` if none was asked for.

    Raises:
        UsageError: it is no window.
    """
    center, width = window or PATCH_WINDOW
    # Not-a-number fails both comparisons.
    if not (abs(center) < LARGEST and 2 <= width < LARGEST):
        raise UsageError(
            "--window needs a centre and a width of at least 2, in HU, both below a "
            "billion."
        )
    return float(center), float(width)


def hounsfield_image(
    values: NDArray[np.int16],
    options: Mapping[str, Any],
    pixel_spacing_mm: tuple[float, float] | None = None,
) -> GreyImage:
    """An image of values in HU, with the window of the import before the presets."""
    center, width = options["window"]
    presets = (p for p in _PRESETS if (p.center, p.width) != (center, width))
    return GreyImage(
        pixels=(values.astype(np.int32) - _OFFSET).astype(np.uint16),
        windows=(Window("of the import", center, width), *presets),
        rescale_intercept=_OFFSET,
        pixel_spacing_mm=pixel_spacing_mm,
    )


def is_derived(root: Path) -> bool:
    """Whether `root` is the derived set in one of its forms, not LUNA16 itself."""
    if root.is_file():
        return root.suffix.lower() in HDF5_SUFFIXES
    if (root / "annotations.csv").exists() or (root / "CSVFILES").exists():
        return False
    return bool(_hdf5_files(root) or _class_folders(root))


def read_patches(
    root: Path,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
) -> Source:
    """Read the derived set at `root`, a file or a folder; pixels are decoded later.

    Splits: 80, 10 and 10 % of the patches, stratified.

    Raises:
        TableError: the file or folder does not hold the set.
        UsageError: a class is not known, or a window is none.
    """
    names = chosen_classes(CLASSES, classes)
    files = [root] if root.is_file() else _hdf5_files(root)
    if len(files) > 1:
        raise TableError(f"{root} holds {len(files)} HDF5 files; name one as SOURCE.")
    options: dict[str, Any] = {}
    if files:
        options["window"] = list(checked_window(window))
        labels = _read_labels(files[0])
        addresses = {f"{files[0].name}#{row}": y for row, y in enumerate(labels)}
    elif window is not None:
        raise UsageError("--window is for HU; image files are shown as they are.")
    else:
        addresses = _read_folders(root)
    folder = files[0].parent if files else root
    chosen = {"format": "luna16", "classes": names, "seed": seed} | options
    used = [path.name for path in files] or list(addresses)
    return Source(
        format="luna16",
        root=folder,
        modality="ct",
        classes=names,
        label_policy="1 malignant, 0 benign",
        records=_records(folder, addresses, options, seed),
        count=len(addresses),
        digest=source_digest(chosen, [], folder, used),
        options=options,
        # 1000 rows took 0.6 s one by one, 1.0 in two threads (HDF5 has one lock for
        # all) and 0.3 in two processes.
        decoded_in="processes",
        notes=(LEAKY,),
    )


def read_part(
    path: Path, part: tuple[int, ...], options: Mapping[str, Any]
) -> GreyImage:
    """Decode one patch: row `part` of an HDF5 file, or an image file.

    Values that are no whole HU are rounded.

    Raises:
        TableError: the file is missing, damaged or holds no such row; or the values are
            not finite or beyond 16 bits.
    """
    if path.suffix.lower() not in HDF5_SUFFIXES:
        return read_grey(path)
    with _opened(path) as file:
        images = _dataset(path, file, IMAGES)
        if len(part) != 1 or part[0] >= len(images):
            raise TableError(f"{path} has {len(images)} patches, not number {part}.")
        values = np.rint(np.asarray(images[part[0]], dtype=np.float64))
    limits = np.iinfo(np.int16)
    # Not-a-number fails both comparisons.
    if not (values.min() >= limits.min and values.max() <= limits.max):
        raise TableError(f"{path}: patch {part[0]} has values that are no HU.")
    return hounsfield_image(values.astype(np.int16), options)


def _hdf5_files(root: Path) -> list[Path]:
    files = [path for suffix in HDF5_SUFFIXES for path in root.glob(f"*{suffix}")]
    official = [path for path in files if path.stem == "all_patches"]
    return official[:1] or sorted(files)


def _class_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.name.lower() in _FOLDERS)


def _read_folders(root: Path) -> dict[str, float]:
    """Label of each image file, by its path; 2.png comes before 10.png."""
    labels: dict[str, float] = {}
    for folder in _class_folders(root):
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
        for path in sorted(paths, key=_natural):
            name = relative_path(root, path.relative_to(root).as_posix(), str(root))
            labels[name] = _FOLDERS[folder.name.lower()]
    if set(labels.values()) != {0.0, 1.0}:
        raise TableError(
            f"{root} needs images ({', '.join(SUFFIXES)}) in malignant/ and in "
            "benign/, or in 1/ and 0/."
        )
    return labels


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.findall("[0-9]+|[^0-9]+", path.name)
    return [(int(p), p) if p.isdecimal() else (-1, p) for p in parts]


def _read_labels(path: Path) -> list[float]:
    with _opened(path) as file:
        images, labels = _dataset(path, file, IMAGES), _dataset(path, file, LABELS)
        if images.ndim != 3 or images.shape[1:] != (64, 64) or not len(images):
            raise TableError(
                f"{path}: {IMAGES} has shape {images.shape}; (N, 64, 64) is needed."
            )
        if labels.shape not in ((len(images),), (len(images), 1)):
            raise TableError(
                f"{path}: {LABELS} has shape {labels.shape}; with {IMAGES} of "
                f"{images.shape} it must be ({len(images)}, 1)."
            )
        values = np.asarray(labels[()], dtype=np.float64).ravel()
    wrong = np.flatnonzero((values != 0) & (values != 1))
    if len(wrong):
        raise TableError(
            f"{path}: {LABELS} of patch {wrong[0]} is {values[wrong[0]]:g}, not 0 or 1."
        )
    return [float(value) for value in values]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The HDF5 file at `path`; what its library reports becomes a TableError."""
    import h5py  # other formats need not load it

    if not path.is_file():
        raise TableError(f"{path} is missing.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    # KeyError and RuntimeError are how it reports damage inside the file.
    except (OSError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise TableError(f"{path} does not read as HDF5: {reason}") from error


def _dataset(path: Path, file: Any, name: str) -> Any:
    """A data set of numbers that lies in this very file: HDF5 may point to others."""
    import h5py

    link = file.get(name, getlink=True)
    data = file.get(name) if isinstance(link, h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        # Names that are no UTF-8 come as bytes, and any may hold line ends.
        names = sorted(printable(str(name), 40) for name in file)
        held = ", ".join(names) or "nothing"
        raise TableError(f'{path} has no data set "{name}" (it holds {held}).')
    if data.dtype.kind not in "iufb":
        raise TableError(f"{path}: {name} holds {data.dtype}, not numbers.")
    return data


def _records(
    folder: Path,
    addresses: Mapping[str, float],
    options: Mapping[str, Any],
    seed: int,
) -> Iterable[ImageRecord]:
    labels = np.array(list(addresses.values()), dtype=np.float32)[:, None]
    # Numbers as wide as each other keep the split independent of the names.
    patients = [f"patch-{number:08}" for number in range(len(addresses))]
    rng = np.random.default_rng(seed)
    splits = assign_splits(patients, labels, rng=rng, shares=SHARES)
    for (address, label), patient, split in zip(
        addresses.items(), patients, splits, strict=True
    ):
        name, _, row = address.partition("#")
        part = (int(row),) if row else ()
        yield ImageRecord(
            image_id=patient,
            patient_id=patient,
            split=split,
            labels=(label,),
            read=partial(read_part, folder / name, part, options),
            source_path=address,
            files=(name,),
        )
