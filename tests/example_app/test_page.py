"""The page of the example app, in a real browser."""

from __future__ import annotations

import hashlib
import os
import random
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.example_app.example import MAX_BYTES, Example, serve_on_disk
from tests.servers import chromium

pytestmark = pytest.mark.slow

Choose = Callable[[Mapping[str, bytes | int]], None]
"""Takes the content of files by their names; a number stands for so many zero bytes."""

MARKUP = '<img src=x onerror="document.title=1">.png'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's browser."""
    executable = chromium.executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(chromium.ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """An app for all tests of this module."""
    with serve_on_disk(tmp_path_factory.mktemp("example-page")) as running:
        yield running


@pytest.fixture
def example(running: Example) -> Example:
    """The app without any documents."""
    with running.client() as client:
        while documents := client.get("/documents").json()["items"]:
            for document in documents:
                client.delete(f"/documents/{document['id']}")
    running.wait_until_only(set())
    return running


@pytest.fixture
def page(browser: Browser, example: Example) -> Iterator[Page]:
    """The page, ready; a script error on it, or a refused part of it, fails the test."""
    complaints: list[str] = []
    context = browser.new_context(base_url=example.url)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    page.goto("/")
    expect(page.locator("#limit")).to_contain_text("32")
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def choose(page: Page, tmp_path: Path) -> Choose:
    """Choose files in the dialog that the button opens."""

    def choose_files(files: Mapping[str, bytes | int]) -> None:
        paths = [tmp_path / name for name in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(b"" if isinstance(content, int) else content)
            if isinstance(content, int):
                os.truncate(path, content)
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose files").click()
        chooser.value.set_files(paths)

    return choose_files


def drop(page: Page, **files: str) -> None:
    """Drag files from the desktop onto the page and let go."""
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, text] of Object.entries(files)) transfer.items.add(new File([text], name));
            return transfer;
        }""",
        files,
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(".drop", event, {"dataTransfer": transfer})


def names(page: Page) -> list[str]:
    """Return the names in the list, from the top."""
    return page.locator(".document .name").all_text_contents()


def test_empty_store_says_so(page: Page) -> None:
    """Without documents there is a sentence in place of the list."""
    expect(page.get_by_text("Nothing here yet")).to_be_visible()


def test_chosen_files_are_uploaded(page: Page, choose: Choose, example: Example) -> None:
    """Several files that were chosen at once are all stored and listed."""
    choose({"one.txt": b"1", "two.txt": b"22", "three.txt": b"333"})
    expect(page.locator(".document")).to_have_count(3)
    assert (sorted(names(page)), len(example.keys)) == (["one.txt", "three.txt", "two.txt"], 3)


def test_dropped_files_are_uploaded(page: Page, example: Example) -> None:
    """So are files that were dropped onto the page."""
    drop(page, **{"one.txt": "1", "two.txt": "22"})
    expect(page.locator(".document")).to_have_count(2)
    assert (sorted(names(page)), len(example.keys)) == (["one.txt", "two.txt"], 2)


def test_drag_over_the_page_is_shown(page: Page) -> None:
    """While files hover over the page it shows where they go, and stops when they leave."""
    transfer = page.evaluate_handle("() => { const t = new DataTransfer(); t.items.add(new File([], 'x')); return t; }")
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("body")).to_have_class("over")
    page.dispatch_event("body", "dragleave", {"dataTransfer": transfer})
    expect(page.locator("body")).not_to_have_class("over")


def test_progress_of_an_upload_is_shown(page: Page, choose: Choose) -> None:
    """The bar of a file grows in steps while it is sent over a slow line."""
    page.evaluate(
        """() => {
            window.seen = [];
            new MutationObserver((changes) => {
                for (const { target } of changes) if (target.tagName === "PROGRESS") seen.push(target.value);
            }).observe(document.getElementById("uploads"), { subtree: true, attributes: true });
        }"""
    )
    line = page.context.new_cdp_session(page)
    line.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4_000_000},
    )
    choose({"slow.bin": random.Random(1).randbytes(4_000_000)})
    expect(page.locator(".document")).to_have_count(1)
    seen: list[float] = page.evaluate("seen")
    between = [each for each in seen if 0 < each < 1]
    assert (len(between) > 2, seen) == (True, sorted(seen))


def test_listed_file_has_its_facts(page: Page, choose: Choose) -> None:
    """The list tells name, size and type, and the date in a form that machines read too."""
    choose({"report.pdf": b"%PDF-1.7".ljust(1500)})
    row = page.locator(".document")
    expect(row).to_contain_text("report.pdf")
    expect(row).to_contain_text("1.5 kB")
    expect(row).to_contain_text("application/pdf")
    expect(row.locator("time")).to_have_attribute("datetime", re.compile(r"\d{4}-\d\d-\d\dT.*Z"))


def test_listed_file_can_be_downloaded(page: Page, choose: Choose) -> None:
    """The link of a file saves the same bytes under its name."""
    content = random.Random(2).randbytes(3_000_000)
    choose({"Übersicht.bin": content})
    with page.expect_download() as download:
        page.get_by_role("link", name="Download Übersicht.bin").click()
    saved = Path(download.value.path()).read_bytes()
    assert (download.value.suggested_filename, hashlib.sha256(saved).digest()) == (
        "Übersicht.bin",
        hashlib.sha256(content).digest(),
    )


def test_link_to_a_listed_file_can_be_copied(page: Page, choose: Choose, example: Example) -> None:
    """The clipboard gets the address of the file for somebody who knows nothing else, and that is told."""
    choose({"shared.txt": b"for everybody"})
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy a link to shared.txt").click()
    expect(page.locator("[aria-live]")).to_have_text("A link to shared.txt was copied")
    link: str = page.evaluate("navigator.clipboard.readText()")
    with example.client() as client:
        assert (link.startswith(example.url), client.get(link).content) == (True, b"for everybody")


def test_link_is_shown_where_nothing_can_be_copied(page: Page, choose: Choose, example: Example) -> None:
    """Without a clipboard the person copies the address, out of a dialog."""
    choose({"shared.txt": b"for everybody"})
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    with page.expect_event("dialog") as shown:
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.get_by_role("button", name="Copy a link to shared.txt").click()
    with example.client() as client:
        assert client.get(shown.value.default_value).content == b"for everybody"


def test_listed_file_can_be_deleted(page: Page, choose: Choose, example: Example) -> None:
    """A file that is deleted goes from the list and from the store."""
    choose({"gone.txt": b"x"})
    page.get_by_role("button", name="Delete gone.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".document")).to_have_count(0)
    example.wait_until_only(set())


def test_delete_asks_first(page: Page, choose: Choose, example: Example) -> None:
    """Whoever does not mean it keeps the file."""
    choose({"kept.txt": b"x"})
    page.get_by_role("button", name="Delete kept.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert (names(page), len(example.keys)) == (["kept.txt"], 1)


def test_everything_works_with_the_keyboard(page: Page, choose: Choose) -> None:
    """Tab reaches the buttons, Enter presses them, and after a delete the focus has a place."""
    choose({"gone.txt": b"x"})
    page.get_by_role("button", name="Delete gone.txt").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".document")).to_have_count(0)
    expect(page.get_by_role("heading", name="Stored files")).to_be_focused()


def test_uploads_and_deletes_are_announced(page: Page, choose: Choose) -> None:
    """What happens is told to those who do not see it."""
    choose({"a.txt": b"x"})
    expect(page.locator("[aria-live]")).to_have_text("a.txt was uploaded")


def test_file_over_the_limit_is_refused(page: Page, choose: Choose, example: Example) -> None:
    """A file that is too large stays in the list of uploads with the reason, and the others are stored."""
    choose({"big.bin": MAX_BYTES + 1, "small.txt": b"x"})
    expect(page.locator(".upload.failed")).to_contain_text("Too large, the limit is 32 MB")
    expect(page.locator(".document")).to_have_count(1)
    assert len(example.keys) == 1


def test_failed_upload_can_be_dismissed(page: Page, choose: Choose) -> None:
    """The reason of a failure goes when it was read."""
    choose({"big.bin": MAX_BYTES + 1})
    page.get_by_role("button", name="Dismiss big.bin").click()
    expect(page.locator(".upload")).to_have_count(0)


def test_running_upload_can_be_cancelled(page: Page, choose: Choose, example: Example) -> None:
    """An upload that is given up leaves nothing, on the page and in the store."""
    line = page.context.new_cdp_session(page)
    line.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000},
    )
    choose({"slow.bin": 8_000_000})
    page.get_by_role("button", name="Cancel slow.bin").click()
    expect(page.locator(".upload")).to_have_count(0)
    assert names(page) == []
    example.wait_until_only(set())


def test_broken_connection_is_told(page: Page, choose: Choose) -> None:
    """Without a network the upload fails with a reason."""
    page.context.set_offline(True)
    choose({"a.txt": b"x"})
    expect(page.locator(".upload.failed")).to_contain_text("The connection broke")


def test_hostile_name_of_an_upload_is_text(page: Page, choose: Choose) -> None:
    """Markup in the name of a file that is being sent is shown and not run."""
    choose({MARKUP: MAX_BYTES + 1})
    expect(page.locator(".upload .name")).to_have_text(MARKUP)
    assert (page.locator("main img").count(), page.title()) == (0, "Documents")


def test_hostile_name_in_the_list_is_text(page: Page, choose: Choose, example: Example) -> None:
    """So is markup in the list, should it ever have got into the database."""
    choose({"a.png": b"x"})
    expect(page.locator(".document")).to_have_count(1)
    with closing(sqlite3.connect(example.data / "documents.sqlite")) as database, database:
        database.execute("UPDATE document SET file = json_set(file, '$.filename', ?)", [MARKUP])
    page.reload()
    expect(page.locator(".document .name")).to_have_text(MARKUP)
    assert (page.locator("main img").count(), page.title()) == (0, "Documents")


def test_long_list_is_shown_in_parts(page: Page, example: Example) -> None:
    """More than a page of documents is loaded when it is asked for."""
    with example.client() as client:
        for number in range(51):
            client.post("/documents", files={"file": (f"{number}.txt", b"")})
    page.reload()
    expect(page.locator(".document")).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".document")).to_have_count(51)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_page_fits_a_phone(page: Page, choose: Choose) -> None:
    """At 375 pixels nothing sticks out sideways, however long the names are."""
    page.set_viewport_size({"width": 375, "height": 700})
    choose({"very-long-name-without-any-space-" * 5 + ".pdf": b"x", "big.bin": MAX_BYTES + 1})
    expect(page.locator(".document")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
