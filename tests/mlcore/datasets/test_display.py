import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.datasets.decoding.grey_image import GreyImage, to_uint8
from mlcore.datasets.display import MAX_SIDE, display_case, windows_of
from mlcore.datasets.table import TableError
from tests.mlcore.datasets.making import description, grey, image, save
from tests.mlcore.tables import write_table

SHORT = np.random.default_rng(1).integers(300, 4000, (40, 60), dtype=np.uint16)


def shown(values, window):
    """DICOM PS3.3 C.11.2.1.2.1, linear, to [0, 1]."""
    ramp = (values - (window.center - 0.5)) / (window.width - 1) + 0.5
    return np.clip(ramp, 0, 1)


def table_of(folder, seen, source_path="a.png", source_root=None):
    """A table of one image, imported from `source_path` in `folder`."""
    root = str(source_root or folder)
    about = description(source_format="folder", source_root=root, image_size=len(seen))
    return write_table(
        folder / "table", about, [image(0, pixels=seen, source_path=source_path)]
    )


def display(path, pixels):
    """The case that was imported from `path` when it held `pixels`."""
    seen = to_uint8(GreyImage(pixels=pixels), 16)
    return display_case(table_of(path.parent, seen, path.name), 0)


def test_a_case_is_shown_at_the_full_size_and_depth_of_its_source(tmp_path):
    path = save(tmp_path / "a.png", SHORT)

    image = display(path, SHORT)

    assert image.source == "original"
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, SHORT)
    assert (image.rescale_slope, image.rescale_intercept) == (1, 0)
    assert (image.inverted, image.padding_value, image.pixel_spacing_mm) == (
        False,
        None,
        None,
    )


@pytest.mark.parametrize("source", ["gone.png", ""])
def test_the_image_of_the_table_is_shown_when_the_source_is_gone(tmp_path, source):
    image = display_case(table_of(tmp_path, grey(1), source), 0)

    assert image.source == "table"
    np.testing.assert_array_equal(image.pixels, grey(1))


def test_another_image_than_the_one_imported_is_refused(tmp_path):
    path = save(tmp_path / "a.png", np.fliplr(SHORT))

    with pytest.raises(TableError, match="is not the image that was imported"):
        display(path, SHORT)


def test_a_source_that_does_not_decode_is_refused(tmp_path):
    path = save(tmp_path / "a.png", SHORT)
    path.write_bytes(path.read_bytes()[:300])

    with pytest.raises(TableError, match="does not decode"):
        display(path, SHORT)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_larger_image_shrinks_to_2048_a_side_and_keeps_its_aspect(tmp_path, depth):
    ramp = np.linspace(0, np.iinfo(depth).max, 3 * MAX_SIDE).astype(depth)
    pixels = np.tile(ramp, (300, 1))
    path = save(tmp_path / "a.png", pixels)

    image = display(path, pixels)

    assert image.pixels.shape == (100, MAX_SIDE)
    assert image.pixels.dtype == depth
    middle = image.pixels[50].astype(float)
    np.testing.assert_allclose(middle, ramp[1::3], atol=np.iinfo(depth).max / 2000)


def test_8_bits_are_shown_from_0_to_255():
    (window,) = windows_of(GreyImage(pixels=grey(1)))

    assert (window.label, window.center, window.width) == ("full range", 128, 256)
    values = np.arange(256)
    np.testing.assert_allclose(shown(values, window), values / 255)


@settings(deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=50))
def test_16_bits_are_shown_from_their_darkest_to_their_brightest(values):
    pixels = np.array([values], np.uint16)

    full, central = windows_of(GreyImage(pixels=pixels))

    low, high = min(values), max(values)
    assert full.width >= 2
    assert central.width >= 2
    if high > low:
        np.testing.assert_allclose(shown(np.array([low, high]), full), [0, 1])
        np.testing.assert_allclose(shown(low + 0.25 * (high - low), full), 0.25)


def test_the_narrower_window_leaves_out_a_hundredth_at_either_end():
    pixels = np.arange(1000, dtype=np.uint16).reshape(10, 100)

    narrow = windows_of(GreyImage(pixels=pixels))[1]

    grades = shown(pixels.ravel().astype(float), narrow)
    assert (np.sum(grades == 0), np.sum(grades == 1)) == (11, 11)
