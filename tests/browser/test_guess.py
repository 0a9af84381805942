"""The guess of the arms in a real browser, from the last rating to the signature."""

import pytest
from playwright.sync_api import expect

from readerstudy.models import StudyEvent
from tests.browser.conftest import assert_accessible
from tests.readerstudy.factories import make_study, rate_all

pytestmark = pytest.mark.browser


def test_maps_are_drawn_and_the_guess_leads_to_the_signature(
    page, tmp_path, live_server, log_in, rhea
):
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea],
        cases=2,
        training=1,
        height=48,
        width=64,
        overlay=(12, 16),
        protocol={"guess_arms": True},
    )
    rate_all(study.enrolments.get())
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Finish").click()
    expect(page.get_by_role("heading", name="Your guess")).to_be_visible()
    expect(page.locator("canvas[data-drawn]")).to_have_count(3)
    assert_accessible(page)
    page.screenshot(path=tmp_path / "guess.png")
    for place, guess in enumerate(("dual_bn", "I do not know", "standard"), start=1):
        page.get_by_label(f"Map {place} was made by").select_option(label=guess)
    page.get_by_role("button", name="Save the guess").click()
    expect(page.get_by_role("heading", name="Finish")).to_be_visible()
    event = StudyEvent.objects.get(kind="guessed")
    assert event.details["guesses"] == ["dual_bn", "", "standard"]
