"""Repeats against first ratings."""

import pytest
from sklearn.metrics import cohen_kappa_score

from readerstudy.analysis.analyse import analyse
from readerstudy.analysis.ratings import ALL, parse_ratings
from readerstudy.analysis.tables.intra_reader import intra_reader
from tests.readerstudy.analysis.rating_tables import (
    HEADER,
    one_reader,
    ratings_of,
    row_of,
)

FIRST = [0, 1, 2, 3, 4, 5]
LATER = [0, 2, 2, 5, 3, 5]


def table(*repeats):
    """R1's six maps of SSM rated FIRST, other maps 1; and rows of repeats."""
    lines = [f"{HEADER},repeat"]
    for i, rating in enumerate(FIRST):
        lines += [f"R1,xray,i{i},SSM,{rating},0"]
        lines += [f"R1,xray,i{i},{code},1,0" for code in ("SSBN", "SDBN")]
    return parse_ratings("\n".join([*lines, *repeats]).encode())


REPEATS = [f"R1,xray,i{i},SSM,{rating},1" for i, rating in enumerate(LATER)]


@pytest.mark.parametrize("reader", ["R1", ALL])
def test_each_repeat_is_compared_with_the_first_rating(reader):
    row = row_of(intra_reader(table(*REPEATS)), reader=reader, dataset="xray")

    assert (row["n"], row["n_missing"]) == (6, 0)
    assert row["exact"] == pytest.approx(50)
    assert row["within_1"] == pytest.approx(100 * 5 / 6)
    assert row["mean_change"] == pytest.approx(2 / 6)
    kappa = cohen_kappa_score(FIRST, LATER, weights="quadratic", labels=range(6))
    assert row["qkappa"] == pytest.approx(kappa)
    assert row["reason"] is None


def test_a_repeat_without_its_pair_is_missing():
    rows = intra_reader(
        table("R1,xray,i0,SSM,,1", "R1,xray,new,SSM,3,1", "R1,xray,i1,SSM,1,2")
    )

    row = row_of(rows, reader="R1", dataset=ALL)
    assert (row["n"], row["n_missing"]) == (1, 2)
    assert row["exact"] == 100
    assert row["qkappa"] is None
    assert row["reason"] == "both ratings are one and the same value"


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        (ratings_of(one_reader((0, 1, 2))), "no repeats"),
        (table("R1,xray,i0,SSM,,1"), "no repeat was rated"),
    ],
)
def test_without_repeats_there_is_a_row_that_says_so(ratings, reason):
    for row in intra_reader(ratings):
        assert (row["n"], row["exact"], row["qkappa"]) == (0, None, None)
        assert row["reason"] == reason


def test_repeats_and_training_change_no_other_table():
    header = f"{HEADER},repeat,training"
    first = [f"R1,xray,i{i},{c},{i},," for i in range(5) for c in ("X", "Y", "Z")]
    first += [line.replace("R1", "R2") for line in first]
    more = ["R1,xray,i0,X,5,1,", "R1,xray,i3,Y,0,1,", "R1,other,t,X,5,,1"]
    before, after = (
        analyse(
            parse_ratings("\n".join([header, *rows]).encode()),
            source="table.csv",
            redraws=100,
        )
        for rows in (first, first + more)
    )

    assert (after["run"]["repeats"], after["run"]["training"]) == (2, 1)
    for name in before.keys() - {"run", "intra_reader"}:
        assert before[name] == after[name], name
