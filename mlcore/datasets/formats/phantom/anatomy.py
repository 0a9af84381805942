"""Anatomy of a synthetic chest radiograph's patient, as seen from the front.

A body of ellipsoids: lungs over a diaphragm, a heart by its cardiothoracic ratio,
spine, ribs and clavicles. Lengths are fractions of the image's side, x to the right and
y down; side 0 is the image's left, which is the patient's right, as radiographs are
viewed. Nothing here is a real patient.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SIDES = (0, 1)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid seen from the front. Centre and half axes in image sides."""

    x: float
    y: float
    half_width: float
    half_height: float
    depth: float
    tilt: float = 0.0  # radians, clockwise on the image

    def coordinates(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Along the tilted axes, in half axes from the centre."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        u = ((x - self.x) * cos + (y - self.y) * sin) / self.half_width
        v = (-(x - self.x) * sin + (y - self.y) * cos) / self.half_height
        return u, v

    def distance_squared(self, x: Array, y: Array) -> Array:
        """0 at the centre, 1 on the outline."""
        u, v = self.coordinates(x, y)
        return np.asarray(u * u + v * v)

    def chord(self, x: Array, y: Array) -> Array:
        """Length of the ray's path through the ellipsoid, in image sides."""
        inside = np.clip(1.0 - self.distance_squared(x, y), 0.0, None)
        return np.asarray(2.0 * self.depth * np.sqrt(inside))

    def outline(self, x: Array, y: Array) -> NDArray[np.bool_]:
        """Where the ellipsoid projects to."""
        return self.distance_squared(x, y) <= 1.0


@dataclass(frozen=True)
class Effusion:
    """Fluid that lies on one diaphragm and climbs the chest wall.

    Attributes:
        side: 0 or 1.
        lateral, medial: heights of its surface at the chest wall and next to the heart.
        bend: exponent of the meniscus between them; above 1 it is concave.
    """

    side: int
    lateral: float
    medial: float
    bend: float


@dataclass(frozen=True)
class Pneumothorax:
    """Air around one lung that has come off the chest wall.

    Attributes:
        side: 0 or 1.
        gap: the widest gap, as a share of the lung's radius.
        direction: where it is widest, from the flank (0) to the apex (pi / 2).
    """

    side: int
    gap: float
    direction: float


@dataclass(frozen=True)
class Opacity:
    """A patch of lung whose air is partly replaced, without a sharp edge.

    Attributes:
        side: 0 or 1.
        x, y, radius: centre, and how far the centres of its lobes may lie from it.
        lobes: centre, radius (SD of a Gaussian) and weight of each; a negative one
            leaves a spot of aerated lung.
        strength: the largest share of the air that may be replaced.
    """

    side: int
    x: float
    y: float
    radius: float
    lobes: tuple[tuple[float, float, float, float], ...]
    strength: float


@dataclass(frozen=True)
class Patient:
    """The anatomy and the findings behind one radiograph, and how it was exposed."""

    findings: frozenset[str]
    body_x: float
    body_half_width: float
    lungs: tuple[Ellipsoid, Ellipsoid]
    diaphragm: tuple[float, float]  # height of the domes, image left and right
    heart: Ellipsoid
    spine_x: float
    spine_width: float
    ribs: tuple[float, ...]  # heights at the spine
    rib_slope: float
    clavicle_y: float
    texture_seed: int
    exposure: float
    scatter: float
    nodule: Ellipsoid | None = None
    effusion: Effusion | None = None
    pneumothorax: Pneumothorax | None = None
    opacity: Opacity | None = None
    window: tuple[float, float] = field(default=(0.0, 1.0))

    def dome(self, x: Array, side: int) -> Array:
        """Height of the diaphragm under the lung of one side."""
        lung = self.lungs[side]
        across = (x - lung.x) / lung.half_width
        return np.asarray(self.diaphragm[side] + 0.05 * across * across)


def draw_anatomy(rng: np.random.Generator, findings: frozenset[str]) -> Patient:
    """Draw a patient with `findings`, of which only the heart is there yet."""
    centre = 0.5 + rng.uniform(-0.02, 0.02)
    lung_half = rng.uniform(0.175, 0.205)
    lung_gap = rng.uniform(0.225, 0.245)
    lung_y, lung_height = rng.uniform(0.46, 0.50), rng.uniform(0.41, 0.45)
    lungs = tuple(
        Ellipsoid(
            centre + side * lung_gap,
            lung_y,
            lung_half * rng.uniform(0.95, 1.05),
            lung_height,
            depth=0.15,
            tilt=side * rng.uniform(-0.10, -0.04),
        )
        for side in (-1.0, 1.0)
    )
    dome = rng.uniform(0.76, 0.81)
    diaphragm = (dome, dome + rng.uniform(0.01, 0.04))
    return Patient(
        findings=findings,
        body_x=centre,
        body_half_width=rng.uniform(0.56, 0.62),
        lungs=(lungs[0], lungs[1]),
        diaphragm=diaphragm,
        heart=_heart(rng, lungs, diaphragm, "Cardiomegaly" in findings),
        spine_x=centre,
        spine_width=rng.uniform(0.042, 0.054),
        ribs=tuple(np.arange(0.09, 0.85, rng.uniform(0.086, 0.1))),
        rib_slope=rng.uniform(0.25, 0.4),
        clavicle_y=rng.uniform(0.10, 0.15),
        texture_seed=int(rng.integers(2**32)),
        exposure=rng.uniform(0.7, 1.4),
        scatter=rng.uniform(0.02, 0.06),
        window=(rng.uniform(-0.05, 0.02), rng.uniform(0.96, 1.06)),
    )


def _heart(
    rng: np.random.Generator,
    lungs: tuple[Ellipsoid, ...],
    diaphragm: tuple[float, float],
    enlarged: bool,
) -> Ellipsoid:
    """A heart by its cardiothoracic ratio: above one half it counts as enlarged."""
    left = lungs[0].x - lungs[0].half_width
    right = lungs[1].x + lungs[1].half_width
    ratio = rng.uniform(0.60, 0.70) if enlarged else rng.uniform(0.36, 0.43)
    half_width = 0.5 * ratio * (right - left)
    # Two thirds of the heart lie to the patient's left.
    x = 0.5 * (left + right) + 0.30 * half_width
    half_height = half_width * rng.uniform(0.80, 0.92)
    y = diaphragm[1] - 0.62 * half_height
    return Ellipsoid(x, y, half_width, half_height, depth=0.13, tilt=0.35)
