"""Many questions of every kind: by keys alone, by mouse, by touch, before and after."""

import json
import re
from urllib.parse import parse_qs

import pytest
from django.db import DatabaseError
from playwright.sync_api import expect

from readerstudy.models import RatingEvent
from readerstudy.trial import rating
from readerstudy.trial.protocol.document import of_template
from tests.browser.conftest import assert_accessible, wait_until_ready
from tests.readerstudy.factories import make_study
from tests.readerstudy.web.protocols import (
    FIVE,
    KINDS,
    LIKERT,
    aided,
    asking,
    in_two_languages,
)

pytestmark = pytest.mark.browser

SCREENS = [(1366, 641), (1920, 1080), (768, 1024)]
HEIGHT, WIDTH = 64, 48


@pytest.fixture
def reads(page, tmp_path, live_server, rhea, log_in):
    """Leads rhea to the first case of a study with a protocol."""

    def read(protocol, on=page, **options):
        study = make_study(
            tmp_path / "asked",
            readers=[rhea],
            cases=1,
            height=HEIGHT,
            width=WIDTH,
            protocol=protocol,
            **options,
        )
        log_in(on, rhea)
        on.goto(f"/studies/{study.uuid}/")
        on.get_by_role("link", name="Start").click()
        wait_until_ready(on)
        return on

    return read


def kept(stage="map"):
    events = RatingEvent.objects.answers(stage).order_by("number")
    return [event.answer["answers"] for event in events]


def active(page):
    """What lies open: its words."""
    return page.locator(".ask[aria-current] .question").inner_text()


def button(page):
    return page.locator("#reading [type=submit]")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def on_image(page, x, y):
    """Where on the screen a pixel of the image is, that fills the height."""
    box = page.locator("#viewer canvas").first.bounding_box()
    scale = min(box["width"] / WIDTH, box["height"] / HEIGHT)
    left = box["x"] + (box["width"] - WIDTH * scale) / 2
    top = box["y"] + (box["height"] - HEIGHT * scale) / 2
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


# Five scales


def test_five_scales_are_five_digits_and_enter(reads):
    page = reads(FIVE)
    expect(button(page)).to_have_text(re.compile("5 more answers"))
    for number, digit in enumerate("45321", 1):
        assert active(page).startswith(str(number))
        press(page, f"Numpad{digit}" if digit == "3" else f"Digit{digit}")
    expect(button(page)).to_have_text(re.compile("Save and next"))
    press(page, "Enter")

    expect(page.get_by_text("Case 1 saved: 4 · 5 · 3 · 2 · 1").first).to_be_visible()
    assert kept() == [dict(zip(LIKERT, (4, 5, 3, 2, 1), strict=True))]


def test_five_scales_with_the_mouse_and_what_is_missing_is_led_to(reads):
    page = reads(FIVE)
    page.locator(".ask[aria-current] .level").nth(3).click()
    assert active(page).startswith("2")
    page.get_by_role("button", name="Understood").click()
    page.locator(".ask[aria-current] .level").nth(1).click()
    assert active(page).startswith("5")
    button(page).click()  # 3 more answers
    assert active(page).startswith("2")
    for level in (2, 2, 0):
        page.locator(".ask[aria-current] .level").nth(level).click()
    button(page).click()

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    assert kept() == [dict(zip(LIKERT, (4, 3, 3, 2, 1), strict=True))]


def test_five_scales_by_touch_on_levels_as_high_as_a_finger(
    browser, live_server, complaints, reads
):
    context = complaints.listen(
        browser.new_context(
            base_url=live_server.url,
            viewport={"width": 1024, "height": 690},
            has_touch=True,
            is_mobile=True,
        )
    )
    page = reads(FIVE, on=context.new_page())
    for level in (0, 1, 2, 3, 4):
        levels = page.locator(".ask[aria-current] .level")
        assert levels.nth(level).bounding_box()["height"] >= 44
        levels.nth(level).tap()
    button(page).tap()

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    assert kept() == [dict(zip(LIKERT, (1, 2, 3, 4, 5), strict=True))]
    context.close()


def test_arrows_change_the_active_question_and_an_answer_can_be_given_again(reads):
    page = reads(FIVE)
    press(page, "Digit4", "Digit5", "ArrowUp", "ArrowUp")
    assert active(page).startswith("1")
    press(page, "ArrowUp")
    assert active(page).startswith("1")
    press(page, "Digit2")
    assert active(page).startswith("3")  # the next without an answer
    press(page, "Digit1", "Digit1", "Digit1")
    with page.expect_request(lambda request: request.method == "POST") as sent:
        press(page, "Enter")

    (text,) = parse_qs(sent.value.post_data)["_viewer"]
    summary = json.loads(text)
    assert summary["order"] == list(LIKERT)
    assert [summary["questions"][key]["changes"] for key in LIKERT] == [1, 0, 0, 0, 0]
    times = [summary["questions"][key]["first_ms"] for key in LIKERT]
    assert times == sorted(times)
    assert times[0] > 200
    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    assert kept()[0]["useful"] == 2


def test_c_and_a_digit_say_why_not_and_another_answer_takes_it_back(reads):
    page = reads(FIVE)
    press(page, "Digit4", "KeyC", "Digit2")
    expect(page.get_by_label("The image quality does not allow it")).to_be_checked()
    expect(button(page)).to_have_text(re.compile("Save and next"))
    expect(page.get_by_role("button", name="Useful")).to_contain_text("\N{EN DASH}")

    press(page, "Digit5")
    assert page.locator("[name=cannot_judge]:checked").count() == 0
    # What the reason took the place of is there again.
    assert page.locator("[name=useful]:checked").input_value() == "4"
    press(page, "KeyC", "Digit1", "Enter")

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    event = RatingEvent.objects.get(kind="cannot_judge")
    assert event.answer == {"answers": {}, "cannot_judge": "finding_not_visible"}


def test_a_failing_server_costs_no_answer(reads, complaints, monkeypatch):
    page = reads(KINDS)
    complaints.expected.append("500")

    def fail(**_arguments):
        raise DatabaseError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(rating, "record_answer_and_show_next", fail)
        answer_every_kind(page)
        press(page, "Enter")
        expect(page.locator("#notice")).to_contain_text("What you entered is kept.")
        page.reload()
        wait_until_ready(page)
        assert page.locator("[name=lesions]").input_value() == "[[10,10,11,16]]"
        assert page.locator("[name=sure]").input_value() == "100"
    press(page, "Enter")

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    assert kept() == [EVERY_KIND]


# Every kind


EVERY_KIND = {
    "shows": "pathology",
    "wrong": ["device", "border"],
    "sure": 100,
    "lesions": [[10, 10, 11, 16]],
    "again": False,
    "why": "Too slow",
    "level": 10,
}


def answer_every_kind(page):
    press(page, "Digit1")  # the pathology
    press(page, "Digit1", "Digit2", "Digit2", "Digit3", "Enter")  # two of three
    press(page, "Digit1", "Digit0", "Digit0")  # 100, and no 0 beyond
    for _ in range(14):
        press(page, "ArrowLeft")
    for _ in range(2):
        press(page, "Shift+ArrowUp")
    press(page, "ArrowUp", "ArrowUp", "KeyX", "Shift+ArrowRight")
    press(page, "Shift+ArrowDown", *["ArrowDown"] * 5, "KeyX", "Enter")
    press(page, "Digit0")  # no
    press(page, "Tab")
    page.keyboard.type("Too slow")
    press(page, "Escape", "ArrowDown", "Digit0")  # the tenth level


def test_every_kind_by_keys_alone(reads):
    page = reads(KINDS)
    answer_every_kind(page)
    assert_accessible(page)
    press(page, "Enter")

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    assert kept() == [EVERY_KIND]


def test_every_kind_with_the_mouse(reads):
    page = reads(KINDS)
    page.get_by_text("Another organ").click()
    page.get_by_text("A marker").click()
    page.get_by_role("button", name="How sure?").click()
    track = page.locator(".track")
    expect(track).to_have_attribute("data-untouched", "")
    track.click()  # in the middle, where it stands: that is an answer too
    assert page.locator("[name=sure]").input_value() == "50"
    page.get_by_role("button", name="Box each lesion.").click()
    for x, y in [(5, 6), (8, 10), (20, 20), (30, 41), (1, 1), (2, 2)]:
        page.mouse.click(*on_image(page, x, y))
    page.get_by_role("button", name="Take away").click()
    page.locator(".folded", has_text="Would you use it?").click()
    page.get_by_text("Yes", exact=True).click()
    for key in ("why", "level"):
        expect(page.locator(f"[data-key={key}]")).to_be_hidden()
    button(page).click()

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    assert kept() == [
        {
            "shows": "organ",
            "wrong": ["marker"],
            "sure": 50,
            "lesions": [[5, 6, 4, 5]],
            "again": True,
        }
    ]


# Sliders


def test_digits_make_numbers_and_go_on_by_themselves(reads):
    page = reads(aided())
    values = page.locator(".slider .value")

    def numbers():
        return [value.input_value() for value in values.all()]

    press(page, "Digit7", "Digit0", "Digit0", "Digit5", "Digit5", "ArrowUp")
    assert numbers() == ["70", "5", "5"]
    press(page, "Digit1", "Digit0", "Digit7", "ArrowUp")
    assert numbers() == ["70", "10", "5"]  # all have one: the 7 belongs to none
    press(page, "End", "ArrowLeft", "PageDown", "ArrowDown", "Home", "ArrowRight")
    assert numbers() == ["89", "1", "5"]
    press(page, "ArrowDown", "Digit1", "Digit0", "Digit0", "Enter")

    expect(page.locator(".before")).to_contain_text(
        "Nodule 89, Pleural effusion 1, Pneumothorax 100"
    )


def test_a_number_ends_with_tab_or_with_a_digit_that_does_not_fit(reads):
    page = reads(aided())
    press(page, "Digit5", "Tab", "Digit1", "Digit0", "Digit8", "Digit3")

    values = [value.input_value() for value in page.locator(".slider .value").all()]
    assert values == ["5", "10", "83"]


# Places in the image, before and after the map


def test_points_before_and_after_the_map_by_click_and_by_keys(reads, complaints):
    page = reads(of_template("point") | {"repeats": 0})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    image = page.locator("#reading").get_attribute("data-image")
    overlay = image.replace("/image", "/overlay")
    expect(page.locator(".step", has_text="Step 1 of 2: no map yet")).to_be_visible()
    expect(page.locator("[data-action=map]")).to_be_hidden()
    page.mouse.dblclick(*on_image(page, 12, 30))
    assert page.locator("[name='point_before.0']").input_value() == "[[12,30]]"
    page.wait_for_load_state("networkidle")
    assert not any("overlay" in url for url in asked)
    press(page, "Enter")
    expect(page.locator(".step", has_text="Step 2 of 2: with the map")).to_be_visible()
    wait_until_ready(page)
    page.wait_for_load_state("networkidle")
    # One map, and the image is here already; of the next no map is fetched ahead.
    assert [url for url in asked if "overlay" in url] == [page.url + "overlay"]
    assert page.url.endswith(overlay.removesuffix("overlay"))
    assert not any(url.endswith(image) for url in asked)

    expect(page.locator("[data-action=map]")).to_be_visible()
    press(page, "ArrowRight", "Shift+ArrowDown", "KeyX", "Enter", "Digit1", "Enter")

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    assert kept("image") == [{"point_before": {"Nodule": [[12, 30]]}}]
    assert kept() == [{"point_after": {"Nodule": [[25, 42]]}, "changed_mind": True}]


def test_a_point_is_of_the_image_under_zoom_and_pan(reads):
    protocol = asking({"key": "spot", "kind": "points", "text": "Where?", "max": 3})
    page = reads(protocol)
    x, y = on_image(page, 20, 20)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)  # twice as large, and this pixel stays here
    page.mouse.click(x, y)
    page.mouse.move(x, y)
    page.mouse.down(button="middle")
    page.mouse.move(x + 60, y + 40)
    page.mouse.up(button="middle")
    page.mouse.click(x + 60, y + 40)
    # A drag is what it was: the window, and no point.
    before = page.locator("#readout").inner_text()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y)
    page.mouse.up()

    assert page.locator("[name=spot]").input_value() == "[[20,20],[20,20]]"
    assert page.locator("#readout").inner_text() != before
    press(page, "Delete")
    assert page.locator("[name=spot]").input_value() == "[[20,20]]"


def test_side_by_side_a_point_is_set_on_either_picture(reads):
    protocol = asking(
        {"key": "spot", "kind": "points", "text": "Where?", "min": 2, "max": 2},
        display_mode="side_by_side",
    )
    page = reads(protocol)
    box = page.locator("#viewer canvas").first.bounding_box()
    half = (box["width"] - 8) / 2
    middle = box["y"] + box["height"] / 2
    page.mouse.click(box["x"] + half / 2, middle)
    page.mouse.click(box["x"] + box["width"] - half / 2, middle)

    places = json.loads(page.locator("[name=spot]").input_value())
    assert len(places) == 2
    for x, y in places:
        assert abs(x - WIDTH / 2) <= 1
        assert abs(y - HEIGHT / 2) <= 1


def test_a_mark_is_seen_where_it_was_set(reads):
    page = reads(asking({"key": "spot", "kind": "points", "text": "Where?"}))
    assert page.locator(".marks").count() == 1
    page.mouse.click(*on_image(page, 10, 50))

    x, y = on_image(page, 10, 50)
    box = page.locator(".marks").bounding_box()
    coloured = page.locator(".marks").evaluate(
        """(canvas, [x, y]) => {
          const { data, width } = canvas.getContext("2d")
            .getImageData(0, 0, canvas.width, canvas.height);
          let [sum, across, down] = [0, 0, 0];
          for (let i = 0; i < data.length / 4; i += 1) {
            if (data[4 * i + 3] === 0) continue;
            sum += 1;
            across += (i % width) - x;
            down += Math.floor(i / width) - y;
          }
          return [across / sum, down / sum];
        }""",
        [x - box["x"], y - box["y"]],
    )
    assert abs(coloured[0]) < 1.5
    assert abs(coloured[1]) < 1.5


# Languages


def test_a_german_reader_is_asked_in_german_from_end_to_end(
    page, tmp_path, live_server, rhea, log_in
):
    study = make_study(
        tmp_path / "two",
        readers=[rhea],
        cases=1,
        protocol=in_two_languages(),
        begun=False,
    )
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Deutsch").click()
    expect(page.get_by_text("Hilft diese Karte?")).to_be_visible()
    assert_accessible(page)
    page.get_by_text("I have read this and take part.").click()
    page.get_by_role("button", name="Begin").click()
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()
    wait_until_ready(page)

    assert active(page).endswith("Hilft diese Karte?")
    press(page, "Digit4")
    assert active(page).endswith("Würden Sie sie nutzen?")
    assert page.locator(".ask[aria-current]").get_by_text("Ja").is_visible()
    expect(page.get_by_text("negativ", exact=False).first).to_be_visible()
    assert_accessible(page)
    press(page, "Digit0", "Enter")

    expect(page.get_by_text("Case 1 saved: 4 · nein").first).to_be_visible()
    assert [event.language for event in RatingEvent.objects.answers()] == ["de"]


# Looks


@pytest.mark.parametrize("count", [1, 3, 5])
def test_up_to_five_questions_are_in_sight_on_every_screen(reads, tmp_path, count):
    page = reads(FIVE | {"questions": FIVE["questions"][:count]})
    for active_one in range(count):
        for width, height in SCREENS:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(150)
            page.screenshot(path=tmp_path / f"{count}-{active_one}-{width}.png")
            parts = [button(page), page.get_by_text("Cannot be judged")]
            parts += page.locator(".ask .folded:visible, .ask[aria-current]").all()
            for part in parts:
                expect(part).to_be_in_viewport(ratio=1)
            panel = page.locator("#panel")
            assert panel.evaluate("(e) => e.scrollHeight <= e.clientHeight")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert_accessible(page)
        press(page, "Digit3")


def test_a_longer_list_scrolls_below_a_button_that_stands(reads):
    useful = of_template("paper")["questions"][0]
    rest = FIVE["questions"][1:5]
    page = reads(asking(useful, *rest))
    page.set_viewport_size({"width": 1366, "height": 641})
    expect(button(page)).to_be_in_viewport(ratio=1)

    press(page, "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown")
    page.wait_for_timeout(100)

    expect(button(page)).to_be_in_viewport(ratio=1)
    expect(page.locator(".ask[aria-current]")).to_be_in_viewport(ratio=1)


def test_the_papers_page_says_what_it_always_did(reads):
    page = reads({})

    assert page.locator("#panel").inner_text().split("\n") == [
        "Case 1 of 3",
        "Reference diagnosis",
        "Nodule",
        "",
        "How useful is this map in guiding a radiologist to the correct diagnosis?",
        "",
        "0",
        "No correlation between the pathology and the hot spots",
        "1",
        "Barely any of the hot spots lie on the pathology",
        "2",
        "A minority of the hot spots lie on the pathology",
        "3",
        "About half of the hot spots lie on the pathology",
        "4",
        "Most hot spots lie on the pathology, some elsewhere",
        "5",
        "The map points clearly and unambiguously to the pathology",
        "Cannot be judged …",
        "Add a comment",
        "Save and next ⏎",
        "",
        "For research, not for diagnosis",
    ]
    assert page.locator(".marks").count() == 0
