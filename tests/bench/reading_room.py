"""How long a reader waits: from a key to the next case, and for each frame of a drag.

    python -m tests.bench.reading_room [--cases N] [--side 2048] [--width W --height H]

A study of noise (uint16, the worst case for everything) on a SQLite database in a
temporary folder, served by gunicorn on loopback and read in headless Chromium, once
without WebGL, as the page chooses where there is no graphics card, and once with an
emulated one.

A case counts as drawn one frame after the page lets it be rated, so the times contain
the request, the rating's commit, the panel, and a picture that has been composited. A
frame's time is the distance to the one before; a screen of 60 Hz allows no less than
16.7 ms.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.install import chromium_path

WATCH = """
window.waits = [];
let pressedAt = null;
document.addEventListener("keydown", (event) => {
  if (event.code === "Enter") pressedAt = event.timeStamp;
}, true);
new MutationObserver(() => {
  const fieldset = document.querySelector("#reading fieldset");
  if (pressedAt === null || !fieldset || fieldset.hidden) return;
  if (fieldset === window.rated) return;
  const since = pressedAt;
  pressedAt = null;
  requestAnimationFrame(() => window.waits.push(performance.now() - since));
}).observe(document, { subtree: true, childList: true, attributeFilter: ["hidden"] });
"""
FRAMES = """
() => {
  window.frames_ = [];
  let last = null;
  const count = (now) => {
    if (last !== null) window.frames_.push(now - last);
    last = now;
    if (window.frames_) window.counting = requestAnimationFrame(count);
  };
  window.counting = requestAnimationFrame(count);
}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which the application in `folder` answers."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "readerstudy.wsgi"]
    command += ["--config", "python:readerstudy.gunicorn_config"]
    command += ["--bind", f"127.0.0.1:{port}"]
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=10)
        log.close()


def make_reader(folder: Path, name: str, cases: int, side: int) -> tuple[Any, Any]:
    """A study with one reader, who is logged in, and the session's cookie."""
    from django.conf import settings
    from django.contrib.auth.models import User

    from tests.readerstudy.factories import make_study
    from tests.readerstudy.web.conftest import reader_client

    reader = User.objects.create_user(name)
    study = make_study(
        folder / name,
        name=name,
        readers=[reader],
        cases=cases,
        height=side,
        width=side,
        dtype="uint16",
        overlay=(256, 256),
    )
    client = reader_client(reader)
    return study, client.cookies[settings.SESSION_COOKIE_NAME]


def rate_all(page: Page, number: int) -> list[float]:
    """Milliseconds from each Enter but the last to the next case."""
    for done in range(1, number):
        page.keyboard.press("Digit3")
        page.evaluate("window.rated = document.querySelector('#reading fieldset')")
        page.keyboard.press("Enter")
        while page.evaluate("window.waits.length") < done:
            page.wait_for_timeout(50)
        # A reader looks at the image, and the next one is fetched meanwhile.
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(400)
    waits: list[float] = page.evaluate("window.waits")
    return waits


def drag(page: Page, button: str) -> list[float]:
    """Milliseconds between frames while the mouse is dragged to and fro."""
    box = page.locator("canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.evaluate(FRAMES)
    for turn in range(6):
        page.mouse.move(x + 60 * (-1) ** turn, y + 40 * (-1) ** turn, steps=30)
    frames: list[float] = page.evaluate(
        "() => { const f = window.frames_; window.frames_ = null; return f; }"
    )
    page.mouse.up(button=button)
    page.keyboard.press("KeyR")
    return frames


def line(label: str, milliseconds: list[float]) -> str:
    at = np.percentile(milliseconds, (5, 50, 95, 100))
    values = "".join(f"{value:9.1f}" for value in at)
    return f"{label:<34}{values}   n = {len(milliseconds)}\n"


def measure(
    browser: Browser, address: str, folder: Path, options: argparse.Namespace, name: str
) -> None:
    from tests.browser.conftest import AS_WITH_A_CARD

    study, cookie = make_reader(folder, name, options.cases, options.side)
    context = browser.new_context(
        viewport={"width": options.width, "height": options.height}
    )
    context.set_default_timeout(30_000)
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": address}])
    context.add_init_script(WATCH)
    if name == "webgl2":
        context.add_init_script(AS_WITH_A_CARD)
    page = context.new_page()
    page.goto(f"{address}/studies/{study.uuid}/")
    page.get_by_role("link", name="Start").click()
    page.locator("#reading fieldset").wait_for(state="visible")
    page.wait_for_timeout(1000)
    say = sys.stdout.write
    say(line(f"{name}: drag, window", drag(page, "left")))
    say(line(f"{name}: drag, move", drag(page, "middle")))
    say(line(f"{name}: drag, zoom", drag(page, "right")))
    say(line(f"{name}: Enter to next case", rate_all(page, 3 * options.cases)))
    context.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=14)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    options = parser.parse_args()
    path = chromium_path()
    if path is None:
        sys.stderr.write("No Chromium here: run python -m tests.browser.install.\n")
        return 1
    with tempfile.TemporaryDirectory() as name:
        os.environ["READERSTUDY_DATA"] = name
        os.environ.pop("DATABASE_URL", None)
        os.environ["DJANGO_SETTINGS_MODULE"] = "readerstudy.settings"
        # Playwright keeps an event loop in this thread.
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        django.setup()
        from django.core.management import call_command

        from tests.browser.conftest import ARGUMENTS

        call_command("migrate", verbosity=0)
        with served(Path(name)) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            sys.stdout.write(
                f"{options.side} x {options.side} uint16, window "
                f"{options.width} x {options.height}, Chromium {browser.version}\n"
                f"{'ms':<34}{'5 %':>9}{'50 %':>9}{'95 %':>9}{'most':>9}\n"
            )
            for renderer in ("canvas", "webgl2"):
                measure(browser, address, Path(name), options, renderer)
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
