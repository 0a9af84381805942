"""The rating page on the screens that people have. Screenshots go beside the log."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import wait_until_ready
from tests.readerstudy.factories import make_study

pytestmark = pytest.mark.browser

SCREENS = [(1280, 800), (1440, 900), (1920, 1080), (3840, 2160), (1536, 2048)]


@pytest.fixture
def study(tmp_path, live_server, rhea):
    return make_study(
        tmp_path / "bundle",
        readers=[rhea],
        cases=2,  # one with a single finding, one with two
        height=64,
        width=48,
        overlay=(16, 16),
    )


def box(locator):
    place = locator.bounding_box()
    return tuple(round(place[side]) for side in ("x", "y", "width", "height"))


def test_everything_is_in_sight_on_every_screen(reading, tmp_path):
    page = reading
    page.keyboard.press("Digit4")
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(200)
        page.screenshot(path=tmp_path / f"reading-{width}x{height}.png")

        for part in (
            page.locator("#viewer"),
            page.get_by_role("button", name="Map"),
            page.get_by_role("slider", name="Opacity"),
            page.locator(".legend"),
            page.locator(".findings"),
            page.get_by_role("button", name="Save and next"),
            page.locator("#reading footer"),
            *page.locator(".answer").all(),
        ):
            expect(part).to_be_in_viewport(ratio=1)
        for element in ("html", "#panel", ".viewer", ".toolbar"):
            scrolls = page.locator(element).evaluate(
                "({ scrollWidth, scrollHeight, clientWidth, clientHeight }) =>"
                " scrollWidth > clientWidth || scrollHeight > clientHeight"
            )
            assert not scrolls, (element, width, height)


def test_nothing_lies_over_the_picture(reading):
    covered = reading.locator("canvas").evaluate(
        """(canvas) => {
          const { left, top, width, height } = canvas.getBoundingClientRect();
          const places = [0.02, 0.25, 0.5, 0.75, 0.98];
          return places.some((x) => places.some((y) =>
            document.elementFromPoint(left + x * width, top + y * height) !== canvas));
        }"""
    )

    assert not covered


def test_nothing_moves_from_case_to_case(reading):
    page = reading
    parts = ["#viewer", ".question", "fieldset", "[type=submit]", ".toolbar", "footer"]

    def layout():
        return {part: box(page.locator(part).last) for part in parts}

    first = layout()
    for number in range(2, 6):
        page.keyboard.press("Digit2")
        page.keyboard.press("Enter")
        expect(page.locator("#progress")).to_contain_text(f"Case {number} of 6")
        assert layout() == first  # also while the scale is still hidden
        wait_until_ready(page)
        assert layout() == first


def test_the_other_pages_fit_into_a_narrow_window(page, log_in, rhea, study):
    log_in(page, rhea)
    page.set_viewport_size({"width": 400, "height": 800})
    for address in ("/", f"/studies/{study.uuid}/", "/accounts/login/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
