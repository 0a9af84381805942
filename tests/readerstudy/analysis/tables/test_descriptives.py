"""Table 1 and the distribution of the scores."""

import statistics

import pytest
from hypothesis import given, settings

from readerstudy.analysis.ratings import ALL, NO_REASON, parse_ratings
from readerstudy.analysis.tables.descriptives import (
    cannot_judge,
    score_distribution,
    table1_means,
)
from tests.readerstudy.analysis.rating_tables import (
    CODES,
    HEADER,
    one_reader,
    ratings_of,
    row_of,
    rows_of,
    tables,
)

SETTINGS = settings(max_examples=25, deadline=None)


def of(rows, reader, dataset, code):
    """The ratings that a slow reader of the table would gather."""
    return [
        rating
        for r, d, _, c, rating in rows
        if reader in (r, ALL) and dataset in (d, ALL) and c == code
    ]


@SETTINGS
@given(rows=tables())
def test_means_agree_with_a_plain_count(rows):
    for row in table1_means(ratings_of(rows)):
        for code in CODES:
            cells = of(rows, row["reader"], row["dataset"], code)
            rated = [rating for rating in cells if rating is not None]
            assert row["n"][code] == len(rated)
            assert row["n_missing"][code] == len(cells) - len(rated)
            if rated:
                assert row["mean"][code] == pytest.approx(statistics.mean(rated))
            if len(rated) > 1:
                assert row["sd"][code] == pytest.approx(statistics.stdev(rated))
                m, s = row["mean"][code], row["sd"][code]
                assert row["text"][code] == f"{m:.2f} ± {s:.2f}"


@SETTINGS
@given(rows=tables())
def test_scores_agree_with_a_plain_count_and_sum_to_100_percent(rows):
    table = score_distribution(ratings_of(rows))
    for row in table:
        cells = of(rows, row["reader"], row["dataset"], row["variant"])
        assert row["count"] == cells.count(row["score"])
    for start in range(0, len(table), 6):
        percents = [row["percent"] for row in table[start : start + 6]]
        if None in percents:
            assert set(percents) == {None}
            assert table[start]["reason"] == "no rating"
        else:
            assert sum(percents) == pytest.approx(100)


def test_every_reader_and_data_set_and_all_of_them_have_a_row():
    rows = [
        (reader, dataset, "i", code, 1)
        for reader in ("R1", "R2")
        for dataset in ("ct", "xray")
        for code in CODES
    ]
    ratings = ratings_of(rows)

    names = [(row["reader"], row["dataset"]) for row in table1_means(ratings)]
    assert names == [(r, d) for r in ("R1", "R2", ALL) for d in ("ct", "xray", ALL)]
    assert len(score_distribution(ratings)) == 9 * 3 * 6


def test_a_reader_has_no_row_in_a_data_set_that_only_others_read():
    rows = one_reader((1, 2, 3)) + [("R2", "ct", "c", code, 1) for code in CODES]

    names = {(row["reader"], row["dataset"]) for row in table1_means(ratings_of(rows))}
    assert ("R2", "ct") in names
    assert ("R2", "xray") not in names


def test_the_spread_of_image_means_is_free_of_the_spread_within_images():
    rows = rows_of(
        {
            ("R1", "xray", "a"): (0, 0, 0),
            ("R2", "xray", "a"): (4, 2, 5),
            ("R1", "xray", "b"): (1, 3, None),
            ("R2", "xray", "b"): (3, None, None),
        }
    )
    row = row_of(table1_means(ratings_of(rows)), reader=ALL, dataset="xray")

    # Image means: 2 and 2; 1 and 3; 2.5 alone.
    assert row["sd_image_means"] == pytest.approx(
        {"SSM": 0.0, "SSBN": 2**0.5, "SDBN": None}
    )


@pytest.mark.parametrize(
    ("triples", "text", "reason"),
    [
        ([(3, 1, 2)], "3.00", "SSM: only one rating"),
        ([(None, 1, 2)], None, "SSM: no rating"),
        ([(None, 1, 2), (4, 1, 2)], "4.00", "SSM: only one rating"),
    ],
)
def test_what_one_or_no_rating_leaves_undefined_is_null_with_the_reason(
    triples, text, reason
):
    row = table1_means(ratings_of(one_reader(*triples)))[0]

    assert row["sd"]["SSM"] is None
    assert row["text"]["SSM"] == text
    assert row["reason"].startswith(reason)


REFUSED = f"""{HEADER},cannot_judge,repeat
R1,xray,a,SSM,,image_quality,
R1,xray,a,SSBN,3,,
R1,xray,a,SDBN,,1,
R1,xray,b,SSM,,image_quality,
R1,xray,b,SSBN,,,
R1,xray,b,SDBN,0,0,
R1,xray,a,SSBN,,image_quality,1
R2,ct,a,SSM,,other,
""".encode()


def test_refusals_are_counted_by_variant_and_reason():
    table = cannot_judge(parse_ratings(REFUSED))
    row = row_of(table, reader="R1", dataset="xray", variant="SSM")

    assert (row["n"], row["n_cannot_judge"], row["percent"]) == (2, 2, 100)
    assert row["by_reason"] == {"image_quality": 2, NO_REASON: 0, "other": 0}
    row = row_of(table, reader=ALL, dataset=ALL, variant="SSM")
    assert (row["n"], row["n_cannot_judge"]) == (3, 3)
    row = row_of(table, reader="R1", dataset=ALL, variant="SDBN")
    assert row["by_reason"] == {"image_quality": 0, NO_REASON: 1, "other": 0}


def test_a_repeat_that_cannot_be_judged_is_not_among_them():
    row = row_of(
        cannot_judge(parse_ratings(REFUSED)), reader="R1", dataset=ALL, variant="SSBN"
    )

    assert row["n_cannot_judge"] == 0


def test_a_table_without_the_column_does_not_say_that_all_could_be_judged():
    for row in cannot_judge(ratings_of(one_reader((0, None, 2)))):
        assert (row["n"], row["n_cannot_judge"], row["percent"]) == (1, None, None)
        assert row["reason"] == "the table has no column cannot_judge"
