"""The rating page on the screens that people have. Screenshots go beside the log."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import assert_accessible, wait_until_ready
from tests.readerstudy.factories import answer, make_study, rate_all

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


@pytest.fixture
def asking(page, tmp_path, log_in, live_server, rhea):
    """The fullest panel: an answer to be changed, where the study asks how sure."""
    study = make_study(
        tmp_path / "asking",
        name="How sure",
        readers=[rhea],
        cases=2,
        protocol={"asks_confidence": True},
    )
    first, second, *_ = study.enrolments.get().presentations.all()
    for presentation in (first, second):
        answer(presentation, rhea, 3, confidence=2)
    log_in(page, rhea)
    page.goto(f"/read/{second.token}/change")
    wait_until_ready(page)
    return page


def box(locator):
    place = locator.bounding_box()
    return tuple(round(place[side]) for side in ("x", "y", "width", "height"))


@pytest.mark.parametrize("fixture", ["reading", "asking"])
def test_everything_is_in_sight_on_every_screen(request, tmp_path, fixture):
    page = request.getfixturevalue(fixture)
    page.keyboard.press("Digit4")
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(200)
        page.screenshot(path=tmp_path / f"{fixture}-{width}x{height}.png")

        for part in (
            page.locator("#viewer"),
            page.get_by_role("button", name="Map"),
            page.get_by_role("slider", name="Opacity"),
            page.locator(".legend"),
            page.locator(".findings"),
            page.get_by_role("button", name="Save"),
            page.get_by_text("Cannot be judged"),
            page.get_by_text("Add a comment"),
            page.locator("#reading footer"),
            *page.locator(".answer, .confidence, .standing").all(),
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


def test_the_other_pages_fit_every_screen_and_are_accessible(
    page, log_in, rhea, study, tmp_path, complaints
):
    complaints.expected.append("404")
    fresh = make_study(
        tmp_path / "fresh", name="Fresh", readers=[rhea], cases=1, begun=False
    )
    done = make_study(tmp_path / "done", name="Done", readers=[rhea], cases=1)
    rate_all(done.enrolments.get())
    log_in(page, rhea)
    addresses = {
        "home": "/",
        "consent": f"/studies/{fresh.uuid}/",
        "study": f"/studies/{study.uuid}/",
        "display": f"/studies/{study.uuid}/display/",
        "done": f"/studies/{done.uuid}/",
        "finish": f"/studies/{done.uuid}/finish/",
        "help": "/help/",
        "settings": "/settings/",
        "missing": "/no/such/page/",
        "login": "/accounts/login/",
    }
    for name, address in addresses.items():
        page.goto(address)
        assert_accessible(page)
        for width, height in [(400, 800), *SCREENS]:
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=tmp_path / f"{name}-{width}x{height}.png")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_on_paper_the_instructions_are_black_on_white(page, log_in, rhea, study):
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.emulate_media(media="print")

    for part in (".bar", ".button"):
        expect(page.locator(part).first).to_be_hidden()
    colours = page.locator("body").evaluate(
        "(body) => [getComputedStyle(body)].map((s) => [s.color, s.backgroundColor])"
    )
    assert colours == [["rgb(0, 0, 0)", "rgb(255, 255, 255)"]]
    expect(page.get_by_text(study.protocol["questions"][0]["text"])).to_be_visible()
