"""Sampling of patches in a scan: where they lie, what they show, and the negatives.

Those are drawn here, to hold against the ones around nodules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.decoding.metaimage import Point, Volume, Voxel, read_slice
from mlcore.datasets.formats.luna16.lists import Finding

PATCH = 64  # pixels a side

# Slice, row and column of a patch's upper left corner.
Corner = tuple[int, int, int]

# Millimetres that stay free around a finding: radiologists' marks differ by as much.
MARGIN_MM = 2.0
# Lung holds air and tissue: below soft tissue, but not all air as in the trachea, the
# bowel and around the body.
_LUNG_BELOW_HU, _AIR_BELOW_HU = -400, -950
_LUNG_AREA_MM2 = 400.0
_TRIES = 50  # slices drawn per patch before a scan is given up


@dataclass(frozen=True)
class Extent:
    """Box around a finding, in voxels; voxel i reaches from i to i + 1.

    Attributes:
        low, high: float64 (3,), in the order x, y, z.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def sphere_extent(volume: Volume, finding: Finding, margin: float = 0.0) -> Extent:
    """The box around a finding's sphere, widened by `margin` mm on every side."""
    center = volume.continuous_index(finding.center) + 0.5
    reach = (finding.diameter / 2 + margin) / volume.spacing
    return Extent(center - reach, center + reach)


def nodule_extent(volume: Volume, nodule: Finding, corner: Corner) -> Extent:
    """The box of a nodule that shows in the patch at `corner`.

    By the corners of its list, which are centres of its outermost voxels; by its sphere
    where there are none, or where they lie elsewhere.
    """
    if nodule.corners is not None:
        # On an axis that runs backwards the lower corner has the higher index.
        ends = np.array([volume.continuous_index(point) for point in nodule.corners])
        extent = Extent(ends.min(axis=0), ends.max(axis=0) + 1)
        if shows(extent, corner):
            return extent
    return sphere_extent(volume, nodule)


def corner_at(volume: Volume, voxel: Voxel) -> Corner:
    """Corner of the patch around `voxel`, moved inside where it would leave the scan.

    The voxel is pixel (32, 32) of the patch, unless the border is near.
    """
    (i, j, k), (width, height, _) = voxel, volume.size
    left = min(max(i - PATCH // 2, 0), width - PATCH)
    top = min(max(j - PATCH // 2, 0), height - PATCH)
    return k, top, left


def shows(extent: Extent, corner: Corner) -> bool:
    """Whether any of `extent` lies in the patch at `corner`."""
    k, top, left = corner
    low, high = np.array([left, top, k]), np.array([left + PATCH, top + PATCH, k + 1])
    return bool((extent.low < high).all() and (extent.high > low).all())


def draw_negatives(
    volume: Volume,
    wanted: int,
    *,
    findings: Sequence[Finding],
    candidates: Sequence[Point] | None,
    rng: np.random.Generator,
) -> list[Corner]:
    """Up to `wanted` patches of a scan that show none of its `findings`.

    Args:
        candidates: points to choose from; None draws them from the lungs, which reads
            slices of the scan.
        rng: of this scan alone, so that its patches do not depend on other scans.
    """
    extents = [sphere_extent(volume, finding, MARGIN_MM) for finding in findings]
    voxels = (
        _in_lungs(volume, wanted, rng)
        if candidates is None
        else (volume.voxel(candidates[n]) for n in rng.permutation(len(candidates)))
    )
    chosen: list[Corner] = []
    if wanted < 1:
        return chosen
    for voxel in voxels:
        if voxel is None:
            continue
        corner = corner_at(volume, voxel)
        if corner in chosen:
            continue
        if not any(shows(extent, corner) for extent in extents):
            chosen.append(corner)
            if len(chosen) == wanted:
                break
    return chosen


def _in_lungs(volume: Volume, wanted: int, rng: np.random.Generator) -> Iterator[Voxel]:
    """Voxels drawn from the lungs: a slice first, then a place on it."""
    width, height, depth = volume.size
    area = float(volume.spacing[0] * volume.spacing[1])
    for _ in range(_TRIES * wanted):
        k = int(rng.integers(depth))
        lungs = lung_mask(read_slice(volume, k, (0, 0), (height, width)), area)
        rows, columns = np.nonzero(lungs)
        if len(rows):
            n = rng.integers(len(rows))
            yield int(columns[n]), int(rows[n]), k


def lung_mask(slice_hu: NDArray[np.int16], pixel_mm2: float) -> NDArray[np.bool_]:
    """Lung on an axial slice: bool of its shape.

    Connected regions below -400 HU that do not touch the border (there is the air
    around the body), cover at least 400 mm2, and are on average above -950 HU (below
    is air alone: trachea, bowel). A simple rule to draw places by, no segmentation:
    vessels and nodules at the wall are missing.
    """
    import SimpleITK  # takes 0.2 s that other formats need not spend

    aerated = SimpleITK.GetImageFromArray((slice_hu < _LUNG_BELOW_HU).astype(np.uint8))
    regions = SimpleITK.ConnectedComponent(aerated)  # type: ignore[no-untyped-call]
    labels = SimpleITK.GetArrayFromImage(regions)
    areas = np.bincount(labels.ravel())
    means = np.bincount(labels.ravel(), weights=slice_hu.ravel()) / np.maximum(areas, 1)
    lung = (areas * pixel_mm2 >= _LUNG_AREA_MM2) & (means > _AIR_BELOW_HU)
    lung[0] = False  # what is not aerated
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        lung[edge] = False
    mask: NDArray[np.bool_] = lung[labels]
    return mask
