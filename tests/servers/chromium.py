"""The browser of the tests that need one: the system's Chromium."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.servers.processes import missing

__all__ = ("ARGUMENTS", "executable")

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
