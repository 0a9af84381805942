"""The viewer's arithmetic by itself, in the browser that runs it."""

import numpy as np
import pytest

from tests.browser.reference import NEGATIVE, POSITIVE, axis_weights, grey_level

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


GREYS = """(() => {
  const line = maths.greyLine(values.window, values.image);
  const shares = values.shares ?? null;
  const result = new Float64Array(values.stored.length);
  return Array.from(maths.greys({ values: values.stored, shares }, line, result));
})()"""


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, 0), (1, -1024), (0.5, 3), (2.7, -10.25), (-1, 255)]
)
def test_a_window_is_dicoms_on_rescaled_values(maths, slope, intercept, inverted):
    stored = [*range(256), 0.25, 63.5, 1023.75, 4095, 65535]
    for center, width in [(128, 256), (40.5, 1), (100, 2), (30.25, 77.5), (-600, 1500)]:
        found = maths(
            GREYS,
            window={"center": center, "width": width},
            image={"slope": slope, "intercept": intercept, "inverted": inverted},
            stored=stored,
        )

        expected = [
            grey_level(slope * x + intercept, center, width, inverted) for x in stored
        ]
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=str(center))


def test_a_value_on_a_threshold_is_dark(maths):
    image = {"slope": 2, "intercept": -3, "inverted": False}
    # 2 x - 3 = 9.5 at x = 6.25.
    found = maths(
        GREYS,
        window={"center": 10, "width": 1},
        image=image,
        stored=[6.2, 6.25, 6.3],
    )

    assert found == [0, 0, 255]


def test_what_is_partly_padding_is_as_much_darker(maths):
    found = maths(
        GREYS,
        window={"center": 1, "width": 2},
        image={"slope": 1, "intercept": 0, "inverted": True},
        stored=[0, 0, 0],
        shares=[1, 0.25, 0],
    )

    assert found == [255, 63.75, 0]


AXIS = """(() => {
  const { taps, weights, stride } = maths.axisOf(...values.axis);
  return { taps: Array.from(taps), weights: Array.from(weights), stride };
})()"""


def test_a_box_weighs_what_it_covers(maths):
    rng = np.random.default_rng(3)
    axes = [(1, 0, 3.0), (7, 2, 7.0), (5, -3, 31.0), (2048, 10, 300.7), (64, 0, 65.3)]
    axes += [
        (int(rng.integers(1, 60)), int(rng.integers(-40, 40)), float(extent))
        for extent in rng.uniform(0.9, 150, 40)
    ]
    for count, start, extent in axes:
        length = max(1, int(np.ceil(extent - 0.5)))

        found = maths(AXIS, axis=[count, start, extent, start, length])

        weights = np.zeros((length, count))
        for i, tap in enumerate(found["taps"]):
            stride = found["stride"]
            weights[i, tap : tap + stride] = found["weights"][i * stride :][:stride]
        expected = [
            axis_weights(count, (i + 0.5) / extent, extent) for i in range(length)
        ]
        np.testing.assert_allclose(weights, expected, atol=1e-6)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


SAMPLE = """(() => {
  const rows = maths.axisOf(...values.rows);
  const columns = maths.axisOf(...values.columns);
  const pixels = Uint16Array.from(values.grid);
  const found = maths.sample(pixels, values.columns[0], rows, columns, values.padding);
  return [Array.from(found.values), found.shares && Array.from(found.shares)];
})()"""


@pytest.mark.parametrize("padding", [None, 9])
@pytest.mark.parametrize("size", [(3.0, 4.0), (23.0, 31.0), (5.0, 7.0), (9.5, 2.2)])
def test_sampling_averages_what_is_no_padding(maths, size, padding):
    rng = np.random.default_rng(4)
    grid = rng.integers(0, 60_000, (5, 7))
    grid[rng.random((5, 7)) < 0.4] = 9
    height, width = size
    rows = [axis_weights(5, (y + 0.5) / height, height) for y in range(round(height))]
    columns = [axis_weights(7, (x + 0.5) / width, width) for x in range(round(width))]
    inside = np.ones(grid.shape) if padding is None else grid != padding

    values, shares = maths(
        SAMPLE,
        grid=grid.ravel().tolist(),
        rows=[5, 0, height, 0, len(rows)],
        columns=[7, 0, width, 0, len(columns)],
        padding=padding,
    )

    share = np.array(rows) @ inside @ np.array(columns).T
    total = np.array(rows) @ (grid * inside) @ np.array(columns).T
    expected = np.divide(total, share, out=np.zeros_like(total), where=share > 1e-9)
    seen = share.ravel() > 1e-6
    np.testing.assert_allclose(
        np.array(values)[seen], expected.ravel()[seen], rtol=1e-4
    )
    if padding is None:
        assert shares is None
    else:
        np.testing.assert_allclose(shares, share.ravel(), atol=1e-6)


PAINT = """Array.from(maths.paint(
  values.grey, values.map, values.opacity, values.threshold,
  new Uint8ClampedArray(4 * values.grey.length)))"""


def test_map_colours_are_as_opaque_as_the_value_is_far_from_zero(maths):
    values = [-127, -64, -1, 0, 1, 64, 127]
    grey = [0, 10, 20.4, 100, 200, 254.6, 255]

    rgba = np.reshape(
        maths(PAINT, grey=grey, map=values, opacity=0.6, threshold=0), (-1, 4)
    )

    alpha = 0.6 * np.abs(values)[:, None] / 127
    colour = np.where(np.array(values)[:, None] < 0, NEGATIVE, POSITIVE)
    expected = (1 - alpha) * np.array(grey)[:, None] + alpha * colour
    np.testing.assert_allclose(rgba[:, :3], expected, atol=0.51)
    assert (rgba[:, 3] == 255).all()


def test_a_threshold_hides_what_is_weaker_and_nothing_else(maths):
    values = [-127, -64, -63, 0, 63, 64, 127]

    rgba = np.reshape(
        maths(PAINT, grey=[50] * 7, map=values, opacity=1, threshold=64 / 127), (-1, 4)
    )

    assert (rgba[2:5, :3] == 50).all()
    assert (rgba[[0, 1, 5, 6], :3] != 50).any(axis=1).all()


def test_a_view_that_fits_fills_one_side_of_its_pane(maths):
    rng = np.random.default_rng(5)
    for _ in range(50):
        width, height, x, y, across, down = map(int, rng.integers(1, 3000, 6))
        image = {"width": width, "height": height, "rowsPerColumn": rng.uniform(0.5, 2)}
        pane = {"x": x, "y": y, "width": across, "height": down}

        place = maths(
            "maths.placeOf(values.image, maths.FIT, values.pane)",
            image=image,
            pane=pane,
        )

        assert max(place["width"] / across, place["height"] / down) == pytest.approx(
            1, abs=max(1 / across, 1 / down)
        )
        assert place["x"] + place["width"] / 2 == pytest.approx(
            x + across / 2, abs=0.51
        )
        assert place["y"] + place["height"] / 2 == pytest.approx(y + down / 2, abs=0.51)
        assert place["x"] == round(place["x"])
        assert place["y"] == round(place["y"])
        if min(place["width"], place["height"]) > 1:
            assert place["height"] / place["width"] == pytest.approx(
                height * image["rowsPerColumn"] / width
            )


IMAGE = {"width": 600, "height": 400, "rowsPerColumn": 1.25}
PANE = {"x": 40, "y": 10, "width": 800, "height": 700}
UNDER = """(() => {
  const [before, after] = values.views.map((view) => {
    const scale = maths.fitScale(values.image, values.pane) * view.zoom;
    const across = values.image.width * scale;
    const down = values.image.height * values.image.rowsPerColumn * scale;
    const { x, y, width, height } = values.pane;
    return [view.x + (values.at[0] - x - width / 2) / across,
      view.y + (values.at[1] - y - height / 2) / down];
  });
  return [before, after];
})()"""


def test_zooming_keeps_the_point_under_the_pointer(maths):
    rng = np.random.default_rng(6)
    for _ in range(50):
        view = {"zoom": rng.uniform(1, 8), "x": rng.uniform(), "y": rng.uniform()}
        at = [rng.uniform(340, 540), rng.uniform(260, 460)]
        factor = rng.uniform(0.5, 3)
        known = {"image": IMAGE, "pane": PANE}

        after = maths(
            "maths.zoomAt(values.view, values.image, values.pane, values.factor,"
            " ...values.at)",
            view=view,
            factor=factor,
            at=at,
            **known,
        )

        before, later = maths(UNDER, views=[view, after], at=at, **known)
        if 0 < after["x"] < 1 and 0 < after["y"] < 1:  # else it was stopped at the edge
            np.testing.assert_allclose(before, later, atol=1e-9)
        assert after["zoom"] == pytest.approx(max(0.5, view["zoom"] * factor))


def test_moving_follows_the_pointer_and_never_loses_the_image(maths):
    expression = "maths.panBy(values.view, values.image, values.pane, ...values.by)"
    known = {"view": {"zoom": 2, "x": 0.5, "y": 0.5}, "image": IMAGE, "pane": PANE}
    scale = maths("maths.fitScale(values.image, values.pane)", **known) * 2

    moved = maths(expression, by=[30, -12], **known)
    assert moved["x"] == pytest.approx(0.5 - 30 / (600 * scale))
    assert moved["y"] == pytest.approx(0.5 + 12 / (400 * 1.25 * scale))

    far = maths(expression, by=[1e6, -1e6], **known)
    assert far == {"zoom": 2, "x": 0, "y": 1}


def test_zoom_has_bounds(maths):
    for factor, zoom in [(1e-9, 0.5), (1e9, 40 / (800 / 600))]:
        view = maths(
            "maths.zoomAt(maths.FIT, values.image, values.pane, values.factor,"
            " 440, 360)",
            image=IMAGE,
            pane=PANE,
            factor=factor,
        )
        assert view["zoom"] == pytest.approx(zoom)


def test_a_drag_widens_to_the_right_and_brightens_upwards(maths):
    def dragged(dx, dy, **window):
        return maths(
            "maths.dragWindow(values.window, ...values.by, values.reference)",
            window=window,
            by=[dx, dy],
            reference=800,
        )

    assert dragged(10, 0, center=50, width=400) == {"center": 50, "width": 420}
    assert dragged(0, -10, center=50, width=400) == {"center": 30, "width": 400}
    assert dragged(-1000, 0, center=50, width=400) == {"center": 50, "width": 1}


@pytest.mark.parametrize(
    ("aspect", "size", "panes"),
    [
        (1, (1008, 500), [(0, 0, 500, 500), (508, 0, 500, 500)]),
        (1, (500, 1009), [(0, 0, 500, 500), (0, 509, 500, 500)]),
        (4, (800, 600), [(0, 0, 800, 296), (0, 304, 800, 296)]),
    ],
)
def test_two_panes_lie_where_the_image_is_larger(maths, aspect, size, panes):
    found = maths(
        'maths.panesOf("side_by_side", values.aspect, ...values.size, 8)',
        aspect=aspect,
        size=size,
    )
    (whole,) = maths('maths.panesOf("overlay", 1, 800, 600, 8)')

    assert [(p["x"], p["y"], p["width"], p["height"]) for p in found] == panes
    assert whole == {"x": 0, "y": 0, "width": 800, "height": 600}


def test_a_scale_bar_is_the_longest_round_length_that_fits(maths):
    for per_mm in (0.013, 0.2, 1.0, 3.7, 9.99, 95.9, 700.0):
        bar = maths("maths.scaleBar(values.perMm, 96)", perMm=per_mm)

        lengths = [times * 10.0**power for power in range(-4, 6) for times in (1, 2, 5)]
        expected = max(mm for mm in lengths if mm * per_mm <= 96)
        assert bar["mm"] == pytest.approx(expected)
        assert bar["pixels"] == pytest.approx(expected * per_mm)


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


# --- Places in the image ------------------------------------------------------------


@pytest.mark.parametrize("zoom", [0.5, 1, 3.7])
@pytest.mark.parametrize("rows", [1, 0.5, 2.5])
def test_every_pixel_is_found_where_it_is_drawn(maths, zoom, rows):
    wrong = maths(
        """(() => {
          const image = { width: 24, height: 16, rowsPerColumn: values.rows };
          const pane = { x: 30, y: 10, width: 301, height: 217 };
          const view = { zoom: values.zoom, x: 0.4, y: 0.55 };
          const place = maths.placeOf(image, view, pane);
          const wrong = [];
          for (let y = 0; y < image.height; y += 1) {
            for (let x = 0; x < image.width; x += 1) {
              const at = maths.canvasPlace(image, place, x + 0.5, y + 0.5);
              const isInside = at.x >= pane.x && at.x < pane.x + pane.width &&
                at.y >= pane.y && at.y < pane.y + pane.height;
              const found = maths.pixelAt(image, place, pane, at.x, at.y);
              const isRight = isInside ? found?.x === x && found?.y === y : !found;
              if (!isRight) wrong.push([x, y, found]);
            }
          }
          return wrong;
        })()""",
        zoom=zoom,
        rows=rows,
    )

    assert wrong == []


def test_beside_the_image_there_is_no_pixel(maths):
    found = maths(
        """[[9, 50], [111, 50], [60, 29], [60, 71], [10, 30], [109, 69]].map(([x, y]) =>
          maths.pixelAt({ width: 10, height: 4 },
            { x: 10, y: 30, width: 100, height: 40 },
            { x: 0, y: 0, width: 200, height: 200 }, x, y))"""
    )

    assert found == [None] * 4 + [{"x": 0, "y": 0}, {"x": 9, "y": 3}]


def test_a_box_holds_both_its_corners(maths):
    found = maths("maths.boxBetween({ x: 7, y: 2 }, { x: 3, y: 9 })")

    assert found == [3, 2, 5, 8]
    assert maths("maths.boxBetween({ x: 4, y: 4 }, { x: 4, y: 4 })") == [4, 4, 1, 1]


# --- Numbers digit by digit ----------------------------------------------------------


@pytest.fixture
def typed(page):
    """What digits become: the numbers that are taken, and what may still go on."""
    page.goto("/accounts/login/")

    def type_(digits):
        return page.evaluate(
            """async (digits) => {
              const { withDigit } = await import("/static/readerstudy/digits.js");
              const numbers = [];
              let typed = "";
              for (const digit of digits) {
                let next = withDigit(typed, digit);
                if (!next.fits) {
                  numbers.push(Number(typed));
                  next = withDigit("", digit);
                }
                typed = next.typed;
                if (next.isTaken) {
                  numbers.push(Number(typed));
                  typed = "";
                }
              }
              return [numbers, typed];
            }""",
            list(digits),
        )

    return type_


@pytest.mark.parametrize(
    ("digits", "numbers", "rest"),
    [
        ("5", [], "5"),
        ("05", [5], ""),
        ("00", [0], ""),
        ("42", [42], ""),
        ("100", [100], ""),
        ("10", [], "10"),
        ("107", [10], "7"),
        ("1007", [100], "7"),
        ("9900", [99, 0], ""),
        ("70100", [70, 100], ""),
    ],
)
def test_a_number_is_taken_once_no_digit_could_follow(typed, digits, numbers, rest):
    assert typed(digits) == [numbers, rest]


def test_every_number_of_two_digits_is_what_was_typed(typed):
    for number in range(100):
        taken, rest = typed(f"{number:02}")
        assert taken == ([] if number == 10 else [number])
        assert rest == ("10" if number == 10 else "")
