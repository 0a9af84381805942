"""MRMC over the cells that exist, with few readers, and of all variants at once."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from readerstudy.analysis.statistics.cell_moments import cell_moments
from readerstudy.analysis.tables.mrmc import (
    TWO_READERS,
    inferences,
    layout,
    mrmc,
    of_cells,
)
from readerstudy.analysis.tables.mrmc_omnibus import mrmc_omnibus, omnibus
from tests.readerstudy.analysis.rating_tables import row_of
from tests.readerstudy.analysis.statistics.second_golden import (
    STUDIES,
    expected,
    golden_ratings,
    refused,
)

SETTINGS = settings(max_examples=60, deadline=None)
PAIRS = [
    pytest.param(study, pair, id=f"{study[:2]} {pair['pair']}")
    for study in STUDIES
    for pair in expected(study)["mrmc"]
]


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("study", "theirs"), PAIRS)
def test_pairs_agree_with_r(study, theirs):
    table = mrmc(golden_ratings(study))
    row = row_of(table, dataset="d", pair=theirs["pair"], inference="RRRC")
    parts, test = theirs["components"], theirs["RRRC"]

    assert row["n_cells"] == parts["n_cells"]
    assert (row["n_readers"], row["n_cases"]) == (parts["R"], parts["C"])
    assert row["mean_diff"] == close(parts["mean"])
    assert row["var_reader"] == close(parts["vR"])
    assert row["var_case"] == close(parts["vC"])
    assert row["var_reader_case"] == close(parts["vE"])
    assert row["var_unbiased"] == close(parts["var_unbiased"])
    assert (row["se"], row["df"], row["t"]) == tuple(
        close(test[name]) for name in ("se", "df", "t")
    )
    assert row["p"] == close(test["p"])
    assert (row["ci_lo"], row["ci_hi"]) == (close(test["lo"]), close(test["hi"]))
    simultaneous = [row["ci_lo_simultaneous"], row["ci_hi_simultaneous"]]
    assert simultaneous == close(theirs["RRRC_simultaneous"])
    assert row["approximate"] == (test["fallback"] or test["floored"])


@pytest.mark.parametrize("study", STUDIES)
def test_all_variants_at_once_agree_with_r(study):
    theirs = expected(study)["mrmc_global"]
    row = row_of(mrmc_omnibus(golden_ratings(study)), dataset="d")

    for name in ("F", "df1", "df2", "p"):
        assert row[name] == close(theirs[name])


def test_a_risk_difference_agrees_with_r():
    study = "f4_6x20x3_cannot"
    outcome = refused(study)
    variants = golden_ratings(study).variants
    for theirs in expected(study)["cannot_judge"]["outcome"]["mrmc"]:
        a, b = (variants.index(name) for name in theirs["pair"].split("-"))
        result = dict(of_cells(outcome[:, :, a] - outcome[:, :, b])[1])["RRRC"]
        assert result.mean_diff == close(theirs["difference"])
        assert (result.se, result.df) == (close(theirs["se"]), close(theirs["df"]))
        assert result.p == close(theirs["p"])
        assert (result.ci_lo, result.ci_hi) == (
            close(theirs["lo"]),
            close(theirs["hi"]),
        )


@st.composite
def tables(draw, gaps=True, most=5):
    shape = draw(st.integers(2, most)), draw(st.integers(2, 6))
    value = st.integers(-5, 5)
    cell = st.none() | value if gaps else value
    flat = st.lists(cell, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    return np.array(draw(flat), float).reshape(shape)


@SETTINGS
@given(d=tables())
def test_moments_are_means_over_pairs_of_cells(d):
    cells = [(r, c) for r, c in zip(*np.nonzero(~np.isnan(d)), strict=True)]
    kinds = {(True, True): [], (True, False): [], (False, True): [], (False, False): []}
    for r, c in cells:
        for s, e in cells:
            kinds[bool(r == s), bool(c == e)].append(int(d[r, c]) * int(d[s, e]))
    moments = cell_moments(d)
    if moments is None:
        assert not cells
        return
    means = {
        kind: Fraction(sum(products), len(products)) if products else None
        for kind, products in kinds.items()
    }
    assert (moments.var_reader is None) == (None in means.values())
    if None not in means.values():
        both, reader, case, neither = (means[kind] for kind in kinds)
        assert moments.var_reader == reader - neither
        assert moments.var_case == case - neither
        assert moments.var_both == both - reader - case + neither
        # Gallas: the square of the mean less what cells that share nothing have.
        assert moments.var_unbiased == moments.mean**2 - neither


@SETTINGS
@given(d=tables(gaps=False))
def test_a_complete_table_has_the_components_of_its_layout(d):
    parts, moments = layout(d), cell_moments(d)

    assert float(moments.var_reader) == pytest.approx(parts.var_reader)
    assert float(moments.var_case) == pytest.approx(parts.var_case)
    assert float(moments.var_both) == pytest.approx(parts.var_reader_case)
    assert float(moments.var_unbiased) == pytest.approx(parts.var_unbiased)
    assert of_cells(d) == (parts, list(inferences(parts)))


@SETTINGS
@given(d=tables())
def test_an_empty_reader_or_image_changes_nothing(d):
    wider = np.full((d.shape[0] + 1, d.shape[1] + 1), np.nan)
    wider[:-1, :-1] = d

    assert of_cells(wider) == of_cells(d)


@SETTINGS
@given(d=tables())
def test_every_value_with_gaps_is_finite_or_none_with_a_reason(d):
    for _, result in of_cells(d)[1]:
        values = [result.se, result.df, result.t, result.p, result.ci_lo, result.ci_hi]
        assert all(value is None or np.isfinite(value) for value in values)
        assert (None in values) == (result.reason is not None)


@SETTINGS
@given(d=tables(most=3))
def test_two_readers_have_no_p_and_three_an_approximate_one(d):
    parts, results = of_cells(d)
    general = dict(results)["RRRC"]

    if parts.n_readers == 2 and parts.n_cases > 1:
        assert (general.p, general.reason) == (None, TWO_READERS)
    if parts.n_readers == 3 and general.df is not None:
        # What is of neither readers nor images alone is the least that readers have.
        n_cells = np.count_nonzero(~np.isnan(d))
        assert general.se**2 >= parts.var_reader_case / n_cells * (1 - 1e-9)


def test_fixed_readers_with_gaps_are_a_t_test_of_the_images_means():
    d = np.array([[1, 2, np.nan, 0], [3, np.nan, 4, 1], [2, 2, 5, np.nan]])
    result = dict(of_cells(d)[1])
    for name, axis in (("FRRC", 0), ("RRFC", 1)):
        means = np.nanmean(d, axis=axis)
        test = stats.ttest_1samp(means, 0)
        assert result[name].mean_diff == pytest.approx(means.mean())
        assert result[name].p == pytest.approx(test.pvalue)


def test_all_at_once_are_the_f_test_of_the_three_way_layout():
    rng = np.random.default_rng(5)
    values = rng.integers(0, 6, (5, 12, 4)).astype(float)
    readers, cases, arms = values.shape
    grand = values.mean()
    of_arms = values.mean(axis=(0, 1)) - grand
    ms = readers * cases * (of_arms**2).sum() / (arms - 1)

    def interaction(axis, n, other):
        means = values.mean(axis=axis)
        rest = means - means.mean(0) - means.mean(1, keepdims=True) + grand
        return other * (rest**2).sum() / ((n - 1) * (arms - 1))

    with_readers = interaction(1, readers, cases)
    with_cases = interaction(0, cases, readers)
    total = ((values - grand) ** 2).sum()
    parts = [
        (values.mean(axis=axes, keepdims=True) - grand) for axes in ((1, 2), (0, 2))
    ]
    main = sum((p**2).sum() * values.size / p.size for p in parts)
    both = values.mean(axis=2) - values.mean(axis=(1, 2))[:, None]
    both = both - values.mean(axis=(0, 2)) + grand
    rest = total - main - ms * (arms - 1) - arms * (both**2).sum()
    rest -= with_readers * (readers - 1) * (arms - 1)
    rest -= with_cases * (cases - 1) * (arms - 1)
    rest /= (readers - 1) * (cases - 1) * (arms - 1)
    below = with_readers + max(with_cases - rest, 0)
    result = omnibus(values)

    assert pytest.approx(ms / below) == result.F
    df2 = (below / with_readers) ** 2 * (arms - 1) * (readers - 1)
    assert result.df2 == pytest.approx(df2)
    assert result.p == pytest.approx(stats.f.sf(ms / below, arms - 1, df2))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((3, 4, 3), np.nan), "no image was rated under all variants"),
        (np.zeros((1, 4, 3)), "only one reader"),
        (np.arange(24.0).reshape(2, 4, 3), TWO_READERS),
        (np.zeros((4, 5, 3)), "the differences do not vary"),
    ],
)
def test_all_at_once_may_have_no_test(values, reason):
    assert (omnibus(values).p, omnibus(values).reason) == (None, reason)
