"""Synthetic frontal chest radiographs with planted findings and their exact masks.

A radiograph is made as an X-ray tube would make it: line integrals of attenuation
through a body of ellipsoids (soft tissue, air-filled lungs, heart, spine, ribs,
clavicles, vessels), the Beer-Lambert law, Poisson noise of the photons, then the
logarithm and the windowing of a digital detector, so that dense tissue is bright.
Lengths are fractions of the image's side, x to the right and y down; the patient's left
is at the right of the image, as radiographs are viewed.

The masks are the exact projections of what was planted. Nothing here is a real patient.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.record import GreyImage, ImageRecord

CLASSES = ("Cardiomegaly", "Nodule")
SPLIT_SHARES = {"train": 0.7, "dev": 0.1, "test": 0.2}

# Linear attenuation, per image side, of what differs from soft tissue. Chosen so that
# lungs, mediastinum and bone stand to each other as on a radiograph; not to a tube.
_TISSUE, _LUNG_AIR, _BONE, _HEART, _NODULE = 3.0, 4.6, 2.2, 2.4, 6.0
# Anatomical noise: its SD as a share of the tissue, and the exponent of its power law.
_CLUTTER_SHARE, _CLUTTER_EXPONENT = 0.03, 3.0
_PHOTONS = 100_000.0  # per pixel before the body, at 256 pixels a side

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid seen from the front. Centre and half axes in image sides."""

    x: float
    y: float
    half_width: float
    half_height: float
    depth: float
    tilt: float = 0.0  # radians, clockwise on the image

    def distance_squared(self, x: Array, y: Array) -> Array:
        """0 at the centre, 1 on the outline."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        u = ((x - self.x) * cos + (y - self.y) * sin) / self.half_width
        v = (-(x - self.x) * sin + (y - self.y) * cos) / self.half_height
        return np.asarray(u * u + v * v)

    def chord(self, x: Array, y: Array) -> Array:
        """Length of the ray's path through the ellipsoid, in image sides."""
        inside = np.clip(1.0 - self.distance_squared(x, y), 0.0, None)
        return np.asarray(2.0 * self.depth * np.sqrt(inside))

    def outline(self, x: Array, y: Array) -> NDArray[np.bool_]:
        """Where the ellipsoid projects to."""
        return self.distance_squared(x, y) <= 1.0


@dataclass(frozen=True)
class Patient:
    """The anatomy behind one radiograph, and how it was exposed."""

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
    nodule: Ellipsoid | None
    texture_seed: int
    exposure: float
    scatter: float
    window: tuple[float, float] = field(default=(0.0, 1.0))


def draw_patient(rng: np.random.Generator, findings: frozenset[str]) -> Patient:
    """Draw an anatomy that shows exactly `findings`, a subset of `CLASSES`."""
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
    patient = Patient(
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
        nodule=None,
        texture_seed=int(rng.integers(2**32)),
        exposure=rng.uniform(0.7, 1.4),
        scatter=rng.uniform(0.02, 0.06),
        window=(rng.uniform(-0.05, 0.02), rng.uniform(0.96, 1.06)),
    )
    if "Nodule" in findings:
        patient = replace(patient, nodule=_nodule(rng, patient))
    return patient


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


def _nodule(rng: np.random.Generator, patient: Patient) -> Ellipsoid:
    """A nodule that lies wholly over aerated lung, clear of heart and diaphragm."""
    radius = rng.uniform(0.08, 0.11)
    # Rejection, from a lung chosen anew each time: the left one may be mostly heart.
    while True:
        side = int(rng.integers(2))
        lung = patient.lungs[side]
        x = lung.x + rng.uniform(-1, 1) * lung.half_width
        y = lung.y + rng.uniform(-1, 1) * lung.half_height
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        rim_x, rim_y = x + radius * np.cos(angle), y + radius * np.sin(angle)
        if (
            np.all(lung.distance_squared(rim_x, rim_y) < 0.95)
            and np.all(patient.heart.distance_squared(rim_x, rim_y) > 1.0)
            and np.all(rim_y < _dome(rim_x, patient, side) - 0.005)
        ):
            aspect = rng.uniform(0.88, 1.0)
            return Ellipsoid(x, y, radius, radius * aspect, depth=radius)


def _dome(x: Array, patient: Patient, side: int) -> Array:
    """Height of the diaphragm under one lung (0: image left)."""
    lung = patient.lungs[side]
    across = (x - lung.x) / lung.half_width
    return np.asarray(patient.diaphragm[side] + 0.05 * across * across)


def _grid(size: int) -> tuple[Array, Array]:
    centres = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return x, y


def masks(patient: Patient, size: int) -> dict[str, NDArray[np.bool_]]:
    """The exact projections of the findings, each `size` x `size`."""
    x, y = _grid(size)
    found: dict[str, NDArray[np.bool_]] = {}
    if "Cardiomegaly" in patient.findings:
        found["Cardiomegaly"] = patient.heart.outline(x, y)
    if patient.nodule is not None:
        found["Nodule"] = patient.nodule.outline(x, y)
    return found


def attenuation(patient: Patient, x: Array, y: Array) -> Array:
    """Line integral of attenuation along the ray through each point (no unit)."""
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
    shoulders = 0.5 + 0.5 / (1.0 + np.exp(-(y - 0.01) / 0.025))
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
    for side, lung in enumerate(patient.lungs):
        edge = 1.0 / (1.0 + np.exp((y - _dome(x, patient, side)) / 0.006))
        air = lung.chord(x, y) * edge
        hilum_x = lung.x + (0.75 if side == 0 else -0.75) * lung.half_width
        angle = np.arctan2(y - lung.y, x - hilum_x)
        reach = np.hypot(x - hilum_x, y - lung.y)
        vessels = np.zeros_like(x)
        for order in (5, 9, 14):
            phase = rng.uniform(0, 2 * np.pi)
            bend = rng.uniform(-4, 4)
            vessels += np.clip(np.cos(order * angle + phase + bend * reach), 0, 1) ** 6
        hilum = (1.0 - np.exp(-((reach / 0.042) ** 2))) * np.exp(-reach / 0.12)
        total -= air * (_LUNG_AIR - 1.3 * vessels * hilum)
    return total


def _bones(patient: Patient, x: Array, y: Array) -> Array:
    """Spine, ribs and clavicles, as bands of smooth profile."""
    across = np.abs(x - patient.spine_x)
    vertebrae = 0.8 + 0.2 * np.cos(2 * np.pi * y / 0.062)
    total = _BONE * 0.13 * vertebrae * np.exp(-((across / patient.spine_width) ** 4))
    chest = across < 0.86 * patient.body_half_width
    for height in patient.ribs:
        # Posterior ribs leave the spine, rise a little, then fall towards the flank.
        middle = height - 0.10 * across + (patient.rib_slope + 0.9 * height) * across**2
        total += _BONE * 0.042 * chest * np.exp(-(((y - middle) / 0.015) ** 4))
    clavicle = patient.clavicle_y - 0.22 * (across - 0.05)
    reach = 1.0 / (1.0 + np.exp((np.abs(across - 0.24) - 0.2) / 0.012))
    total += _BONE * 0.07 * reach * np.exp(-(((y - clavicle) / 0.017) ** 4))
    return np.asarray(total)


def radiograph(
    patient: Patient, size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Expose and develop: uint8, `size` x `size`, dense tissue bright."""
    x, y = _grid(size)
    transmitted = np.exp(-attenuation(patient, x, y))
    # Fewer, larger pixels collect more photons each, as binning a detector does.
    photons = _PHOTONS * patient.exposure * (256 / size) ** 2
    scatter = patient.scatter * transmitted.mean()
    counted = rng.poisson(photons * (transmitted + scatter)) / photons
    density = -np.log(np.maximum(counted, 1e-6))
    low, high = np.quantile(density, (0.005, 0.995))
    dark, bright = patient.window
    shown = dark + (bright - dark) * (density - low) / (high - low)
    return np.asarray(np.round(255 * np.clip(shown, 0, 1)), dtype=np.uint8)


def phantom_records(count: int, size: int, seed: int) -> Iterator[ImageRecord]:
    """Yield `count` radiographs of `size` pixels a side, one per synthetic patient.

    Every image has its own random stream from (seed, its number): image 17 is the same
    whether 20 or 20,000 are made. Each finding is present in half of the images,
    independently. Splits 70 : 10 : 20, by a seeded permutation.
    """
    splits = _splits(count, seed)
    for number in range(count):
        patient, rng = _patient(seed, number)
        yield ImageRecord(
            image_id=f"phantom-{number:06d}",
            patient_id=f"patient-{number:06d}",
            split=splits[number],
            labels=tuple(float(name in patient.findings) for name in CLASSES),
            source_path=f"seed-{seed}/{number:06d}",
            read=partial(_exposed, patient, size, rng),
            masks=masks(patient, size),
        )


def redrawn(source_path: str, size: int) -> NDArray[np.uint8]:
    """The radiograph that `source_path` of a phantom table stands for, at any size.

    The patient is the same at every size; the photons' noise is not.
    """
    seed, _, number = source_path.removeprefix("seed-").partition("/")
    patient, rng = _patient(int(seed), int(number))
    return radiograph(patient, size, rng)


def _patient(seed: int, number: int) -> tuple[Patient, np.random.Generator]:
    """Patient `number` and the rest of its random stream, which exposes the image."""
    rng = np.random.default_rng([seed, number])
    present = rng.random(len(CLASSES)) < 0.5
    findings = frozenset(np.array(CLASSES)[present].tolist())
    return draw_patient(rng, findings), rng


def _exposed(patient: Patient, size: int, rng: np.random.Generator) -> GreyImage:
    return GreyImage(pixels=radiograph(patient, size, rng))


def _splits(count: int, seed: int) -> list[str]:
    order = np.random.default_rng([seed, 0x5EED]).permutation(count)
    train = round(count * SPLIT_SHARES["train"])
    dev = round(count * SPLIT_SHARES["dev"])
    names = np.array(
        ["train"] * train + ["dev"] * dev + ["test"] * (count - train - dev)
    )
    splits = np.empty(count, dtype=object)
    splits[order] = names
    return [str(name) for name in splits]
