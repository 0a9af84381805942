"""Coefficients of agreement against R, other libraries and their definition."""

import csv
import json
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from readerstudy.analysis.statistics.coefficients import (
    fleiss_kappa,
    icc,
    ordinal_alpha_of,
    quadratic_kappas_of,
)
from tests.conftest import GOLDEN

STATISTICS = GOLDEN / "statistics"
SETTINGS = settings(max_examples=60, deadline=None)
GOLDEN_VALUES = json.loads((STATISTICS / "expected" / "agreement.json").read_text())
PAIR = np.array([[0, 1]])


def columns(name):
    """The numbers of a golden table, without the names of its rows; NaN for a gap."""
    with (STATISTICS / "inputs" / f"{name}.csv").open() as file:
        _, *rows = csv.reader(file)
    return np.array(
        [[float(c) if c not in ("", "NA") else np.nan for c in row[1:]] for row in rows]
    )


def close(value, rel=1e-9):
    return pytest.approx(value, rel=rel, abs=0)


def once(statistic, images):
    """The value for each image counting once, None where it is undefined."""
    value = float(statistic(np.ones((1, images))).ravel()[0])
    return None if np.isnan(value) else value


def near(value):
    """`value`, which may be None, to the precision of sums in another order."""
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)


def alpha(table):
    return once(ordinal_alpha_of(np.array(table, float)), len(table))


def kappa(table):
    return once(quadratic_kappas_of(np.array(table, float), PAIR), len(table))


@st.composite
def rating_tables(draw, *, gaps=True, low=0):
    readers = draw(st.integers(2, 4))
    cell = st.integers(low, 5)
    if gaps:
        cell |= st.just(float("nan"))
    row = st.lists(cell, min_size=readers, max_size=readers)
    return np.array(draw(st.lists(row, min_size=1, max_size=8)), float)


def test_ordinal_alpha_agrees_with_r():
    assert alpha(columns("krippendorff_2011")) == close(
        GOLDEN_VALUES["krippendorff_2011"]["ordinal"]
    )


def slow_alpha(table):
    """All pairs within images over all pairs there are, value by value."""
    rows = [[v for v in row if not np.isnan(v)] for row in table]
    rows = [row for row in rows if len(row) > 1]
    values = [v for row in rows for v in row]

    def distance(a, b):
        low, high = sorted((a, b))
        between = sum(low <= v <= high for v in values)
        return (between - (values.count(a) + values.count(b)) / 2) ** 2

    observed = sum(
        sum(distance(a, b) for a, b in permutations(row, 2)) / (len(row) - 1)
        for row in rows
    )
    expected = sum(distance(a, b) for a, b in permutations(values, 2))
    if expected == 0:
        return None
    return 1 - observed * (len(values) - 1) / expected


@SETTINGS
@given(table=rating_tables(low=-5))
def test_ordinal_alpha_is_its_definition(table):
    assert alpha(table) == near(slow_alpha(table))


@SETTINGS
@given(table=rating_tables(), data=st.data())
def test_a_weight_is_an_image_as_often_as_it_says(table, data):
    weight = st.integers(0, 3)
    weights = np.array(
        data.draw(st.lists(weight, min_size=len(table), max_size=len(table)))
    )
    repeated = np.repeat(table, weights, axis=0)
    for statistic_of in (ordinal_alpha_of, lambda t: quadratic_kappas_of(t, PAIR)):
        value = float(statistic_of(table)(weights[np.newaxis].astype(float)).ravel()[0])
        expected = once(statistic_of(repeated), len(repeated))
        assert (None if np.isnan(value) else value) == near(expected)


def test_quadratic_kappa_agrees_with_r():
    judges = columns("shrout_fleiss_1979")

    assert kappa(judges[:, [0, 3]]) == close(
        GOLDEN_VALUES["cohen_kappa_J1_J4"]["quadratic"]
    )


@SETTINGS
@given(table=rating_tables())
def test_quadratic_kappa_agrees_with_scikit_learn(table):
    x, y = table[~np.isnan(table[:, :2]).any(axis=1), :2].T
    if x.size == 0 or (np.ptp(x) == np.ptp(y) == 0 and x[0] == y[0]):
        assert kappa(table) is None
    else:
        expected = cohen_kappa_score(x, y, weights="quadratic", labels=range(6))
        assert kappa(table) == near(expected)


@pytest.mark.parametrize(("ours", "theirs"), [("single", "ICC2_1"), ("mean", "ICC2_k")])
def test_icc_agrees_with_r(ours, theirs):
    golden = GOLDEN_VALUES["shrout_fleiss"][theirs]
    result = icc(columns("shrout_fleiss_1979"))

    assert getattr(result, ours) == close(golden["icc"], 1e-6)
    assert getattr(result, f"{ours}_lo") == close(golden["lb"], 1e-6)
    assert getattr(result, f"{ours}_hi") == close(golden["ub"], 1e-6)
    assert result.reason is None


@SETTINGS
@given(table=rating_tables(gaps=False))
def test_icc_is_between_its_bounds_or_says_why_not(table):
    result = icc(table)
    values = [
        result.single,
        result.single_lo,
        result.single_hi,
        result.mean,
        result.mean_lo,
        result.mean_hi,
    ]

    assert all(value is None or np.isfinite(value) for value in values)
    assert (None in values) == (result.reason is not None)
    if None not in values:
        assert result.single_lo <= result.single <= result.single_hi
        assert result.mean_lo <= result.mean <= result.mean_hi


def test_readers_who_agree_throughout_have_icc_1_and_no_interval():
    result = icc(np.array([[0.0, 0], [3, 3], [5, 5]]))

    assert (result.single, result.mean) == (1, 1)
    assert result.single_lo is None
    assert result.reason == "ICC has no interval with these residuals"


@pytest.mark.parametrize(
    "table", [[[2, 2], [2, 2]], [[1, 2]], [[1], [2]], [[0, 1], [1, 0]]]
)
def test_icc_without_anything_to_compare_is_undefined(table):
    result = icc(np.array(table, float))

    assert result.single is None
    assert result.reason


def test_fleiss_kappa_agrees_with_r():
    counts = columns("fleiss_counts").astype(int)
    table = [np.repeat(np.arange(counts.shape[1]), row) for row in counts]

    assert fleiss_kappa(np.array(table, float)) == close(GOLDEN_VALUES["fleiss_kappa"])


def fleiss_by_pairs(table):
    """How often two ratings of an image are the same, beyond two drawn from all."""
    same = [a == b for row in table for a, b in combinations(row, 2)]
    shares = Counter(table.ravel().tolist())
    by_chance = sum((count / table.size) ** 2 for count in shares.values())
    return (np.mean(same) - by_chance) / (1 - by_chance)


@SETTINGS
@given(table=rating_tables(gaps=False).filter(lambda table: np.ptp(table) > 0))
def test_fleiss_kappa_is_agreement_of_pairs_beyond_chance(table):
    assert fleiss_kappa(table) == pytest.approx(fleiss_by_pairs(table), abs=1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (3, 1), (3, 3)])
def test_fleiss_kappa_of_nothing_to_compare_is_undefined(shape):
    assert fleiss_kappa(np.full(shape, 2.0)) is None
