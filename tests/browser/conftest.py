"""A real Chromium against a live server, watched for everything it complains about."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from readerstudy.models import Study
from tests.browser.install import chromium_path
from tests.conftest import ROOT, missing
from tests.readerstudy.factories import make_study
from tests.readerstudy.web.conftest import reader_client

# No sandbox inside containers, no traffic of its own, and a renderer in software and
# colours as they are, so that pixels are the same whatever card and screen are there.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--force-color-profile=srgb",
]
# The page draws without WebGL where there is no graphics card. This hides that from it.
AS_WITH_A_CARD = """
const extension = WebGL2RenderingContext.prototype.getExtension;
WebGL2RenderingContext.prototype.getExtension = function (name) {
  return name === "WEBGL_debug_renderer_info" ? null : extension.call(this, name);
};
"""
REPORT_CSP = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
});
"""


@dataclass
class Complaints:
    """What the browser complained about, and what a test expects it to."""

    origin: str
    heard: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def listen(self, context: BrowserContext) -> BrowserContext:
        """Hear every page of `context`, also those that are opened later."""
        context.add_init_script(REPORT_CSP)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.heard.append(str(error.error)))
        context.on("request", lambda request: self._on_request(request.url))
        return context

    def _on_console(self, message):
        if message.type in ("error", "warning"):
            self.heard.append(f"{message.type}: {message.text}")

    def _on_request(self, url):
        if f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" != self.origin:
            self.heard.append(f"request to {url}")

    def unexpected(self) -> list[str]:
        def is_expected(text):
            return any(part in text for part in self.expected)

        return [text for text in self.heard if not is_expected(text)]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is."""
    return chromium_path() or missing("Chromium")


@pytest.fixture(scope="session")
def browser(chromium) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread, in which Django would refuse to
    # touch the database. Nothing here is asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def complaints(live_server) -> Iterator[Complaints]:
    """Fails the test that leaves a complaint which it did not expect."""
    complaints = Complaints(live_server.url)
    yield complaints
    assert complaints.unexpected() == []


@pytest.fixture
def context(browser, live_server, complaints) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=live_server.url, viewport={"width": 1280, "height": 800}
    )
    context.set_default_timeout(10_000)
    yield complaints.listen(context)
    context.close()


@pytest.fixture
def page(context) -> Page:
    return context.new_page()


@pytest.fixture
def log_in(live_server) -> Callable[[Page, User], None]:
    """Logs a person in without a visit to the login page, the display checked."""

    def log_in(page: Page, user: User) -> None:
        client = reader_client(user)
        session = client.cookies[settings.SESSION_COOKIE_NAME]
        page.context.add_cookies(
            [{"name": session.key, "value": session.value, "url": live_server.url}]
        )

    return log_in


@pytest.fixture
def study(tmp_path, live_server, rhea) -> Study:
    """One case under three arms, for rhea to read."""
    return make_study(tmp_path / "bundle", readers=[rhea], cases=1)


@pytest.fixture
def reading(page, log_in, rhea, study) -> Page:
    """rhea's first case, drawn and ready for a key."""
    log_in(page, rhea)
    page.goto(f"/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()
    wait_until_ready(page)
    return page


AXE = ROOT / "tests" / "browser" / "vendor" / "axe-core-4.14.1.min.js"
# Everything that WCAG 2.2 asks for at levels A and AA, and what axe itself advises.
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def assert_accessible(page: Page, *, besides: str = "") -> None:
    """Nothing on the page, as it is now, for axe-core to find.

    Args:
        page: any page of the application.
        besides: a pattern of rules that are somebody else's affair, such as those that
            Django's admin breaks.
    """
    # Not as a script element: the page's own policy would refuse it.
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "(tags) => axe.run({ runOnly: { type: 'tag', values: tags } })", AXE_TAGS
    )
    assert found["passes"], "axe looked at nothing"
    told = [
        f"{violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in found["violations"]
        if not (besides and re.fullmatch(besides, violation["id"]))
        for node in violation["nodes"]
    ]
    assert told == []


def wait_until_ready(page: Page) -> None:
    """Until the scale is there, and a key counts."""
    page.locator("#reading fieldset").wait_for(state="visible")
    page.wait_for_timeout(300)


def check_display(page: Page) -> None:
    """Answer what the page asks of the display in each new session."""
    page.get_by_role("heading", name="Your display").wait_for()
    for question in page.locator("fieldset.choices").all():
        question.get_by_role("radio").first.check()
    page.get_by_role("button", name="Continue").click()


def rate_by_key(page: Page, rating: int) -> None:
    """Rate the case on the screen and wait for what comes next."""
    token = page.locator("#reading").get_attribute("data-image")
    page.keyboard.press(f"Digit{rating}")
    page.keyboard.press("Enter")
    page.locator(f'[data-image="{token}"]').wait_for(state="detached")
    if "/read/" in page.url:
        wait_until_ready(page)
