"""LUNA16 in its official layout: CT scans, and patches around their nodules.

Setio et al., Medical Image Analysis 2017. A folder with `annotations.csv` and the scans
`subset0/<seriesuid>.mhd` to `subset9/` (or directly in the folder), each with its
`.raw`; some of the subsets suffice. Lists that are used where they are there:
see `lists`. The derived set of patches is read by `patches`.

An image is a patch of 64 x 64 pixels in the axial slice of a nodule's centre, at the
scan's own resolution and as it is stored: a scan of a prone patient is not turned. Each
nodule gives one patch, and its scan gives patches without a nodule; scans without
nodules are not used, so that a patch's class does not go with its scanner. `Malignant`
is of the nodule in the middle; boxes are given of every nodule that a patch shows.

A scan counts as a patient. In LIDC-IDRI a few patients have two scans, and LUNA16 does
not say which. `image_id` is the end of the seriesuid with slice, row and column of the
patch, the same as in `source_path`.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.decoding.metaimage import Point, Volume, open_volume, read_slice
from mlcore.datasets.formats.format import (
    CLASSES_OPTION,
    WINDOW_OPTION,
    Format,
    Option,
    Source,
)
from mlcore.datasets.formats.lists import chosen_classes, source_digest
from mlcore.datasets.formats.luna16 import patches as luna_patches
from mlcore.datasets.formats.luna16.lists import (
    MALIGNANCY,
    Finding,
    ListPaths,
    by_series,
    find_annotations,
    find_lists,
    read_candidates,
    read_excluded,
    read_nodules,
)
from mlcore.datasets.formats.luna16.places import (
    PATCH,
    Corner,
    corner_at,
    draw_negatives,
    nodule_extent,
    shows,
    sphere_extent,
)
from mlcore.datasets.record import ImageRecord
from mlcore.datasets.splits import assign_splits
from mlcore.datasets.table import Box, TableError
from mlcore.errors import UsageError

NODULE, MALIGNANT = "Nodule", "Malignant"
CONSTANT = f"every patch has a nodule: the class {NODULE} tells nothing apart"
_NAMED = 10  # nodules outside their scan that a note names


@dataclass(frozen=True)
class _Patch:
    """A patch.

    Attributes:
        nodule: that it is of; None for a patch without.
        shown: every nodule that it shows, `nodule` among them.
    """

    volume: Volume
    corner: Corner
    series: str
    nodule: Finding | None = None
    shown: tuple[Finding, ...] = ()


@dataclass
class _Counts:
    """What is to be told about the source."""

    outside: list[Finding]
    repeated: int = 0
    missed: int = 0


def read_luna16(
    root: Path,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    negatives: float | None = None,
) -> Source:
    """Read the folder `root`, or the derived set of patches; pixels are decoded later.

    Args:
        root: LUNA16, a folder of derived patches, or their HDF5 file.
        seed: of the splits and of what is drawn.
        classes: of `Nodule` and (with `annotations_with_malignancy.csv`) `Malignant`;
            default both, with `negatives` 0 only `Malignant`.
        window: centre and width of the default window in HU.
        negatives: patches without a nodule for each with one; default 1.

    Raises:
        TableError: a list or scan is missing or malformed.
        UsageError: an option makes no sense.
    """
    if luna_patches.is_derived(root):
        if negatives is not None:
            raise UsageError("--negatives is for the scans of LUNA16, not for patches.")
        return luna_patches.read_patches(
            root, seed=seed, classes=classes, window=window
        )
    if root.is_file():
        raise TableError(f"{root} is a file; give the folder, or an .hdf5 file.")
    return _read_scans(
        root, seed, classes, luna_patches.checked_window(window), _per_nodule(negatives)
    )


def read_part(
    path: Path, part: tuple[int, ...], options: Mapping[str, Any]
) -> GreyImage:
    """Decode one patch: of a volume (k, y, x), of an HDF5 file (row), or an image file.

    Raises:
        TableError: the file is missing or damaged, or has no such part.
    """
    if path.suffix != ".mhd":
        return luna_patches.read_part(path, part, options)
    if len(part) != 3:
        raise TableError(f"{path}: a patch of a scan is named by slice, row, column.")
    volume = open_volume(path)
    k, top, left = part
    values = read_slice(volume, k, (top, left), (PATCH, PATCH))
    spacing = (float(volume.spacing[1]), float(volume.spacing[0]))
    return luna_patches.hounsfield_image(values, options, spacing)


def _per_nodule(negatives: float | None) -> float:
    ratio = 1.0 if negatives is None else negatives
    if not (math.isfinite(ratio) and ratio >= 0):
        raise UsageError("--negatives must be 0 or more.")
    return ratio


def _read_scans(
    root: Path,
    seed: int,
    classes: Sequence[str] | None,
    window: tuple[float, float],
    ratio: float,
) -> Source:
    lists = find_lists(root)
    names = _classes(classes, lists.malignancy is not None, ratio)
    nodules = by_series(read_nodules(lists.annotations, lists.malignancy))
    held = _find_scans(root)
    counts = _Counts(outside=[])
    patches = _all_patches(lists, nodules, held, (seed, ratio), counts)
    if not patches:
        raise TableError(f"No nodule of {lists.annotations} lies inside its scan.")
    options = {"window": list(window)}
    constant = NODULE in names and all(patch.nodule for patch in patches)
    return Source(
        format="luna16",
        root=root,
        modality="ct",
        classes=names,
        label_policy="Malignant: 0 without a nodule, not known where nobody judged",
        records=_records(root, patches, names, options, seed),
        count=len(patches),
        digest=source_digest(
            {"format": "luna16", "classes": names, "seed": seed, "negatives": ratio}
            | options,
            lists.found(),
            root,
            sorted({name for patch in patches for name in _files(root, patch.volume)}),
        ),
        options=options,
        # Measured in pairs: threads bring 1.8 times the speed and processes 2.1; where
        # data are compressed 0.8 and 1.5.
        decoded_in="processes",
        notes=(
            *_notes(nodules, held, counts),
            *((CONSTANT,) if constant else ()),
        ),
    )


def _all_patches(
    lists: ListPaths,
    nodules: Mapping[str, Sequence[Finding]],
    held: Mapping[str, Path],
    drawing: tuple[int, float],
    counts: _Counts,
) -> list[_Patch]:
    """The patches of every annotated scan that is there, in the order of seriesuids."""
    scans = sorted(set(nodules) & set(held))
    if not scans:
        raise TableError(
            f"None of the scans of {lists.annotations} is there; they belong into "
            "subset0/ to subset9/ beside it as .mhd and .raw."
        )
    excluded = by_series(read_excluded(lists.excluded))
    points = None
    if lists.candidates is not None and drawing[1] > 0:
        points = read_candidates(lists.candidates, frozenset(scans))
    patches = []
    for series in scans:
        patches += _scan_patches(
            open_volume(held[series]),
            nodules[series],
            excluded.get(series, []),
            None if points is None else points.get(series, []),
            drawing,
            counts,
        )
    return patches


def _classes(
    wanted: Sequence[str] | None, judged: bool, ratio: float
) -> tuple[str, ...]:
    known = (NODULE, MALIGNANT) if judged else (NODULE,)
    if wanted is None and ratio == 0:
        if not judged:
            raise TableError(
                f"Without negatives every patch has a nodule; {MALIGNANCY} is needed "
                "to tell them apart."
            )
        return (MALIGNANT,)
    if not judged and MALIGNANT in (wanted or ()):
        raise TableError(f"The class {MALIGNANT} needs {MALIGNANCY}.")
    return chosen_classes(known, wanted)


def _find_scans(root: Path) -> dict[str, Path]:
    """Path of every scan, by seriesuid."""
    scans: dict[str, Path] = {}
    for path in sorted([*root.glob("subset*/*.mhd"), *root.glob("*.mhd")]):
        if path.stem in scans:
            raise TableError(f"{path} is also {scans[path.stem]}; remove one of them.")
        scans[path.stem] = path
    return scans


def _scan_patches(
    volume: Volume,
    nodules: Sequence[Finding],
    excluded: Sequence[Finding],
    candidates: Sequence[Point] | None,
    drawing: tuple[int, float],
    counts: _Counts,
) -> list[_Patch]:
    """The patches of one scan, those with a nodule first."""
    if min(volume.size[:2]) < PATCH:
        raise TableError(
            f"{volume.path} has slices of {volume.size[0]} x {volume.size[1]} pixels; "
            f"a patch needs {PATCH} x {PATCH}."
        )
    nodule_at = _nodule_corners(volume, nodules, counts)
    seed, ratio = drawing
    series = volume.path.stem
    # Of the seed and the scan, so that no other scan changes what is drawn here.
    name = hashlib.sha256(series.encode()).digest()
    rng = np.random.default_rng([seed, *name])
    wanted = int(ratio * len(nodule_at) + rng.random())  # a fraction rounds by chance
    corners = draw_negatives(
        volume,
        wanted,
        findings=[*nodules, *excluded],
        candidates=candidates,
        rng=rng,
    )
    counts.missed += wanted - len(corners)
    patches = [_Patch(volume, corner, series) for corner in corners]
    return [
        _Patch(volume, corner, series, nodule, _shown(volume, nodules, corner))
        for corner, nodule in nodule_at.items()
    ] + patches


def _shown(
    volume: Volume, nodules: Sequence[Finding], corner: Corner
) -> tuple[Finding, ...]:
    return tuple(
        nodule for nodule in nodules if shows(sphere_extent(volume, nodule), corner)
    )


def _nodule_corners(
    volume: Volume, nodules: Sequence[Finding], counts: _Counts
) -> dict[Corner, Finding]:
    """The nodules that lie in the scan, by the corner of their patch."""
    nodule_at: dict[Corner, Finding] = {}
    for nodule in nodules:
        voxel = volume.voxel(nodule.center)
        if voxel is None:
            counts.outside.append(nodule)
            continue
        corner = corner_at(volume, voxel)
        counts.repeated += corner in nodule_at
        nodule_at.setdefault(corner, nodule)
    return nodule_at


def _files(root: Path, volume: Volume) -> tuple[str, str]:
    relative = volume.path.relative_to(root).parent
    return (
        (relative / volume.path.name).as_posix(),
        (relative / volume.data.name).as_posix(),
    )


def _records(
    root: Path,
    patches: Sequence[_Patch],
    classes: Sequence[str],
    options: Mapping[str, Any],
    seed: int,
) -> list[ImageRecord]:
    labels = [_labels(patch.nodule, classes) for patch in patches]
    splits = assign_splits(
        [patch.series for patch in patches],
        np.array(labels, dtype=np.float32),
        rng=np.random.default_rng(seed),
        shares=luna_patches.SHARES,
    )
    short = _short_names({patch.series for patch in patches})
    records = []
    for patch, values, split in zip(patches, labels, splits, strict=True):
        files, place = _files(root, patch.volume), patch.corner
        records.append(
            ImageRecord(
                image_id="-".join([short[patch.series], *map(str, place)]),
                patient_id=patch.series,
                split=split,
                labels=values,
                read=partial(read_part, patch.volume.path, place, options),
                source_path=f"{files[0]}#{','.join(map(str, place))}",
                files=files,
                boxes=_boxes(patch, classes),
                boxes_in_pixels=True,
            )
        )
    return records


def _short_names(series: Iterable[str]) -> dict[str, str]:
    """The last 12 characters of each name, or all of it where two end alike."""
    names = sorted(series)
    ends = [name[-12:] for name in names]
    return {
        name: end if ends.count(end) == 1 else name
        for name, end in zip(names, ends, strict=True)
    }


def _labels(nodule: Finding | None, classes: Sequence[str]) -> tuple[float, ...]:
    if nodule is None:
        return (0.0,) * len(classes)
    judged = math.nan if nodule.malignant is None else float(nodule.malignant)
    labels = {NODULE: 1.0, MALIGNANT: judged}
    return tuple(labels[name] for name in classes)


def _boxes(patch: _Patch, classes: Sequence[str]) -> tuple[Box, ...]:
    """Boxes in pixels of the patch: of all nodules that it shows; and of its own as
    malignant, if it is."""
    boxes = [(NODULE, nodule) for nodule in patch.shown if NODULE in classes]
    if patch.nodule and patch.nodule.malignant and MALIGNANT in classes:
        boxes.append((MALIGNANT, patch.nodule))
    return tuple(_box(name, patch, nodule) for name, nodule in boxes)


def _box(name: str, patch: _Patch, nodule: Finding) -> Box:
    extent = nodule_extent(patch.volume, nodule, patch.corner)
    _, top, left = patch.corner
    x, y = np.clip(extent.low[:2] - (left, top), 0, PATCH).tolist()
    right, bottom = np.clip(extent.high[:2] - (left, top), 0, PATCH).tolist()
    return Box(name, x, y, right - x, bottom - y)


def _notes(
    nodules: Mapping[str, Sequence[Finding]], held: Mapping[str, Path], counts: _Counts
) -> tuple[str, ...]:
    """What a user should know, each only if it is so."""
    numbers = {
        "annotated scans that are not there": len(set(nodules) - set(held)),
        "scans without an annotated nodule, not used": len(set(held) - set(nodules)),
        "nodules with the same patch as another, taken once": counts.repeated,
        "patches without a nodule that no place was found for": counts.missed,
    }
    notes = [f"{text}: {count}" for text, count in numbers.items() if count]
    if counts.outside:
        places = "; ".join(
            f"{nodule.series} at {', '.join(f'{c:g}' for c in nodule.center)} mm"
            for nodule in counts.outside[:_NAMED]
        )
        more = "; ..." if len(counts.outside) > _NAMED else ""
        notes.append(
            f"nodules outside their scan, left out: {len(counts.outside)} "
            f"({places}{more})"
        )
    return tuple(notes)


def _recognises(root: Path) -> bool:
    return luna_patches.is_derived(root) or find_annotations(root) is not None


FORMAT = Format(
    name="luna16",
    title="LUNA16: patches of its scans, or the derived patches",
    read=read_luna16,
    recognises=_recognises,
    options=(
        CLASSES_OPTION,
        WINDOW_OPTION,
        Option(
            name="negatives",
            type=float,
            help="patches without a nodule for each with one; default 1",
        ),
    ),
    read_part=read_part,
)
