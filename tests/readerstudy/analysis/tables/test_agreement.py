"""The tables of agreement: what is in a row, and where it is not defined."""

import numpy as np
import pytest

from readerstudy.analysis.statistics.resampling import Bootstrap
from readerstudy.analysis.tables.agreement import agreement
from tests.readerstudy.analysis.rating_tables import (
    CODES,
    one_reader,
    ratings_of,
    row_of,
    rows_of,
)

BOOTSTRAP = Bootstrap(200)
PAIRS = ["SSM-SSBN", "SSM-SDBN", "SSBN-SDBN"]


def tables(rows):
    return agreement(ratings_of(rows), BOOTSTRAP)


def study(readers, images, rate):
    return rows_of(
        {
            (f"R{r}", "xray", f"i{i}"): rate(r, i)
            for r in range(readers)
            for i in range(images)
        }
    )


def noisy(seed):
    """Readers who see the images' truth through noise of their own."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, (50, 3))

    def rate(_, image):
        noise = rng.integers(-1, 2, 3)
        return tuple(int(x) for x in np.clip(truth[image] + noise, 0, 5))

    return rate


def test_ratings_and_differences_have_a_row_in_every_data_set_and_all():
    summaries, pairs = tables(study(3, 10, noisy(1)))

    for dataset in ("xray", "all"):
        rows = [row for row in summaries if row["dataset"] == dataset]
        assert [row["variant"] for row in rows] == [*CODES, *PAIRS]
        assert [row["kind"] for row in rows] == ["rating"] * 3 + ["difference"] * 3
    assert len(pairs) == 2 * 6 * 3


def test_kappas_of_the_pairs_make_the_summary():
    summaries, pairs = tables(study(4, 30, noisy(2)))

    for row in summaries:
        kappas = [
            pair["qkappa"]
            for pair in pairs
            if (pair["dataset"], pair["variant"]) == (row["dataset"], row["variant"])
        ]
        assert len(kappas) == 6
        assert row["qkappa_mean"] == pytest.approx(np.mean(kappas))
        assert (row["qkappa_min"], row["qkappa_max"]) == (min(kappas), max(kappas))


def test_estimates_lie_within_their_intervals():
    summaries, _ = tables(study(4, 50, noisy(3)))

    for row in summaries:
        for name in ("alpha_lo", "ICC2_1_lo", "ICC2_k_lo", "qkappa_lo"):
            estimate = {"alpha_lo": "alpha_ordinal", "qkappa_lo": "qkappa_mean"}.get(
                name, name.removesuffix("_lo")
            )
            high = name.replace("_lo", "_hi")
            assert row[name] < row[estimate] < row[high], estimate
        assert row["reason"] is None


def test_a_reader_who_rated_nothing_is_none_of_the_readers():
    rows = study(2, 10, noisy(4))
    silent = [("R9", *row[1:4], None) for row in rows if row[0] == "R0"]

    for before, after in zip(tables(rows)[0], tables([*rows, *silent])[0], strict=True):
        assert before == after
    assert all(pair["reader_b"] != "R9" for pair in tables([*rows, *silent])[1])


def test_readers_without_an_image_in_common_have_no_kappa():
    rows = study(2, 6, noisy(5))
    rows += [("R2", "xray", f"j{i}", code, i) for i in range(3) for code in CODES]
    _, pairs = tables(rows)

    pair = row_of(pairs, dataset="xray", variant="SSM", reader_a="R0", reader_b="R2")
    assert (pair["n"], pair["qkappa"]) == (0, None)
    assert pair["reason"] == "no image in common"


def test_images_that_one_reader_rated_say_nothing():
    rows = study(2, 8, noisy(6))
    more = [("R0", "xray", "alone", code, 5) for code in CODES]

    assert tables(rows)[0] == tables(rows + more)[0]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (one_reader((0, 1, 2), (3, 4, 5)), "no image has the ratings of two readers"),
        (study(3, 4, lambda *_: (2, 2, 2)), "ICC is not defined where nothing varies"),
        (study(3, 1, lambda r, _: (r, 2, 3)), "ICC needs two readers and two complete"),
        (study(2, 3, lambda *_: (None, None, None)), "no image has the ratings of two"),
    ],
    ids=["one reader", "all tied", "one image", "nothing rated"],
)
def test_degenerate_tables_have_rows_with_a_reason(rows, reason):
    summaries, _ = tables(rows)

    assert summaries[0]["reason"].startswith(reason)
    assert summaries[0]["ICC2_1"] is None


def test_all_ratings_the_same_leave_no_coefficient():
    summaries, pairs = tables(study(3, 4, lambda *_: (2, 2, 2)))

    for row in summaries:
        for name in ("alpha_ordinal", "ICC2_1", "ICC2_k", "qkappa_mean", "fleiss"):
            assert row[name] is None
    assert {pair["reason"] for pair in pairs} == {"both gave one and the same value"}


def test_two_readers_who_agree_throughout_have_full_agreement():
    summaries, _ = tables(study(2, 6, lambda _, i: (i, 5 - i, 0)))
    row = row_of(summaries, dataset="xray", variant="SSM")

    for name in ("alpha_ordinal", "ICC2_1", "ICC2_k", "qkappa_mean", "fleiss"):
        assert row[name] == pytest.approx(1)
    assert (row["alpha_lo"], row["alpha_hi"]) == pytest.approx((1, 1))
