"""Finds a Chromium for the browser tests, or gets one.

`make test` runs `python -m tests.browser.install` first. The system's browser is
preferred, then Playwright's own, then Playwright's download, then, for root on a Debian
system, the package. Exit status 1 only in CI (`CI=true`): elsewhere the tests that need
a browser are skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
TEN_MINUTES = 600


def chromium_path() -> str | None:
    """Where a Chromium is that starts, if there is one."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    candidates = [*filter(None, map(shutil.which, NAMES)), own]
    return next((path for path in candidates if _runs([path, "--version"])), None)


def _runs(command: list[str]) -> bool:
    """Whether a command ends well. A browser without its libraries does not."""
    if not shutil.which(command[0]):
        return False
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=TEN_MINUTES
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _download() -> bool:
    return _runs([sys.executable, "-m", "playwright", "install", "chromium"])


def _install_package() -> bool:
    if os.geteuid() != 0 or not Path("/etc/debian_version").is_file():
        return False
    return _runs(["apt-get", "update"]) and _runs(
        ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
    )


def main() -> int:
    path = chromium_path()
    for get in (_download, _install_package):
        if path:
            break
        sys.stdout.write("No Chromium found, trying to install one ...\n")
        sys.stdout.flush()
        if get():
            path = chromium_path()
    if path:
        sys.stdout.write(f"The browser tests use {path}\n")
        return 0
    sys.stderr.write(
        "No Chromium could be found or installed; the browser tests are skipped. "
        "Install Chromium or Google Chrome to run them.\n"
    )
    return 1 if os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
