import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlcore.datasets.decode import (
    map_ahead,
    mask_to_size,
    prepare,
    prepared,
    read_image,
    read_mask,
    to_uint8,
)
from mlcore.datasets.table import TableError
from tests.mlcore.datasets.making import grey, record, save

DEEP = np.random.default_rng(1).integers(0, 65536, (6, 9), dtype=np.uint16)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_images_keep_every_bit(tmp_path, name, depth):
    pixels = DEEP.astype(depth)

    read = read_image(save(tmp_path / name, pixels))

    assert read.dtype == depth
    np.testing.assert_array_equal(read, pixels)


def test_a_big_endian_tiff_is_read_as_it_was_meant(tmp_path):
    height, width = DEEP.shape
    data = DEEP.astype(">u2").tobytes()
    short, long = 3, 4
    tags = [
        (256, short, width << 16),
        (257, short, height << 16),
        (258, short, 16 << 16),
        (259, short, 1 << 16),
        (262, short, 1 << 16),
        (273, long, 8),
        (277, short, 1 << 16),
        (278, short, height << 16),
        (279, long, len(data)),
    ]
    entries = b"".join(struct.pack(">HHII", tag, kind, 1, v) for tag, kind, v in tags)
    content = b"MM" + struct.pack(">HI", 42, 8 + len(data)) + data
    content += struct.pack(">H", len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(content)

    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), DEEP)


def test_a_jpeg_is_read_nearly_as_it_was(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)

    read = read_image(save(tmp_path / "a.jpg", smooth, quality=95))

    assert np.abs(read.astype(int) - smooth).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
def test_other_kinds_of_image_become_grey(tmp_path, mode):
    pixels = np.where(grey(1) > 128, 255, 0).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")

    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def png_of(width, height):
    """A PNG file that claims a size which its few bytes cannot fill."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + end


def flip_bit(content):
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def with_empty_directory(content):
    """A TIFF that names a second image and says nothing of it, not even its width."""
    at = int.from_bytes(content[4:8], "little")
    tags = int.from_bytes(content[at : at + 2], "little")
    following = at + 2 + 12 * tags
    place = len(content).to_bytes(4, "little")
    return content[:following] + place + content[following + 4 :] + bytes(6)


PNG = "a.png"
UNREADABLE = {
    "truncated": (PNG, lambda whole: whole[: len(whole) // 2], "does not decode"),
    "a flipped bit": (PNG, flip_bit, "does not decode"),
    "a TIFF of one image and a bit": ("a.tif", with_empty_directory, "does not decode"),
    "text": (PNG, lambda _: b"file,patient_id\n", "is no PNG, JPEG or TIFF image"),
    "empty": (PNG, lambda _: b"", "is no PNG, JPEG or TIFF image"),
    "a bomb": (PNG, lambda _: png_of(60_000, 60_000), "89 megapixels"),
    "a small bomb": (PNG, lambda _: png_of(10_000, 10_000), "89 megapixels"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_file_that_does_not_decode_is_named_in_one_line(tmp_path, what):
    name, damage, message = UNREADABLE[what]
    path = save(tmp_path / name, grey(1, 64))
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(TableError) as error:
        read_image(path)

    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(TableError, match=r"a\.png is missing"):
        read_image(tmp_path / "a.png")
    with pytest.raises(TableError, match=r"does not decode: .*directory"):
        read_image(tmp_path)


def test_a_truncated_jpeg_is_refused(tmp_path):
    path = save(tmp_path / "a.jpg", grey(1, 64))
    path.write_bytes(path.read_bytes()[:1500])

    with pytest.raises(TableError, match="does not decode"):
        read_image(path)


def test_other_formats_depths_and_stacks_are_refused(tmp_path):
    save(tmp_path / "a.gif", grey(1))
    save(tmp_path / "real.tif", grey(1).astype(np.float32))
    pages = [Image.fromarray(grey(number)) for number in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])

    with pytest.raises(TableError, match="is no PNG, JPEG or TIFF"):
        read_image(tmp_path / "a.gif")
    with pytest.raises(TableError, match="32 bits a pixel"):
        read_image(tmp_path / "real.tif")
    with pytest.raises(TableError, match="holds 3 images"):
        read_image(tmp_path / "stack.tif")


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

    resized = to_uint8(pixels, size)

    assert resized.dtype == np.uint8
    # Pillow rounds after each of its two passes.
    assert np.abs(resized - slow_resize(pixels, size)).max() <= 1.1


@settings(deadline=None)
@given(shapes, st.integers(1, 12), st.integers(0, 99))
def test_16_bits_are_scaled_from_their_own_range(shape, size, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1000, 5000, shape, dtype=np.uint16)

    resized = to_uint8(pixels, size)

    low, high = int(pixels.min()), int(pixels.max())
    scaled = (pixels - float(low)) * 255 / max(high - low, 1)
    assert np.abs(resized - slow_resize(scaled, size)).max() <= 0.51


def test_a_16_bit_image_spans_the_whole_range_and_a_constant_one_none():
    pixels = np.array([[4000, 4001], [4002, 4003]], np.uint16)

    assert to_uint8(pixels, 2).tolist() == [[0, 85], [170, 255]]
    assert not to_uint8(np.full((3, 3), 4000, np.uint16), 2).any()


def test_an_8_bit_image_of_the_right_size_is_untouched():
    np.testing.assert_array_equal(to_uint8(grey(1), 8), grey(1))


def test_a_mask_keeps_the_pixels_that_are_at_least_half_inside():
    mask = np.zeros((4, 4), bool)
    mask[0, :3] = True  # upper left: half of four pixels; upper right: a quarter

    assert mask_to_size(mask, 2).tolist() == [[True, False], [False, False]]


def test_a_lesion_smaller_than_a_pixel_is_not_lost():
    mask = np.zeros((64, 64), bool)
    mask[40, 9] = True

    assert np.argwhere(mask_to_size(mask, 8)).tolist() == [[5, 1]]
    assert not mask_to_size(np.zeros((64, 64), bool), 8).any()


@pytest.mark.parametrize("inside", [1, 255])
def test_masks_of_ones_and_of_255_are_the_same(tmp_path, inside):
    mask = grey(1) > 128

    path = save(tmp_path / "mask.png", mask.astype(np.uint8) * inside)

    np.testing.assert_array_equal(read_mask(path), mask)


def test_an_empty_mask_is_refused(tmp_path):
    path = save(tmp_path / "mask.png", np.zeros((4, 4), np.uint8))

    with pytest.raises(TableError, match="is empty"):
        read_mask(path)


def test_a_prepared_image_knows_the_size_of_its_source():
    made = prepare(record(0, pixels=lambda: DEEP, masks={"Nodule": DEEP > 9}), 4)

    assert (made.width, made.height) == (9, 6)
    assert made.pixels.shape == made.masks["Nodule"].shape == (4, 4)


def test_a_mask_of_another_size_than_its_image_is_refused():
    with pytest.raises(TableError, match="mask of Nodule is 8 x 8 pixels, the image 9"):
        prepare(record(0, pixels=lambda: DEEP, masks={"Nodule": grey(0) > 9}), 4)


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
