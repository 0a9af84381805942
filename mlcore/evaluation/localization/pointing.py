"""Pointing game, energy and top-K overlap of a map and a mask, and their chance levels.

Every measure takes a map's strength, |map| of one image, float (H, W), not all
zero, and a mask, bool (H, W), not empty. It lies in [0, 1], does not change when the
map is multiplied by a positive number, and is 1 for a map equal to the mask. Where
pixels tie, a measure is its expectation over a random order of the tied pixels, so that
no scan direction is favoured.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mlcore.datasets.table import Mask
from mlcore.evaluation.arrays import Floats

Strength = NDArray[np.floating[Any]]

MEASURES = ("energy_inside", "pointing_exact", "pointing_near", "top_overlap")
# 15 pixels of 256, of Zhang et al. (Int J Comput Vis 2018) and TorchRay.
TOLERANCE = 15 / 256
# What stands before a finding's name where the place judged is that of a marker, such
# as a letter on the image, which goes with the finding but is none.
MARKER_OF = "marker of "
# Of the centre prior, as a share of the image's side: 95 % of it lie within the image
# along each axis (2 SD from the middle to the edge). Half of that would hardly reach
# the lungs, twice of it is nearly uniform.
CENTRE_SD = 1 / 4


def energy_inside(strength: Strength, mask: Mask) -> float:
    """Share of the map's strength that falls into the mask.

    The energy-based pointing game of Wang et al. (Score-CAM, 2020), on |map|.
    """
    inside = float(strength[mask].sum(dtype=np.float64))
    outside = float(strength[~mask].sum(dtype=np.float64))
    return inside / (inside + outside)


def pointing(strength: Strength, mask: Mask) -> float:
    """Whether the strongest pixel lies in the mask: 1 or 0, or a share of ties.

    The pointing game of Zhang et al. (2018). Of several equally strong pixels, the
    share that lies in the mask. With `nearby(mask)` for the mask it has a tolerance.
    """
    return float(mask[strength == strength.max()].mean())


def top_overlap(strength: Strength, mask: Mask) -> float:
    """Share of the K strongest pixels that lie in the mask of K pixels.

    The relevance rank accuracy of Arras et al. (2022). Of the pixels that tie for the
    last places, the same share is taken inside and outside the mask.
    """
    size = int(mask.sum())
    flat, inside = strength.ravel(), mask.ravel()
    last = np.partition(flat, -size)[-size]
    surely, tied = flat > last, flat == last
    places = size - int(surely.sum())
    hits = int(inside[surely].sum()) + places * float(inside[tied].mean())
    return hits / size


def nearby(mask: Mask) -> Mask:
    """The pixels within 15/256 of the image's side of the mask, the mask included.

    Distances are Euclidean, from a pixel's centre to the centre of the closest pixel
    of the mask, in units of the image's side (of the longer one if they differ).
    """
    reach = TOLERANCE * max(mask.shape)
    return np.asarray(ndimage.distance_transform_edt(~mask) <= reach)


def score_map(values: Strength, mask: Mask, near: Mask) -> Floats:
    """(4,): the measures of one signed map in the order of `MEASURES`.

    NaN where the map is zero everywhere, and so points nowhere, or is not finite.

    Args:
        values: (H, W), signed, before any clipping.
        mask: (H, W), not empty.
        near: `nearby(mask)`, made once for all maps of the image.
    """
    strength = np.abs(values)
    if not strength.any() or not np.isfinite(strength).all():
        return np.full(len(MEASURES), np.nan)
    return np.array(
        [
            energy_inside(strength, mask),
            pointing(strength, mask),
            pointing(strength, near),
            top_overlap(strength, mask),
        ]
    )


def uniform_scores(mask: Mask, near: Mask) -> Floats:
    """(4,): what a map without structure scores, in the order of `MEASURES`.

    A constant map scores it exactly, a map of independent noise on average: the mask's
    share of the image's area, and for pointing with a tolerance that of its dilation.
    """
    area = float(mask.mean())
    return np.array([area, area, float(near.mean()), area])


def centre_scores(mask: Mask, near: Mask) -> Floats:
    """(4,): what a map scores that always points to the middle of the image."""
    return score_map(centre_prior(*mask.shape), mask, near)


def centre_prior(height: int, width: int) -> Floats:
    """(H, W): a round Gaussian in the middle, 1 at its peak; SD `CENTRE_SD` sides.

    Photographs and radiographs are taken so that what matters lies near the middle,
    which a map can gain from without having seen the image.
    """
    # Whole numbers, so that pixels at the same distance tie exactly.
    down, across = (2 * np.arange(n) - (n - 1) for n in (height, width))
    squared = np.add.outer(down**2, across**2) / 4
    return np.asarray(np.exp(-squared / (2 * (CENTRE_SD * max(height, width)) ** 2)))
