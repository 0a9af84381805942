import pytest
from django.db import DatabaseError
from playwright.sync_api import expect

from readerstudy.models import RatingEvent
from readerstudy.trial import rating
from tests.browser.conftest import check_display, rate_by_key, wait_until_ready

pytestmark = pytest.mark.browser


def ratings():
    events = RatingEvent.objects.filter(kind="rate").order_by("presentation__position")
    return list(events.values_list("answer__answers__rating", flat=True))


def position(page):
    return page.locator("#progress").inner_text().strip()


def notice(page):
    return page.locator("#notice")


def test_a_reader_rates_everything_with_the_keyboard(reading):
    page = reading
    assert position(page) == "Case 1 of 3"
    assert page.locator(":checked").count() == 0

    rate_by_key(page, 4)
    assert position(page) == "Case 2 of 3"
    assert page.title().startswith("Case 2 of 3")
    assert page.locator(":checked").count() == 0
    expect(page.get_by_text("Case 1 saved: 4", exact=True)).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Case 2 of 3. Case 1 saved: 4")

    page.keyboard.press("Numpad2")
    page.keyboard.press("NumpadEnter")
    expect(page.locator("#progress")).to_contain_text("Case 3 of 3")
    wait_until_ready(page)
    rate_by_key(page, 0)

    expect(page.get_by_text("All 3 cases are rated")).to_be_visible()
    assert ratings() == [4, 2, 0]


def test_a_reader_rates_with_the_mouse(reading):
    page = reading
    page.get_by_text("Most hot spots lie on the pathology").click()
    page.get_by_role("button", name="Save and next").click()

    expect(page.get_by_text("Case 1 saved: 4", exact=True)).to_be_visible()
    assert ratings() == [4]


def test_nothing_is_sent_without_a_choice(reading):
    reading.keyboard.press("Enter")
    reading.get_by_role("button", name="Save and next").click()

    assert position(reading) == "Case 1 of 3"
    assert ratings() == []


def test_a_choice_can_be_changed_until_it_is_saved(reading):
    reading.keyboard.press("Digit1")
    rate_by_key(reading, 5)

    assert ratings() == [5]


def test_keys_rest_with_modifiers_on_repeat_and_right_after_a_new_image(reading):
    page = reading
    for keys in ("Control+Digit3", "Alt+Digit3", "Shift+Digit3"):
        page.keyboard.press(keys)
    page.keyboard.down("KeyO")
    page.keyboard.down("KeyO")  # a repeat: the key is still down
    page.keyboard.up("KeyO")

    assert page.locator(":checked").count() == 0
    expect(page.get_by_role("button", name="Map")).to_have_attribute(
        "aria-pressed", "false"
    )

    page.keyboard.press("Digit3")
    page.keyboard.press("Enter")
    # In the very moment in which the next case is drawn.
    page.evaluate(
        """() => new Promise((resolve) => {
          const wait = () => {
            const fieldset = document.querySelector("fieldset");
            if (!document.body.textContent.includes("Case 2 of") || fieldset.hidden)
              return requestAnimationFrame(wait);
            document.body.dispatchEvent(
              new KeyboardEvent("keydown", { code: "Digit5", bubbles: true }));
            resolve();
          };
          wait();
        })"""
    )
    assert page.locator(":checked").count() == 0


@pytest.mark.parametrize("twice", ["enter", "click"])
def test_a_double_submission_writes_once(reading, twice):
    page = reading
    posts = []
    page.on("request", lambda request: request.method == "POST" and posts.append(1))

    page.keyboard.press("Digit3")
    if twice == "enter":
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
    else:
        page.get_by_role("button", name="Save and next").dblclick()
    expect(page.locator("#progress")).to_contain_text("Case 2 of 3")
    wait_until_ready(page)

    assert ratings() == [3]
    assert len(posts) == 1
    assert page.locator(":checked").count() == 0


def test_reload_and_back_land_at_the_current_case(reading, study):
    page = reading
    first = page.url
    rate_by_key(page, 3)
    assert page.url != first

    page.keyboard.press("Digit1")
    page.reload()
    wait_until_ready(page)
    assert position(page) == "Case 2 of 3"
    assert page.locator(":checked").count() == 0

    page.goto(first)
    wait_until_ready(page)
    assert position(page) == "Case 2 of 3"

    page.goto(f"/studies/{study.uuid}/")
    page.go_back()
    wait_until_ready(page)
    assert position(page) == "Case 2 of 3"


def test_a_second_tab_cannot_rate_a_case_again(reading, complaints):
    page = reading
    complaints.expected.append("409")
    other = page.context.new_page()
    other.goto(page.url)
    wait_until_ready(other)
    rate_by_key(page, 3)

    rate_by_key(other, 1)

    expect(notice(other)).to_contain_text(
        "answered before, perhaps in another window: 3."
    )
    assert position(other) == "Case 2 of 3"
    assert ratings() == [3]
    rate_by_key(other, 1)
    assert ratings() == [3, 1]


def test_a_server_error_keeps_the_choice(reading, monkeypatch, complaints):
    page = reading
    complaints.expected.append("500")

    def fail(**_arguments):
        raise DatabaseError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(rating, "record_answer_and_show_next", fail)
        page.keyboard.press("Digit4")
        page.keyboard.press("Enter")
        expect(notice(page)).to_contain_text("Your choice, 4, is kept")
    assert page.locator(":checked").input_value() == "4"
    assert ratings() == []

    # By itself, if the button is not there any more.
    page.keyboard.press("Enter")

    expect(page.get_by_text("Case 1 saved: 4", exact=True)).to_be_visible()
    assert ratings() == [4]


def test_being_offline_keeps_the_choice(reading, complaints):
    page = reading
    complaints.expected += ["ERR_INTERNET_DISCONNECTED", "htmx:error"]
    page.context.set_offline(True)
    page.keyboard.press("Digit2")
    page.keyboard.press("Enter")
    expect(notice(page)).to_contain_text("the server cannot be reached")
    expect(notice(page)).to_contain_text("Your choice, 2, is kept")
    assert page.locator(":checked").input_value() == "2"

    page.context.set_offline(False)
    page.keyboard.press("Enter")

    expect(page.get_by_text("Case 1 saved: 2", exact=True)).to_be_visible()
    assert ratings() == [2]


def test_an_ended_session_asks_to_log_in_and_returns_to_the_case(reading):
    page = reading
    address = page.url
    page.context.clear_cookies(name="sessionid")
    page.keyboard.press("Digit2")
    page.keyboard.press("Enter")

    page.get_by_label("User name").fill("rhea")
    page.get_by_label("Password").fill("rhea-pass")
    page.keyboard.press("Enter")
    check_display(page)
    wait_until_ready(page)

    assert page.url == address
    assert ratings() == []


def test_a_study_that_was_closed_is_said_to_be(reading, study, complaints):
    page = reading
    complaints.expected.append("404")
    type(study).objects.update(state="locked")
    page.keyboard.press("Digit2")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="This page is not there")).to_be_visible()
    assert ratings() == []


def test_without_htmx_the_form_posts_itself(page, log_in, rhea, study, complaints):
    complaints.expected.append("ERR_FAILED")
    page.route("**/htmx*.js", lambda route: route.abort())
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()
    wait_until_ready(page)

    for number in (1, 2, 3):
        assert position(page) == f"Case {number} of 3"
        rate_by_key(page, number)

    expect(page.get_by_text("All 3 cases are rated")).to_be_visible()
    assert ratings() == [1, 2, 3]


def test_without_javascript_the_page_says_so_and_shows_no_scale(
    browser, live_server, complaints, log_in, rhea, study
):
    context = complaints.listen(
        browser.new_context(base_url=live_server.url, java_script_enabled=False)
    )
    page = context.new_page()
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()

    explanation = page.locator("noscript p")
    expect(explanation).to_be_visible()
    expect(explanation).to_contain_text("JavaScript, which is switched off")
    assert page.get_by_role("radio").count() == 0
    assert page.get_by_role("button", name="Save and next").count() == 0
    context.close()


def test_nothing_can_be_submitted_before_image_and_map_are_drawn(
    page, log_in, rhea, study
):
    held = []
    page.route("**/overlay", lambda route: held.append(route), times=1)
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    with page.expect_request("**/overlay"):
        page.get_by_role("link", name="Start").click()
    expect(page.get_by_text("Loading the image and its map")).to_be_visible()
    for key in ("Digit3", "Enter"):
        page.keyboard.press(key)
    # Not even by a script that chooses and submits by itself.
    page.evaluate(
        """() => {
          document.querySelector("[name=rating]").checked = true;
          document.querySelector("form[hx-post]").requestSubmit();
        }"""
    )
    assert page.locator("#reading fieldset").is_hidden()
    assert page.get_by_role("button", name="Save and next").is_disabled()

    held[0].continue_()
    wait_until_ready(page)

    assert position(page) == "Case 1 of 3"
    assert ratings() == []
    rate_by_key(page, 3)
    assert ratings() == [3]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"status": 500, "body": "x"}, "the server answered 500"),
        ({"status": 200, "body": "xyz"}, "3 bytes came instead of 30"),
        (None, "the server cannot be reached"),
    ],
    ids=["error", "truncated", "offline"],
)
def test_a_map_that_does_not_come_can_be_asked_for_again(
    page, log_in, rhea, study, complaints, answer, problem
):
    complaints.expected += ["500", "ERR_FAILED"]
    page.route(
        "**/overlay",
        lambda route: route.fulfill(**answer) if answer else route.abort(),
        times=1,
    )
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()

    expect(notice(page)).to_contain_text(problem)
    assert page.locator("#reading fieldset").is_hidden()
    page.get_by_role("button", name="Try again").click()
    wait_until_ready(page)
    expect(notice(page)).to_be_hidden()
    rate_by_key(page, 3)
    assert ratings() == [3]
