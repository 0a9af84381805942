import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.bundle.drawing import draw_cases, findings_of
from mlcore.bundle.writing import CaseBundleError
from mlcore.errors import UsageError


def relabelled(table, labels, classes=None):
    return dataclasses.replace(
        table,
        labels=np.array(labels, dtype=np.float32),
        classes=classes or table.classes,
    )


@given(seed=st.integers(0, 2**31), cases=st.integers(1, 4))
def test_cases_are_ill_test_images_one_per_patient(table, seed, cases):
    draw = draw_cases(table, cases, seed)
    assert len(set(draw.indices)) == cases
    assert len({table.patient_ids[row] for row in draw.indices}) == cases
    for row in draw.indices:
        assert table.splits[row] == "test"
        assert 1 in table.labels[row]
    ill = [row for row in table.split_indices("test") if 1 in table.labels[row]]
    assert draw.eligible == len(ill)
    assert draw_cases(table, cases, seed) == draw
    assert draw_cases(table, 1, seed).indices == draw.indices[:1]


@given(seed=st.integers(0, 2**31), cases=st.integers(1, 3), training=st.integers(0, 1))
def test_training_cases_are_ill_test_images_of_other_patients(
    table, seed, cases, training
):
    draw = draw_cases(table, cases, seed, training=training)
    without = draw_cases(table, cases, seed)
    assert (draw.indices, draw.eligible) == (without.indices, without.eligible)
    assert without.training == ()
    assert len(draw.training) == training
    together = draw_cases(table, cases + training, seed).indices
    assert (*draw.indices, *draw.training) == together
    patients = [table.patient_ids[row] for row in together]
    assert len(set(patients)) == len(patients)
    for row in draw.training:
        assert table.splits[row] == "test"
        assert findings_of(table, row)


def test_too_few_patients_for_training_are_an_error_that_says_how_many(table):
    with pytest.raises(CaseBundleError) as caught:
        draw_cases(table, 3, 0, training=2)
    assert str(caught.value) == (
        "3 cases and 2 training cases were asked for, but toy has images with a "
        "finding of only 4 patients in test."
    )
    with pytest.raises(UsageError, match="training cases is a whole number from 0"):
        draw_cases(table, 3, 0, training=-1)


def test_every_eligible_image_can_be_drawn(table):
    drawn = {row for seed in range(60) for row in draw_cases(table, 2, seed).indices}
    ill = {row for row in table.split_indices("test") if 1 in table.labels[row]}
    assert drawn == ill


def test_healthy_images_are_drawn_only_when_allowed(table):
    healthy = relabelled(table, np.zeros_like(table.labels))
    with pytest.raises(CaseBundleError, match="only 0 patients in test"):
        draw_cases(healthy, 1, 0)
    draw = draw_cases(healthy, 4, 0, allow_no_finding=True)
    assert draw.allow_no_finding
    assert draw.eligible == 8


def test_no_finding_is_no_pathology(table):
    labels = np.zeros_like(table.labels)
    labels[:, 0] = 1
    classes = ("No Finding", "Heart")
    with pytest.raises(CaseBundleError, match="only 0 patients"):
        draw_cases(relabelled(table, labels, classes), 1, 0)
    labels[-1, 1] = 1
    both = relabelled(table, labels, classes)
    (row,) = draw_cases(both, 1, 0).indices
    assert findings_of(both, row) == ["Heart"]


def test_too_few_patients_are_an_error_that_says_how_many(table):
    ill = {
        table.patient_ids[r]
        for r in table.split_indices("test")
        if 1 in table.labels[r]
    }
    with pytest.raises(CaseBundleError) as caught:
        draw_cases(table, 5, 0)
    assert str(caught.value) == (
        "5 cases were asked for, but toy has images with a finding of only "
        f"{len(ill)} patients in test."
    )
    with pytest.raises(UsageError, match="At least one case"):
        draw_cases(table, 0, 0)
