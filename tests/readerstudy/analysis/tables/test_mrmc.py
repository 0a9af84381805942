"""MRMC against sums of squares taken one by one, and where it is not defined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from readerstudy.analysis.tables.mrmc import inferences, layout, mrmc
from tests.readerstudy.analysis.rating_tables import (
    one_reader,
    ratings_of,
    row_of,
    rows_of,
)

SETTINGS = settings(max_examples=60, deadline=None)
NAMES = ("RRRC", "FRRC", "RRFC")


@st.composite
def differences(draw):
    cases = draw(st.integers(2, 6))
    row = st.lists(st.integers(-5, 5), min_size=cases, max_size=cases)
    return np.array(draw(st.lists(row, min_size=2, max_size=5)), float)


def of(d):
    """What each inference says of a table (readers, cases) of differences."""
    return dict(inferences(layout(np.array(d, float))))


@SETTINGS
@given(d=differences())
def test_mean_squares_are_those_of_the_two_way_layout(d):
    readers, cases = d.shape
    grand = d.mean()
    of_readers = [row.mean() for row in d]
    of_cases = [column.mean() for column in d.T]
    rest = sum(
        (d[r, c] - of_readers[r] - of_cases[c] + grand) ** 2
        for r in range(readers)
        for c in range(cases)
    )
    parts = layout(d)

    assert parts.mean_diff == pytest.approx(grand)
    assert parts.ms_reader == pytest.approx(
        cases * sum((m - grand) ** 2 for m in of_readers) / (readers - 1)
    )
    assert parts.ms_case == pytest.approx(
        readers * sum((m - grand) ** 2 for m in of_cases) / (cases - 1)
    )
    assert parts.ms_reader_case == pytest.approx(
        rest / (readers - 1) / (cases - 1), abs=1e-12
    )


@SETTINGS
@given(d=differences())
def test_the_variance_of_the_mean_is_the_u_statistic(d):
    """Products of two cells that share neither, the reader, the case or both.

    Gallas's unbiased variance: E[mean**2] less the mean over cells that share nothing.
    """
    readers, cases = d.shape
    apart = [
        d[r, c] * d[s, e]
        for r in range(readers)
        for s in range(readers)
        for c in range(cases)
        for e in range(cases)
        if r != s and c != e
    ]

    assert layout(d).var_unbiased == pytest.approx(
        d.mean() ** 2 - np.mean(apart), rel=1e-9, abs=1e-9
    )


@SETTINGS
@given(d=differences())
def test_turning_the_pair_round_turns_the_signs_and_no_p(d):
    for (name, there), (_, back) in zip(of(d).items(), of(-d).items(), strict=True):
        assert (there.se, there.df, there.p) == (back.se, back.df, back.p), name
        if there.t is not None:
            assert (there.t, there.ci_lo, there.ci_hi) == (
                -back.t,
                -back.ci_hi,
                -back.ci_lo,
            )


@SETTINGS
@given(d=differences())
def test_fixed_readers_and_fixed_cases_are_t_tests_of_means(d):
    """Fixed readers: of the cases' means over readers, and the other way round."""
    result = of(d)
    for name, means in (("FRRC", d.mean(axis=0)), ("RRFC", d.mean(axis=1))):
        if np.ptp(means) > 1e-9:
            test = stats.ttest_1samp(means, 0)
            assert result[name].p == pytest.approx(test.pvalue, rel=1e-6)
            interval = test.confidence_interval()
            assert result[name].ci_lo == pytest.approx(interval.low, abs=1e-9)
            assert result[name].ci_hi == pytest.approx(interval.high, abs=1e-9)


@SETTINGS
@given(d=differences())
def test_every_value_is_finite_or_none_with_a_reason(d):
    for result in of(d).values():
        values = [result.se, result.df, result.t, result.p, result.ci_lo, result.ci_hi]
        assert all(value is None or math.isfinite(value) for value in values)
        assert (None in values) == (result.reason is not None)


def test_one_reader_speaks_for_herself_only():
    result = of([[1, 2, 4, 0]])

    assert result["FRRC"].p == pytest.approx(stats.ttest_1samp([1, 2, 4, 0], 0).pvalue)
    for name in ("RRRC", "RRFC"):
        assert result[name].p is None
        assert result[name].reason == "only one reader"


def test_one_case_speaks_for_itself_only():
    result = of([[1], [2], [4]])

    assert result["RRFC"].df == 2
    for name in ("RRRC", "FRRC"):
        assert result[name].p is None
        assert result[name].reason == "only one image"


def test_one_cell_has_a_mean_and_nothing_else():
    parts = layout(np.array([[3.0]]))

    assert (parts.mean_diff, parts.ms_reader, parts.ms_case) == (3, None, None)
    for _, result in inferences(parts):
        assert result.reason == "only one reader and one image"


def test_differences_of_zero_throughout_have_p_1():
    for result in of(np.zeros((3, 4))).values():
        assert (result.se, result.t, result.p, result.ci_lo) == (0, None, 1, None)
        assert result.reason == "the differences do not vary"


def test_the_same_difference_throughout_has_no_error_to_be_measured_by():
    for result in of(np.full((3, 4), -2.0)).values():
        assert (result.se, result.t, result.p) == (0, None, None)
        assert result.reason == "the differences do not vary"


def test_readers_who_agree_on_the_mean_leave_the_normal_distribution():
    d = np.array([[1, 3, 0, 2]] * 4)
    result = of(d)["RRRC"]

    assert (result.df, result.reason) == (None, "readers do not vary: df is infinite")
    assert result.p == pytest.approx(2 * stats.norm.sf(result.t))
    assert of(d)["RRFC"].p is None


def test_every_data_set_pair_and_inference_has_a_row():
    rows = rows_of(
        {
            (f"R{r}", dataset, f"i{i}"): (i, (i + r) % 6, 5 - i)
            for r in range(3)
            for dataset in ("ct", "xray")
            for i in range(4)
        }
    )
    table = mrmc(ratings_of(rows))

    assert len(table) == 3 * 3 * 3
    row = row_of(table, dataset="all", pair="SSM-SDBN", inference="RRRC")
    assert (row["n_readers"], row["n_cases"], row["dropped"]) == (3, 8, 0)
    assert row["speaks_for"] == "readers and images in general"
    assert row["mean_diff"] == pytest.approx(np.mean([2 * i - 5 for i in range(4)]))


def test_every_cell_is_used_and_images_without_any_are_counted():
    rows = rows_of(
        {
            ("R1", "xray", "a"): (0, 1, 2),
            ("R2", "xray", "a"): (1, 1, 5),
            ("R1", "xray", "b"): (3, 4, 5),
            ("R2", "xray", "b"): (3, None, 5),
        }
    )
    rows += rows_of({("R2", "xray", "c"): (None, 4, None)})
    cells = {"SSM-SSBN": 3, "SSM-SDBN": 4, "SSBN-SDBN": 3}
    for row in mrmc(ratings_of(rows)):
        assert (row["n_cases"], row["dropped"]) == (2, 1)
        assert row["n_cells"] == cells[row["pair"]]
        assert (row["n_images"], row["n_ratings"]) == (2, 2 * row["n_cells"])
        assert row["images_left_out"] == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (one_reader((None, 1, 2), (None, 3, 3)), "no image was rated under both"),
        (one_reader((None, None, None)), "no image was rated under both"),
        (one_reader((0, 1, 2)), "only one reader and one image"),
    ],
)
def test_degenerate_tables_have_rows_with_a_reason(rows, reason):
    of_pair = [row for row in mrmc(ratings_of(rows)) if row["pair"] == "SSM-SDBN"]
    for row in of_pair:
        reason = row["reason"] if row["reason"].startswith(reason) else reason
        assert (row["p"], row["reason"], row["tested"]) == (None, reason, False)
        assert not row["significant_05"]
