"""The browser of the tests that need one: the system's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.servers.processes import missing

__all__ = ("ARGUMENTS", "executable", "launched", "watch")

ARGUMENTS = (
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Whatever it still wants to ask outside, it does not find.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
"""What to start it with, besides what the test itself wants."""


def executable() -> Path:
    """Find the program: FILESTORE_CHROMIUM, else Debian's Chromium, else Google's Chrome.

    Raises:
        pytest.skip.Exception: There is none; in continuous integration it is pytest.fail.Exception.
    """
    named = os.environ.get("FILESTORE_CHROMIUM")
    names = [named] if named else ["chromium", "chromium-browser", "google-chrome"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing("Chromium is not installed: apt-get install chromium")
    return Path(found)


@contextmanager
def launched() -> Iterator[Browser]:
    """Run it; raises the same as `executable`."""
    program = executable()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS)) as browser,
    ):
        yield browser


def watch(page: Page, complaints: list[str]) -> None:
    """Note script errors of a page, and what its policy refuses."""
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    page.on("filechooser", lambda _: None)  # from now on, not a moment after the first dialog has been opened
