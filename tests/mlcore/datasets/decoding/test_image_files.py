import io
import os
import pickle
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from mlcore.datasets.decoding.grey_image import Window
from mlcore.datasets.decoding.image_files import read_grey, read_image, read_mask
from mlcore.datasets.table import TableError
from tests.mlcore.datasets.dicom_files import dataset, write
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


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_tiff_in_which_white_is_zero_is_read_as_it_was_meant(tmp_path, depth):
    pixels = DEEP.astype(depth)
    path = save(tmp_path / "a.tif", pixels)
    black_is_zero, white_is_zero = (
        struct.pack("<HHIHH", 262, 3, 1, value, 0) for value in (1, 0)
    )
    content = path.read_bytes()
    assert content.count(black_is_zero) == 1
    path.write_bytes(content.replace(black_is_zero, white_is_zero))

    np.testing.assert_array_equal(read_image(path), ~pixels)


def test_an_odd_tag_says_nothing_on_the_terminal(tmp_path):
    path = save(tmp_path / "a.jpg", grey(1, 8), exif=b"Exif\0\0II*\0\x08\0\0\0\xff")
    module = "mlcore.datasets.decoding.image_files"
    code = f"from {module} import *; read_image(Path({str(path)!r}))"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
    )

    assert (done.stdout, done.stderr) == (b"", b"")


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


# --- NumPy arrays -----------------------------------------------------------


def array(path, values, **options):
    np.save(path, values, **options)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "u2", "i2"])
def test_arrays_keep_every_value(tmp_path, order, kind):
    values = DEEP.astype(kind).astype(order + kind)

    image = read_grey(array(tmp_path / "a.npy", np.asfortranarray(values)))

    assert image.pixels.dtype == (np.uint8 if kind == "u1" else np.uint16)
    np.testing.assert_array_equal(image.pixels + image.rescale_intercept, values)
    assert image.windows == ()


def npy_of(shape, descr="|u1", data=b""):
    """A file that claims a shape which its data may not have."""
    content = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + data


def header_of(text):
    """A file whose header is `text`."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def objects():
    content = io.BytesIO()
    np.save(content, np.array([[{}]], dtype=object), allow_pickle=True)
    return content.getvalue()


def archive():
    content = io.BytesIO()
    np.savez(content, a=grey(1), b=grey(2))
    return content.getvalue()


BAD_ARRAYS = {
    "a pickle": (pickle.dumps([1, 2]), "does not decode"),
    "objects": (objects(), "does not decode"),
    "truncated": (npy_of((100, 100), data=bytes(50)), "does not decode"),
    "a bomb without data": (npy_of((10**6, 10**6)), "does not decode"),
    "an endless shape": (npy_of((10**30, 10)), "does not decode"),
    "empty": (b"", "does not decode"),
    "a header that does not end": (header_of("(" * 9000), "does not decode"),
    "a header of signs": (header_of("-" * 9000 + "1"), "does not decode"),
    "half an archive": (archive()[:50], "does not decode"),
    "several": (archive(), "does not decode"),
    "a volume": (npy_of((2, 3, 4), data=bytes(24)), r"has shape \(2, 3, 4\)"),
    "no rows": (npy_of((0, 4)), r"has shape \(0, 4\)"),
    "real numbers": (npy_of((2, 2), "<f4", bytes(16)), "is of float32"),
    "wide numbers": (npy_of((2, 2), "<i4", bytes(16)), "is of int32"),
    "bool": (npy_of((2, 2), "|b1", bytes(4)), "is of bool; uint8, uint16 and int16"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_a_file_that_is_no_grey_array_is_named_in_one_line(tmp_path, what):
    content, message = BAD_ARRAYS[what]
    path = tmp_path / "a.npy"
    path.write_bytes(content)

    with pytest.raises(TableError, match=message) as error:
        read_grey(path)

    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_large_array_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(npy_of((10_000, 10_000)))
    os.truncate(path, 10**8 + 1000)  # a file with a hole takes no room

    with pytest.raises(TableError, match="larger than 89 megapixels"):
        read_grey(path)
    with pytest.raises(TableError, match=r"b\.npy is missing"):
        read_grey(tmp_path / "b.npy")


@pytest.mark.parametrize("kind", [bool, np.uint8])
def test_masks_may_be_arrays(tmp_path, kind):
    mask = grey(1) > 128

    path = array(tmp_path / "mask.npy", mask.astype(kind))

    assert read_mask(path).dtype == bool
    np.testing.assert_array_equal(read_mask(path), mask)
    with pytest.raises(TableError, match="is of int16; bool is read"):
        read_mask(array(tmp_path / "a.npy", mask.astype(np.int16)))
    with pytest.raises(TableError, match="is empty"):
        read_mask(array(tmp_path / "b.npy", np.zeros((2, 2), bool)))


# --- any file ---------------------------------------------------------------


def test_each_kind_of_file_is_read_by_its_own_reader(tmp_path):
    png = save(tmp_path / "a.png", DEEP)
    npy = array(tmp_path / "a.npy", DEEP)
    dcm = write(tmp_path / "a.dcm", dataset(DEEP))
    bare = tmp_path / "scan"
    bare.write_bytes(dcm.read_bytes())
    wanted = Window("import", 5, 6)

    for path in (png, npy, dcm, bare):
        image = read_grey(path, 1, wanted)
        np.testing.assert_array_equal(image.pixels, DEEP)
        assert image.windows == (wanted,)
    with pytest.raises(TableError, match=r"no frame 2; only DICOM files have several"):
        read_grey(png, 2)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_an_image_is_turned_as_its_exif_orientation_says(tmp_path, name):
    upright = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # what is stored as the left side is to be the top
    image = Image.fromarray(upright)
    image.save(tmp_path / name, exif=exif.tobytes() if name != "a.tif" else exif)

    read = read_image(tmp_path / name)

    assert read.shape == (24, 16)
    np.testing.assert_allclose(read, np.rot90(upright, -1), atol=3)
