"""The browser, and the library of whichever app a module of tests runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.example_app.example import Example
from tests.servers import chromium

__all__ = ("PATIENCE_MS", "Choose", "card", "choose_in", "slow_line", "stored")

Choose = Callable[[Mapping[str, bytes | int]], None]
"""Takes the content of files by their names; a number stands for so many zero bytes."""

PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's browser."""
    with chromium.launched() as found:
        expect.set_options(timeout=PATIENCE_MS)
        yield found


@pytest.fixture
def example(running: Example) -> Example:
    """The app without any documents."""
    with running.client() as client:
        for deleted in (False, True):
            while documents := client.get("/documents", params={"deleted": deleted}).json()["items"]:
                for document in documents:
                    client.delete(f"/documents/{document['id']}", params={"forever": True})
    running.wait_until_only(set())
    return running


@pytest.fixture
def context(browser: Browser, example: Example) -> Iterator[BrowserContext]:
    """A browser that has seen nothing; a script error, or something that a page's policy refuses, fails the test."""
    complaints: list[str] = []
    context = browser.new_context(base_url=example.url, has_touch=True)
    context.set_default_timeout(PATIENCE_MS)
    context.on("page", lambda page: chromium.watch(page, complaints))
    yield context
    context.close()
    assert complaints == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """The library, ready."""
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    return page


@pytest.fixture
def choose(page: Page, tmp_path: Path) -> Choose:
    """Choose files in the dialog that the button opens."""
    return lambda files: choose_in(page, page.locator("#upload"), tmp_path, files)


def choose_in(page: Page, place: Locator, folder: Path, files: Mapping[str, bytes | int]) -> None:
    """Choose files for one of the page's elements."""
    paths = [folder / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(b"" if isinstance(content, int) else content)
        if isinstance(content, int):
            os.truncate(path, content)
        os.utime(path, (1, 1))  # the same file when it is chosen again
    with page.expect_file_chooser() as chooser:
        place.locator("filestore-upload [part=button]").click()
    chooser.value.set_files(paths)


def card(page: Page, name: str) -> Locator:
    """Return the card of a document."""
    return page.locator(".card").filter(has=page.locator(".name").get_by_text(name, exact=True))


def slow_line(page: Page, bytes_per_second: int) -> None:
    """Let uploads be slow."""
    page.context.new_cdp_session(page).send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second},
    )


def stored(example: Example) -> list[bytes]:
    """Return the digests of all stored objects, sorted."""
    backend = example.connect()
    return sorted(hashlib.sha256(b"".join(backend.get(key))).digest() for key in example.keys)
