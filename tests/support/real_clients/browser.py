"""Chromium, driven by Playwright: what a web page can do to an emulator that runs beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.real_servers.making import NotProvisioned, apt_install

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing but what the pages do: no first run, no updates; and no sandbox, which root in a container cannot have.
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    # What some browsers have against the same attacks by now; others have not.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
)


def make() -> None:
    """See to it that there is a Chromium. Raises NotProvisioned where it cannot be installed."""
    if _found() is None:
        apt_install("chromium", otherwise="Web pages are tried with Chromium: install it, and have it on the PATH")


@contextmanager
def launched(*, names: dict[str, str]) -> Iterator[Browser]:
    """A headless browser to which these names lead to these addresses. Raises NotProvisioned when there is none."""
    program = _found()
    if program is None:
        raise NotProvisioned("there is no Chromium here")
    from playwright.sync_api import sync_playwright

    rules = ", ".join(f"MAP {name} {address}" for name, address in names.items())
    with sync_playwright() as playwright:
        switches = [*SWITCHES, f"--host-resolver-rules={rules}"]
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=switches)
        try:
            yield browser
        finally:
            browser.close()


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)
