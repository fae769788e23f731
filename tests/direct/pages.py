"""Pages of the application with direct uploads, in Chromium."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.servers import chromium
from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, find_package, running

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

__all__ = ("shown",)


@contextmanager
def shown(path: str, store: str, folder: Path, port: int) -> Iterator[Page]:
    """Serve the application on a store, and show one of its pages.

    A script error on it, or something that its policy refuses, fails the test.
    """
    find_package("uvicorn", "pip install uvicorn")
    chromium.executable()
    complaints: list[str] = []
    command = [sys.executable, "-P", "-m", "uvicorn", "tests.direct.uppy_app:app", "--port", str(port)]
    environment = {**TESTS_IMPORTABLE, "DIRECT_STORE": store, "DIRECT_FOLDER": str(folder)}
    with (
        running("uvicorn", command, folder, Surroundings(environment=environment)) as process,
        chromium.launched() as browser,
    ):
        process.wait_for_port(port)
        page = browser.new_page()
        chromium.watch(page, complaints)
        page.goto(f"http://{HOST}:{port}{path}")
        yield page
    assert complaints == []
