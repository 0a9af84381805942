"""What became of the ratings that were due, and what could not be judged."""

import numpy as np
import pytest

from readerstudy.analysis.context import Context, Options
from readerstudy.analysis.ratings import ALL, parse_ratings
from readerstudy.analysis.statistics.rank_tests import friedman
from readerstudy.analysis.tables.cannot_judge_tests import (
    ALL_JUDGED,
    NO_COLUMN,
    NO_ZERO,
    cannot_judge_tests,
)
from readerstudy.analysis.tables.descriptives import cannot_judge
from readerstudy.analysis.tables.flow import flow, missing
from tests.readerstudy.analysis.rating_tables import (
    one_reader,
    ratings_of,
    row_of,
    rows_of,
)
from tests.readerstudy.analysis.statistics.second_golden import (
    expected,
    golden_ratings,
)

STUDY = "f4_6x20x3_cannot"


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def context_of(ratings, **options):
    return Context(ratings, Options(**options))


@pytest.fixture(scope="module")
def golden():
    return cannot_judge_tests(context_of(golden_ratings(STUDY)))


@pytest.mark.parametrize("handling", ["missing", "zero", "outcome"])
def test_cannot_judge_taken_three_ways_agrees_with_r(golden, handling):
    theirs = expected(STUDY)["cannot_judge"].get(
        {"zero": "as_zero"}.get(handling, handling), expected(STUDY)["available"]
    )
    names = {"reader": ALL, "dataset": "d", "handling": handling}
    row = row_of(golden, pair=None, **names)

    assert row["n_images"] == theirs["friedman"]["n"]
    assert row["chi2"] == close(theirs["friedman"]["chi2"])
    assert row["p_chi2"] == close(theirs["friedman"]["p_chi2"])
    assert row["p_exact"] == close(theirs["friedman"]["p_exact"])
    for pair in theirs["pairs"]:
        row = row_of(golden, pair=pair["pair"], **names)
        for name in ("mean_diff", "p_exact", "p_holm_exact"):
            assert row[name] == close(pair[name])
    for pair in theirs.get("mrmc", []):
        row = row_of(golden, pair=pair["pair"], **names)
        assert row["mrmc_diff"] == close(pair["difference"])
        for name in ("se", "df", "p", "lo", "hi"):
            assert row[f"mrmc_{name}"] == close(pair[name])


def test_each_reader_has_cochran_and_mcnemar(golden):
    for theirs in expected(STUDY)["cannot_judge"]["per_reader"]:
        names = {"reader": theirs["reader"], "dataset": "d", "handling": "outcome"}
        row = row_of(golden, pair=None, **names)
        assert (row["chi2"], row["p_chi2"]) == (
            close(theirs["cochran_Q"]),
            close(theirs["p"]),
        )
        for pair in theirs["mcnemar"]:
            row = row_of(golden, pair=pair["pair"], **names)
            assert (row["n_pos"], row["n_neg"]) == (pair["only_A"], pair["only_B"])
            assert row["p_exact"] == close(pair["p_exact"])


def test_the_shares_that_cannot_be_judged_are_those_of_r():
    table = cannot_judge(golden_ratings(STUDY))
    shares = [
        row_of(table, reader=ALL, dataset="d", variant=variant)["percent"] / 100
        for variant in expected(STUDY)["arms"]
    ]

    assert shares == close(expected(STUDY)["cannot_judge"]["share"])


def test_without_anything_that_cannot_be_judged_all_three_say_why():
    bare = cannot_judge_tests(context_of(ratings_of(one_reader((0, 1, 2)))))
    lines = "reader,dataset,image,variant,rating,cannot_judge\nR,x,a,A,1,0\nR,x,a,B,2,0"
    judged = cannot_judge_tests(context_of(parse_ratings(lines.encode())))

    for rows, why in ((bare, NO_COLUMN), (judged, ALL_JUDGED)):
        assert [row["handling"] for row in rows] == ["missing", "zero", "outcome"] * 2
        assert {row["reason"] for row in rows} == {why}
    assert NO_ZERO


def test_the_flow_ends_at_what_the_primary_test_rests_on():
    ratings = golden_ratings(STUDY)
    for pooling, images in (("available", 20), ("complete", 8)):
        rows = flow(context_of(ratings, pooling=pooling))
        row = row_of(rows, dataset="d", variant="standard")
        assert (row["n_drawn"], row["n_due"]) == (20, 120)
        assert (row["n_rated"], row["n_cannot_judge"]) == (105, 15)
        assert (row["n_unanswered"], row["n_shown"]) == (0, None)
        assert (row["n_images"], row["images_left_out"]) == (images, 20 - images)
        assert row["reason"] == "the table does not tell: position"
    assert row["n_ratings"] == 8 * 6


def test_shown_and_not_answered_are_two_things():
    lines = [
        "reader,dataset,image,variant,rating,position,cannot_judge",
        "R,x,a,A,1,1,",
        "R,x,a,B,,2,blurred",
        "R,x,b,A,,3,",
        "R,x,b,B,,,",
    ]
    rows = flow(context_of(parse_ratings("\n".join(lines).encode())))
    a, b = (row_of(rows, dataset="x", variant=variant) for variant in "AB")

    names = ("n_due", "n_shown", "n_rated", "n_cannot_judge", "n_unanswered")
    assert [a[name] for name in names] == [2, 2, 1, 0, 1]
    assert [b[name] for name in names] == [2, 1, 0, 1, 1]
    assert (a["n_images"], a["images_left_out"], a["reason"]) == (0, 2, None)


def test_missing_that_depends_on_the_variant_is_found():
    rng = np.random.default_rng(1)
    cells = {
        (f"R{r}", "x", f"i{i:02}"): (None if rng.random() < 0.4 else 1, 2, 3)
        for r in range(4)
        for i in range(40)
    }
    rows = missing(context_of(ratings_of(rows_of(cells))))
    row = row_of(rows, reader=ALL, dataset="x")
    lacking = np.zeros((40, 3))
    for (_, _, image), cell in cells.items():
        lacking[int(image[1:])] += [value is None for value in cell]

    assert row["n_missing"] == {"SSM": lacking[:, 0].sum(), "SSBN": 0, "SDBN": 0}
    assert row["share_missing"] == pytest.approx(lacking.sum() / 480)
    assert row["p_exact"] == close(friedman(lacking).p_exact)
    assert row["significant_001"]
    assert row["n_ratings"] == 480 - lacking.sum()
    assert {row["reader"] for row in rows} == {"R0", "R1", "R2", "R3", ALL}


def test_nothing_missing_has_p_1_and_says_so():
    for row in missing(context_of(ratings_of(one_reader((0, 1, 2), (1, 1, 1))))):
        assert (row["chi2"], row["p_exact"], row["share_missing"]) == (None, 1, 0)
        assert row["reason"] == "nothing is missing"
