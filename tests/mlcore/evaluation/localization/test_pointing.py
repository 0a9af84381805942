from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlcore.evaluation.localization.pointing import (
    CENTRE_SD,
    MEASURES,
    centre_prior,
    centre_scores,
    energy_inside,
    nearby,
    pointing,
    score_map,
    top_overlap,
    uniform_scores,
)
from tests.mlcore.evaluation.conftest import SIZE, square


def slow_energy(gradient, mask):
    """Pixel by pixel."""
    total = inside = 0.0
    for place, value in np.ndenumerate(gradient):
        total += abs(float(value))
        inside += abs(float(value)) * bool(mask[place])
    return inside / total if total else np.nan


def slow_pointing(gradient, mask, reach=0.0):
    """Each maximum's distance to each pixel of the mask."""
    strength = np.abs(gradient)
    maxima = [place for place, one in np.ndenumerate(strength) if one == strength.max()]
    inside = [place for place, one in np.ndenumerate(mask) if one]
    hits = [
        any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in inside)
        for y, x in maxima
    ]
    return sum(hits) / len(hits)


def slow_top_overlap(gradient, mask):
    """The mean over every order in which tied pixels could be taken."""
    strength, inside = np.abs(gradient).ravel(), mask.ravel()
    size = int(inside.sum())
    shares = []
    for order in permutations(range(len(strength))):
        strongest = sorted(order, key=lambda place: -strength[place])[:size]
        shares.append(Fraction(sum(int(inside[place]) for place in strongest), size))
    return float(sum(shares) / len(shares))


def slow_nearby(mask):
    near = np.zeros_like(mask)
    for (y, x), _ in np.ndenumerate(mask):
        closest = min(np.hypot(y - v, x - u) for v, u in np.argwhere(mask))
        near[y, x] = closest <= 15 / 256 * max(mask.shape)
    return near


def marked(*shape):
    """A signed map of few values, so that they tie, and a mask; neither is empty."""
    maps = arrays.arrays(np.float32, shape, elements=st.integers(-3, 3))
    masks = arrays.arrays(np.bool_, shape)
    return st.tuples(maps.filter(np.any), masks.filter(np.any))


@settings(deadline=None)
@given(pair=marked(4, 5))
def test_energy_and_pointing_are_what_loops_over_the_pixels_find(pair):
    strength, mask = np.abs(pair[0]), pair[1]
    assert energy_inside(strength, mask) == pytest.approx(slow_energy(*pair))
    assert pointing(strength, mask) == pytest.approx(slow_pointing(*pair))


@settings(deadline=None, max_examples=30)
@given(pair=marked(2, 3))
def test_top_overlap_is_the_mean_over_every_order_of_tied_pixels(pair):
    strength, mask = np.abs(pair[0]), pair[1]
    assert top_overlap(strength, mask) == pytest.approx(slow_top_overlap(*pair))


@settings(deadline=None, max_examples=30)
@given(mask=arrays.arrays(np.bool_, (34, 9), fill=st.just(False)).filter(np.any))
def test_nearby_measures_every_distance(mask):
    np.testing.assert_array_equal(nearby(mask), slow_nearby(mask))


@settings(deadline=None, max_examples=30)
@given(pair=marked(20, 17))
def test_pointing_near_is_pointing_with_a_distance(pair):
    gradient, mask = pair
    got = pointing(np.abs(gradient), nearby(mask))
    assert got == pytest.approx(slow_pointing(gradient, mask, 15 / 256 * 20))


def test_at_256_pixels_the_tolerance_is_15():
    mask = np.zeros((256, 256), bool)
    mask[100:120, 50:60] = True
    near = nearby(mask)
    assert near[110, 59 + 15]
    assert not near[110, 59 + 16]
    assert near[85, 50]
    # Diagonally 9 and 12 make 15; 10 and 12 are too far.
    assert near[100 - 9, 59 + 12]
    assert not near[100 - 10, 59 + 12]


def scores(gradient, mask):
    return score_map(gradient, mask, nearby(mask))


@settings(deadline=None)
@given(pair=marked(5, 4))
def test_every_measure_lies_between_0_and_1(pair):
    got = scores(*pair)
    assert got.shape == (len(MEASURES),)
    assert np.all((got >= 0) & (got <= 1))


@settings(deadline=None)
@given(pair=marked(5, 4), factor=st.floats(1e-30, 1e30))
def test_a_positive_factor_and_the_sign_change_nothing(pair, factor):
    gradient, mask = pair
    scaled = gradient * np.float32(factor)
    np.testing.assert_allclose(scores(scaled, mask), scores(gradient, mask), rtol=1e-5)
    np.testing.assert_array_equal(scores(-gradient, mask), scores(gradient, mask))


@settings(deadline=None)
@given(pair=marked(5, 4), axes=st.sampled_from([(0,), (1,), (0, 1)]))
def test_a_mirrored_map_and_mask_score_the_same(pair, axes):
    mirrored = (np.flip(each, axes) for each in pair)
    np.testing.assert_allclose(scores(*mirrored), scores(*pair), rtol=1e-12)


@settings(deadline=None)
@given(mask=arrays.arrays(np.bool_, (6, 5)).filter(np.any), strength=st.floats(0.1, 9))
def test_a_map_equal_to_the_mask_scores_1_everywhere(mask, strength):
    np.testing.assert_array_equal(scores(mask * np.float32(strength), mask), 1)


def test_known_answers_by_hand():
    gradient = np.float32(
        [
            [-4, 1, 0, 0],
            [2, 1, 0, 0],
            [0, 0, 0, 0],
            [0, 0, 0, 4],
        ]
    )
    mask = np.zeros((4, 4), bool)
    mask[0:2, 0:2] = True
    # 8 of 12 lie inside; one of two maxima; -4, 4 and 2 are in, of the two 1s one is.
    np.testing.assert_allclose(scores(gradient, mask), [8 / 12, 0.5, 0.5, 3 / 4])
    mask = np.roll(mask, 2, axis=(0, 1))
    # There, only the 4 is among the four strongest.
    np.testing.assert_allclose(scores(gradient, mask), [4 / 12, 0.5, 0.5, 1 / 4])


def test_zeros_tie_for_the_places_that_are_left():
    gradient = np.zeros((4, 4), np.float32)
    gradient[3, 3] = 1
    mask = np.zeros((4, 4), bool)
    mask[0:2, 0:2] = True
    # The strongest lies outside; three places for fifteen zeros, four of them inside.
    assert top_overlap(gradient, mask) == pytest.approx(3 * 4 / 15 / 4)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_map_of_nothing_or_with_holes_has_no_score(bad):
    gradient = np.zeros((SIZE, SIZE), np.float32)
    gradient[3, 3] = bad
    assert np.isnan(scores(gradient, square(0, 0, 4))).all()


def test_the_faintest_map_still_points():
    gradient = np.zeros((SIZE, SIZE), np.float32)
    gradient[0, 0] = -1e-45
    mask = square(0, 0, 2)
    # Three of the four places are left to the zeros.
    expected = [1, 1, 1, (1 + 3 * 3 / (SIZE**2 - 1)) / 4]
    np.testing.assert_allclose(scores(gradient, mask), expected)


def test_a_constant_map_scores_the_uniform_chance():
    mask = square(3, 5, 6)
    np.testing.assert_allclose(
        scores(np.full((SIZE, SIZE), -0.1, np.float32), mask),
        uniform_scores(mask, nearby(mask)),
    )


def test_noise_scores_the_uniform_chance_on_average():
    rng = np.random.default_rng(7)
    mask = np.zeros((24, 24), bool)
    mask[3:9, 4:14] = True
    near = nearby(mask)
    noise = rng.normal(size=(4000, 24, 24)).astype(np.float32)
    drawn = np.array([score_map(one, mask, near) for one in noise])
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    chance = uniform_scores(mask, near)
    assert np.all(np.abs(drawn.mean(axis=0) - chance) < 4 * error)
    assert chance[2] > chance[1]


def test_energy_of_the_centre_prior_is_where_a_normal_law_falls():
    rng = np.random.default_rng(8)
    size = 64
    mask = np.zeros((size, size), bool)
    mask[20:36, 10:40] = True
    points = rng.normal(0.5, CENTRE_SD, (200_000, 2))
    points = points[np.all((points >= 0) & (points < 1), axis=1)]
    hits = mask[tuple((points * size).astype(int).T)]
    chance = centre_scores(mask, nearby(mask))[0]
    assert chance == pytest.approx(hits.mean(), abs=4 * hits.std() / len(hits) ** 0.5)


def test_the_strongest_pixels_of_the_centre_prior_are_the_closest():
    mask = square(4, 4, 8)
    prior = centre_prior(SIZE, SIZE)
    distance = np.hypot(*(np.indices((SIZE, SIZE)) - (SIZE - 1) / 2))
    closest = np.sort(distance.ravel())[: mask.sum()]
    assert prior.max() == prior[7, 7] == prior[8, 8] < 1
    sure = distance < closest[-1] - 1e-9
    tied = np.abs(distance - closest[-1]) < 1e-9
    hits = mask[sure].sum() + (mask.sum() - sure.sum()) * mask[tied].mean()
    assert centre_scores(mask, mask)[3] == pytest.approx(hits / mask.sum())


def test_four_pixels_share_the_middle_of_an_even_image_and_one_has_an_odd_ones():
    even = square(8, 8, 1)
    assert centre_scores(even, even)[1] == 0.25
    odd = np.zeros((17, 17), bool)
    odd[8, 8] = True
    assert centre_scores(odd, odd)[1] == 1
    assert centre_prior(17, 17).max() == 1
