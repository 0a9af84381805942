"""Effusion, pneumothorax and opacity: where they lie and what they do to the image."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mlcore.datasets.formats.phantom.anatomy import Patient
from mlcore.datasets.formats.phantom.exposure import attenuation, radiograph
from mlcore.datasets.formats.phantom.findings import (
    FINDINGS,
    OPACITY_SHARE,
    draw_patient,
    grid,
    mask,
)

ALL = frozenset(FINDINGS)
SEEDS = st.integers(0, 2**32 - 1)
SIZE = 128


def patient_of(seed: int, *findings: str) -> Patient:
    return draw_patient(np.random.default_rng(seed), frozenset(findings))


def added(patient: Patient, field: str) -> np.ndarray:
    """What one finding adds to the attenuation of each ray."""
    x, y = grid(SIZE)
    without = replace(patient, **{field: None})
    return attenuation(patient, x, y) - attenuation(without, x, y)


def chest(patient: Patient, side: int) -> np.ndarray:
    """One lung's outline above the diaphragm."""
    x, y = grid(SIZE)
    return patient.lungs[side].outline(x, y) & (y < patient.dome(x, side))


def slow_place(patient: Patient, side: int, x: float, y: float):
    """(distance outward from the heart, distance upward), in half axes of the lung,
    and whether the point is over lung."""
    lung = patient.lungs[side]
    distance, angle = (
        math.hypot(x - lung.x, y - lung.y),
        math.atan2(y - lung.y, x - lung.x),
    )
    u = distance * math.cos(angle - lung.tilt) / lung.half_width
    up = -distance * math.sin(angle - lung.tilt) / lung.half_height
    across = (x - lung.x) / lung.half_width
    dome = patient.diaphragm[side] + 0.05 * across**2
    return (u if side == 1 else -u), up, u**2 + up**2 <= 1 and y < dome


def slow_effusion(patient: Patient, x: float, y: float) -> bool:
    """Below a surface that falls from the chest wall as a power of the distance."""
    effusion = patient.effusion
    lung = patient.lungs[effusion.side]
    outward = (x - lung.x) / lung.half_width * (1 if effusion.side else -1)
    share = min(max((1 + outward) / 2, 0), 1) ** effusion.bend
    surface = effusion.medial * (1 - share) + effusion.lateral * share
    return slow_place(patient, effusion.side, x, y)[2] and y > surface


def slow_pneumothorax(patient: Patient, x: float, y: float) -> bool:
    """Farther out than the lung reaches in this direction, and within the chest."""
    pneumothorax = patient.pneumothorax
    out, up, over_lung = slow_place(patient, pneumothorax.side, x, y)
    turn = math.remainder(math.atan2(up, out) - pneumothorax.direction, 2 * math.pi)
    if not over_lung or abs(turn) >= 1.95:
        return False
    gap = pneumothorax.gap * math.cos(math.pi / 2 * turn / 1.95) ** 2
    return gap > 0.02 and math.hypot(out, up) > 1 - gap


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("finding", "slow"),
    [("Pleural Effusion", slow_effusion), ("Pneumothorax", slow_pneumothorax)],
)
def test_masks_of_fluid_and_air_are_their_projections(seed, finding, slow):
    patient = patient_of(seed, finding)
    centres = (np.arange(48) + 0.5) / 48
    expected = [[slow(patient, x, y) for x in centres] for y in centres]
    np.testing.assert_array_equal(mask(patient, finding, 48), expected)


def slow_opaque_path(patient: Patient, x: float, y: float) -> float:
    """Path through the lung times the share of its air that the lobes replace."""
    opacity = patient.opacity
    out, up, over_lung = slow_place(patient, opacity.side, x, y)
    away = math.hypot(x - opacity.x, y - opacity.y) / (1.5 * opacity.radius)
    if not over_lung or away >= 1:
        return 0.0
    total = 0.0
    for lobe_x, lobe_y, radius, weight in opacity.lobes:
        distance = math.hypot(x - lobe_x, y - lobe_y)
        total += weight * math.exp(-((distance / radius) ** 2) / 2)
    share = opacity.strength * (1 - math.exp(-max(total, 0.0))) * (1 - away**2) ** 2
    depth = patient.lungs[opacity.side].depth
    return 2 * depth * math.sqrt(1 - out**2 - up**2) * share


@pytest.mark.parametrize("seed", range(3))
def test_the_mask_of_an_opacity_is_where_its_path_is_long(seed):
    patient = patient_of(seed, "Lung Opacity")

    def paths(size: int) -> np.ndarray:
        at = (np.arange(size) + 0.5) / size
        return np.array([[slow_opaque_path(patient, x, y) for x in at] for y in at])

    # Of the longest, sampled in the same places whatever the image's size.
    expected = paths(40) > OPACITY_SHARE * paths(64).max()
    np.testing.assert_array_equal(mask(patient, "Lung Opacity", 40), expected)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
@example(seed=5751)  # a thin layer where the lung is thin, too
def test_fluid_takes_the_airs_place_in_its_mask_and_nowhere_else(seed):
    patient = patient_of(seed, "Pleural Effusion")
    found, inside = added(patient, "effusion"), mask(patient, "Pleural Effusion", SIZE)
    assert found.min() > -1e-12
    assert found[inside].mean() > 0.15
    # The dome is round from front to back: a trace of air lies below its highest line.
    x, y = grid(SIZE)
    below = y >= patient.dome(x, patient.effusion.side)
    np.testing.assert_allclose(found[~inside & ~below], 0, atol=1e-12)
    deep = y > patient.dome(x, patient.effusion.side) + 0.05
    assert found[deep].max() < 1e-3


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
@example(seed=4131678)  # up to where the lung is widest: its last column is wall
def test_fluid_blunts_the_costophrenic_angle_and_climbs_the_wall(seed):
    patient = patient_of(seed, "Pleural Effusion")
    side, inside = patient.effusion.side, mask(patient, "Pleural Effusion", SIZE)
    lung = chest(patient, side)
    rows, columns = np.nonzero(lung)
    # The angle is the deepest point of the lung's outer half.
    outer = columns > np.median(columns) if side else columns < np.median(columns)
    deepest = np.argmax(np.where(outer, rows, -1))
    assert inside[rows[deepest], columns[deepest]]
    shown = np.flatnonzero(inside.any(axis=0))[:: 1 if side else -1]
    top = inside[:, shown].argmax(axis=0)
    # With no lung above it, a column of fluid ends at the chest wall.
    free = np.flatnonzero(lung[top - 1, shown])
    assert np.all(np.diff(free) == 1)
    assert len(free) > 0.75 * len(shown)
    surface = top[free].astype(float)
    steps = np.diff(surface)
    # It rises towards the wall, ever more steeply: a meniscus. Steps are whole pixels.
    assert np.all(steps <= 1)
    assert surface[0] - surface[-1] > 0.05 * SIZE
    middle = len(surface) // 2
    assert surface[0] - surface[middle] < surface[middle] - surface[-1]


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_free_air_is_dark_beyond_a_thin_bright_line(seed):
    patient = patient_of(seed, "Pneumothorax")
    found, inside = added(patient, "pneumothorax"), mask(patient, "Pneumothorax", SIZE)
    assert np.all(found[inside] <= 1e-12)
    assert found[inside].mean() < -0.1
    # Outside is nothing but the pleura: brighter, and next to the air.
    x, y = grid(SIZE)
    above = y < patient.dome(x, patient.pneumothorax.side)
    assert np.all(found[~inside & above] >= -1e-12)
    # At its ends the gap is narrower than a pixel.
    fine = mask(patient, "Pneumothorax", 4 * SIZE).reshape(SIZE, 4, SIZE, 4)
    distance = ndimage.distance_transform_edt(~fine.any(axis=(1, 3)))
    far = above & (distance > 0.035 * SIZE)
    np.testing.assert_allclose(found[far], 0, atol=1e-3)
    line = found[~inside & above & ~far]
    assert line.max() > 0.05
    assert (line > 0.02).sum() > 0.3 * SIZE


def test_no_vessel_runs_through_free_air_or_fluid():
    for finding in ("Pneumothorax", "Pleural Effusion"):
        for seed in range(4):
            patient = patient_of(seed, finding)
            inside = mask(patient, finding, SIZE)
            side = (patient.effusion or patient.pneumothorax).side
            image = attenuation(patient, *grid(SIZE))
            # Vessels and clutter come from this seed; clutter is smooth and weak.
            other = attenuation(replace(patient, texture_seed=1), *grid(SIZE))
            rough = np.abs(ndimage.laplace(image - other))
            deep = ndimage.binary_erosion(inside, iterations=4)
            lung = ndimage.binary_erosion(chest(patient, side) & ~inside, iterations=4)
            assert rough[deep].max() < 0.25 * np.quantile(rough[lung], 0.99)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_an_opacity_is_densest_in_its_mask_and_keeps_to_the_lung(seed):
    patient = patient_of(seed, "Lung Opacity")
    found, inside = added(patient, "opacity"), mask(patient, "Lung Opacity", SIZE)
    assert found.min() > -1e-12
    assert not np.any(inside & ~chest(patient, patient.opacity.side))
    # Vessels have no air that it could replace: at most a half, next to the hilum.
    top = found.max()
    assert found[inside].min() > 0.4 * OPACITY_SHARE * top
    assert found[~inside].max() < 2.0 * OPACITY_SHARE * top
    assert not found[~patient.lungs[patient.opacity.side].outline(*grid(SIZE))].any()


@pytest.mark.parametrize("seed", range(6))
def test_an_opacity_has_no_sharp_edge_but_a_nodule_has(seed):
    def edge(finding: str) -> float:
        """Width of the rise from an eighth to half the density, in mask radii."""
        patient = patient_of(seed, finding)
        field = {"Nodule": "nodule", "Lung Opacity": "opacity"}[finding]
        found = added(patient, field)
        low, high = (found > share * found.max() for share in (0.125, 0.5))
        return float(np.sqrt(low.sum()) / np.sqrt(high.sum()))

    assert edge("Lung Opacity") > 1.25 > edge("Nodule")


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, findings=st.sets(st.sampled_from(FINDINGS)))
def test_findings_do_not_contradict_each_other(seed, findings):
    patient = patient_of(seed, *findings)
    found = {name: mask(patient, name, 96) for name in findings - {"Cardiomegaly"}}
    for one, other in combinations(found.values(), 2):
        assert not np.any(one & other)
    if patient.effusion and patient.pneumothorax:
        assert patient.effusion.side != patient.pneumothorax.side
    # However crowded, nodule and opacity are still large enough to be seen.
    for name in {"Nodule", "Lung Opacity"} & findings:
        assert found[name].mean() > 0.005


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_stands_out_of_the_noise(finding, size):
    """Contrast to noise: grey levels that it changes in its mask, over what two other
    drafts of photons, vessels and tissue change there."""
    ratios = []
    for seed in range(12):
        patient, well = patient_of(seed, finding), patient_of(seed)
        # The heart is no object of its own: what is new of it counts.
        inside = mask(patient, finding, size) & ~(
            well.heart.outline(*grid(size)) & (finding == "Cardiomegaly")
        )
        shown, plain, noise = (
            radiograph(each, size, np.random.default_rng(number)).astype(float)
            for number, each in enumerate(
                (patient, well, replace(well, texture_seed=seed + 1))
            )
        )
        spread = np.std((noise - plain)[inside]) / math.sqrt(2)
        ratios.append(abs((shown - plain)[inside].mean()) / spread)
    assert min(ratios) > 1.5
    assert np.median(ratios) > 3
