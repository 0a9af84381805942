import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mlcore.datasets.decode import read_image, read_mask
from mlcore.datasets.table import TableError
from tests.mlcore.datasets.making import grey, save

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


@pytest.mark.parametrize("inside", [1, 255])
def test_masks_of_ones_and_of_255_are_the_same(tmp_path, inside):
    mask = grey(1) > 128

    path = save(tmp_path / "mask.png", mask.astype(np.uint8) * inside)

    np.testing.assert_array_equal(read_mask(path), mask)


def test_an_empty_mask_is_refused(tmp_path):
    path = save(tmp_path / "mask.png", np.zeros((4, 4), np.uint8))

    with pytest.raises(TableError, match="is empty"):
        read_mask(path)
