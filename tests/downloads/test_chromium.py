"""Downloads in a real browser: media that seeks, names under which it saves, and files that try to run a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Response, Route

from tests.downloads.in_browsers import CAUGHT, HOSTILE, SONG_SECONDS
from tests.downloads.serving import Served
from tests.servers import chromium
from tests.servers.processes import HOST

pytestmark = pytest.mark.matrix(cases=1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium.launched() as found:
        yield found


@pytest.fixture(scope="module")
def origin(served: dict[str, Served]) -> str:
    """Where the application is."""
    return f"http://{HOST}:{served['uvicorn'].port}"


@contextmanager
def _watched(browser: Browser, origin: str, page_of_ours: str = "") -> Iterator[tuple[Page, list[str]]]:
    """Open a page; what scripts ask for is noted. A page of our own, without any protection, is at ``/page``."""
    context: BrowserContext = browser.new_context(accept_downloads=False)
    caught: list[str] = []

    def note(route: Route) -> None:
        caught.append(route.request.url)
        route.fulfill(status=204)

    context.route(f"{origin}{CAUGHT}", note)
    context.route(f"{origin}/page", lambda route: route.fulfill(content_type="text/html", body=page_of_ours))
    try:
        yield context.new_page(), caught
    finally:
        context.close()


def _go(page: Page, url: str) -> None:
    try:
        page.goto(url, wait_until="load")
    except Error as error:
        # An attachment opens no page.
        if "Download is starting" not in str(error) and "ERR_ABORTED" not in str(error):
            raise


def _rest(page: Page, origin: str) -> None:
    """Wait for whatever scripts may have begun: a request that is made after theirs has been answered."""
    page.goto(f"{origin}/page", wait_until="networkidle")


def test_the_trap_works(browser: Browser, origin: str) -> None:
    """A page without protection is caught: what the other tests do not see is not there."""
    with _watched(browser, origin, HOSTILE["page.html"][0].decode()) as (page, caught):
        _go(page, f"{origin}/page")
        page.wait_for_function("document.title == 'caught'")
    assert caught


@pytest.mark.parametrize("disposition", ["inline", "attachment"])
def test_hostile_files_opened(browser: Browser, origin: str, disposition: str) -> None:
    """No file runs a script when its address is opened."""
    with _watched(browser, origin) as (page, caught):
        for name in HOSTILE:
            _go(page, f"{origin}/memory/{name}?disposition={disposition}")
            assert page.title() != "caught", name
        _rest(page, origin)
    assert caught == []


@pytest.mark.parametrize("disposition", ["inline", "attachment"])
def test_hostile_files_embedded(browser: Browser, origin: str, disposition: str) -> None:
    """No file runs a script in a page of the same site that embeds it in any of the ways there are."""
    urls = [f"/memory/{name}?disposition={disposition}" for name in HOSTILE]
    ways = (
        '<iframe src="{}"></iframe>',
        '<object data="{}"></object>',
        '<embed src="{}">',
        '<img src="{}">',
        '<script src="{}"></script>',
        '<script type="module" src="{}"></script>',
        '<link rel="stylesheet" href="{}">',
        '<video src="{}"></video>',
    )
    body = "<!doctype html><body>" + "".join(way.format(url) for url in urls for way in ways)
    with _watched(browser, origin, body) as (page, caught):
        page.goto(f"{origin}/page", wait_until="load")
        assert caught == []
        assert page.title() == ""


def test_media_seeks(browser: Browser, origin: str) -> None:
    """A video element jumps to the end of a file by asking for a range of it, not by reading all of it."""
    answers: list[Response] = []
    html = '<video id="v" preload="metadata" src="/memory/song?disposition=inline"></video>'
    with _watched(browser, origin, html) as (page, _):
        page.on("response", lambda answer: answers.append(answer) if "/song" in answer.url else None)
        page.goto(f"{origin}/page")
        page.wait_for_function("v.readyState >= 1")
        assert page.evaluate("v.duration") == SONG_SECONDS
        page.evaluate("new Promise(done => { v.onseeked = done; v.currentTime = 290 })")
        assert page.evaluate("v.currentTime") == 290
        ranges = [(each.status, each.headers.get("content-range", "")) for each in answers]
    assert {status for status, _ in ranges} == {206}
    starts = [int(value.removeprefix("bytes ").split("-")[0]) for _, value in ranges]
    assert starts[0] == 0
    assert max(starts) > 20_000_000


def test_names_are_understood(browser: Browser, origin: str) -> None:
    """The browser saves a file under its whole name."""
    with _watched(browser, origin) as (page, _):
        with page.expect_download() as download:
            _go(page, f"{origin}/memory/small/unknown")
        assert download.value.suggested_filename == "Übersicht „2026“.txt"
