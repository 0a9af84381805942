import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mlcore.evaluation.discrimination.metrics import (
    Curve,
    at_cutoff,
    closest_to_corner,
    curve,
    discriminate,
    known_cases,
)
from tests.conftest import GOLDEN

STATISTICS = GOLDEN / "statistics"
ROC = json.loads((STATISTICS / "expected" / "roc.json").read_text())


def table(name):
    """The columns of a golden table, by name."""
    with (STATISTICS / "inputs" / f"{name}.csv").open() as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, np.array(rows, float).T, strict=True))


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


GOLDEN_SCORES = {
    "hanley_mcneil": ("hanley_mcneil_1982", "rating", ROC["hanley_mcneil"]),
    **{
        name: ("delong_ovarian", name, ROC["delong_ovarian"][name])
        for name in ROC["delong_ovarian"]
    },
}


@st.composite
def cases(draw):
    """Scores with many ties and labels, some unknown, with both kinds among them."""
    known = [(draw(st.integers(-3, 3)), label) for label in (0, 1)]
    rest = st.tuples(st.integers(-3, 3), st.sampled_from([0, 1, np.nan]))
    drawn = draw(st.permutations([*known, *draw(st.lists(rest, max_size=25))]))
    scores, labels = np.array(drawn, float).T
    return scores / 4, labels


@pytest.fixture
def noisy():
    """300 cases, scores rounded to one decimal, a tenth of the labels unknown."""
    rng = np.random.default_rng(2)
    labels = (rng.random(300) < 0.2).astype(float)
    scores = np.round(rng.normal(size=300) + labels, 1)
    labels[rng.random(300) < 0.1] = np.nan
    return scores, labels


@pytest.mark.parametrize("name", GOLDEN_SCORES)
def test_area_and_cutoff_agree_with_r(name):
    source, column, golden = GOLDEN_SCORES[name]
    columns = table(source)
    result = discriminate(columns[column], columns["truth"])
    (best,) = golden["cutoff_closest_topleft"]
    assert (result.n, result.n_pos) == (
        golden["n_pos"] + golden["n_neg"],
        golden["n_pos"],
    )
    assert result.auc == close(golden["auc"])
    assert result.best.sensitivity == close(best["sensitivity"])
    assert result.best.specificity == close(best["specificity"])
    # R reports the middle between two scores; the higher of the two is ours.
    lower = columns[column][columns[column] < result.best.cutoff].max()
    assert (lower + result.best.cutoff) / 2 == close(best["threshold"])


@settings(deadline=None)
@given(cases())
def test_the_curves_are_scikit_learns(drawn):
    scores, labels = drawn
    known = ~np.isnan(labels)
    points = curve(scores, labels)
    fpr, tpr, cutoffs = sk.roc_curve(
        labels[known], scores[known], drop_intermediate=False
    )
    np.testing.assert_array_equal(points.cutoffs, cutoffs)
    assert points.cutoffs[0] == np.inf
    np.testing.assert_allclose(points.sensitivity, tpr, atol=1e-12)
    np.testing.assert_allclose(points.specificity, 1 - fpr, atol=1e-12)
    precision, recall, cutoffs = sk.precision_recall_curve(labels[known], scores[known])
    np.testing.assert_array_equal(points.cutoffs[1:], cutoffs[::-1])
    np.testing.assert_allclose(points.precision, precision[::-1], atol=1e-12)
    np.testing.assert_allclose(points.sensitivity, recall[::-1], atol=1e-12)


@settings(deadline=None)
@given(cases())
def test_areas_are_scikit_learns(drawn):
    scores, labels = drawn
    known = ~np.isnan(labels)
    result = discriminate(scores, labels)
    pair = labels[known], scores[known]
    assert result.auc == pytest.approx(sk.roc_auc_score(*pair), abs=1e-12)
    assert result.ap == pytest.approx(sk.average_precision_score(*pair), abs=1e-12)
    assert result.reason is None


def test_areas_of_many_tied_scores_are_scikit_learns(noisy):
    scores, labels = noisy
    known = ~np.isnan(labels)
    result = discriminate(scores, labels)
    pair = labels[known], scores[known]
    assert result.auc == pytest.approx(sk.roc_auc_score(*pair), abs=1e-12)
    assert result.ap == pytest.approx(sk.average_precision_score(*pair), abs=1e-12)


@settings(deadline=None)
@given(cases())
def test_the_best_cutoff_is_the_closest_of_all_and_then_the_most_sensitive(drawn):
    scores, labels = drawn
    best = discriminate(scores, labels).best
    ranked = []
    for cutoff in [np.inf, *scores[~np.isnan(labels)]]:
        point = at_cutoff(scores, labels, cutoff)
        distance = (1 - point.sensitivity) ** 2 + (1 - point.specificity) ** 2
        ranked.append((round(distance, 12), -point.sensitivity))
    distance = (1 - best.sensitivity) ** 2 + (1 - best.specificity) ** 2
    assert (round(distance, 12), -best.sensitivity) == min(ranked)
    assert best == at_cutoff(scores, labels, best.cutoff)


def test_of_two_equally_close_points_the_more_sensitive_is_chosen():
    # (sensitivity, specificity) = (2/3, 1) and (1, 2/3), equally far from the corner.
    scores, labels = [5, 5, 4, 3, 2, 1], [1, 1, 0, 1, 0, 0]
    best = closest_to_corner(curve(scores, labels))
    assert best.cutoff == 3
    assert (best.sensitivity, best.specificity) == (1, pytest.approx(2 / 3))


def test_no_point_is_dropped_from_a_straight_stretch():
    points = curve([4, 3, 2, 1], [1, 1, 1, 0])
    assert list(points.cutoffs) == [np.inf, 4, 3, 2, 1]


def test_a_score_at_the_cutoff_is_called_positive():
    point = at_cutoff([0.4, 0.5, 0.5, 0.6], [0, 0, 1, 1], 0.5)
    assert (point.sensitivity, point.specificity) == (1, 0.5)
    assert at_cutoff([0.4, 0.5], [0, 1], None) is None


@pytest.mark.parametrize(
    ("labels", "reason", "sensitivity", "specificity"),
    [
        ([1, 1, np.nan], "no negative case", 0.5, None),
        ([0, 0, np.nan], "no positive case", None, 0.5),
        ([np.nan] * 3, "no case of known label", None, None),
    ],
)
def test_what_has_no_positive_or_no_negative_has_no_number(
    labels, reason, sensitivity, specificity
):
    scores = [0.2, 0.8, 0.9]
    result = discriminate(scores, labels)
    assert (result.auc, result.ap, result.best) == (None, None, None)
    assert result.reason == reason
    assert curve(scores, labels) is None
    point = at_cutoff(scores, labels, 0.5)
    assert (point.sensitivity, point.specificity) == (sensitivity, specificity)


@settings(deadline=None)
@given(cases(), st.floats(0.1, 5), st.floats(-5, 5))
def test_areas_depend_on_the_order_of_the_scores_alone(drawn, scale, shift):
    scores, labels = drawn
    one, other = (
        discriminate(values, labels) for values in (scores, scores * scale + shift)
    )
    assert (one.auc, one.ap) == (other.auc, other.ap)
    reverse = discriminate(-scores, labels)
    assert reverse.auc == pytest.approx(1 - one.auc, abs=1e-12)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_score_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match=r"1 of 3 scores .* position 1: leave"):
        discriminate([0.1, bad, 0.3], [0, 1, 1])


def test_a_label_that_is_no_label_is_refused():
    with pytest.raises(ValueError, match=r"must be 1, 0 or NaN .* not -1"):
        known_cases([0.1, 0.2], [1, -1])


@pytest.mark.parametrize("scores", [[0.1], [[0.1, 0.2]], 0.1])
def test_scores_and_labels_of_different_shapes_are_refused(scores):
    with pytest.raises(ValueError, match="two rows of the same length"):
        known_cases(scores, [0, 1])


def test_a_curve_counts_its_cases():
    points = Curve(np.array([np.inf, 1.0]), np.array([0, 3]), np.array([0, 5]))
    assert (points.n_pos, points.n_neg) == (3, 5)
    assert list(points.precision) == [1, 3 / 8]
