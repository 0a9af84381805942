import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.evaluation.discrimination.metrics import at_cutoff, discriminate
from mlcore.evaluation.discrimination.ranking import count_type, rank
from tests.conftest import GOLDEN
from tests.mlcore.evaluation.discrimination.test_metrics import cases, close, table

REDRAWN = json.loads(
    (GOLDEN / "statistics" / "expected" / "swap_and_redraw.json").read_text()
)["redraw_auc"]


def measured(scores, labels, weights, cutoff=None):
    """Per weighting: auc, ap, best sensitivity and specificity, and those fixed."""
    tally = rank(scores, labels, cutoff).tally(weights)
    best = tally.rates(*tally.closest_to_corner())
    fixed = tally.rates(tally.missed_at_cutoff, tally.negatives - tally.below_cutoff)
    return np.stack([tally.auc(), tally.average_precision(), *best, *fixed], axis=1)


def slow_measured(scores, labels, weights, cutoff):
    """Repeat each case as often as it counts, and measure that."""
    rows = []
    for count in weights.T:
        some, of_some = np.repeat(scores, count), np.repeat(labels, count)
        result = discriminate(some, of_some)
        fixed = at_cutoff(some, of_some, cutoff)
        rows.append(
            [
                result.auc,
                result.ap,
                result.best and result.best.sensitivity,
                result.best and result.best.specificity,
                fixed.sensitivity,
                fixed.specificity,
            ]
        )
    return np.array(rows, dtype=float)  # None becomes NaN


@st.composite
def weighted(draw):
    scores, labels = draw(cases())
    columns = draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**32 - 1))
    high = draw(st.sampled_from([2, 4]))
    weights = np.random.default_rng(seed).integers(0, high, (len(scores), columns))
    return scores, labels, weights


@settings(deadline=None)
@given(weighted(), st.sampled_from([-2, -0.5, 0.0, 0.1, 2]), st.sampled_from("HI"))
def test_counting_is_repeating_the_cases(drawn, cutoff, kind):
    scores, labels, weights = drawn
    got = measured(scores, labels, weights.astype(kind), cutoff)
    expected = slow_measured(scores, labels, weights, cutoff)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_redraws_agree_with_r():
    columns, counts = table("swap12"), table("swap12_counts")
    weights = np.stack([counts[f"c{case}"] for case in range(1, 13)]).astype(np.uint16)
    for model in "ab":
        got = measured(columns[model], columns["truth"], weights, 0.5)
        for row, golden in zip(got, REDRAWN, strict=True):
            if golden[model] is None:
                assert np.isnan(row[0])
            else:
                assert row[0] == close(golden[model])
            if model == "a":
                fixed = [golden["sens_a_at_0.5"], golden["spec_a_at_0.5"]]
                np.testing.assert_allclose(row[4:], np.array(fixed, float), rtol=1e-9)
    assert sum(golden["a"] is None for golden in REDRAWN) == 1


@pytest.mark.parametrize("columns", [4, 5])
def test_a_sum_may_fill_the_smaller_type_to_its_last_bit(columns):
    # Neighbouring sums are added up as one long number: nothing may spill over.
    weights = np.zeros((4, columns), np.uint16)
    weights[:, 1] = [30_000, 1, 35_000, 534]
    weights[:, 3] = 16_383
    got = measured([1, 2, 3, 4], [0, 1, 0, 1], weights)
    assert weights[:, 1].sum() == np.iinfo(np.uint16).max
    wins = 30_000 * 535 + 35_000 * 534
    assert got[1, 0] == pytest.approx(wins / (65_000 * 535), rel=1e-15)
    assert got[3, 0] == 0.75
    assert np.isnan(got[[0, 2], :4]).all()


@pytest.mark.parametrize(("largest", "kind"), [(65_535, "H"), (65_536, "I")])
def test_counts_take_the_smallest_type_that_holds_their_sum(largest, kind):
    assert np.dtype(count_type(largest)) == np.dtype(kind)


@pytest.mark.parametrize("label", [0, 1])
def test_cases_of_one_kind_have_half_a_fixed_point_and_nothing_else(label):
    got = measured([1, 2, 3], [label] * 3, np.ones((3, 4), np.uint16), cutoff=2)
    fixed = [2 / 3, np.nan] if label else [np.nan, 1 / 3]
    np.testing.assert_allclose(got, [[np.nan] * 4 + fixed] * 4)


def test_cases_without_labels_have_no_number_at_all():
    weights = np.ones((2, 4), np.uint16)
    assert np.isnan(measured([1, 2], [np.nan, np.nan], weights, cutoff=1)).all()


def test_without_a_cutoff_nothing_is_counted_at_one():
    tally = rank([1, 2], [0, 1]).tally(np.ones((2, 1), np.uint16))
    assert np.isnan(tally.missed_at_cutoff).all()
    assert np.isnan(tally.below_cutoff).all()


@settings(deadline=None)
@given(weighted())
def test_what_is_left_of_the_whole_is_the_tally_of_the_other_weights(drawn):
    scores, labels, weights = drawn
    ranking, weights = rank(scores, labels, 0.0), (weights > 0).astype(np.uint16)
    whole = ranking.tally(np.ones((len(scores), 1), np.uint16))
    rest = ranking.tally(weights).rest_of(whole)
    for name, here in vars(ranking.tally(1 - weights)).items():
        np.testing.assert_array_equal(vars(rest)[name], here)
