"""An answer is never lost between the reader's hand and the server."""

import json
import re
from urllib.parse import parse_qs

import pytest
from django.db import DatabaseError
from playwright.sync_api import expect

from readerstudy.models import RatingEvent
from readerstudy.trial import rating
from tests.browser.conftest import check_display, rate_by_key, wait_until_ready
from tests.browser.test_viewer import picture_of
from tests.readerstudy.factories import make_study

pytestmark = pytest.mark.browser


@pytest.fixture
def study(tmp_path, live_server, rhea):
    return make_study(tmp_path / "bundle", readers=[rhea], cases=1, height=64, width=48)


def ratings():
    events = RatingEvent.objects.filter(kind="rate").order_by("presentation__position")
    return list(events.values_list("answer__answers__rating", flat=True))


def stored(page):
    return page.evaluate("() => ({ ...sessionStorage, ...localStorage })")


@pytest.fixture
def failing(complaints):
    """Lets the server fail until `repair()`; counts what it was asked."""
    complaints.expected.append("500")
    asked = []

    def fail(**_arguments):
        asked.append(1)
        raise DatabaseError("disk full")

    broken = pytest.MonkeyPatch()
    broken.setattr(rating, "record_answer_and_show_next", fail)
    yield asked, broken.undo
    broken.undo()


def test_a_failed_answer_is_sent_again_by_itself(reading, failing):
    page = reading
    asked, repair = failing
    page.keyboard.press("Digit4")
    page.keyboard.press("Enter")
    notice = page.locator("#notice")
    expect(notice).to_contain_text("Your choice, 4, is kept. Next try in 1 second.")
    expect(notice).to_contain_text("Next try in 2 seconds")
    expect(notice).to_contain_text("Next try in 4 seconds")
    assert len(asked) == 3
    assert page.locator(":checked").input_value() == "4"
    assert ratings() == []

    repair()

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    wait_until_ready(page)
    assert ratings() == [4]
    assert stored(page) == {}


def test_the_last_choice_is_the_one_that_is_sent_again(reading, failing):
    page = reading
    _, repair = failing
    page.keyboard.press("Digit4")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Next try")
    page.keyboard.press("Digit2")
    repair()
    page.keyboard.press("Enter")

    expect(page.get_by_text("Case 1 saved: 2", exact=True)).to_be_visible()
    assert ratings() == [2]


def test_being_online_again_sends_the_answer_at_once(reading, complaints):
    page = reading
    complaints.expected += ["ERR_INTERNET_DISCONNECTED", "htmx:error"]
    page.context.set_offline(True)
    page.keyboard.press("Digit2")
    page.keyboard.press("Enter")
    # By now the next try by itself is four seconds away.
    expect(page.locator("#notice")).to_contain_text("Next try in 4 seconds")

    page.context.set_offline(False)

    expect(page.get_by_text("Case 1 saved: 2", exact=True)).to_be_visible(timeout=2000)
    assert ratings() == [2]


def test_an_answer_that_arrived_unheard_is_written_once(reading, complaints):
    page = reading
    complaints.expected += ["ERR_FAILED", "htmx:error"]

    def lose_the_reply(route):
        route.fetch()
        route.abort()

    page.route(re.compile("/read/[^/]+/$"), lose_the_reply, times=1)
    page.keyboard.press("Digit3")
    page.keyboard.press("Enter")

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    wait_until_ready(page)
    assert ratings() == [3]


def test_a_new_login_returns_to_the_case_with_the_choice(reading):
    page = reading
    address = page.url
    page.context.clear_cookies(name="sessionid")
    page.keyboard.press("Digit2")
    page.keyboard.press("Enter")
    page.get_by_label("User name").fill("rhea")
    assert list(stored(page).values()) == ['[["rating","2"],["comment",""]]']
    page.get_by_label("Password").fill("rhea-pass")
    page.keyboard.press("Enter")
    check_display(page)
    wait_until_ready(page)

    assert page.url == address
    assert ratings() == []
    assert page.locator(":checked").input_value() == "2"
    expect(page.locator("#notice")).to_contain_text(
        "Not saved yet. Your choice, 2, is kept."
    )
    page.get_by_role("button", name="Save it").click()
    expect(page.get_by_text("Case 1 saved: 2", exact=True)).to_be_visible()
    assert ratings() == [2]
    wait_until_ready(page)
    assert page.locator(":checked").count() == 0
    assert stored(page) == {}


def test_a_reload_while_the_server_fails_keeps_the_answer(reading, failing):
    page = reading
    _, repair = failing
    page.keyboard.press("Digit5")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Next try")
    page.reload()
    wait_until_ready(page)
    assert page.locator(":checked").input_value() == "5"

    repair()
    page.keyboard.press("Enter")

    expect(page.get_by_text("Case 1 saved: 5", exact=True)).to_be_visible()
    assert ratings() == [5]


def test_every_kind_of_field_is_kept(reading, failing):
    page = reading
    page.locator("#reading form").first.evaluate(
        """(form) => form.insertAdjacentHTML("beforeend", `
          <details id="extra"><summary>More</summary>
            <textarea name="remark"></textarea>
            <input type="checkbox" name="unsure" value="yes">
            <select name="reason"><option value=""></option><option>blurred</option>
            </select>
          </details>`)"""
    )
    page.get_by_text("More", exact=True).click()
    page.locator("[name=remark]").fill('not "sure" <b>\nat all')
    page.locator("[name=unsure]").check()
    page.locator("[name=reason]").select_option("blurred")
    page.locator("[name=rating][value='1']").check(force=True)
    page.get_by_role("button", name="Save and next").click()
    expect(page.locator("#notice")).to_contain_text("Next try")

    (kept,) = stored(page).values()
    names = ["rating", "remark", "unsure", "reason"]
    mine = [[name, value] for name, value in json.loads(kept) if name in names]

    assert mine == [
        ["rating", "1"],
        ["remark", 'not "sure" <b>\nat all'],
        ["unsure", "yes"],
        ["reason", "blurred"],
    ]
    found = page.evaluate(
        """async (names) => {
          const form = document.querySelector("#reading form");
          form.reset();
          form.querySelector("#extra").open = false;
          const { restore } = await import("/static/readerstudy/kept.js");
          const isRestored = restore(form);
          return [isRestored, form.querySelector("#extra").open,
            [...new FormData(form)].filter(([name]) => names.includes(name))];
        }""",
        names,
    )
    assert found == [True, True, mine]


def test_what_was_done_with_the_viewer_goes_with_the_answer(reading):
    page = reading
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    page.mouse.wheel(0, 150)
    page.mouse.down()
    page.mouse.move(440, 300)
    page.mouse.up()
    page.keyboard.press("KeyI")
    page.keyboard.press("Period")
    page.keyboard.press("KeyP")
    page.keyboard.down("KeyP")
    page.wait_for_timeout(300)
    page.keyboard.up("KeyP")
    page.keyboard.press("Digit3")
    with page.expect_request(lambda request: request.method == "POST") as sent:
        page.keyboard.press("Enter")

    (text,) = parse_qs(sent.value.post_data)["_viewer"]
    summary = json.loads(text)

    assert len(text) < 2048
    width, height = page.locator("canvas").evaluate("(c) => [c.width, c.height]")
    assert summary.pop("window") == {"center": 128, "width": 256 + 40 * 256 / 400}
    assert summary.pop("zoom_max") == 2
    assert summary.pop("peeks") == 2
    assert 290 < summary.pop("overlay_off_ms") < 2000
    assert 300 < summary.pop("active_ms") < 20_000
    assert 0 < summary.pop("drawn_ms") < 10_000
    asked = summary.pop("questions")
    assert 300 < asked["rating"].pop("first_ms") < 20_000
    assert asked == {"rating": {"changes": 0}}
    assert summary.pop("order") == ["rating"]
    assert summary == {
        "inverted": True,
        "opacity": 0.8,
        "threshold": 0,
        "renderer": "canvas",
        "canvas": [width, height],
        "device_pixel_ratio": 1,
    }


def test_time_out_of_sight_or_idle_is_not_active(page, log_in, rhea, study):
    page.clock.install()
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()
    page.locator("#reading fieldset").wait_for(state="visible")

    def hide(is_hidden):
        page.evaluate(
            """(isHidden) => {
              Object.defineProperty(document, "hidden",
                { value: isHidden, configurable: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            is_hidden,
        )

    page.clock.run_for(10_000)
    page.mouse.move(100, 100)  # 10 s
    page.clock.run_for(100_000)
    page.mouse.move(120, 100)  # 30 s of a long silence
    page.clock.run_for(5_000)
    hide(True)  # 5 s
    page.clock.run_for(50_000)
    hide(False)
    page.clock.run_for(2_000)  # 2 s
    page.keyboard.press("Digit3")
    with page.expect_request(lambda request: request.method == "POST") as sent:
        page.keyboard.press("Enter")

    (text,) = parse_qs(sent.value.post_data)["_viewer"]
    assert json.loads(text)["active_ms"] == pytest.approx(47_000, abs=2_500)


# --- The next presentation, before it is asked for ---------------------------------


@pytest.fixture
def asked(page, study):
    """Position and part of every buffer that the page asks for."""
    presentations = study.enrolments.get().presentations.order_by("position")
    tokens = list(presentations.values_list("token", flat=True))
    asked = []

    def note(request):
        found = re.search("/read/(.+)/(image|overlay)$", request.url)
        if found:
            asked.append((tokens.index(found[1]) + 1, found[2]))

    page.on("request", note)
    return asked


def test_the_next_stimulus_is_fetched_once_and_before_it_is_needed(asked, reading):
    page = reading
    page.wait_for_load_state("networkidle")
    assert sorted(asked) == [(n, part) for n in (1, 2) for part in ("image", "overlay")]
    asked.clear()

    rate_by_key(page, 1)
    page.wait_for_load_state("networkidle")
    assert sorted(asked) == [(3, "image"), (3, "overlay")]
    asked.clear()
    rate_by_key(page, 2)
    rate_by_key(page, 3)

    assert asked == []
    assert ratings() == [1, 2, 3]


def test_a_failed_prefetch_is_fetched_again_when_it_is_needed(
    page, asked, log_in, rhea, study, complaints
):
    complaints.expected += ["ERR_FAILED"]
    failed = []

    def fail_the_second(route):
        if (2, "overlay") in asked and not failed:
            failed.append(1)
            return route.abort()
        return route.continue_()

    page.route("**/overlay", fail_the_second)
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()
    wait_until_ready(page)
    page.wait_for_load_state("networkidle")
    assert failed
    rate_by_key(page, 1)

    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    expect(page.locator("#notice")).to_be_hidden()
    assert asked.count((2, "overlay")) == 2


def test_going_back_and_forth_shows_each_case_its_own_picture(reading, asked):
    page = reading
    first = picture_of(page)
    rate_by_key(page, 1)
    second = picture_of(page)
    assert (first != second).any()

    page.keyboard.press("Backspace")
    expect(page.locator(".standing", has_text="You rated it 1.")).to_be_visible()
    wait_until_ready(page)
    assert (picture_of(page) == first).all()
    page.keyboard.press("Digit4")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    wait_until_ready(page)

    assert (picture_of(page) == second).all()
