"""Points against the reference, with the golden numbers, and what blinding hides."""

import json

import pytest

from readerstudy.analysis.analyse import analyse
from readerstudy.analysis.answers.answers import BEFORE
from readerstudy.analysis.answers.cases import Cases
from readerstudy.analysis.answers.reading import read_answers
from readerstudy.analysis.tables import points as module
from tests.readerstudy.analysis.golden_answers import (
    ARMS,
    GOLDEN,
    POINT_QUESTIONS,
    asked,
    fixture,
    peaks,
    points_table,
    table,
    truths,
)
from tests.readerstudy.analysis.rating_tables import row_of
from tests.readerstudy.analysis.test_secondary import analysed

EXPECTED = GOLDEN["points"]
READERS = ("r1", "r2", "r3", "r4")
POOLED = {"reader": "all", "dataset": "chest"}


def analysis_of(cases):
    return analysed(
        points_table(), *POINT_QUESTIONS, primary="point_after", cases=cases
    )


@pytest.fixture(scope="module")
def golden():
    return analysis_of(Cases(truths(), peaks(), unblinded=True))


def close(value):
    return pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("arm", [BEFORE, *ARMS])
def test_hits_and_distances_agree_with_the_golden_numbers(golden, arm):
    theirs = EXPECTED["before" if arm == BEFORE else arm]
    row = row_of(golden["points"], variant=arm, **POOLED)

    assert (row["hits"], row["n_scored"]) == (theirs["hits"], theirs["of"])
    assert row["hit_rate"] == close(theirs["hit_rate"])
    assert row["distance_median"] == close(theirs["median_distance_mm"])
    assert row["distance_mean"] == close(theirs["mean_distance_mm"])
    assert row["spread"] == close(theirs["mean_pairwise_spread_mm"])
    assert row["chance"] == close(EXPECTED["chance_area_fraction_mean"])
    assert (row["unit"], row["n_images"], row["n_readers"]) == ("mm", 24, 4)
    rates = [
        row_of(golden["points"], variant=arm, reader=reader, dataset="chest")[
            "hit_rate"
        ]
        for reader in READERS
    ]
    assert rates == close(theirs["hit_rate_per_reader"])


@pytest.mark.parametrize("arm", ARMS)
def test_the_human_benchmark_and_the_maps_own_stand_beside(golden, arm):
    theirs = EXPECTED[arm]
    row = row_of(golden["points"], variant=arm, **POOLED)
    own = row_of(golden["map_peaks"], variant=arm, dataset="chest")

    assert (row["before_hits"], row["n_before"]) == (EXPECTED["before"]["hits"], 96)
    assert row["hits_gained"] == theirs["after_minus_before_hits_by_image"]
    assert own["pointing_game"] == close(theirs["map_pointing_game"])
    assert own["pull"] == close(theirs["mean_pull_toward_peak_mm"])
    assert (own["n_maps"], own["n_ratings"]) == (24, 96)


def test_hits_are_tested_by_image_as_yes_and_no_are(golden):
    test = row_of(golden["friedman"], pooling="complete", dataset="chest")

    assert test["chi2"] == close(EXPECTED["friedman_by_image_of_hits"]["chi2"])
    assert test["p_chi2"] == close(EXPECTED["friedman_by_image_of_hits"]["p"])


def test_before_unblinding_nothing_that_comes_from_the_maps_is_told():
    concealed = analysis_of(Cases(truths(), peaks()))
    without_maps = analysis_of(Cases(truths()))

    for row in concealed["map_peaks"]:
        assert {row[key] for key in ("map_hits", "pointing_game", "pull")} == {None}
        assert (row["n_maps"], row["n_ratings"]) == (0, 0)
        assert row["reason"] == module.CONCEALED
    assert json.dumps(concealed) == json.dumps(without_maps)


def test_the_maps_of_other_arms_could_be_exchanged_and_nobody_would_see_it():
    turned = {"X": "Y", "Y": "Z", "Z": "X"}
    others = [type(p)(p.dataset, p.image, turned[p.variant], p.x, p.y) for p in peaks()]

    one, other = (analysis_of(Cases(truths(), given)) for given in (peaks(), others))
    assert json.dumps(one) == json.dumps(other)


def test_without_a_spacing_distances_are_pixels():
    analysis = analysis_of(Cases(truths(spacing_mm=None)))
    row = row_of(analysis["points"], variant="X", **POOLED)

    assert row["unit"] == "px"
    assert row["distance_mean"] * 0.8 == close(EXPECTED["X"]["mean_distance_mm"])
    assert row["spread"] * 0.8 == close(EXPECTED["X"]["mean_pairwise_spread_mm"])


def test_without_a_reference_spread_is_left_and_the_rest_says_why():
    analysis = analysis_of(Cases())
    row = row_of(analysis["points"], variant="X", **POOLED)
    test = row_of(analysis["friedman"], pooling="complete", dataset="chest")

    assert row["hits"] is None
    assert row["spread"] * 0.8 == close(EXPECTED["X"]["mean_pairwise_spread_mm"])
    assert row["reason"] == test["reason"] == "it is not known where the findings are"


def test_a_reference_of_another_finding_is_none():
    analysis = analysis_of(Cases(truths(finding="Effusion")))

    assert row_of(analysis["points"], variant="X", **POOLED)["n_scored"] == 0


def test_points_without_any_before_the_map_have_no_human_benchmark():
    analysis = analysed(
        points_table(),
        POINT_QUESTIONS[1],
        cases=Cases(truths(), peaks(), unblinded=True),
    )
    row = row_of(analysis["points"], variant="X", **POOLED)
    own = row_of(analysis["map_peaks"], variant="X", dataset="chest")

    assert {r["variant"] for r in analysis["points"]} == set(ARMS)
    assert (row["before_hits"], row["reason"]) == (None, module.NOT_BEFORE)
    assert (own["pull"], own["reason"]) == (None, module.NOT_BEFORE)
    assert own["pointing_game"] == close(EXPECTED["X"]["map_pointing_game"])


def test_a_long_table_of_points_gives_the_same_numbers():
    header = ["reader", "dataset", "image", "variant", "question", "finding"]
    rows = [
        [row[name] or "X" for name in header] + [axis, row[axis]]
        for row in fixture("points.csv")
        for axis in "xy"
    ]
    rated = [[*line.split(",")[:4], ""] for line in points_table().decode().split()[1:]]
    reading = read_answers(
        table([*header[:4], "comment"], rated),
        asked(*POINT_QUESTIONS, primary="point_after"),
        cases=Cases(truths()),
        long_table=table([*header, "item", "answer"], rows),
    )
    analysis = analyse(reading.ratings, source="t", reading=reading, redraws=100)

    row = row_of(analysis["points"], variant="Y", **POOLED)
    assert row["distance_mean"] == close(EXPECTED["Y"]["mean_distance_mm"])
    assert row["before_hits"] == EXPECTED["before"]["hits"]
