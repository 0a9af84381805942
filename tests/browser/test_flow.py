"""A reader's whole way through a study, with each hand, and where it may turn."""

import pytest
from playwright.sync_api import Locator, Page, expect

from readerstudy.models import RatingEvent
from readerstudy.trial.protocol.document import BreakAfter
from readerstudy.web import sitting
from tests.browser.conftest import assert_accessible, rate_by_key, wait_until_ready
from tests.readerstudy.factories import make_study

pytestmark = pytest.mark.browser


@pytest.fixture
def make(tmp_path, live_server, rhea):
    """A study that rhea has not begun."""

    def make(cases=1, **options):
        folder = tmp_path / "bundle"
        options = {"begun": False, "training": 1, **options}
        return make_study(folder, readers=[rhea], cases=cases, **options)

    return make


def answers():
    """In the reader's order, what stands for each presentation."""
    events = RatingEvent.objects.answers().order_by("number")
    standing = {event.presentation.position: event for event in events}
    return [standing[position] for position in sorted(standing)]


def ratings():
    return [event.answer["answers"].get("rating") for event in answers()]


def place(page: Page) -> str:
    return page.locator("#progress span").first.inner_text()


def said(page: Page, text: str) -> Locator:
    """What the panel says, and not the live region that says it once more."""
    return page.locator("#reading [data-say]", has_text=text)


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the focus: whoever has only keys gets there."""
    for _ in range(40):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {target}")


def choose(page: Page, question: str, answer: str) -> None:
    """Answer one of a page's questions with the keys."""
    group = page.get_by_role("group", name=question)
    options = group.get_by_role("radio")
    tab_to(page, options.first)
    page.keyboard.press("Space")
    for _ in range(options.count()):
        if group.get_by_role("radio", name=answer, exact=True).is_checked():
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"{question} has no answer {answer}")


DISPLAY = {
    "Do you see the 5 % square within the black one?": "Yes",
    "Do you see the 95 % square within the white one?": "No",
    "The light in the room": "Dim",
    "Is the monitor calibrated": "I do not know",
}


@pytest.mark.slow
def test_thirty_maps_from_the_login_to_the_signature_by_keyboard_alone(page, make):
    study = make(cases=10)
    study_page = f"/studies/{study.uuid}/"
    page.goto(study_page)
    assert_accessible(page)
    page.keyboard.type("rhea")
    page.keyboard.press("Tab")
    page.keyboard.type("rhea-pass")
    page.keyboard.press("Enter")

    tab_to(page, page.get_by_role("checkbox"))
    assert_accessible(page)
    page.keyboard.press("Space")
    page.keyboard.press("Enter")

    page.get_by_role("heading", name="Your display").wait_for()
    assert_accessible(page)
    for question, chosen in DISPLAY.items():
        choose(page, question, chosen)
    tab_to(page, page.get_by_label("Monitor"))
    page.keyboard.type("Grey 27")
    page.keyboard.press("Enter")

    wait_until_ready(page)
    assert place(page) == "Practice 1 of 1"
    assert_accessible(page)
    rate_by_key(page, 5)
    expect(said(page, "Practice 1 saved: 5, “The map points")).to_be_visible()
    expect(said(page, "From this case on your answers count.")).to_be_visible()
    given = [5]
    for number in range(1, 31):
        assert place(page) == f"Case {number} of 30"
        assert page.locator(":checked").count() == 0
        given.append(number % 6)
        rate_by_key(page, number % 6)
    assert ratings() == given

    expect(page.get_by_text("All 30 cases are rated")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Enter")
    choose(page, "Could you tell the kinds of map apart?", "Sometimes")
    tab_to(page, page.get_by_label("If so, by what?"))
    page.keyboard.type("By their grain.")
    assert_accessible(page)
    tab_to(page, page.get_by_label("Your password, to sign"))
    page.keyboard.type("rhea-pass")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Signed off. Thank you.")).to_be_visible()
    assert_accessible(page)

    checked = study.events.get(kind="display_checked").details["answers"]
    assert (checked["dark_patch"], checked["bright_patch"]) == ("yes", "no")
    assert (checked["room"], checked["calibrated"]) == ("dim", "unknown")
    assert checked["monitor"] == "Grey 27"
    assert checked["device"]["viewport"] == [1280, 800]
    assert checked["device"]["device_pixel_ratio"] == 1
    assert "Chrome" in checked["device"]["user_agent"]
    signed = study.events.get(kind="signed_off").details
    assert (signed["told_apart"], signed["words"]) == ("sometimes", "By their grain.")


@pytest.mark.parametrize("hand", ["mouse", "touch"])
def test_the_whole_way_with_a_pointer(
    browser, live_server, complaints, make, log_in, rhea, hand
):
    """Its choices too that no key makes: a reason, a comment, how sure one is."""
    study = make(protocol={"asks_confidence": True})
    screen = {"width": 1280, "height": 800}
    context = complaints.listen(
        browser.new_context(
            base_url=live_server.url, viewport=screen, has_touch=hand == "touch"
        )
    )
    complaints.expected.append("422")
    page = context.new_page()
    page.set_default_timeout(10_000)

    def press(target: Locator) -> None:
        target.tap() if hand == "touch" else target.click()

    def button(name: str) -> Locator:
        return page.get_by_role("button", name=name)

    log_in(page, rhea)
    page.goto("/")
    press(page.get_by_role("link", name=study.name))
    press(page.get_by_text("I have read this and take part."))
    press(button("Begin"))
    for question, chosen in DISPLAY.items():
        group = page.get_by_role("group", name=question)
        press(group.get_by_text(chosen, exact=True))
    press(button("Continue"))

    wait_until_ready(page)
    press(page.get_by_text("Cannot be judged"))
    press(page.get_by_text("The image quality does not allow it"))
    press(button("Save and next"))
    expect(said(page, "Practice 1 saved: cannot be judged")).to_be_visible()
    for number in (1, 2, 3):
        wait_until_ready(page)
        assert place(page) == f"Case {number} of 3"
        press(page.get_by_text("A minority of the hot spots"))
        if number == 1:
            press(button("Save and next"))
            expect(
                page.get_by_text("“How sure are you?”: an answer is missing.")
            ).to_be_visible()
            assert page.locator(":checked").input_value() == "2"
        press(page.get_by_text("Add a comment"))
        page.get_by_label("Comment").fill(f"Note {number}")
        sure = page.get_by_role("radiogroup", name="How sure are you?")
        press(sure.get_by_role("radio", name="4"))
        assert_accessible(page)
        press(button("Save and next"))

    press(page.get_by_role("link", name="Finish"))
    press(page.get_by_text("Never", exact=True))
    page.get_by_label("Your password, to sign").fill("wrong")
    press(button("Sign off"))
    expect(page.get_by_text("That is not your password")).to_be_visible()
    expect(page.get_by_role("radio", name="Never")).to_be_checked()
    page.get_by_label("Your password, to sign").fill("rhea-pass")
    press(button("Sign off"))
    expect(page.get_by_text("Signed off. Thank you.")).to_be_visible()
    context.close()

    first, *rest = answers()
    assert first.answer == {"answers": {}, "cannot_judge": "image_quality"}
    assert [event.answer["answers"] for event in rest] == [
        {"rating": 2, "confidence": 4, "comment": f"Note {number}"}
        for number in (1, 2, 3)
    ]
    assert all(event.viewer["active_ms"] > 0 for event in (first, *rest))


# Going back


def test_backspace_leads_back_to_the_last_answer_which_can_be_changed(reading):
    page = reading
    rate_by_key(page, 4)
    current = page.url
    page.keyboard.press("Digit2")  # not saved; it is gone with the page that had it

    page.keyboard.press("Backspace")
    expect(said(page, "You rated it 4.")).to_be_visible()
    wait_until_ready(page)
    assert page.url.endswith("/change")
    assert place(page) == "Case 1 of 3"
    assert page.locator(":checked").count() == 0
    assert page.evaluate("document.activeElement.tagName") == "H1"
    expect(page.get_by_role("status")).to_contain_text("You rated it 4.")
    assert_accessible(page)

    page.keyboard.press("Digit1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Case 1 saved: 1", exact=True)).to_be_visible()
    wait_until_ready(page)
    assert page.url == current
    assert place(page) == "Case 2 of 3"
    assert page.locator(":checked").count() == 0
    (event,) = answers()
    assert event.kind == "change"
    assert event.answer == {"answers": {"rating": 1}}


def test_one_can_go_back_further_and_leave_everything_as_it_is(reading):
    page = reading
    rate_by_key(page, 4)
    rate_by_key(page, 5)
    for number, rating in ((2, 5), (1, 4)):
        page.keyboard.press("Backspace")
        expect(said(page, f"You rated it {rating}.")).to_be_visible()
        wait_until_ready(page)
        assert place(page) == f"Case {number} of 3"
    page.reload()
    wait_until_ready(page)
    assert place(page) == "Case 1 of 3"

    page.get_by_role("link", name="Leave it as it is").click()
    wait_until_ready(page)
    assert place(page) == "Case 3 of 3"
    assert ratings() == [4, 5]


def test_before_the_signature_the_last_answer_can_be_gone_back_to(reading):
    page = reading
    for _ in range(3):
        rate_by_key(page, 3)
    page.get_by_role("link", name="Finish").click()
    page.get_by_role("link", name="go back to the last one").click()
    wait_until_ready(page)
    page.keyboard.press("Digit0")
    page.keyboard.press("Enter")

    expect(page.get_by_text("All 3 cases are rated")).to_be_visible()
    assert ratings() == [3, 3, 0]


def test_an_answer_that_two_windows_change_is_asked_for_again(reading, complaints):
    page = reading
    complaints.expected.append("409")
    rate_by_key(page, 4)
    page.keyboard.press("Backspace")
    expect(said(page, "You rated it 4.")).to_be_visible()
    other = page.context.new_page()
    other.goto(page.url)
    for window, rating in ((other, 2), (page, 0)):
        wait_until_ready(window)
        window.keyboard.press(f"Digit{rating}")
        window.keyboard.press("Enter")

    expect(page.locator("#notice")).to_contain_text("it was changed meanwhile")
    expect(said(page, "You rated it 2.")).to_be_visible()
    assert page.locator(":checked").input_value() == "0"
    assert ratings() == [2]
    page.keyboard.press("Enter")
    expect(page.get_by_text("Case 1 saved: 0", exact=True)).to_be_visible()
    assert ratings() == [0]


# Breaks and settings


def test_a_break_is_offered_and_ends_at_the_same_case(reading, study, monkeypatch):
    page = reading
    soon = BreakAfter(answers=2, minutes=30)
    monkeypatch.setattr(sitting, "break_after", lambda _enrolment: soon)
    rate_by_key(page, 3)
    assert page.get_by_role("link", name="Take a break").count() == 0
    rate_by_key(page, 3)
    at = page.url
    expect(said(page, "2 cases since the last break.")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("2 cases since the last break.")
    assert_accessible(page)

    page.get_by_role("link", name="Take a break").click()
    page.get_by_role("link", name="Continue").click()
    wait_until_ready(page)
    assert page.url == at
    assert page.get_by_role("link", name="Take a break").count() == 0
    rate_by_key(page, 5)
    assert ratings() == [3, 3, 5]


def test_a_person_switches_single_keys_off(reading):
    page = reading
    case = page.url
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("checkbox", name="Single keys").uncheck()
    assert_accessible(page)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")

    page.goto(case)
    wait_until_ready(page)
    page.keyboard.press("Digit3")
    page.keyboard.press("KeyO")
    assert page.locator(":checked").count() == 0
    expect(page.get_by_role("button", name="Map")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.get_by_role("radio", name="3 About half").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Case 1 saved: 3", exact=True)).to_be_visible()


def test_help_opens_over_the_case_and_keeps_the_choice(reading):
    page = reading
    page.keyboard.press("Digit3")
    page.get_by_role("button", name="Help").click()
    expect(page.get_by_role("dialog", name="Keys, mouse and touch")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.locator(":checked").input_value() == "3"
