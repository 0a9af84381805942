import math
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.datasets.phantom import (
    CLASSES,
    Ellipsoid,
    Patient,
    attenuation,
    draw_patient,
    masks,
    phantom_records,
    radiograph,
)

BOTH = frozenset(CLASSES)
SEEDS = st.integers(0, 2**32 - 1)
FINDINGS = st.sets(st.sampled_from(CLASSES)).map(frozenset)


def patient_of(seed: int, findings: frozenset[str] = BOTH) -> Patient:
    return draw_patient(np.random.default_rng(seed), findings)


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixels' centres, in image sides."""
    x, y = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    return x, y


def slow_mask(shape: Ellipsoid, size: int) -> np.ndarray:
    """Every pixel's centre, turned back by the tilt, in the equation of the ellipse."""
    mask = np.zeros((size, size), dtype=bool)
    for row in range(size):
        for column in range(size):
            across = (column + 0.5) / size - shape.x
            down = (row + 0.5) / size - shape.y
            distance, angle = math.hypot(across, down), math.atan2(down, across)
            u = distance * math.cos(angle - shape.tilt) / shape.half_width
            v = distance * math.sin(angle - shape.tilt) / shape.half_height
            mask[row, column] = u**2 + v**2 <= 1
    return mask


@pytest.mark.parametrize("seed", range(3))
def test_the_masks_are_the_projections_of_what_was_planted(seed):
    patient = patient_of(seed)
    found = masks(patient, 48)
    np.testing.assert_array_equal(found["Nodule"], slow_mask(patient.nodule, 48))
    np.testing.assert_array_equal(found["Cardiomegaly"], slow_mask(patient.heart, 48))


def test_a_chord_is_the_way_through_the_ellipsoid():
    ball = Ellipsoid(0.5, 0.4, 0.3, 0.3, depth=0.3)
    steps = np.arange(-0.5, 0.5, 1e-4)
    for x, y in ((0.5, 0.4), (0.6, 0.5), (0.35, 0.2), (0.9, 0.4)):
        inside = (x - 0.5) ** 2 + (y - 0.4) ** 2 + steps**2 < 0.3**2
        chord = ball.chord(np.array([x]), np.array([y]))[0]
        assert chord == pytest.approx(inside.sum() * 1e-4, abs=3e-4)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, findings=FINDINGS)
def test_the_masks_are_of_the_findings_and_of_no_other(seed, findings):
    found = masks(patient_of(seed, findings), 32)
    assert set(found) == findings
    for mask in found.values():
        assert 0 < mask.mean() < 0.5


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, enlarged=st.booleans())
def test_a_nodule_lies_over_one_lung_and_off_the_heart(seed, enlarged):
    findings = BOTH if enlarged else frozenset({"Nodule"})
    patient = patient_of(seed, findings)
    x, y = grid(128)
    nodule = masks(patient, 128)["Nodule"]
    lungs = [lung.outline(x, y) for lung in patient.lungs]
    assert sum(bool((nodule & lung).any()) for lung in lungs) == 1
    assert np.all(lungs[0] | lungs[1], where=nodule)
    assert not np.any(patient.heart.outline(x, y) & nodule)
    assert np.all(y[nodule] < max(patient.diaphragm) + 0.05)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, findings=FINDINGS)
def test_the_heart_is_wider_than_half_the_chest_if_it_is_enlarged(seed, findings):
    patient = patient_of(seed, findings)
    x, y = grid(128)
    heart = np.flatnonzero(patient.heart.outline(x, y).any(axis=0))
    left, right = (lung.outline(x, y) for lung in patient.lungs)
    chest = np.flatnonzero((left | right).any(axis=0))
    ratio = np.ptp(heart) / np.ptp(chest)
    assert (ratio > 0.5) == ("Cardiomegaly" in findings)
    # Nobody can tell a heart of just one half; there is a gap between the groups.
    assert not 0.45 < ratio < 0.55


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_a_nodule_attenuates_inside_its_mask_and_nowhere_else(seed):
    patient = patient_of(seed)
    x, y = grid(64)
    added = attenuation(patient, x, y) - attenuation(
        replace(patient, nodule=None), x, y
    )
    mask = masks(patient, 64)["Nodule"]
    assert np.all(added[mask] >= 0)
    assert added[mask].mean() > 0.1
    np.testing.assert_allclose(added[~mask], 0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_a_nodule_brightens_its_mask_on_the_radiograph(seed):
    patient = patient_of(seed)
    with_it, without = (
        radiograph(each, 64, np.random.default_rng(seed)).astype(float)
        for each in (patient, replace(patient, nodule=None))
    )
    mask = masks(patient, 64)["Nodule"]
    brighter = with_it - without
    # Outside, only the window and the noise move: a few of 255 grey values.
    assert brighter[mask].mean() > 30
    assert abs(brighter[~mask].mean()) < 10


def test_air_is_dark_and_dense_tissue_bright():
    for seed in range(5):
        patient = patient_of(seed, frozenset())
        image = radiograph(patient, 96, np.random.default_rng(seed)).astype(float)
        x, y = grid(96)
        heart = patient.heart.outline(x, y)
        lungs = patient.lungs[0].outline(x, y) | patient.lungs[1].outline(x, y)
        air = lungs & ~heart & (y < min(patient.diaphragm)) & (y > 0.3)
        assert image[heart].mean() > image[air].mean() + 60


def test_a_patient_looks_the_same_at_every_size():
    for seed in range(4):
        patient = patient_of(seed)
        fine, coarse = (
            radiograph(patient, size, np.random.default_rng(size)).astype(float)
            for size in (128, 64)
        )
        shrunk = fine.reshape(64, 2, 64, 2).mean(axis=(1, 3))
        # Photons are drawn anew; edges are averaged before, not after, the logarithm.
        assert np.abs(shrunk - coarse).mean() < 2.5
        assert np.corrcoef(shrunk.ravel(), coarse.ravel())[0, 1] > 0.998
        for name, mask in masks(patient, 64).items():
            share = masks(patient, 128)[name].mean()
            assert mask.mean() == pytest.approx(share, rel=0.05)


def test_photon_noise_falls_with_the_exposure():
    patient = replace(patient_of(3), window=(0.0, 1.0), scatter=0.0)

    def noise(exposure: float) -> float:
        shown = replace(patient, exposure=exposure)
        one, two = (
            radiograph(shown, 64, np.random.default_rng(seed)).astype(float)
            for seed in (1, 2)
        )
        return float(np.std(one - two))

    # Rounding to whole grey values adds a floor, so weak exposures are compared.
    assert noise(0.001) / noise(0.01) == pytest.approx(math.sqrt(10), rel=0.25)


def test_an_image_is_the_same_however_many_are_made():
    few = list(phantom_records(6, 32, seed=4))
    many = list(islice(phantom_records(500, 32, seed=4), 6))
    # Each is developed out of order: the streams do not depend on one another.
    images = {record.image_id: record.read().pixels for record in reversed(many)}
    for one, other in zip(few, many, strict=True):
        assert (one.image_id, one.patient_id) == (other.image_id, other.patient_id)
        assert one.labels == other.labels
        np.testing.assert_array_equal(one.read().pixels, images[one.image_id])
        for name in one.masks:
            np.testing.assert_array_equal(one.masks[name], other.masks[name])


def test_another_seed_gives_other_images_and_splits():
    one, other = (list(phantom_records(40, 16, seed=seed)) for seed in (1, 2))
    assert [record.labels for record in one] != [record.labels for record in other]
    assert [record.split for record in one] != [record.split for record in other]
    assert not np.array_equal(one[0].read().pixels, other[0].read().pixels)


def test_the_images_differ_from_each_other_and_fill_the_grey_values():
    images = [record.read().pixels for record in phantom_records(8, 32, seed=1)]
    assert len({image.tobytes() for image in images}) == 8
    for image in images:
        assert (image.dtype, image.shape) == (np.uint8, (32, 32))
        assert np.ptp(image) > 200


def test_the_labels_say_what_the_masks_show():
    for record in phantom_records(60, 16, seed=3):
        present = {
            name
            for name, label in zip(CLASSES, record.labels, strict=True)
            if label == 1
        }
        assert set(record.labels) <= {0.0, 1.0}
        assert set(record.masks) == present


def test_each_finding_is_in_half_of_the_images_and_independent():
    labels = np.array([record.labels for record in phantom_records(1000, 8, seed=2)])
    # Four standard errors of a share of one half and of one quarter, of 1000.
    assert np.abs(labels.mean(axis=0) - 0.5).max() < 0.064
    assert abs(labels.prod(axis=1).mean() - 0.25) < 0.055


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, tens=st.integers(1, 6))
def test_splits_are_70_10_20_of_different_patients(seed, tens):
    count = 10 * tens
    records = list(phantom_records(count, 8, seed))
    assert Counter(record.split for record in records) == {
        "train": 7 * tens,
        "dev": tens,
        "test": 2 * tens,
    }
    assert len({record.patient_id for record in records}) == count
    assert len({record.image_id for record in records}) == count
    assert [r.split for r in records] == [
        r.split for r in phantom_records(count, 8, seed)
    ]
