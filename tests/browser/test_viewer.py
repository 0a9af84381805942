"""The viewer against a slow and obvious reference in Python."""

import numpy as np
import pytest
from playwright.sync_api import expect

from readerstudy.trial.study import create_study, open_study
from tests.browser.conftest import ARGUMENTS, wait_until_ready
from tests.browser.reference import NEGATIVE, POSITIVE, bilinear, grey_level
from tests.readerstudy.factories import (
    VARIANTS,
    coordinator,
    make_bundle,
    read_manifest,
    write_manifest,
    write_pixels,
)

pytestmark = pytest.mark.browser

READ_CANVAS = """
(points) => {
  const canvas = document.querySelector("canvas");
  const context = canvas.getContext("2d");
  const all = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, points.map(([x, y]) => {
    const at = 4 * (Math.floor(y * canvas.height) * canvas.width
      + Math.floor(x * canvas.width));
    return [Math.floor(x * canvas.width), Math.floor(y * canvas.height),
      all[at], all[at + 1], all[at + 2]];
  })];
}
"""


def expected_colour(levels, overlay, size, pixel, opacity):
    """The colour of one canvas pixel, or None outside the image."""
    (width, height), (x, y) = size, pixel
    rows, columns = levels.shape
    scale = min(width / columns, height / rows)
    fitted = round(columns * scale), round(rows * scale)
    x = x + 0.5 - (width - fitted[0]) // 2
    y = y + 0.5 - (height - fitted[1]) // 2
    if not (0 < x < fitted[0] and 0 < y < fitted[1]):
        return None
    u, v = x / fitted[0], y / fitted[1]
    grey = bilinear(levels, v * rows, u * columns)
    value = bilinear(overlay.astype(float), v * overlay.shape[0], u * overlay.shape[1])
    alpha = opacity * abs(value) / 127
    return (1 - alpha) * grey + alpha * (NEGATIVE if value < 0 else POSITIVE)


@pytest.fixture
def open_case(page, log_in, tmp_path, live_server, rhea, complaints):
    """Shows one image, with the same map under every arm."""
    complaints.expected.append(
        "willReadFrequently"
    )  # the tests read, the page does not

    def open_case(pixels, overlay, **case):
        bundle = make_bundle(tmp_path / "bundle", cases=1, dtype=str(pixels.dtype))
        manifest = read_manifest(bundle)
        (entry,) = manifest["cases"]
        entry.update(case, image=write_pixels(bundle, "images/known.npy", pixels))
        for variant in VARIANTS:
            name = f"overlays/known-{variant}.npy"
            entry["overlays"][variant] = write_pixels(bundle, name, overlay)
        write_manifest(bundle, manifest)
        study = create_study(
            name="Known", bundles=[bundle], readers=[rhea], by=coordinator()
        )
        open_study(study=study, by=coordinator(), reason="ready")
        log_in(page, rhea)
        page.goto(f"/studies/{study.uuid}/")
        page.get_by_role("link", name="Start").click()
        wait_until_ready(page)
        return page

    return open_case


def read_canvas(page, points):
    """The canvas's size, and for places from 0 to 1 their pixel and its colour."""
    width, height, found = page.evaluate(READ_CANVAS, points)
    return (width, height), [((x, y), np.array(rgb)) for x, y, *rgb in found]


def everywhere():
    places = np.linspace(0.003, 0.997, 37)
    return [[float(x), float(y)] for x in places for y in places]


CASES = {
    "8 bit": {
        "dtype": np.uint8,
        "window": (128.0, 256.0),
        "stored": (128.0, 256.0),
        "case": {},
    },
    "16 bit, inverted, rescaled, padded": {
        "dtype": np.uint16,
        "window": (-200.0, 1501.0),
        # With m = 0.5 and b = -1000.
        "stored": ((-200.5 + 1000) / 0.5 + 0.5, 1500 / 0.5 + 1),
        "case": {
            "inverted": True,
            "padding_value": 63000,
            "rescale_slope": 0.5,
            "rescale_intercept": -1000.0,
        },
    },
}


@pytest.mark.parametrize("name", CASES)
def test_every_pixel_is_what_the_reference_says(open_case, name):
    known = CASES[name]
    rng = np.random.default_rng(1)
    top = 255 if known["dtype"] == np.uint8 else 4000
    pixels = rng.integers(0, top, (9, 12)).astype(known["dtype"])
    center, width = known["window"]
    case = known["case"] | {
        "windows": [{"label": "known", "center": center, "width": width}]
    }
    padding = case.get("padding_value")
    if padding is not None:
        pixels[:2] = padding
    overlay = rng.integers(-127, 128, (5, 7)).astype(np.int8)
    overlay[1:4, 2:5] = 0  # a hole in which nothing may be painted
    overlay[0, 0], overlay[4, 6] = -127, 127

    page = open_case(pixels, overlay, **case)
    size, found = read_canvas(page, everywhere())

    inverted = case.get("inverted", False)
    level = np.vectorize(
        lambda value: grey_level(value, *known["stored"], inverted, padding)
    )
    levels = level(pixels).astype(float)
    inside = 0
    for pixel, colour in found:
        expected = expected_colour(levels, overlay, size, pixel, opacity=0.7)
        if expected is None:
            assert tuple(colour) == (0, 0, 0)
        else:
            inside += 1
            # 8 bits in the map's alpha, in the blend, and in the browser's filter.
            assert np.abs(colour - expected).max() <= 3, (pixel, colour, expected)
    assert inside > 500


def test_negative_is_blue_positive_red_and_zero_unpainted(open_case):
    pixels = np.full((8, 8), 100, np.uint8)
    overlay = np.zeros((8, 8), np.int8)
    overlay[:, :2], overlay[:, -2:] = -127, 127

    page = open_case(pixels, overlay)
    (width, height), _ = read_canvas(page, [])
    side = min(width, height)
    left, right = (0.5 + sign * 0.45 * side / width for sign in (-1, 1))
    _, found = read_canvas(page, [[left, 0.5], [0.5, 0.5], [right, 0.5]])

    (_, blue), (_, grey), (_, red) = found
    assert blue[2] > blue[1] > blue[0]
    assert tuple(grey) == (100, 100, 100)
    assert red[0] > red[1] > red[2]
    np.testing.assert_allclose(blue, 0.3 * 100 + 0.7 * NEGATIVE, atol=2)
    np.testing.assert_allclose(red, 0.3 * 100 + 0.7 * POSITIVE, atol=2)


def test_map_and_opacity_can_be_changed_by_key_and_by_hand(open_case):
    page = open_case(np.full((8, 8), 100, np.uint8), np.full((8, 8), 127, np.int8))

    def opacity():
        """Read back from the picture: 0 where it shows the image alone."""
        _, ((_, colour),) = read_canvas(page, [[0.5, 0.5]])
        return (colour[0] - 100) / (POSITIVE[0] - 100)

    slider = page.get_by_role("slider", name="Opacity")
    assert opacity() == pytest.approx(0.7, abs=0.02)
    page.keyboard.press("Comma")
    assert opacity() == pytest.approx(0.6, abs=0.02)
    page.keyboard.press("Period")
    page.keyboard.press("Period")
    assert opacity() == pytest.approx(0.8, abs=0.02)
    slider.fill("20")
    assert opacity() == pytest.approx(0.2, abs=0.02)
    slider.press("ArrowRight")
    assert opacity() == pytest.approx(0.25, abs=0.02)

    page.keyboard.press("KeyO")
    assert opacity() == 0
    page.get_by_role("button", name="Map").click()
    assert opacity() == pytest.approx(0.25, abs=0.02)


def test_the_next_case_begins_with_the_studys_own_settings(reading):
    page = reading
    page.keyboard.press("KeyO")
    page.keyboard.press("Comma")
    page.keyboard.press("Digit3")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    wait_until_ready(page)

    expect(page.get_by_role("slider", name="Opacity")).to_have_value("70")
    expect(page.locator("#map-toggle")).to_have_attribute("aria-pressed", "true")


def test_the_picture_follows_the_windows_size(open_case):
    page = open_case(np.full((8, 8), 100, np.uint8), np.zeros((8, 8), np.int8))
    page.set_viewport_size({"width": 900, "height": 1200})
    page.wait_for_timeout(300)

    (width, height), _ = read_canvas(page, [])
    frame = page.locator("#viewer").bounding_box()
    assert (width, height) == (round(frame["width"]), round(frame["height"]))
    side = min(width, height)
    edges = [[0.5 + 0.49 * side / width, 0.5], [0.5, 0.5 + 0.49 * side / height]]
    _, found = read_canvas(page, edges)
    assert all(tuple(colour) == (100, 100, 100) for _, colour in found)


def test_a_dense_screen_gets_a_picture_in_its_own_pixels(
    browser, chromium, live_server, complaints, open_case
):
    page = open_case(np.full((8, 8), 100, np.uint8), np.zeros((8, 8), np.int8))
    # A browser of its own: an emulated density does not reach the layout.
    other = browser.browser_type.launch(
        executable_path=chromium,
        args=[*ARGUMENTS, "--force-device-scale-factor=1.5"],
    )
    context = other.new_context(
        base_url=live_server.url,
        storage_state=page.context.storage_state(),
        no_viewport=True,
    )
    dense = complaints.listen(context).new_page()
    dense.goto(page.url)
    wait_until_ready(dense)

    (width, height), _ = read_canvas(dense, [])
    frame = dense.locator("#viewer").bounding_box()
    assert width == pytest.approx(1.5 * frame["width"], abs=1)
    assert height == pytest.approx(1.5 * frame["height"], abs=1)
    other.close()
