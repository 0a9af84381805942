import hashlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.datasets.decoding.grey_image import (
    GreyImage,
    Window,
    mask_to_size,
    to_uint8,
)
from mlcore.datasets.record import Unreadable
from mlcore.datasets.table import Box, TableError
from mlcore.datasets.writing import decode_ahead as prepare_module
from mlcore.datasets.writing.decode_ahead import map_ahead, prepare, prepared
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


def numbered(number):
    return GreyImage(pixels=grey(number))


@pytest.mark.parametrize(
    ("workers", "decoded_in"), [(1, "threads"), (3, "threads"), (2, "processes")]
)
def test_images_come_in_the_order_of_their_records(workers, decoded_in):
    records = (record(n, read=partial(numbered, n)) for n in range(20))
    made = list(prepared(records, 8, root=None, workers=workers, decoded_in=decoded_in))

    assert [image.record.image_id for image in made] == [
        f"image-{n}" for n in range(20)
    ]
    np.testing.assert_array_equal(made[7].pixels, grey(7))


def test_decoding_runs_in_as_many_threads_as_asked_for():
    together = threading.Barrier(3, timeout=20)

    with ThreadPoolExecutor(3) as pool:
        waited = map_ahead(lambda item: together.wait() >= 0, range(6), pool, 6)
        assert list(waited) == [True] * 6


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 30))
def test_it_never_runs_further_ahead_than_asked_for(ahead, count):
    taken = 0

    def items():
        nonlocal taken
        for item in range(count):
            taken += 1
            yield item

    with ThreadPoolExecutor(2) as pool:
        for done, result in enumerate(
            map_ahead(lambda item: item, items(), pool, ahead)
        ):
            assert result == done
            assert taken <= done + ahead


def test_the_first_failure_ends_the_import():
    begun = []

    def fail_at_three(item):
        begun.append(item)
        if item == 3:
            raise ValueError("damaged")
        return item

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="damaged"):
        list(map_ahead(fail_at_three, range(1000), pool, 4))
    assert len(begun) <= 8


def damaged():
    raise TableError("/data/scans/7.png does not decode: truncated")


KILLED_WHILE_DECODING = """
import os, signal
from mlcore.datasets.writing.decode_ahead import prepared
from tests.mlcore.datasets.making import record
from tests.mlcore.datasets.writing.test_decode_ahead import deep
if __name__ == "__main__":
    records = (record(n, read=deep) for n in range(100))
    images = prepared(records, 8, root=None, workers=2, decoded_in="processes")
    next(images)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_that_does_not_decode_is_told_without_its_folder():
    (made,) = prepared(
        [record(0, read=damaged)], 8, root=Path("/data/scans"), workers=1
    )

    assert isinstance(made, Unreadable)
    assert made.problem == "7.png does not decode: truncated"
    assert made.record.image_id == "image-0"


def test_a_killed_process_is_told_in_one_line():
    records = [record(0, read=killed)]
    with pytest.raises(TableError, match="decoding process was killed"):
        list(prepared(records, 8, root=None, workers=2, decoded_in="processes"))


def test_decoding_processes_end_with_the_one_that_is_killed():
    # They share its output, so reading that ends when the last of them has ended.
    importing = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_DECODING],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert importing.returncode == -signal.SIGKILL


def test_every_file_of_a_record_is_hashed_once(tmp_path, monkeypatch):
    hashed = []
    sha256 = prepare_module.sha256_file
    monkeypatch.setattr(
        prepare_module, "sha256_file", lambda path: hashed.append(path) or sha256(path)
    )
    (tmp_path / "volume").write_bytes(b"abc")
    records = [record(n, files=("volume",)) for n in range(3)]

    made = list(prepared(records, 8, root=tmp_path, workers=1))

    assert [image.sha256 for image in made] == [
        {"volume": hashlib.sha256(b"abc").hexdigest()}
    ] * 3
    assert hashed == [tmp_path / "volume"]


def test_boxes_in_pixels_become_fractions_and_must_fit():
    box = Box("Nodule", 3, 1, 6, 3)
    made = prepare(record(0, read=deep, boxes=(box,), boxes_in_pixels=True), 4)

    assert made.boxes == (Box("Nodule", 3 / 9, 1 / 6, 6 / 9, 3 / 6),)
    outside = replace(box, w=6.5)
    with pytest.raises(TableError, match="leaves the image, which is 9 x 6 pixels"):
        prepare(record(0, read=deep, boxes=(outside,), boxes_in_pixels=True), 4)


@settings(deadline=None)
@given(
    st.floats(-2000, 2000),
    st.floats(1, 5000),
    st.floats(0.1, 4),
    st.floats(-1100, 100),
    st.booleans(),
)
def test_a_window_is_applied_as_dicom_spells_it_out(
    center, width, slope, intercept, inverted
):
    image = GreyImage(
        pixels=np.arange(0, 4096, 64, dtype=np.uint16).reshape(8, 8),
        windows=(Window("w", center, width), Window("other", 0, 1)),
        rescale_slope=slope,
        rescale_intercept=intercept,
        inverted=inverted,
        padding_value=64,
    )

    made = to_uint8(image, 8)

    # PS3.3 C.11.2.1.2.1, value by value.
    for stored, got in zip(image.pixels.ravel(), made.ravel(), strict=True):
        x = float(stored) * slope + intercept
        if x <= center - 0.5 - (width - 1) / 2:
            grey = 0.0
        elif x > center - 0.5 + (width - 1) / 2:
            grey = 255.0
        else:
            grey = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
        shown = 0 if stored == 64 else 255 - grey if inverted else grey
        near_edge = width < 1.5 and abs(x - (center - 0.5)) < 1
        assert near_edge or abs(int(got) - shown) <= 0.51


def test_padding_does_not_count_for_the_range():
    pixels = np.array([[0, 1000], [1100, 1200]], np.uint16)

    made = to_uint8(GreyImage(pixels=pixels, padding_value=0), 2)

    assert made.tolist() == [[0, 0], [128, 255]]
    only = GreyImage(pixels=np.full((2, 2), 7, np.uint16), padding_value=7)
    assert not to_uint8(only, 2).any()
