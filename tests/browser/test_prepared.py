"""The next case is prepared before it is asked for, and looks as if it were not."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import AS_WITH_A_CARD, rate_by_key, wait_until_ready
from tests.browser.test_viewer import RENDERERS, canvas_size, picture_of
from tests.readerstudy.factories import (
    answer,
    make_bundle,
    make_study,
    read_manifest,
    study_over,
    write_manifest,
    write_pixels,
)

pytestmark = pytest.mark.browser

# Idle time comes when a test says so, and is so many steps long.
IDLE = """
window.waiting = [];
window.requestIdleCallback = (act) => window.waiting.push(act);
window.cancelIdleCallback = () => { window.waiting = []; };
window.idle = (steps) => {
  let left = steps;
  const deadline = { timeRemaining: () => (left-- > 0 ? 50 : 0) };
  while (left > 0 && window.waiting.length) window.waiting.shift()(deadline);
};
"""
# The buffers that came, the pieces of pictures that were begun, and the textures that
# the card holds.
COUNT = """
window.buffers = [];
const read = Response.prototype.arrayBuffer;
Response.prototype.arrayBuffer = async function () {
  const buffer = await read.call(this);
  window.buffers.push(new WeakRef(buffer));
  return buffer;
};
window.painted = [];
window.pieces = 0;
window.textures = 0;
window.ImageData = class extends ImageData {
  constructor(...size) {
    super(...size);
    window.pieces += 1;
    window.painted.push(new WeakRef(this));
  }
};
const onCard = (name, act) => {
  const own = WebGL2RenderingContext.prototype[name];
  WebGL2RenderingContext.prototype[name] = function (...given) {
    act();
    return own.apply(this, given);
  };
};
onCard("texImage2D", () => { window.pieces += 1; });
onCard("createTexture", () => { window.textures += 1; });
onCard("deleteTexture", () => { window.textures -= 1; });
"""
ALL = 1_000_000


@pytest.fixture(params=RENDERERS)
def renderer(request, page, complaints):
    # Of the browser itself: an emulated card is read back for every frame.
    complaints.expected.append("ReadPixels")
    page.add_init_script(COUNT)
    if request.param == "webgl2":
        page.add_init_script(AS_WITH_A_CARD)
    return request.param


@pytest.fixture
def alike(tmp_path, live_server, rhea):
    """Two cases of one kind, each under three arms."""
    return make_study(
        tmp_path / "bundle",
        readers=[rhea],
        cases=2,
        height=64,
        width=48,
        dtype="uint16",
    )


OTHER = np.random.default_rng(3).integers(0, 4000, (70, 110)).astype(np.uint16)
# What the second of two cases has otherwise than the first.
DIFFERENCES = {
    "colours": {
        "windows": [{"label": "narrow", "center": -300.0, "width": 900.0}],
        "rescale_slope": 0.5,
        "rescale_intercept": -1000.0,
        "inverted": True,
    },
    "padding": {"padding_value": 7},
    "shape": {"pixel_spacing_mm": [0.8, 0.5], "image": OTHER},
}


@pytest.fixture
def differing(tmp_path, live_server, rhea):
    """Two cases that are not of one kind, each under three arms."""

    def differing(difference):
        bundle = make_bundle(tmp_path / "bundle", cases=2, height=64, width=48)
        manifest = read_manifest(bundle)
        more = dict(DIFFERENCES[difference])
        if "image" in more:
            more["image"] = write_pixels(bundle, "images/other.npy", more["image"])
        manifest["cases"][1].update(more)
        write_manifest(bundle, manifest)
        return study_over(bundle, readers=[rhea])

    return differing


@pytest.fixture
def start(page, log_in, rhea):
    """Opens the presentation after the first `answered`."""

    def start(study, answered=0):
        for presentation in study.enrolments.get().presentations.all()[:answered]:
            answer(presentation, rhea)
        log_in(page, rhea)
        page.goto(f"/studies/{study.uuid}/")
        name = "Continue" if answered else "Start"
        page.get_by_role("link", name=name).click()
        wait_until_ready(page)
        return page

    return start


def prepare(page, steps=ALL):
    """Let the page be idle, as soon as the next case has come."""
    page.wait_for_function("() => window.waiting.length > 0")
    page.evaluate("(steps) => window.idle(steps)", steps)


def pieces(page):
    return page.evaluate("window.pieces")


def unprepared_picture_of(page):
    page.reload()
    wait_until_ready(page)
    return picture_of(page)


def held(page):
    """What is held: pixel buffers, painted pieces, textures."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.detach()
    return page.evaluate(
        """() => {
          const living = (all) => all.filter((one) => one.deref()).length;
          return [living(window.buffers), living(window.painted), window.textures];
        }"""
    )


def assert_looks_as_if_unprepared(page, steps=ALL):
    # Among four presentations of two cases, both are shown.
    for _ in range(3):
        prepare(page, steps)
        rate_by_key(page, 3)
        shown = picture_of(page)

        assert shown.any()
        assert (shown == unprepared_picture_of(page)).all()


@pytest.mark.parametrize("steps", [ALL, 1])
def test_prepared_wholly_or_partly_a_case_looks_the_same(
    page, renderer, start, alike, steps
):
    page.add_init_script(IDLE)
    start(alike)

    assert_looks_as_if_unprepared(page, steps)


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_a_case_that_is_not_like_the_one_before_looks_as_it_should(
    page, renderer, start, differing, difference
):
    page.add_init_script(IDLE)
    start(differing(difference))

    assert_looks_as_if_unprepared(page)


def test_what_is_prepared_is_not_done_again(page, renderer, start, alike):
    start(alike, answered=4)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)  # the browser's own idle time
    before = pieces(page)

    rate_by_key(page, 3)

    assert pieces(page) == before
    page.keyboard.press("KeyI")
    picture_of(page)
    assert pieces(page) == before


@pytest.mark.parametrize("size", [(1500, 900), (900, 1200)])
def test_a_window_that_was_resized_meanwhile_gets_its_picture(
    page, renderer, start, alike, size
):
    page.add_init_script(IDLE)
    start(alike)
    prepare(page)
    before = canvas_size(page)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_timeout(200)

    rate_by_key(page, 3)
    shown = picture_of(page)

    assert canvas_size(page) != before
    assert list(shown.shape[1::-1]) == canvas_size(page)
    assert (shown == unprepared_picture_of(page)).all()


def test_nothing_is_seen_of_what_is_prepared(page, renderer, start, differing):
    page.add_init_script(IDLE)
    start(differing("colours"))
    page.wait_for_function("() => window.waiting.length > 0")

    def everything():
        # In this order: a screenshot leaves its mark in the document.
        shown = picture_of(page)
        return page.evaluate("document.documentElement.outerHTML"), shown

    html, shown = everything()
    for steps in (1, ALL):
        prepare(page, steps)
        # Drawn anew, and still this case.
        page.keyboard.press("KeyI")
        assert (picture_of(page) != shown).any()
        page.keyboard.press("KeyI")
        html_then, shown_then = everything()
        assert html_then == html
        assert (shown_then == shown).all()


def test_no_more_than_two_cases_are_held(page, renderer, start, alike):
    start(alike)
    two = held(page)
    for number in range(2, 6):
        rate_by_key(page, 3)
        expect(page.locator("#progress")).to_contain_text(f"Case {number} of 6")
        assert held(page) == two
    rate_by_key(page, 3)

    assert two[0] == 4  # an image and a map each
    assert sum(two[1:]) > 0
    # The last has none after it.
    assert [2 * number for number in held(page)] == two


def test_what_was_prepared_for_nothing_is_let_go(page, renderer, start, alike):
    page.add_init_script(IDLE)
    start(alike, answered=3)
    prepare(page)
    rate_by_key(page, 3)
    prepare(page)
    buffers, painted, textures = held(page)

    page.keyboard.press("Backspace")  # to the case before, and not to the next
    page.get_by_role("button", name="Save the change").wait_for()
    wait_until_ready(page)

    # What follows has come, but there was no time to prepare it.
    page.wait_for_function("() => window.waiting.length > 0")
    assert held(page) == [buffers, painted / 2, textures]


def test_a_browser_that_tells_of_no_idle_time_reads_on(page, start, alike):
    page.add_init_script("window.requestIdleCallback = undefined;")
    start(alike, answered=4)
    rate_by_key(page, 3)

    expect(page.locator("#progress")).to_contain_text("Case 6 of 6")
    assert picture_of(page).any()
