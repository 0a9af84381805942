"""Thirds, sessions and first sights, counted slowly; and drifts that were planted."""

import numpy as np
import pytest

from readerstudy.analysis.ratings import parse_ratings
from readerstudy.analysis.tables.periods import is_first, period_effects, period_tests
from tests.readerstudy.analysis.rating_tables import (
    CODES,
    one_reader,
    ratings_of,
    row_of,
)
from tests.readerstudy.analysis.timed import HEADER, timed_study


def drifting(seed, *, slope=0.0, slope_of_last=0.0):
    """Ratings that rise with the position, and more so for the last variant."""
    rng = np.random.default_rng(seed)

    def rate(reader, image, variant, position, of):
        rise = (slope + slope_of_last * (variant == 2)) * position / of
        return int(np.clip(np.rint(1.5 + rise + rng.normal(0, 1.2)), 0, 5))

    return rate


def cells(ratings):
    """Reader, dataset, variant, position, session and rating of every map."""
    for r, reader in enumerate(ratings.readers):
        for i, (dataset, _) in enumerate(ratings.images):
            for v, variant in enumerate(ratings.variants):
                yield (
                    (reader, dataset, i, variant),
                    ratings.positions[r, i, v],
                    ratings.sessions[r, i, v],
                    ratings.values[r, i, v],
                )


@pytest.mark.parametrize("dataset", ["ct", "xray", "all"])
def test_thirds_are_of_each_readers_own_order_in_the_data_set(dataset):
    study = timed_study(drifting(1), images=7, datasets=("ct", "xray"))
    expected = {(period, code): [] for period in (1, 2, 3) for code in CODES}
    for reader in study.readers:
        mine = sorted(
            (position, key[3], rating)
            for key, position, _, rating in cells(study)
            if key[0] == reader and dataset in (key[1], "all")
        )
        for place, (_, code, rating) in enumerate(mine):
            expected[1 + 3 * place // len(mine), code].append(rating)

    for (period, code), values in expected.items():
        row = row_of(period_effects(study), dataset=dataset, by="third", period=period)
        assert row["n"][code] == len(values)
        assert row["mean"][code] == pytest.approx(np.mean(values))


def test_sessions_are_periods_too():
    study = timed_study(drifting(2), sessions=2)
    for session in (1, 2):
        row = row_of(
            period_effects(study), dataset="xray", by="session", period=session
        )
        for code in CODES:
            values = [
                v for key, _, s, v in cells(study) if (s, key[3]) == (session, code)
            ]
            assert row["mean"][code] == pytest.approx(np.mean(values))


def test_what_was_seen_first_of_a_case_is_one_map_per_reader_and_case():
    study = timed_study(drifting(3), images=9)
    first = is_first(study)

    assert (first.sum(axis=2) == 1).all()
    earliest = study.positions.min(axis=2, keepdims=True)
    np.testing.assert_array_equal(first, study.positions == earliest)
    row = row_of(period_effects(study), dataset="xray", by="first")
    assert sum(row["n"].values()) == 4 * 9


def test_a_later_session_comes_after_whatever_its_positions():
    rows = ["R,x,a,SSM,1,9,1", "R,x,a,SSBN,1,1,2", "R,x,a,SDBN,1,2,2"]
    first = is_first(parse_ratings("\n".join([HEADER, *rows]).encode()))

    assert first.tolist() == [[[True, False, False]]]


@pytest.mark.parametrize("last", ["2", ""], ids=["twice", "unknown"])
def test_a_case_whose_order_is_not_clear_has_no_first_map(last):
    rows = ["R,x,a,SSM,1,2,1", "R,x,a,SSBN,1,5,1", f"R,x,a,SDBN,1,{last},1"]

    assert not is_first(parse_ratings("\n".join([HEADER, *rows]).encode())).any()


def p_of(study, effect, by="third"):
    return row_of(period_tests(study), dataset="xray", by=by, effect=effect)["p"]


def test_a_drift_that_was_planted_is_found():
    study = timed_study(drifting(4, slope=1.5), sessions=2)

    assert p_of(study, "period") < 0.001
    assert p_of(study, "period", "session") < 0.001
    assert p_of(study, "variant x period") > 0.01


def test_a_drift_of_one_variant_is_found_as_an_interaction():
    study = timed_study(drifting(5, slope_of_last=3.5), sessions=2)

    assert p_of(study, "variant x period") < 0.001
    assert p_of(study, "variant x period", "session") < 0.001


def test_without_a_drift_none_is_found():
    study = timed_study(drifting(6), sessions=2)

    for row in period_tests(study):
        assert row["p"] > 0.01
        assert (
            row["df"]
            == {
                ("third", "period"): 2,
                ("third", "variant x period"): 4,
                ("session", "period"): 1,
                ("session", "variant x period"): 2,
            }[row["by"], row["effect"]]
        )


def test_one_session_has_nothing_to_compare():
    row = row_of(
        period_tests(timed_study(drifting(7))),
        dataset="xray",
        by="session",
        effect="period",
    )

    assert (row["p"], row["reason"]) == (None, "there is only one period")


def test_a_table_without_positions_says_so():
    ratings = ratings_of(one_reader(*[(0, 1, 2), (3, 1, 5)] * 20))

    reasons = {"the table has no positions", "the table has no sessions"}
    for row in period_effects(ratings):
        assert row["reason"] in reasons
        assert set(row["mean"].values()) == {None}
    for row in period_tests(ratings):
        assert row["reason"] in reasons
        assert row["p"] is None
