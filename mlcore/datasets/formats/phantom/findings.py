"""Findings of synthetic chest radiographs: where they may lie, and their exact masks.

Drawn so that no two contradict each other: fluid and air lie on different sides (on one
they would be a hydropneumothorax, with a straight level), a nodule lies over aerated
lung, and an opacity beside all of them.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.formats.phantom.anatomy import (
    Array,
    Effusion,
    Ellipsoid,
    Opacity,
    Patient,
    Pneumothorax,
    draw_anatomy,
)
from mlcore.datasets.table import Mask

# As CheXpert names them. The order is that of their columns, unless another is wanted.
FINDINGS = (
    "Cardiomegaly",
    "Pleural Effusion",
    "Nodule",
    "Lung Opacity",
    "Pneumothorax",
)
# The mask of an opacity, which has no edge, ends at this share of its largest path.
OPACITY_SHARE = 0.25

# Over this height the layer of fluid thins out at its upper edge.
_TAPER = 0.03
# Radians from its widest place at which the lung touches the chest wall again.
_REACH = 1.95
# A narrower gap than this share of the lung's radius is none.
_LEAST_GAP = 0.02
# Each place that is tried in vain in a chest with other findings shrinks what is to
# be placed, so that there is a place in the end.
_SHRINK = 0.998
# An opacity has faded out at so many times its radius.
_FADE = 1.5
_ROUND = np.linspace(0, 2 * np.pi, 16, endpoint=False)


def draw_patient(rng: np.random.Generator, findings: frozenset[str]) -> Patient:
    """Draw a patient who shows exactly `findings`, a subset of `FINDINGS`.

    Heart and nodule come from `rng`, the others from a stream of their own: patients
    who have none of these are the same as before there were any.
    """
    (places,) = rng.spawn(1)
    patient = draw_anatomy(rng, findings)
    side = int(places.integers(2))
    if "Pleural Effusion" in findings:
        patient = replace(patient, effusion=_effusion(places, patient, side))
    if "Pneumothorax" in findings:
        patient = replace(patient, pneumothorax=_pneumothorax(places, 1 - side))
    if "Nodule" in findings:
        patient = replace(patient, nodule=_nodule(rng, patient))
    if "Lung Opacity" in findings:
        patient = replace(patient, opacity=_opacity(places, patient))
    return patient


def _effusion(rng: np.random.Generator, patient: Patient, side: int) -> Effusion:
    """Fluid of which the least (some 200 ml) already blunts the costophrenic angle."""
    height = rng.uniform(0.15, 0.32)
    floor = patient.diaphragm[side] + 0.02
    return Effusion(
        side,
        lateral=floor - height,
        medial=floor - rng.uniform(0.15, 0.45) * height,
        bend=rng.uniform(2.5, 4.5),
    )


def _pneumothorax(rng: np.random.Generator, side: int) -> Pneumothorax:
    return Pneumothorax(
        side, gap=rng.uniform(0.28, 0.45), direction=rng.uniform(0.6, 1.1)
    )


def _nodule(rng: np.random.Generator, patient: Patient) -> Ellipsoid:
    """A nodule that lies wholly over aerated lung, clear of heart and diaphragm.

    The heart is kept clear of `_ROUND` points on the rim: between two of them it may
    reach in by 4 % of the radius, less than a pixel at 128 a side.
    """
    radius = rng.uniform(0.08, 0.11)
    crowded = patient.effusion is not None or patient.pneumothorax is not None
    # Rejection, from a lung chosen anew each time: the left one may be mostly heart.
    while True:
        side = int(rng.integers(2))
        lung = patient.lungs[side]
        x = lung.x + rng.uniform(-1, 1) * lung.half_width
        y = lung.y + rng.uniform(-1, 1) * lung.half_height
        rim_x, rim_y = _rim(x, y, radius)
        if (
            np.all(lung.distance_squared(rim_x, rim_y) < 0.95)
            and np.all(patient.heart.distance_squared(rim_x, rim_y) > 1.0)
            and np.all(rim_y < patient.dome(rim_x, side) - 0.005)
            and _aerated(patient, side, rim_x, rim_y)
        ):
            aspect = rng.uniform(0.88, 1.0)
            return Ellipsoid(x, y, radius, radius * aspect, depth=radius)
        radius *= _SHRINK if crowded else 1.0


def _opacity(rng: np.random.Generator, patient: Patient) -> Opacity:
    """An opacity over lung that is aerated, beside heart and nodule."""
    radius = rng.uniform(0.12, 0.17)
    while True:
        side = int(rng.integers(2))
        lung = patient.lungs[side]
        x = lung.x + rng.uniform(-1, 1) * lung.half_width
        y = lung.y + rng.uniform(-1, 1) * lung.half_height
        # The cheap conditions first: most places fail one of them.
        if _within(lung, x, y) and _beside(patient.nodule, x, y, _FADE * radius):
            rim_x, rim_y = _rim(x, y, 0.6 * radius)
            if (
                np.all(lung.distance_squared(rim_x, rim_y) < 0.8)
                and np.all(patient.heart.distance_squared(rim_x, rim_y) > 1.0)
                and np.all(rim_y < patient.dome(rim_x, side) - 0.005)
                and _aerated(patient, side, *_rim(x, y, _FADE * radius))
            ):
                break
        radius *= _SHRINK
    lobes = _lobes(rng, x, y, radius)
    return Opacity(side, x, y, radius, lobes, strength=rng.uniform(0.75, 0.95))


def _lobes(
    rng: np.random.Generator, x: float, y: float, radius: float
) -> tuple[tuple[float, float, float, float], ...]:
    """A few broad lobes, and small spots of more and of less air."""
    found = []
    for count, spread, low, high, weights in (
        (6, 0.7, 0.22, 0.40, (0.5, 1.2)),
        (20, 1.0, 0.07, 0.16, (-0.7, 0.7)),
    ):
        for _ in range(count):
            angle, away = rng.uniform(0, 2 * np.pi), spread * np.sqrt(rng.random())
            found.append(
                (
                    x + away * radius * np.cos(angle),
                    y + away * radius * np.sin(angle),
                    rng.uniform(low, high) * radius,
                    rng.uniform(*weights),
                )
            )
    return tuple(found)


def _rim(x: float, y: float, radius: float) -> tuple[Array, Array]:
    return x + radius * np.cos(_ROUND), y + radius * np.sin(_ROUND)


def _aerated(patient: Patient, side: int, x: Array, y: Array) -> bool:
    """Whether no point of one side lies in fluid or in free air."""
    return not (
        np.any(fluid(patient, side, x, y + 0.01) > 0)
        or np.any(pleural_distance(patient, side, x, y) > -0.015)
    )


def _within(lung: Ellipsoid, x: float, y: float) -> bool:
    across, down = (x - lung.x) / lung.half_width, (y - lung.y) / lung.half_height
    return across * across + down * down < 0.9


def _beside(nodule: Ellipsoid | None, x: float, y: float, radius: float) -> bool:
    if nodule is None:
        return True
    return bool(np.hypot(x - nodule.x, y - nodule.y) > nodule.half_width + radius)


def fluid(patient: Patient, side: int, x: Array, y: Array) -> Array:
    """Share of one lung's space that is filled by fluid: 0 above its surface, else up
    to 1, reached `_TAPER` below it."""
    effusion = patient.effusion
    if effusion is None or effusion.side != side:
        return np.zeros_like(x)
    lung = patient.lungs[side]
    outward = 1.0 if side else -1.0
    across = np.clip(0.5 + 0.5 * outward * (x - lung.x) / lung.half_width, 0.0, 1.0)
    rise = (effusion.medial - effusion.lateral) * across**effusion.bend
    below = np.clip((y - (effusion.medial - rise)) / _TAPER, 0.0, 1.0)
    return np.asarray(below * below * (3.0 - 2.0 * below))


def pleural_distance(patient: Patient, side: int, x: Array, y: Array) -> Array:
    """Distance outward from the visceral pleura of one lung, in image sides.

    Above 0 lies free air, as far as the chest wall; minus infinity where the lung
    touches the wall. Exact on the line and to first order beside it.
    """
    pneumothorax = patient.pneumothorax
    if pneumothorax is None or pneumothorax.side != side:
        return np.full_like(x, -np.inf)
    lung = patient.lungs[side]
    u, v = lung.coordinates(x, y)
    radius = np.maximum(np.hypot(u, v), 1e-9)
    turn = np.arctan2(-v, u if side else -u) - pneumothorax.direction
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    gap = pneumothorax.gap * np.cos(0.5 * np.pi * turn / _REACH) ** 2
    slope = np.hypot(u / lung.half_width, v / lung.half_height) / radius
    distance = (radius - (1.0 - gap)) / slope
    apart = (np.abs(turn) < _REACH) & (gap > _LEAST_GAP)
    return np.asarray(np.where(apart, distance, -np.inf))


def filling(patient: Patient, side: int, x: Array, y: Array) -> Array:
    """Share of one lung's air that an opacity has replaced."""
    opacity = patient.opacity
    share = np.zeros_like(x)
    if opacity is None or opacity.side != side:
        return share
    away = np.hypot(x - opacity.x, y - opacity.y) / (_FADE * opacity.radius)
    near = away < 1.0
    near_x, near_y = x[near], y[near]
    total = np.zeros_like(near_x)
    for lobe_x, lobe_y, radius, weight in opacity.lobes:
        distance = (near_x - lobe_x) ** 2 + (near_y - lobe_y) ** 2
        total += weight * np.exp(-0.5 * distance / radius**2)
    filled = 1.0 - np.exp(-np.clip(total, 0.0, None))
    share[near] = opacity.strength * filled * (1.0 - away[near] ** 2) ** 2
    return share


def grid(size: int) -> tuple[Array, Array]:
    """x and y of the pixels' centres, each (size, size), in image sides."""
    centres = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return x, y


def mask(patient: Patient, finding: str, size: int) -> Mask:
    """The exact projection of one of the patient's findings, `size` x `size`.

    - Cardiomegaly, Nodule: the outline of heart and nodule.
    - Pleural Effusion: the fluid between the lung's outline, its own surface and the
      diaphragm; what lies below the dome's level, in front of it and behind, is hidden.
    - Pneumothorax: the air between the visceral pleura and the chest wall.
    - Lung Opacity: where its path is more than `OPACITY_SHARE` of its longest.
    """
    x, y = grid(size)
    if finding == "Cardiomegaly" and finding in patient.findings:
        return patient.heart.outline(x, y)
    if finding == "Nodule" and patient.nodule is not None:
        return patient.nodule.outline(x, y)
    if finding == "Pleural Effusion" and patient.effusion is not None:
        side = patient.effusion.side
        return _chest(patient, side, x, y) & (fluid(patient, side, x, y) > 0)
    if finding == "Pneumothorax" and patient.pneumothorax is not None:
        side = patient.pneumothorax.side
        free = pleural_distance(patient, side, x, y) > 0
        return _chest(patient, side, x, y) & free
    if finding == "Lung Opacity" and patient.opacity is not None:
        # The longest path is that of a fixed grid, so that the mask is that of the
        # patient and not of the image's size.
        longest = _opaque_path(patient, patient.opacity, *grid(64)).max()
        path = _opaque_path(patient, patient.opacity, x, y)
        return np.asarray(path > OPACITY_SHARE * longest)
    raise ValueError(f"The patient has no {finding}.")


def _chest(patient: Patient, side: int, x: Array, y: Array) -> NDArray[np.bool_]:
    """The space of one lung above the diaphragm."""
    above = y < patient.dome(x, side)
    return np.asarray(patient.lungs[side].outline(x, y) & above)


def _opaque_path(patient: Patient, opacity: Opacity, x: Array, y: Array) -> Array:
    side = opacity.side
    path = patient.lungs[side].chord(x, y) * filling(patient, side, x, y)
    path *= 1.0 - fluid(patient, side, x, y)
    free = pleural_distance(patient, side, x, y) > 0
    return np.asarray(path * (_chest(patient, side, x, y) & ~free))
