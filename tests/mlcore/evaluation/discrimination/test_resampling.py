import dataclasses

import numpy as np
import pytest
from scipy import stats

from mlcore.evaluation.discrimination.delong import delong
from mlcore.evaluation.discrimination.metrics import at_cutoff, discriminate
from mlcore.evaluation.discrimination.resampling import (
    Interval,
    Redraws,
    bootstrap,
    number_patients,
    percentile_interval,
    redraw_counts,
)

CUTOFFS = np.array([[0.5, 0.2, np.nan], [0.1, np.nan, 0.4]])


def redrawn(scores, labels, cutoffs=CUTOFFS, *, redraws=200, seed=1, **options):
    rng = np.random.default_rng(seed)
    return bootstrap(scores, labels, cutoffs, redraws=redraws, rng=rng, **options)


@pytest.fixture
def cases():
    """60 cases, two variants, three findings: one tied and gappy, one very rare."""
    rng = np.random.default_rng(6)
    labels = (rng.random((60, 3)) < [0.5, 0.3, 0]).astype(float)
    labels[:2, 2] = 1
    scores = rng.normal(size=(60, 2, 3)) + labels[:, None]
    scores[:, :, 1] = np.round(scores[:, :, 1])
    labels[rng.random(60) < 0.2, 1] = np.nan
    return scores, labels


def slow_bootstrap(scores, labels, cutoffs, counts):
    """Repeat the cases of each redraw and measure every column of scores anew."""
    found = {field.name: [] for field in dataclasses.fields(Redraws)}
    for count in counts.T:
        cases = np.repeat(np.arange(len(labels)), count)
        for variant, finding in np.ndindex(cutoffs.shape):
            pair = scores[cases, variant, finding], labels[cases, finding]
            result = discriminate(*pair)
            cutoff = cutoffs[variant, finding]
            fixed = at_cutoff(*pair, None if np.isnan(cutoff) else cutoff)
            found["auc"].append(result.auc)
            found["ap"].append(result.ap)
            for kind, point in (("", fixed), ("best_", result.best)):
                for name in ("sensitivity", "specificity"):
                    found[kind + name].append(point and getattr(point, name))
    shape = (counts.shape[1], *cutoffs.shape)
    return {name: np.array(rows, float).reshape(shape) for name, rows in found.items()}


@pytest.mark.parametrize("patients", [None, [f"p{case // 3}" for case in range(60)]])
def test_the_bootstrap_measures_every_redraw_anew(cases, patients):
    got = redrawn(*cases, redraws=100, patients=patients)
    units = number_patients(patients, 60)
    sources = np.random.default_rng(1).spawn(2)
    counts = np.hstack([redraw_counts(units, source) for source in sources])[:, :100]
    for name, expected in slow_bootstrap(*cases, CUTOFFS, counts).items():
        np.testing.assert_allclose(getattr(got, name), expected, rtol=0, atol=1e-12)
    assert np.isnan(got.auc[:, :, 2]).any()
    assert not np.isnan(got.auc[:, :, 0]).any()


def test_a_redraw_is_the_same_whatever_is_measured_on_it(cases):
    scores, labels = cases
    whole = redrawn(scores, labels)
    for variant, finding in np.ndindex(2, 3):
        alone = redrawn(
            scores[:, [variant]][:, :, [finding]],
            labels[:, [finding]],
            CUTOFFS[[variant]][:, [finding]],
        )
        for name, values in vars(alone).items():
            np.testing.assert_array_equal(
                values[:, 0, 0], getattr(whole, name)[:, variant, finding]
            )


def test_variants_of_equal_order_differ_in_no_redraw(cases):
    scores, labels = cases
    twice = np.stack([scores[:, 0], np.exp(scores[:, 0])], axis=1)
    found = redrawn(twice, labels)
    difference = percentile_interval(found.auc[:, 0, 0] - found.auc[:, 1, 0])
    assert difference == Interval(0, 0, 0, 0)


def test_the_first_redraws_do_not_depend_on_how_many_follow(cases):
    few, many = redrawn(*cases, redraws=70), redrawn(*cases, redraws=150)
    assert few.auc.shape == (70, 2, 3)
    for name, values in vars(few).items():
        np.testing.assert_array_equal(values, getattr(many, name)[:70])


def test_the_bootstrap_repeats_itself_with_the_same_seed_only(cases):
    np.testing.assert_array_equal(redrawn(*cases).auc, redrawn(*cases).auc)
    assert not np.array_equal(redrawn(*cases).auc, redrawn(*cases, seed=2).auc)


def test_a_patient_for_every_case_is_no_patients_at_all(cases):
    named = redrawn(*cases, patients=[f"{case * 7 % 60}" for case in range(60)])
    np.testing.assert_array_equal(named.auc, redrawn(*cases).auc)


def test_patients_are_redrawn_whole():
    patients = ["b", "a", "b", "c", "a", "b"]
    units = number_patients(patients, 6)
    assert list(units) == [0, 1, 0, 2, 1, 0]
    counts = redraw_counts(units, np.random.default_rng(2))
    np.testing.assert_array_equal(counts[[0, 1]], counts[[2, 4]])
    np.testing.assert_array_equal(counts[0], counts[5])
    assert (counts[[0, 1, 3]].sum(axis=0) == 3).all()
    assert len(set(counts.sum(axis=0))) > 1


def test_intervals_by_patient_are_wider_where_their_cases_are_alike():
    rng = np.random.default_rng(3)
    labels = np.repeat(rng.integers(0, 2, 50), 8).astype(float)[:, None]
    scores = np.repeat(rng.normal(size=50), 8)[:, None, None] + labels[:, None]
    none = np.full((1, 1), np.nan)
    by_case = redrawn(scores, labels, none)
    by_patient = redrawn(scores, labels, none, patients=[c // 8 for c in range(400)])
    sd = [percentile_interval(r.auc[:, 0, 0]).sd for r in (by_patient, by_case)]
    assert sd[0] > 2 * sd[1]


def test_large_patients_overflow_no_count():
    # Some redraw of 40 patients, of whom one has 60,000 cases, has more than 65,535.
    units = np.concatenate([np.zeros(60_000, int), np.arange(1, 40)])
    counts = redraw_counts(units, np.random.default_rng(1))
    sums = counts.sum(axis=0, dtype=np.int64)
    assert sums.max() > 65_535
    assert counts.dtype == np.uint32
    assert redraw_counts(np.arange(9), np.random.default_rng(1)).dtype == np.uint16


def test_every_case_is_drawn_once_on_average():
    counts = redraw_counts(np.arange(500), np.random.default_rng(4))
    assert (counts.sum(axis=0) == 500).all()
    # As many redraws as cases would be Poisson distributed: variance 1.
    assert counts.var() == pytest.approx(1, abs=0.05)
    assert counts.mean(axis=1).std() == pytest.approx(64**-0.5, rel=0.2)


def test_redraws_without_a_positive_are_counted_and_left_out(cases):
    found = redrawn(*cases, redraws=2000)
    draws = found.auc[:, 0, 2]
    interval = percentile_interval(draws)
    # Two positives of 60 are both missed in (58/60)^60 = 13 % of the redraws.
    assert interval.undefined == np.isnan(draws).sum()
    assert interval.undefined / 2000 == pytest.approx(0.131, abs=0.03)
    defined = draws[~np.isnan(draws)]
    expected = np.quantile(defined, [0.025, 0.975])
    np.testing.assert_allclose([interval.low, interval.high], expected, rtol=1e-12)
    assert interval.sd == pytest.approx(np.std(defined, ddof=1))


def test_a_finding_without_positives_has_no_interval(cases):
    scores, labels = cases
    labels[:, 2] = 0
    found = redrawn(scores, labels)
    nothing = Interval(None, None, None, 200)
    for name in ("auc", "ap", "sensitivity", "best_sensitivity", "best_specificity"):
        assert percentile_interval(getattr(found, name)[:, 1, 2]) == nothing
    assert percentile_interval(found.specificity[:, 1, 2]).undefined == 0


def test_the_interval_of_the_area_is_about_delongs(cases):
    rng = np.random.default_rng(12)
    labels = np.repeat([1.0, 0.0], [60, 240])
    scores = rng.normal(size=300) + labels
    draws = redrawn(
        scores[:, None, None], labels[:, None], [[np.nan]], redraws=4000
    ).auc[:, 0, 0]
    result = delong(scores[:, None], labels)
    se = result.covariance[0, 0] ** 0.5
    interval = percentile_interval(draws)
    assert interval.sd == pytest.approx(se, rel=0.05)
    expected = stats.norm(result.auc[0], se).interval(0.95)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("scores", "labels", "cutoffs", "complaint"),
    [
        ((5, 2), (5, 2), (2, 2), r"must be \(cases, variants, findings\)"),
        ((5, 1, 2), (4, 2), (1, 2), r"not \(5, 1, 2\) and \(4, 2\)"),
        ((5, 1, 2), (5, 2), (2, 1), r"Cutoffs must be .*\(1, 2\), not \(2, 1\)"),
        ((0, 1, 2), (0, 2), (1, 2), "There is no case"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(scores, labels, cutoffs, complaint):
    with pytest.raises(ValueError, match=complaint):
        redrawn(np.zeros(scores), np.zeros(labels), np.zeros(cutoffs))


def test_as_many_patients_as_cases_are_wanted(cases):
    with pytest.raises(ValueError, match="59 patients are given for 60 cases"):
        redrawn(*cases, patients=["p"] * 59)
