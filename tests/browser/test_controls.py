"""The viewer under hands: mouse, fingers, pen, keys and buttons."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import assert_accessible, rate_by_key, wait_until_ready
from tests.browser.test_viewer import picture_of
from tests.readerstudy.factories import (
    make_bundle,
    make_study,
    read_manifest,
    study_over,
    write_manifest,
)

pytestmark = pytest.mark.browser

WINDOWS = [
    {"label": "soft tissue", "center": 40.0, "width": 400.0},
    {"label": "lung", "center": -600.0, "width": 1500.0},
]
PEN = """
([type, x, y, id, kind]) => document.querySelector("canvas").dispatchEvent(
  new PointerEvent(type, { bubbles: true, cancelable: true, clientX: x, clientY: y,
    pointerId: id, pointerType: kind, button: 0, isPrimary: true }))
"""


@pytest.fixture
def study(tmp_path, live_server, rhea):
    """Stored values from -1024 on, with two presets and pixels of half a millimetre."""
    bundle = make_bundle(
        tmp_path / "bundle", cases=1, height=64, width=48, dtype="uint16"
    )
    manifest = read_manifest(bundle)
    for case in manifest["cases"]:
        case["windows"] = WINDOWS
        case["rescale_intercept"] = -1024.0
        case["pixel_spacing_mm"] = [0.5, 0.5]
    write_manifest(bundle, manifest)
    return study_over(bundle, readers=[rhea])


def readout(page):
    """Window width and level, and the zoom in percent."""
    page.wait_for_timeout(50)
    _, width, _, level, _, zoom, _ = (
        page.locator("#readout").inner_text().replace("\N{MINUS SIGN}", "-").split()
    )
    return float(width), float(level), float(zoom)


def preset(page):
    return page.locator("#preset").inner_text()


def drag(page, dx, dy, button="left"):
    page.mouse.move(400, 300)
    page.mouse.down(button=button)
    page.mouse.move(400 + dx, 300 + dy, steps=4)
    page.mouse.up(button=button)


def is_pressed(page, name):
    button = page.get_by_role("button", name=name, exact=True)
    return button.get_attribute("aria-pressed") == "true"


def test_a_left_drag_changes_the_window(reading):
    page = reading
    assert readout(page)[:2] == (400, 40)
    assert preset(page) == "soft tissue"

    drag(page, 100, -20)

    assert readout(page)[:2] == (500, 20)
    assert preset(page) == "by hand"


def test_a_middle_drag_and_the_space_bar_move_the_image(reading):
    page = reading
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    before = picture_of(page)

    drag(page, 30, 20, button="middle")
    moved = picture_of(page)
    page.mouse.move(400, 300)
    page.keyboard.down("Space")
    drag(page, -30, -20)
    page.keyboard.up("Space")

    assert (moved[220:420, 330:530] == before[200:400, 300:500]).all()
    assert (picture_of(page) == before).all()
    assert readout(page)[:2] == (400, 40)


def test_the_space_bar_presses_no_button_when_it_moves(reading):
    page = reading
    page.get_by_role("button", name="Invert").click()
    page.keyboard.down("Space")
    drag(page, 10, 10)
    page.keyboard.up("Space")
    assert is_pressed(page, "Invert")

    page.keyboard.press("Space")
    assert not is_pressed(page, "Invert")


def test_wheel_and_right_drag_zoom_and_a_double_click_resets(reading):
    page = reading
    first = readout(page)
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    assert readout(page)[2] == pytest.approx(2 * first[2], abs=1)
    drag(page, 0, 150, button="right")
    assert readout(page)[2] == pytest.approx(first[2], abs=1)
    drag(page, 60, 30)
    page.keyboard.press("KeyI")

    page.mouse.dblclick(400, 300)

    assert readout(page) == first
    assert preset(page) == "soft tissue"
    assert not is_pressed(page, "Invert")


def test_no_menu_comes_up_after_a_right_drag(reading):
    prevented = reading.locator("canvas").evaluate(
        "(canvas) => !canvas.dispatchEvent("
        "new MouseEvent('contextmenu', { bubbles: true, cancelable: true }))"
    )

    assert prevented


def test_keys_and_buttons_do_the_same(reading):
    page = reading
    first = picture_of(page)

    def by(act):
        act()
        shown = picture_of(page)
        page.keyboard.press("KeyR")
        return shown

    for name, code in [("Map", "KeyO"), ("Invert", "KeyI"), ("Window", "KeyW")]:
        by_key = by(lambda code=code: page.keyboard.press(code))
        by_hand = by(page.get_by_role("button", name=name, exact=True).click)
        assert (by_key == by_hand).all()
        assert np.abs(by_key - first).max() > 0, name
    assert (picture_of(page) == first).all()


def test_windows_go_round(reading):
    page = reading
    page.keyboard.press("KeyW")
    assert preset(page) == "lung"
    assert readout(page)[:2] == (1500, -600)
    page.keyboard.press("KeyW")
    assert preset(page) == "soft tissue"
    drag(page, 40, 0)
    page.keyboard.press("KeyW")
    assert preset(page) == "soft tissue"


def test_fit_leaves_the_window_and_reset_does_not(reading):
    page = reading
    first = readout(page)
    page.keyboard.press("KeyW")
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)

    page.keyboard.press("KeyF")
    assert readout(page) == (1500, -600, first[2])
    page.keyboard.press("KeyR")
    assert readout(page) == first


def test_a_peek_lasts_as_long_as_it_is_held(reading):
    page = reading
    with_map = picture_of(page)
    page.keyboard.press("KeyO")
    without = picture_of(page)
    page.keyboard.press("KeyO")
    peek = page.get_by_role("button", name="Peek")

    page.keyboard.down("KeyP")
    page.keyboard.down("KeyP")  # a repeat
    assert (picture_of(page) == without).all()
    page.keyboard.up("KeyP")
    assert (picture_of(page) == with_map).all()

    peek.hover()
    page.mouse.down()
    assert is_pressed(page, "Peek")
    page.mouse.move(400, 300)  # off the button, but still held
    assert (picture_of(page) == without).all()
    page.mouse.up()
    assert (picture_of(page) == with_map).all()

    peek.focus()
    page.keyboard.down("Enter")
    assert (picture_of(page) == without).all()
    page.keyboard.up("Enter")
    assert (picture_of(page) == with_map).all()
    expect(page.locator("#progress")).to_contain_text("Case 1 of 3")


def test_one_finger_changes_the_window_and_two_zoom(reading):
    page = reading
    first = readout(page)

    def finger(kind, x, y, number=7):
        # Captures are of the browser's own pointers.
        page.evaluate("() => { Element.prototype.setPointerCapture = () => {}; }")
        page.evaluate(PEN, [kind, x, y, number, "touch"])

    finger("pointerdown", 400, 300)
    finger("pointermove", 450, 300)
    finger("pointerup", 450, 300)
    assert readout(page) == (450, 40, first[2])

    finger("pointerdown", 300, 300)
    finger("pointerdown", 400, 300, 8)
    finger("pointermove", 500, 300, 8)
    assert readout(page)[2] == pytest.approx(2 * first[2], abs=1)
    finger("pointerup", 500, 300, 8)
    finger("pointermove", 310, 300)  # the one that stays moves the image
    finger("pointerup", 310, 300)
    assert readout(page)[:2] == (450, 40)

    page.wait_for_timeout(500)
    for _ in range(2):
        finger("pointerdown", 350, 350)
        finger("pointerup", 350, 350)
    assert readout(page) == first


def test_a_pen_changes_the_window_as_the_mouse_does(reading):
    page = reading
    session = page.context.new_cdp_session(page)
    page.evaluate(
        """() => document.addEventListener("pointermove", (event) => {
          window.kind = event.pointerType;
        }, { capture: true })"""
    )

    def pen(kind, x, y):
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1}
        session.send("Input.dispatchMouseEvent", {**event, "pointerType": "pen"})

    pen("mousePressed", 400, 300)
    pen("mouseMoved", 450, 290)
    pen("mouseMoved", 500, 280)
    pen("mouseReleased", 500, 280)
    pen("mouseMoved", 300, 400)

    assert page.evaluate("window.kind") == "pen"
    assert readout(page)[:2] == (500, 20)
    assert preset(page) == "by hand"


def test_a_whole_study_is_rated_by_touch(
    browser, live_server, complaints, log_in, rhea, study
):
    context = complaints.listen(
        browser.new_context(
            base_url=live_server.url,
            viewport={"width": 1280, "height": 800},
            has_touch=True,
        )
    )
    page = context.new_page()
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").tap()
    for number in (1, 2, 3):
        expect(page.locator("#progress")).to_contain_text(f"Case {number} of 3")
        wait_until_ready(page)
        page.get_by_role("button", name="Map").tap()
        assert not is_pressed(page, "Map")
        page.get_by_text("Most hot spots lie on the pathology").tap()
        page.get_by_role("button", name="Save and next").tap()
    expect(page.get_by_text("All 3 cases are rated")).to_be_visible()
    context.close()


def test_keys_rest_while_one_types(reading):
    page = reading
    page.locator("#reading form").first.evaluate(
        "(form) => form.insertAdjacentHTML('beforeend', '<input name=other>')"
    )
    page.get_by_text("Add a comment").click()
    for field in ("[name=comment]", "[name=other]"):
        page.locator(field).focus()
        page.keyboard.type("3oi?")
        page.keyboard.press("Backspace")
        assert page.locator(field).input_value() == "3oi"
    assert page.locator("[name=rating]:checked").count() == 0
    assert is_pressed(page, "Map")
    assert not is_pressed(page, "Invert")
    assert not page.get_by_role("dialog").is_visible()


def test_single_keys_can_be_switched_off(reading):
    page = reading
    page.evaluate("() => { document.body.dataset.shortcuts = 'off'; }")
    for key in ("Digit3", "KeyO", "KeyI", "?"):
        page.keyboard.press(key)
    assert page.locator("[name=rating]:checked").count() == 0
    assert is_pressed(page, "Map")
    assert not page.get_by_role("dialog").is_visible()

    page.get_by_role("radio", name="3 About half").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Case 1 saved: 3", exact=True)).to_be_visible()


def test_backspace_goes_back_where_the_panel_offers_it(reading):
    page = reading
    page.keyboard.press("Backspace")  # nothing to go back to
    page.locator("#reading").evaluate(
        """(section) => {
          section.insertAdjacentHTML("beforeend", "<button data-back>Change</button>");
          section.querySelector("[data-back]").onclick = () => { window.back = true; };
        }"""
    )
    page.keyboard.press("Backspace")

    assert page.evaluate("window.back") is True


def test_help_lists_the_keys_and_keeps_them_from_acting(reading):
    page = reading
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys, mouse and touch")
    expect(dialog).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Digit3")
    page.keyboard.press("KeyO")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.locator("[name=rating]:checked").count() == 0
    assert is_pressed(page, "Map")

    page.get_by_role("button", name="Help").click()
    expect(dialog).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    rate_by_key(page, 3)


def test_the_scale_bar_is_as_long_as_it_says(reading):
    page = reading
    bar = page.locator("#scale-bar")
    for _ in range(3):
        page.wait_for_timeout(100)
        zoom = readout(page)[2] / 100
        number, unit = bar.inner_text().split()
        mm = float(number) * {"mm": 1, "cm": 10}[unit]
        length = bar.locator(".length").bounding_box()["width"]
        # A pixel is half a millimetre, and `zoom` pixels of the screen.
        assert length == pytest.approx(mm / 0.5 * zoom, rel=0.01)
        page.mouse.move(400, 300)
        page.mouse.wheel(0, -180)


def test_without_a_known_spacing_there_is_no_scale_bar_and_nothing_moves(
    page, log_in, tmp_path, live_server, rhea
):
    unknown = make_study(tmp_path / "other", name="Other", readers=[rhea], cases=1)
    log_in(page, rhea)
    page.goto(f"/studies/{unknown.uuid}/")
    page.get_by_role("link", name="Start").click()
    wait_until_ready(page)

    expect(page.locator("#scale-bar")).to_be_hidden()
    assert page.locator("#scale-bar").bounding_box()["width"] > 50


def test_the_reading_page_is_accessible_at_every_moment(reading):
    page = reading
    assert_accessible(page)
    page.keyboard.press("Digit4")
    page.keyboard.press("KeyI")
    assert_accessible(page)
    page.set_viewport_size({"width": 1536, "height": 2048})
    assert_accessible(page)
