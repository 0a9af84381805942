"""Pillow's memory as an array, against the way through `np.asarray`."""

import gc
import sys

import numpy as np
import pytest
from PIL import Image

from mlcore.datasets.arrow import shared_pixels
from mlcore.datasets.decoding.grey_image import GreyImage, Window, to_uint8


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 3), (300, 1024)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shared_pixels_are_those_of_the_image_and_outlive_it(shape, dtype):
    pixels = (np.random.default_rng(1).random(shape) * 255).astype(dtype)

    shared = shared_pixels(Image.fromarray(pixels))

    assert shared.dtype == dtype
    np.testing.assert_array_equal(shared, pixels)


def test_what_is_written_into_shared_pixels_is_in_the_image():
    image = Image.new("F", (5, 3))

    shared_pixels(image)[2, 4] = 0.25

    assert image.getpixel((4, 2)) == 0.25
    assert np.count_nonzero(np.asarray(image)) == 1


def test_an_image_in_several_blocks_has_no_shared_pixels():
    assert shared_pixels(Image.new("F", (2500, 3000))) is None
    assert shared_pixels(Image.new("L", (5000, 4000))) is None


def test_a_large_image_is_shown_as_a_small_one_is():
    small = np.random.default_rng(2).integers(0, 4096, (500, 500)).astype(np.uint16)
    # Every pixel six times as high and wide: beyond what Pillow holds in one block.
    large = small.repeat(6, axis=0).repeat(6, axis=1)
    windows = (Window("all", 1000, 1500),)
    assert shared_pixels(Image.new("F", large.shape[::-1])) is None

    shown = [
        to_uint8(GreyImage(pixels=pixels, windows=windows), side).astype(int)
        for pixels, side in ((small, 500), (large, 3000))
    ]

    np.testing.assert_array_equal(shown[1][::6, ::6], shown[0])


def test_the_memory_lives_as_long_as_the_pixels_and_no_longer():
    image = Image.new("L", (1000, 900), 7)
    memory = image.im
    before = sys.getrefcount(memory)
    part = shared_pixels(image)[100:]
    assert sys.getrefcount(memory) == before + 1
    del image
    gc.collect()

    assert (part == 7).all()
    held = sys.getrefcount(memory)
    del part
    gc.collect()
    assert sys.getrefcount(memory) == held - 1
