"""Which images, with which values, a test is made of."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.units import under_policy, units
from tests.readerstudy.analysis.rating_tables import (
    CODES,
    one_reader,
    ratings_of,
    rows_of,
    tables,
)

SETTINGS = settings(max_examples=50, deadline=None)


def unit_of(rows, level, reader, dataset, pooling=None):
    (unit,) = [
        unit
        for unit in units(ratings_of(rows))
        if (unit.level, unit.reader) == (level, reader)
        and (unit.dataset, unit.pooling) == (dataset, pooling)
    ]
    return unit


def slow_blocks(rows, unit):
    """The unit's blocks in rating points, as fractions, from the rows one by one."""
    rated = {(r, (d, i), c): rating for r, d, i, c, rating in rows}
    inside = [key for key in rated if unit.dataset in (key[1][0], ALL)]
    readers = sorted({r for r, _, _ in inside if unit.reader in (r, ALL)})
    if unit.pooling == "complete":
        readers = [
            r
            for r in readers
            if any(k[0] == r and rated[k] is not None for k in inside)
        ]
    blocks = []
    for image in sorted({image for _, image, _ in inside}):
        triples = [[rated[reader, image, c] for c in CODES] for reader in readers]
        full = [triple for triple in triples if None not in triple]
        if full and (unit.pooling != "complete" or len(full) == len(triples)):
            blocks.append(
                [Fraction(sum(c), len(full)) for c in zip(*full, strict=True)]
            )
    return blocks


@SETTINGS
@given(rows=tables())
def test_blocks_agree_with_a_slow_count(rows):
    for unit in units(ratings_of(rows)):
        expected = slow_blocks(rows, unit)
        images = {row[1:3] for row in rows if unit.dataset in (row[1], ALL)}
        assert len(unit.blocks) == len(expected)
        assert unit.dropped == len(images) - len(expected)
        points = unit.blocks / unit.divisor
        np.testing.assert_allclose(points, np.array(expected, float).reshape(-1, 3))


@SETTINGS
@given(rows=tables())
def test_equal_means_are_equal_to_the_last_bit(rows):
    for unit in units(ratings_of(rows)):
        for block, exact in zip(unit.blocks, slow_blocks(rows, unit), strict=True):
            for a in range(3):
                for b in range(3):
                    assert (block[a] == block[b]) == (exact[a] == exact[b])


def test_units_are_every_reader_and_both_poolings_in_every_data_set_and_all():
    rows = [
        (reader, dataset, "i", code, 1)
        for reader in ("R1", "R2")
        for dataset in ("ct", "xray")
        for code in CODES
    ]
    names = [
        (unit.level, unit.reader, unit.dataset, unit.pooling)
        for unit in units(ratings_of(rows))
    ]
    sets = ("ct", "xray", ALL)
    assert names == [("reader", r, d, None) for r in ("R1", "R2") for d in sets] + [
        ("pooled", ALL, d, p) for d in sets for p in ("complete", "available")
    ]


PARTLY = rows_of(
    {
        ("R1", "xray", "a"): (0, 1, 2),
        ("R2", "xray", "a"): (1, 1, 5),
        ("R1", "xray", "b"): (3, 4, 5),
        ("R2", "xray", "b"): (3, None, 5),
    }
)


def test_complete_images_are_summed_over_all_readers():
    unit = unit_of(PARTLY, "pooled", ALL, "xray", "complete")

    np.testing.assert_array_equal(unit.blocks, [[1, 2, 7]])
    assert (unit.divisor, unit.dropped) == (2, 1)


def test_available_images_are_averaged_over_readers_with_a_complete_triple():
    unit = unit_of(PARTLY, "pooled", ALL, "xray", "available")

    # As whole numbers: the least common multiple of one and two readers is two.
    np.testing.assert_array_equal(unit.blocks, [[1, 2, 7], [6, 8, 10]])
    assert (unit.divisor, unit.dropped) == (2, 0)
    assert (unit.n_images, unit.n_readers, unit.n_ratings) == (2, 2, 9)


def test_no_image_waits_for_a_reader_who_rated_nothing():
    rows = PARTLY + rows_of({("R3", "xray", "a"): (None, None, None)})
    unit = unit_of(rows, "pooled", ALL, "xray", "complete")

    np.testing.assert_array_equal(unit.blocks, [[1, 2, 7]])
    assert unit.divisor == 2


def test_sums_never_mix_numbers_of_readers():
    """R2 reads ct only: over all data sets, images of xray lack a reader."""
    rows = one_reader((1, 2, 3)) + rows_of(
        {("R1", "ct", "c"): (0, 1, 1), ("R2", "ct", "c"): (2, 1, 1)}
    )

    assert unit_of(rows, "pooled", ALL, "xray", "complete").divisor == 1
    unit = unit_of(rows, "pooled", ALL, ALL, "complete")
    np.testing.assert_array_equal(unit.blocks, [[2, 2, 2]])
    assert (unit.divisor, unit.dropped) == (2, 1)


GAPS = rows_of(
    {
        ("R1", "xray", "a"): (0, 1, 2),
        ("R2", "xray", "a"): (1, 1, 5),
        ("R1", "xray", "b"): (3, 4, 5),
        ("R2", "xray", "b"): (3, None, 5),
        ("R1", "ct", "c"): (2, 2, 1),
    }
)


def test_complete_leaves_an_image_out_for_every_reader():
    kept = under_policy(ratings_of(GAPS), "complete")
    first = {
        (unit.dataset): (unit.blocks.tolist(), unit.dropped)
        for unit in units(kept)
        if unit.reader == "R1"
    }

    assert first["xray"] == ([[0, 1, 2]], 1)
    # Of ct, R1 is the only reader: its image is complete.
    assert first["ct"] == ([[2, 2, 1]], 0)
    assert first[ALL] == ([[2, 2, 1], [0, 1, 2]], 1)


@SETTINGS
@given(rows=tables())
def test_complete_is_what_the_complete_pooling_takes(rows):
    ratings = ratings_of(rows)
    for before, after in zip(
        units(ratings), units(under_policy(ratings, "complete")), strict=True
    ):
        if before.pooling == "complete" and before.dataset != ALL:
            np.testing.assert_array_equal(before.blocks, after.blocks)
        # A reader of whom nothing is left is none that the images of ALL wait for.
        if (before.pooling, before.dataset) != ("complete", ALL):
            assert len(after.blocks) <= len(before.blocks)


@SETTINGS
@given(rows=tables(complete=True))
def test_without_gaps_the_policies_are_one(rows):
    ratings = ratings_of(rows)

    np.testing.assert_array_equal(
        under_policy(ratings, "complete").values,
        under_policy(ratings, "triples").values,
    )


def test_blocks_come_on_request_and_are_known_not_to_be_independent():
    ratings = ratings_of(GAPS)
    assert all(unit.independent for unit in units(ratings))
    blocks = [u for u in units(ratings, blocks=True) if u.level == "blocks"]

    assert [unit.dataset for unit in blocks] == ["ct", "xray", ALL]
    assert not any(unit.independent or unit.primary for unit in blocks)
    assert blocks[1].blocks.tolist() == [[0, 1, 2], [3, 4, 5], [1, 1, 5]]
    assert blocks[1].images.tolist() == [0, 1, 0]
    assert blocks[1].dropped == 1


@pytest.mark.parametrize("pooling", ["available", "complete"])
def test_the_primary_test_of_a_data_set_is_pooled_as_was_fixed_beforehand(pooling):
    of_gaps = units(ratings_of(GAPS), blocks=True, pooling=pooling)
    primary = [unit for unit in of_gaps if unit.primary]

    assert [(u.level, u.dataset, u.pooling) for u in primary] == [
        ("pooled", "ct", pooling),
        ("pooled", "xray", pooling),
    ]
    usual = [unit for unit in units(ratings_of(GAPS)) if unit.primary]
    assert {unit.pooling for unit in usual} == {"available"}


FOUR = {
    ("R1", "a"): (0, 1, 2, 5),
    ("R2", "a"): (1, None, 5, 5),
    ("R3", "a"): (4, 4, None, 0),
    ("R1", "b"): (None, 2, 2, 1),
}


def test_of_four_variants_each_pair_takes_the_readers_who_rated_both():
    codes = ("A", "B", "C", "D")
    rows = rows_of({(r, "xray", i): q for (r, i), q in FOUR.items()}, codes)
    unit = unit_of(rows, "pooled", ALL, "xray", "available")
    first, last = unit.pair(0, 1), unit.pair(1, 2)

    assert (unit.blocks.tolist(), unit.images_left_out) == ([[0, 1, 2, 5]], 1)
    # Readers 1 and 3 of image a; of image b nobody.
    assert (first.differences.tolist(), first.divisor) == ([-1], 2)
    assert (first.n_readers, first.n_ratings, first.images_left_out) == (2, 4, 1)
    # Reader 1 of both images.
    assert (last.differences.tolist(), last.divisor) == ([-1, 0], 1)
    assert (last.n_images, last.n_readers, last.n_ratings) == (2, 1, 4)
