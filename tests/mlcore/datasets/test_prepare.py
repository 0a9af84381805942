import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.datasets.prepare import (
    map_ahead,
    mask_to_size,
    prepare,
    prepared,
    to_uint8,
)
from mlcore.datasets.record import GreyImage
from mlcore.datasets.table import TableError
from tests.mlcore.datasets.making import grey, record

DEEP = np.random.default_rng(1).integers(0, 65536, (6, 9), dtype=np.uint16)


def deep():
    return GreyImage(pixels=DEEP)


def triangle_weights(old, new):
    """Weight of each old pixel in each new one: Pillow's bilinear filter, spelt out."""
    scale = max(old / new, 1)
    weights = np.zeros((new, old))
    for target in range(new):
        centre = (target + 0.5) * old / new
        for source in range(old):
            distance = abs(source + 0.5 - centre) / scale
            weights[target, source] = max(0, 1 - distance)
        weights[target] /= weights[target].sum()
    return weights


def slow_resize(pixels, size):
    rows = triangle_weights(pixels.shape[0], size)
    columns = triangle_weights(pixels.shape[1], size)
    return rows @ pixels.astype(float) @ columns.T


shapes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@settings(deadline=None)
@given(shapes, st.integers(1, 12), st.integers(0, 99))
def test_resizing_agrees_with_the_filter_spelt_out(shape, size, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    resized = to_uint8(GreyImage(pixels=pixels), size)

    assert resized.dtype == np.uint8
    # Pillow rounds after each of its two passes.
    assert np.abs(resized - slow_resize(pixels, size)).max() <= 1.1


@settings(deadline=None)
@given(shapes, st.integers(1, 12), st.integers(0, 99))
def test_16_bits_are_scaled_from_their_own_range(shape, size, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1000, 5000, shape, dtype=np.uint16)

    resized = to_uint8(GreyImage(pixels=pixels), size)

    low, high = int(pixels.min()), int(pixels.max())
    scaled = (pixels - float(low)) * 255 / max(high - low, 1)
    assert np.abs(resized - slow_resize(scaled, size)).max() <= 0.51


def test_a_16_bit_image_spans_the_whole_range_and_a_constant_one_none():
    pixels = np.array([[4000, 4001], [4002, 4003]], np.uint16)

    assert to_uint8(GreyImage(pixels=pixels), 2).tolist() == [[0, 85], [170, 255]]
    flat = GreyImage(pixels=np.full((3, 3), 4000, np.uint16))
    assert not to_uint8(flat, 2).any()


def test_an_8_bit_image_of_the_right_size_is_untouched():
    np.testing.assert_array_equal(to_uint8(GreyImage(pixels=grey(1)), 8), grey(1))


def test_a_mask_keeps_the_pixels_that_are_at_least_half_inside():
    mask = np.zeros((4, 4), bool)
    mask[0, :3] = True  # upper left: half of four pixels; upper right: a quarter

    assert mask_to_size(mask, 2).tolist() == [[True, False], [False, False]]


def test_a_lesion_smaller_than_a_pixel_is_not_lost():
    mask = np.zeros((64, 64), bool)
    mask[40, 9] = True

    assert np.argwhere(mask_to_size(mask, 8)).tolist() == [[5, 1]]
    assert not mask_to_size(np.zeros((64, 64), bool), 8).any()


def test_a_prepared_image_knows_the_size_of_its_source():
    made = prepare(
        record(0, read=lambda: GreyImage(pixels=DEEP), masks={"Nodule": DEEP > 9}), 4
    )

    assert (made.width, made.height) == (9, 6)
    assert made.pixels.shape == made.masks["Nodule"].shape == (4, 4)


def test_a_mask_of_another_size_than_its_image_is_refused():
    with pytest.raises(TableError, match="mask of Nodule is 8 x 8 pixels, the image 9"):
        prepare(
            record(
                0, read=lambda: GreyImage(pixels=DEEP), masks={"Nodule": grey(0) > 9}
            ),
            4,
        )


@pytest.mark.parametrize("workers", [1, 3])
def test_images_come_in_the_order_of_their_records(workers):
    made = list(prepared(map(record, range(20)), 8, workers))

    assert [image.record.image_id for image in made] == [
        f"image-{n}" for n in range(20)
    ]
    np.testing.assert_array_equal(made[7].pixels, grey(7))


def test_decoding_runs_in_as_many_threads_as_asked_for():
    together = threading.Barrier(3, timeout=20)

    assert list(map_ahead(lambda item: together.wait() >= 0, range(6), 3)) == [True] * 6


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(0, 30))
def test_it_never_runs_further_ahead_than_two_items_a_worker(workers, count):
    taken = 0

    def items():
        nonlocal taken
        for item in range(count):
            taken += 1
            yield item

    for done, result in enumerate(map_ahead(lambda item: item, items(), workers)):
        assert result == done
        assert taken <= done + 2 * workers


def test_the_first_failure_ends_the_import():
    begun = []

    def fail_at_three(item):
        begun.append(item)
        if item == 3:
            raise TableError("damaged")
        return item

    results = map_ahead(fail_at_three, range(1000), 2)
    with pytest.raises(TableError, match="damaged"):
        list(results)
    assert len(begun) <= 8
