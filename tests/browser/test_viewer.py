"""The viewer against a slow and obvious reference in Python, and at its controls."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import ARGUMENTS, AS_WITH_A_CARD, wait_until_ready
from tests.browser.reference import NEGATIVE, POSITIVE, Picture
from tests.readerstudy.factories import (
    VARIANTS,
    make_bundle,
    read_manifest,
    study_over,
    write_manifest,
    write_pixels,
)

pytestmark = pytest.mark.browser

RENDERERS = ["canvas", "webgl2"]
WINDOW = {"label": "known", "center": 128.0, "width": 256.0}


@pytest.fixture
def open_case(page, log_in, tmp_path, live_server, rhea, complaints):
    """Shows one image, with the same map under every arm."""
    # Of the browser itself: an emulated card is read back for every frame.
    complaints.expected.append("ReadPixels")

    def open_case(pixels, overlay, *, renderer="canvas", protocol=None, **case):
        if renderer == "webgl2":
            page.add_init_script(AS_WITH_A_CARD)
        bundle = make_bundle(tmp_path / "bundle", cases=1, dtype=str(pixels.dtype))
        manifest = read_manifest(bundle)
        (entry,) = manifest["cases"]
        entry.update(case, image=write_pixels(bundle, "images/known.npy", pixels))
        for variant in VARIANTS:
            name = f"overlays/known-{variant}.npy"
            entry["overlays"][variant] = write_pixels(bundle, name, overlay)
        write_manifest(bundle, manifest)
        study = study_over(bundle, readers=[rhea], protocol=protocol)
        log_in(page, rhea)
        page.goto(f"/studies/{study.uuid}/")
        page.get_by_role("link", name="Start").click()
        wait_until_ready(page)
        return page

    return open_case


def picture_of(page):
    """What the screen shows of the canvas: rows x columns x 3."""
    page.wait_for_timeout(100)
    box = page.locator("canvas").bounding_box()
    screen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    left, top = round(box["x"]), round(box["y"])
    right, bottom = round(box["x"] + box["width"]), round(box["y"] + box["height"])
    return np.asarray(screen.crop((left, top, right, bottom))).astype(int)


def canvas_size(page):
    return page.locator("canvas").evaluate("(c) => [c.width, c.height]")


def somewhere(shown, number=800):
    """Pixels all over the canvas, its corners included."""
    height, width, _ = shown.shape
    rng = np.random.default_rng(2)
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    drawn = zip(
        rng.integers(0, width, number), rng.integers(0, height, number), strict=True
    )
    return corners + [(int(x), int(y)) for x, y in drawn]


def assert_shows(page, picture: Picture):
    shown = picture_of(page)
    height, width, _ = shown.shape
    assert [width, height] == canvas_size(page)
    on_image = 0
    for x, y in somewhere(shown):
        expected = picture.colour((width, height), x, y)
        # Half a level of rounding, and single precision.
        apart = np.abs(shown[y, x] - expected).max()
        assert apart <= 1, ((x, y), shown[y, x], expected)
        on_image += bool(expected.any())
    assert on_image > 150


@pytest.fixture
def known():
    """A small map with a hole in which nothing may be painted."""
    overlay = np.random.default_rng(1).integers(-127, 128, (5, 7)).astype(np.int8)
    overlay[1:4, 2:5] = 0
    overlay[0, 0], overlay[4, 6] = -127, 127
    return overlay


def draw_pixels(dtype, shape, top):
    return np.random.default_rng(8).integers(0, top, shape).astype(dtype)


CASES = {
    "8 bit": {
        "pixels": draw_pixels(np.uint8, (9, 12), 256),
        "windows": [WINDOW],
    },
    "16 bit, inverted, rescaled, padded, tall pixels": {
        "pixels": draw_pixels(np.uint16, (9, 12), 4000),
        "windows": [{"label": "known", "center": -200.0, "width": 1501.0}],
        "inverted": True,
        "rescale_slope": 0.5,
        "rescale_intercept": -1000.0,
        "padding_value": 63000,
        "pixel_spacing_mm": [0.8, 0.5],
    },
    "reduced, with padding": {
        "pixels": draw_pixels(np.uint16, (1100, 1400), 65000),
        "windows": [{"label": "known", "center": 30000.0, "width": 40000.0}],
        "padding_value": 65535,
    },
    "a falling rescaling, a threshold": {
        "pixels": draw_pixels(np.uint16, (6, 6), 1000),
        "windows": [{"label": "known", "center": -300.0, "width": 1.0}],
        "rescale_slope": -1.0,
        "rescale_intercept": 255.0,
    },
}


def with_padding(pixels, value):
    """A padded frame, and single padded pixels inside."""
    padded = pixels.copy()
    padded[:2], padded[:, -1] = value, value
    padded[pixels % 17 == 0] = value
    return padded


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("name", CASES)
def test_every_pixel_is_what_the_reference_says(open_case, known, name, renderer):
    case = dict(CASES[name])
    pixels = case.pop("pixels")
    if "padding_value" in case:
        pixels = with_padding(pixels, case["padding_value"])

    page = open_case(pixels, known, renderer=renderer, **case)

    picture = Picture(
        pixels=pixels.astype(float),
        overlay=known.astype(float),
        center=case["windows"][0]["center"],
        width=case["windows"][0]["width"],
        slope=case.get("rescale_slope", 1.0),
        intercept=case.get("rescale_intercept", 0.0),
        inverted=case.get("inverted", False),
        padding=case.get("padding_value"),
        spacing=tuple(case.get("pixel_spacing_mm", (1.0, 1.0))),
    )
    assert renderer_of(page) == renderer
    if case["windows"][0]["width"] == 1:
        # On the very edge of a threshold single precision may fall to either side.
        shown = picture_of(page)
        grey = [shown[y, x] for x, y in somewhere(shown)]
        wrong = sum(
            np.abs(colour - picture.colour(shown.shape[1::-1], x, y)).max() > 1
            for colour, (x, y) in zip(grey, somewhere(shown), strict=True)
        )
        assert wrong <= 2
    else:
        assert_shows(page, picture)


def renderer_of(page):
    """As the summary says that goes with every answer."""
    page.evaluate(
        """() => document.addEventListener("submit", (event) => {
          window.summary = new FormData(event.target).get("_viewer");
          event.preventDefault();
          event.stopImmediatePropagation();
        }, { once: true, capture: true })"""
    )
    page.locator("[name=rating]").first.evaluate("(radio) => { radio.checked = true; }")
    page.locator("#reading form").first.evaluate("(form) => form.requestSubmit()")
    return json.loads(page.evaluate("window.summary"))["renderer"]


@pytest.mark.parametrize("renderer", RENDERERS)
def test_zoomed_moved_inverted_and_thinned_it_is_what_the_reference_says(
    open_case, known, renderer
):
    pixels = draw_pixels(np.uint8, (90, 120), 256)
    page = open_case(pixels, known, renderer=renderer, windows=[WINDOW])
    width, height = canvas_size(page)
    box = page.locator("canvas").bounding_box()
    picture = Picture(
        pixels=pixels.astype(float),
        overlay=known.astype(float),
        center=128,
        width=256,
        inverted=True,
        threshold=0.4,
        zoom=4,
    )
    scale = picture.fit(width, height)
    across, down = 120 * scale, 90 * scale

    page.mouse.move(300, 200)
    page.mouse.wheel(0, -600)  # twice the size for each 300
    page.mouse.down(button="middle")
    page.mouse.move(350, 170, steps=5)
    page.mouse.up(button="middle")
    page.keyboard.press("KeyI")
    page.get_by_role("slider", name="Threshold").fill("40")

    # What was under the mouse stayed there, and then went with it.
    x = (300 - box["x"]) * width / box["width"] - width / 2
    y = (200 - box["y"]) * height / box["height"] - height / 2
    picture.middle = (
        0.5 + (x * (1 - 1 / 4) - 50 / 4) / across,
        0.5 + (y * (1 - 1 / 4) + 30 / 4) / down,
    )
    assert_shows(page, picture)


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("shape", [(60, 40), (40, 120)], ids=["beside", "above"])
def test_side_by_side_shows_the_image_and_its_map_apart(
    open_case, known, renderer, shape
):
    pixels = draw_pixels(np.uint8, shape, 256)
    page = open_case(
        pixels,
        known,
        renderer=renderer,
        windows=[WINDOW],
        protocol={"display_mode": "side_by_side"},
    )
    picture = Picture(
        pixels=pixels.astype(float),
        overlay=known.astype(float),
        center=128,
        width=256,
        side_by_side=True,
    )
    assert_shows(page, picture)

    # In the middle of either pane the wheel does the same to both.
    box = page.locator("canvas").bounding_box()
    x, y, width, height = picture.panes(*canvas_size(page))[1]
    page.mouse.move(box["x"] + x + width / 2, box["y"] + y + height / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    assert (
        page.locator("#readout")
        .inner_text()
        .endswith(f"{round(200 * picture.fit(width, height))} %")
    )


@pytest.mark.parametrize("renderer", RENDERERS)
def test_reducing_loses_no_thin_line(open_case, renderer):
    pixels = np.zeros((1900, 1900), np.uint8)
    pixels[:, 5::100] = 200  # as wide as a third of a screen pixel
    page = open_case(
        pixels, np.zeros((4, 4), np.int8), renderer=renderer, windows=[WINDOW]
    )

    shown = picture_of(page)[:, :, 0].astype(float)
    columns = np.flatnonzero(shown[300])
    lines = np.split(columns, np.flatnonzero(np.diff(columns) > 3) + 1)
    assert len(lines) == 19
    light = [shown[300, line].sum() for line in lines]
    # Each keeps its light, wherever it falls, but for half a level a pixel.
    assert np.ptp(light) <= 4
    assert (shown[:1] == shown[300]).all()


def test_a_lost_graphics_card_is_survived(open_case, known):
    pixels = draw_pixels(np.uint8, (40, 30), 256)
    page = open_case(pixels, known, renderer="webgl2", windows=[WINDOW])
    page.keyboard.press("KeyI")
    page.keyboard.press("Comma")
    before = picture_of(page)

    page.evaluate(
        """() => {
          window.lost = document.querySelector("canvas");
          const gl = window.lost.getContext("webgl2");
          window.card = gl.getExtension("WEBGL_lose_context");
          window.card.loseContext();
        }"""
    )
    while_lost = picture_of(page)
    assert page.evaluate("document.querySelector('canvas') !== window.lost")
    page.set_viewport_size({"width": 1300, "height": 800})
    page.wait_for_timeout(200)
    page.evaluate("window.card.restoreContext()")
    page.wait_for_function("() => document.querySelector('canvas') === window.lost")
    page.set_viewport_size({"width": 1280, "height": 800})
    after = picture_of(page)

    assert np.abs(before - while_lost).max() <= 1
    assert np.abs(before - after).max() == 0
    page.keyboard.press("KeyI")
    assert np.abs(before - picture_of(page)).max() > 100


def test_negative_is_blue_positive_red_and_zero_unpainted(open_case):
    pixels = np.full((8, 8), 100, np.uint8)
    overlay = np.zeros((8, 8), np.int8)
    overlay[:, :2], overlay[:, -2:] = -127, 127

    page = open_case(pixels, overlay)
    shown = picture_of(page)
    height, width, _ = shown.shape
    side = min(width, height)
    middle, aside = width // 2, round(0.45 * side)
    blue, grey, red = shown[height // 2, [middle - aside, middle, middle + aside]]
    assert blue[2] > blue[1] > blue[0]
    assert tuple(grey) == (100, 100, 100)
    assert red[0] > red[1] > red[2]
    np.testing.assert_allclose(blue, 0.3 * 100 + 0.7 * NEGATIVE, atol=2)
    np.testing.assert_allclose(red, 0.3 * 100 + 0.7 * POSITIVE, atol=2)


def test_map_and_opacity_can_be_changed_by_key_and_by_hand(open_case):
    page = open_case(np.full((8, 8), 100, np.uint8), np.full((8, 8), 127, np.int8))

    def opacity():
        """Read back from the picture: 0 where it shows the image alone."""
        shown = picture_of(page)
        red = shown[shown.shape[0] // 2, shown.shape[1] // 2, 0]
        return (red - 100) / (POSITIVE[0] - 100)

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

    page.get_by_role("slider", name="Threshold").fill("100")
    assert opacity() == pytest.approx(0.25, abs=0.02)  # the map is at its strongest


def test_the_next_case_begins_with_the_studys_own_settings(reading):
    page = reading
    page.keyboard.press("KeyO")
    page.keyboard.press("Comma")
    page.keyboard.press("Digit3")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    wait_until_ready(page)

    expect(page.get_by_role("slider", name="Opacity")).to_have_value("70")
    expect(page.get_by_role("button", name="Map")).to_have_attribute(
        "aria-pressed", "true"
    )


def test_the_picture_follows_the_windows_size(open_case):
    page = open_case(np.full((8, 8), 100, np.uint8), np.zeros((8, 8), np.int8))
    page.set_viewport_size({"width": 900, "height": 1200})
    page.wait_for_timeout(300)

    shown = picture_of(page)
    height, width, _ = shown.shape
    frame = page.locator("#viewer").bounding_box()
    assert [width, height] == canvas_size(page)
    assert abs(width - frame["width"]) < 1
    assert abs(height - frame["height"]) < 1
    near = round(0.49 * min(width, height))
    assert (shown[height // 2, width // 2 + near] == 100).all()
    assert (shown[height // 2 + near, width // 2] == 100).all()


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

    width, height = canvas_size(dense)
    frame = dense.locator("#viewer").bounding_box()
    assert width == pytest.approx(1.5 * frame["width"], abs=1)
    assert height == pytest.approx(1.5 * frame["height"], abs=1)
    other.close()
