"""Projection of a synthetic patient to a radiograph: attenuation, photons, development.

Line integrals of attenuation, the Beer-Lambert law, Poisson noise of the photons, then
the logarithm and the windowing of a digital detector, so that dense tissue is bright.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.formats.phantom.anatomy import SIDES, Array, Ellipsoid, Patient
from mlcore.datasets.formats.phantom.findings import (
    filling,
    fluid,
    grid,
    pleural_distance,
)
from mlcore.datasets.table import Mask

# Linear attenuation, per image side, of what differs from soft tissue. Chosen so that
# lungs, mediastinum and bone stand to each other as on a radiograph; not to a tube.
_TISSUE, _LUNG_AIR, _BONE, _HEART, _NODULE = 3.0, 4.6, 2.2, 2.4, 6.0
# Free air lacks the lung tissue; the pleura, seen edge on, is a line of so much path.
_FREE_AIR, _PLEURA, _PLEURA_WIDTH = 6.2, 0.16, 0.0025
# Anatomical noise: its SD as a share of the tissue, and the exponent of its power law.
_CLUTTER_SHARE, _CLUTTER_EXPONENT = 0.03, 3.0
_PHOTONS = 100_000.0  # per pixel before the body, at 256 pixels a side
# What a letter of lead lets through.
_LEAD = 0.02


@dataclass(frozen=True)
class Letter:
    """An L of lead beside the patient's left shoulder. Lengths in image sides.

    Attributes:
        x, y: its upper left corner.
    """

    x: float
    y: float

    height = 0.085
    width = 0.055
    stroke = 0.02

    def cover(self, size: int) -> Array:
        """The share of each pixel's area that the letter covers, `size` x `size`."""

        def along(start: float, length: float) -> Array:
            edges = np.clip(np.arange(size + 1) / size, start, start + length)
            return np.asarray(np.diff(edges) * size)

        bar = self.height - self.stroke
        upright = np.outer(along(self.y, bar), along(self.x, self.stroke))
        foot = np.outer(along(self.y + bar, self.stroke), along(self.x, self.width))
        return np.asarray(upright + foot)

    def mask(self, size: int) -> Mask:
        """Every pixel that shows some of it."""
        return np.asarray(self.cover(size) > 1e-9)


def attenuation(patient: Patient, x: Array, y: Array) -> Array:
    """Line integral of attenuation along the ray through each point (no unit).

    Args:
        x, y: of the pixels' centres (`grid`).
    """
    structures, vessels = np.random.default_rng(patient.texture_seed).spawn(2)
    clutter = 1.0 + _CLUTTER_SHARE * _clutter(structures, len(x))
    total = _TISSUE * clutter * _body(patient, x, y)
    total += _lungs(patient, vessels, x, y) + _bones(patient, x, y)
    total += _HEART * patient.heart.chord(x, y)
    # Great vessels and mediastinum, above the heart.
    mediastinum = Ellipsoid(patient.spine_x + 0.01, 0.36, 0.09, 0.36, depth=0.10)
    total += _TISSUE * mediastinum.chord(x, y)
    if patient.nodule is not None:
        total += _NODULE * patient.nodule.chord(x, y)
    return total


def _body(patient: Patient, x: Array, y: Array) -> Array:
    """Path through the trunk: flat in front, rounded flanks, sloping shoulders."""
    shoulders = 0.5 + 0.5 / (1.0 + np.exp(-(y[:, :1] - 0.01) / 0.025))
    across = (x - patient.body_x) / (patient.body_half_width * shoulders)
    return np.asarray(0.56 * np.sqrt(np.clip(1.0 - across**4, 0.0, None)))


def _clutter(rng: np.random.Generator, size: int) -> Array:
    """Anatomical noise: a Gaussian field of power f^-exponent, mean 0, SD 1.

    Burgess et al. (Med Phys 2001) measured such power laws in radiographs, where they,
    not the photons, limit the detection of masses. Drawn at 128 pixels a side and
    interpolated, so that the same patient looks the same at every size.
    """
    side = 128
    across, down = np.fft.rfftfreq(side)[None, :], np.fft.fftfreq(side)[:, None]
    frequency = np.hypot(across, down)
    frequency[0, 0] = np.inf  # mean 0
    white = np.fft.rfft2(rng.standard_normal((side, side)))
    texture = np.fft.irfft2(
        white * frequency ** (-_CLUTTER_EXPONENT / 2), s=(side, side)
    )
    at = np.clip((np.arange(size) + 0.5) / size * side - 0.5, 0, side - 1)
    low = np.minimum(at.astype(int), side - 2)
    part = at - low
    rows = texture[low] * (1 - part)[:, None] + texture[low + 1] * part[:, None]
    shown = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    return np.asarray(shown / texture.std())


def _lungs(patient: Patient, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """What the air takes away, and the vessels that fan out from the hila give back."""
    total = np.zeros_like(x)
    for side in SIDES:
        lung = patient.lungs[side]
        # The rest of the image is most of it, and there is no air.
        inside = lung.outline(x, y)
        at_x, at_y = x[inside], y[inside]
        edge = 1.0 / (1.0 + np.exp((at_y - patient.dome(at_x, side)) / 0.006))
        air = lung.chord(at_x, at_y) * edge
        hilum_x = lung.x + (0.75 if side == 0 else -0.75) * lung.half_width
        angle = np.arctan2(at_y - lung.y, at_x - hilum_x)
        reach = np.hypot(at_x - hilum_x, at_y - lung.y)
        vessels = np.zeros_like(at_x)
        for order in (5, 9, 14):
            phase = rng.uniform(0, 2 * np.pi)
            bend = rng.uniform(-4, 4)
            vessels += np.clip(np.cos(order * angle + phase + bend * reach), 0, 1) ** 6
        hilum = (1.0 - np.exp(-((reach / 0.042) ** 2))) * np.exp(-reach / 0.12)
        taken = air * (_LUNG_AIR - 1.3 * vessels * hilum)
        pixel = 1.0 / len(x)
        total[inside] -= _with_findings(patient, side, taken, air, at_x, at_y, pixel)
    return total


def _with_findings(
    patient: Patient,
    side: int,
    taken: Array,
    space: Array,
    x: Array,
    y: Array,
    pixel: float,
) -> Array:
    """What the air of one side takes away, given its findings.

    Args:
        taken: by a healthy lung.
        space: path through the space in which the lung lies.
        pixel: width of one, in image sides.
    """
    if patient.opacity is not None and patient.opacity.side == side:
        taken = taken * (1.0 - filling(patient, side, x, y))
    if patient.pneumothorax is not None and patient.pneumothorax.side == side:
        beyond = pleural_distance(patient, side, x, y)
        # A line thinner than a pixel is spread over it, as a detector would.
        width = max(_PLEURA_WIDTH, 0.5 * pixel)
        line = np.exp(-0.5 * ((beyond + width) / width) ** 2)
        seen = (beyond <= 0) & (y < patient.dome(x, side))
        taken = np.where(beyond > 0, _FREE_AIR * space, taken)
        taken = taken - _PLEURA * _PLEURA_WIDTH / width * line * seen
    if patient.effusion is not None and patient.effusion.side == side:
        taken = taken * (1.0 - fluid(patient, side, x, y))
    return taken


def _bones(patient: Patient, x: Array, y: Array) -> Array:
    """Spine, ribs and clavicles, as bands of smooth profile."""
    # On a grid what depends on x is the same in every row.
    x, rows = x[:1], y[:, :1]
    across = np.abs(x - patient.spine_x)
    vertebrae = 0.8 + 0.2 * np.cos(2 * np.pi * rows / 0.062)
    total = _BONE * 0.13 * vertebrae * np.exp(-((across / patient.spine_width) ** 4))
    chest = np.where(across < 0.86 * patient.body_half_width, 1.0, 0.0)
    for height in patient.ribs:
        # Posterior ribs leave the spine, rise a little, then fall towards the flank.
        middle = height - 0.10 * across + (patient.rib_slope + 0.9 * height) * across**2
        _add_band(total, _BONE * 0.042 * chest, (y - middle) / 0.015)
    clavicle = patient.clavicle_y - 0.22 * (across - 0.05)
    reach = 1.0 / (1.0 + np.exp((np.abs(across - 0.24) - 0.2) / 0.012))
    _add_band(total, _BONE * 0.07 * reach, (y - clavicle) / 0.017)
    return np.asarray(total)


def _add_band(total: Array, height: Array, distance: Array) -> None:
    """Add `height` * exp(-distance^4), which is 0 beyond a distance of 5.3."""
    near = np.abs(distance) < 5.3
    added = np.exp(-(distance[near] ** 4))
    total[near] += np.broadcast_to(height, total.shape)[near] * added


def radiograph(
    patient: Patient,
    size: int,
    rng: np.random.Generator,
    letter: Letter | None = None,
) -> NDArray[np.uint8]:
    """Expose and develop: uint8, `size` x `size`, dense tissue bright.

    Outside its mask a letter changes nothing: the window is that of the patient.
    """
    x, y = grid(size)
    transmitted = np.exp(-attenuation(patient, x, y))
    # Fewer, larger pixels collect more photons each, as binning a detector does.
    photons = _PHOTONS * patient.exposure * (256 / size) ** 2
    scatter = patient.scatter * transmitted.mean()
    counted = rng.poisson(photons * (transmitted + scatter)) / photons
    density = -np.log(np.maximum(counted, 1e-6))
    low, high = np.quantile(density, (0.005, 0.995))
    if letter is not None:
        density -= np.log(1.0 - (1.0 - _LEAD) * letter.cover(size))
    dark, bright = patient.window
    shown = dark + (bright - dark) * (density - low) / (high - low)
    return np.asarray(np.round(255 * np.clip(shown, 0, 1)), dtype=np.uint8)
