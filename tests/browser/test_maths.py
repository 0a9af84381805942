"""The viewer's arithmetic by itself, in the browser that runs it."""

import numpy as np
import pytest

from tests.browser.reference import NEGATIVE, POSITIVE, bilinear, grey_level

pytestmark = pytest.mark.browser


@pytest.fixture
def maths(page):
    """Evaluates an expression with the module's functions, as `maths`."""
    page.goto("/accounts/login/")

    def evaluate(expression, **values):
        return page.evaluate(
            f"""async (values) => {{
              const maths = await import("/static/readerstudy/maths.js");
              return {expression};
            }}""",
            values,
        )

    return evaluate


def test_the_window_table_is_dicoms(maths):
    for center, width in [(128, 256), (40.5, 1), (100, 2), (30.25, 77.5), (-20, 90)]:
        for inverted in (False, True):
            options = {"center": center, "width": width, "inverted": inverted}

            table = maths(
                "Array.from(maths.windowLut(values))", levels=256, padding=7, **options
            )

            reference = [grey_level(x, padding=7, **options) for x in range(256)]
            assert table == reference, options


def test_a_16_bit_window_covers_all_levels(maths):
    table = maths(
        "Array.from(maths.windowLut(values))", levels=65536, center=2**15, width=2**16
    )

    assert len(table) == 65536
    assert table == [grey_level(x, 2**15, 2**16) for x in range(65536)]


def test_resampling_is_bilinear_between_pixel_centres(maths):
    rng = np.random.default_rng(3)
    for (rows, columns), (height, width) in [
        ((5, 7), (23, 31)),
        ((6, 6), (4, 3)),
        ((1, 1), (3, 2)),
        ((4, 9), (4, 9)),
    ]:
        grid = rng.integers(-127, 128, (rows, columns))

        result = maths(
            "Array.from(maths.resample(values.grid, values.columns, values.rows,"
            " values.width, values.height))",
            grid=grid.ravel().tolist(),
            rows=rows,
            columns=columns,
            width=width,
            height=height,
        )

        reference = [
            bilinear(grid, (y + 0.5) * rows / height, (x + 0.5) * columns / width)
            for y in range(height)
            for x in range(width)
        ]
        np.testing.assert_allclose(result, reference, atol=1e-4)


def test_map_colours_are_as_opaque_as_the_value_is_far_from_zero(maths):
    values = [-127, -64, -1, 0, 1, 64, 127]

    rgba = np.reshape(
        maths("Array.from(maths.mapPixels(values.values))", values=values), (-1, 4)
    )

    np.testing.assert_allclose(rgba[:, 3], np.abs(values) * 255 / 127, atol=0.5)
    assert (rgba[:3, :3] == NEGATIVE).all()
    assert (rgba[4:, :3] == POSITIVE).all()


def test_the_image_fits_into_its_frame_and_fills_one_side(maths):
    rng = np.random.default_rng(5)
    for _ in range(50):
        width, height, to_width, to_height = map(int, rng.integers(1, 3000, 4))

        place = maths(
            "maths.fit(...values.sizes)", sizes=[width, height, to_width, to_height]
        )

        assert place["width"] == to_width or place["height"] == to_height
        assert 0 <= place["x"] <= to_width - place["width"]
        assert 0 <= place["y"] <= to_height - place["height"]
        # As far as whole pixels allow; never less than one.
        scale = min(to_width / width, to_height / height)
        assert abs(place["width"] - max(1, width * scale)) <= 0.5
        assert abs(place["height"] - max(1, height * scale)) <= 0.5


def test_the_legends_colours_are_the_maps(maths, page):
    ramp = page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          const value = (name) => style.getPropertyValue(name);
          return [value("--negative"), value("--positive")];
        }"""
    )

    assert [colour.split() for colour in ramp] == [
        [str(part) for part in maths("maths.NEGATIVE")],
        [str(part) for part in maths("maths.POSITIVE")],
    ]
