import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mlcore.evaluation.discrimination.measure import (
    classifier_compare,
    classifier_metrics,
    development_cutoffs,
    for_findings,
    measure,
)
from mlcore.evaluation.discrimination.scoring import ScoredCases

VARIANTS = ("standard", "single_bn", "dual_bn")
FINDINGS = ("Edema", "Mass", "Gout")


def some_cases(n=80, seed=0, *, patients=None, shift=(2.0, 1.0, 0.0)):
    """Three variants of falling worth; a tenth of the labels of Mass not known."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (n, 3)).astype(np.float32)
    labels[:, 2] = 0  # nobody has the gout
    scores = rng.normal(size=(n, 3, 3))
    for variant, worth in enumerate(shift):
        scores[:, variant] += worth * labels
    labels[::10, 1] = np.nan
    return ScoredCases(
        dataset="chest",
        split="test",
        external=False,
        findings=FINDINGS,
        variants=VARIANTS,
        patients=tuple(patients or map(str, range(n))),
        labels=labels,
        scores=scores,
    )


def measured(cases, *, redraws=200, cutoffs=None):
    if cutoffs is None:
        cutoffs = development_cutoffs(cases)
    return measure(cases, cutoffs, redraws=redraws, seed=1)


def row_of(rows, **wanted):
    (row,) = (
        row for row in rows if all(row[key] == value for key, value in wanted.items())
    )
    return row


def test_every_variant_and_finding_has_its_row_with_scikit_learns_areas():
    cases = some_cases()
    rows = classifier_metrics(measured(cases))
    names = [(row["finding"], row["variant"]) for row in rows]
    assert names == [(finding, name) for finding in FINDINGS for name in VARIANTS]
    for row in rows[:6]:
        column = FINDINGS.index(row["finding"])
        scores = cases.scores[:, VARIANTS.index(row["variant"]), column]
        labels = cases.labels[:, column]
        known = np.isfinite(labels)
        for name, score in (("auc", roc_auc_score), ("ap", average_precision_score)):
            expected = score(labels[known], scores[known])
            assert row[name] == pytest.approx(expected, abs=1e-12)
            assert row[f"{name}_lo"] < row[name] < row[f"{name}_hi"]
        assert (row["n"], row["n_pos"]) == (known.sum(), (labels == 1).sum())
        assert (row["undefined_redraws"], row["reason"]) == (0, None)
        assert (row["dataset"], row["split"], row["branch"]) == ("chest", "test", "std")


def test_what_nobody_has_is_undefined_with_a_reason():
    cases = some_cases()
    found = measured(cases)
    row = row_of(classifier_metrics(found), finding="Gout", variant="standard")
    assert row["reason"] == "no positive case"
    assert row["undefined_redraws"] == 200
    for name in ("auc", "ap", "cutoff", "best_cutoff", "best_sensitivity", "auc_lo"):
        assert row[name] is None
    compared = classifier_compare(found, seed=1)
    row = row_of(compared, finding="Gout", pair="standard-dual_bn", measure="auc")
    assert row["reason"] == "no positive case"
    for name in ("diff", "lo", "hi", "p_delong", "p_swap_paper", "p_swap_rank"):
        assert row[name] is None
    assert row["significant_001"] is None


def test_the_cutoff_comes_from_the_development_images():
    dev, test = some_cases(seed=1), some_cases(seed=2)
    cutoffs = development_cutoffs(dev)
    row = classifier_metrics(measured(test, cutoffs=cutoffs))[0]
    called = test.scores[:, 0, 0] >= cutoffs[0, 0]
    ill = test.labels[:, 0] == 1
    assert row["cutoff"] == cutoffs[0, 0]
    assert row["sensitivity"] == pytest.approx(called[ill].mean())
    assert row["specificity"] == pytest.approx((~called[~ill]).mean())
    assert row["best_cutoff"] != row["cutoff"]

    def distance(prefix):
        return sum(
            (1 - row[f"{prefix}{name}"]) ** 2 for name in ("sensitivity", "specificity")
        )

    assert distance("best_") <= distance("")


def test_cutoffs_follow_their_findings():
    cutoffs = np.arange(6.0).reshape(2, 3)
    chosen = for_findings(cutoffs, FINDINGS, ("Gout", "Edema"))
    assert chosen.tolist() == [[2, 0], [5, 3]]


def test_a_pair_is_the_first_minus_the_second_with_a_paired_interval():
    rows = classifier_compare(measured(some_cases()), seed=1)
    row = row_of(rows, finding="Edema", pair="standard-dual_bn", measure="auc")
    metrics = classifier_metrics(measured(some_cases()))
    areas = {
        name: row_of(metrics, finding="Edema", variant=name)["auc"] for name in VARIANTS
    }
    assert row["diff"] == pytest.approx(areas["standard"] - areas["dual_bn"])
    assert 0 < row["lo"] < row["diff"] < row["hi"]
    assert row["p_delong"] < 0.001
    assert row["p_swap_rank"] == pytest.approx(1 / 10_001)
    assert row["significant_001"] is True
    assert row["p_swap_paper"] == 0
    pairs = {row["pair"] for row in rows}
    assert pairs == {"standard-single_bn", "standard-dual_bn", "single_bn-dual_bn"}


def test_equal_variants_do_not_differ():
    cases = some_cases()
    cases.scores[:, 1] = cases.scores[:, 0]
    rows = classifier_compare(measured(cases), seed=1)
    row = row_of(rows, finding="Mass", pair="standard-single_bn", measure="auc")
    assert row["diff"] == row["lo"] == row["hi"] == 0
    assert row["p_swap_rank"] == 1
    assert row["significant_001"] is False


def test_cases_of_one_patient_widen_the_interval():
    alone = some_cases(60)
    twice = ScoredCases(
        **{
            **vars(alone),
            "labels": np.repeat(alone.labels, 2, axis=0),
            "scores": np.repeat(alone.scores, 2, axis=0),
            "patients": tuple(str(number // 2) for number in range(120)),
        }
    )

    def width(cases):
        row = classifier_metrics(measured(cases, redraws=1000))[3]
        return row["auc_hi"] - row["auc_lo"]

    # The second image of each patient tells nothing new.
    assert width(twice) == pytest.approx(width(alone), rel=0.15)
