"""Power by simulation: known numbers, known components, and no surprises."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.planning.power import (
    Components,
    components_of,
    power,
    simulate,
)
from tests.readerstudy.analysis.rating_tables import one_reader, ratings_of, rows_of

# Readers alike in what they think of the variants.
ALIKE = Components(reader_variant=0.0)


def found(components=ALIKE, **changes):
    size = {"readers": 3, "images": 30, "shift": 0.5, "alpha": 0.05}
    return power(components, **size | {"studies": 1000, "seed": 3} | changes)


@pytest.mark.parametrize(
    ("readers", "images", "shift", "measured"),
    [
        (3, 30, 0.5, 0.61),
        (3, 40, 0.5, 0.72),
        (3, 60, 0.5, 0.91),
        (5, 40, 0.5, 0.76),
        (3, 100, 0.25, 0.54),
    ],
)
def test_power_is_what_was_measured_when_the_study_was_designed(
    readers, images, shift, measured
):
    result = found(readers=readers, images=images, shift=shift, studies=2000)

    assert result.friedman == pytest.approx(measured, abs=0.055)


def test_more_images_more_readers_and_larger_shifts_have_more_power():
    base = found()

    for more in (found(images=60), found(readers=6), found(shift=0.8)):
        assert more.friedman > base.friedman
        assert more.pair > base.pair
        assert more.general > base.general


def test_a_stricter_level_leaves_less_power_but_not_in_general():
    base, strict = found(), found(alpha=0.001)

    assert strict.friedman < base.friedman
    assert strict.pair < base.pair
    assert strict.general == base.general


def test_the_pair_needs_friedmans_test_before_it():
    result = found()

    assert result.pair <= result.friedman


def test_readers_who_disagree_take_power_from_the_statement_in_general():
    disagreeing = found(replace(ALIKE, reader_variant=0.6), images=100)

    assert disagreeing.general < found(images=100).general - 0.3


def test_one_reader_has_no_power_in_general():
    assert found(readers=1).general is None


def test_a_shift_down_is_found_as_well_as_one_up_from_the_middle_of_the_scale():
    middle = replace(ALIKE, mean=2.5)
    up, down = found(middle, studies=2000), found(middle, shift=-0.5, studies=2000)

    assert up.pair == pytest.approx(down.pair, abs=0.05)


def test_results_depend_on_the_seed_alone():
    assert found() == found()
    assert found(seed=4) != found()


def test_simulated_ratings_are_whole_and_on_the_scale():
    ratings = simulate(
        Components(image=3.0),
        studies=2,
        readers=3,
        images=4,
        shifts=(0, 0, 1),
        rng=np.random.default_rng(0),
    )
    assert ratings.shape == (2, 3, 4, 3)
    assert set(np.unique(ratings)) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}


def test_each_part_varies_along_its_own_axes_alone():
    nothing = Components(3, 0, 0, 0, 0, 0, 0)
    axes = {
        "image": (0, 2),
        "reader": (1, 2),
        "image_reader": (2,),
        "image_variant": (0,),
        "reader_variant": (1,),
        "residual": (),
    }
    for name, constant in axes.items():
        (ratings,) = simulate(
            replace(nothing, **{name: 1.5}),
            studies=1,
            readers=6,
            images=7,
            shifts=(0, 0, 0),
            rng=np.random.default_rng(1),
        )
        for axis in range(3):
            assert (np.ptp(ratings, axis=axis) == 0).all() == (axis in constant), name


def table_of(ratings):
    return rows_of(
        {
            (f"R{r}", "ct", f"i{i}"): tuple(int(x) for x in ratings[r, i])
            for r in range(ratings.shape[0])
            for i in range(ratings.shape[1])
        }
    )


def test_a_large_pilot_gives_the_components_it_was_made_from():
    # Small enough that the scale's ends cut off next to nothing.
    made = Components(2.5, 0.5, 0.3, 0.25, 0.4, 0.2, 0.5)
    (ratings,) = simulate(
        made,
        studies=1,
        readers=60,
        images=400,
        shifts=(0, 0, 0),
        rng=np.random.default_rng(2),
    )
    estimated = asdict(components_of(ratings_of(table_of(ratings))))

    # That of 60 readers' habits, and of what they think of three variants.
    assert estimated.pop("mean") == pytest.approx(made.mean, abs=0.15)
    for name, value in estimated.items():
        assert value == pytest.approx(getattr(made, name), abs=0.05), name


def test_components_agree_with_the_textbook_sums_of_squares():
    rng = np.random.default_rng(7)
    y = rng.integers(0, 6, (3, 5, 3)).astype(float)
    grand = y.mean()
    mean = {axes: y.mean(axis=axes, keepdims=True) for axes in [(1, 2), (0, 2), (0, 1)]}
    two = {axis: y.mean(axis=axis, keepdims=True) for axis in range(3)}
    left = y - two[0] - two[1] - two[2] + mean[1, 2] + mean[0, 2] + mean[0, 1] - grand
    ms_rest = (left**2).sum() / (2 * 4 * 2)
    both = two[0] - mean[0, 2] - mean[0, 1] + grand  # image x variant
    ms_both = 3 * (both**2).sum() / (4 * 2)

    components = components_of(ratings_of(table_of(y)))

    assert components.residual == pytest.approx(np.sqrt(ms_rest - 1 / 12))
    assert components.image_variant == pytest.approx(
        np.sqrt(max(0, (ms_both - ms_rest) / 3))
    )
    assert components.mean == pytest.approx(grand)


def test_a_pilot_in_which_nothing_varies_has_components_of_zero():
    rows = one_reader((2, 2, 2), (2, 2, 2)) + [
        ("R2", *row[1:]) for row in one_reader((2, 2, 2), (2, 2, 2))
    ]
    assert components_of(ratings_of(rows)) == Components(2, 0, 0, 0, 0, 0, 0)


def test_a_pilot_that_is_too_small_is_refused():
    with pytest.raises(RatingsError, match="this one has 1 and 2"):
        components_of(ratings_of(one_reader((1, 2, 3), (2, 2, 2))))
    with pytest.raises(RatingsError, match="no data set 'mri'; it has xray"):
        components_of(ratings_of(one_reader((1, 2, 3))), "mri")
