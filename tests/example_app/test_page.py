"""The pages of the example app, in a real browser."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect

from tests.example_app.conftest import PATIENCE_MS, Choose, card, choose_in, slow_line, stored
from tests.example_app.example import MAX_BYTES, Example, serve_on_disk
from tests.example_app.media import film, picture, sound

pytestmark = pytest.mark.slow

MARKUP = '<img src=x onerror="document.title=1">.png'
LONG_NAME = "a-name-that-is-much-longer-than-a-telephone-is-wide-because-somebody-meant-it-well.pdf"
PROGRAM = b"\x7fELF\x02\x01\x01".ljust(4096, b"\0")
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """An app for all tests of this module."""
    with serve_on_disk(tmp_path_factory.mktemp("example-page")) as running:
        yield running


def put(example: Example, *files: tuple[str, bytes], title: str = "") -> dict[str, Any]:
    """Make a document."""
    with example.client() as client:
        parts = [("files", file) for file in files]
        response = client.post("/documents", files=parts, data={"title": title})
        assert response.status_code == 201, response.text
        document: dict[str, Any] = response.json()
        return document


def open_viewer(page: Page, name: str) -> Locator:
    """Open a document and return the dialog."""
    page.get_by_role("button", name=name, exact=True).click()
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    return viewer


def wait_for(page: Page, script: str) -> None:
    """Return when a script returns true. Playwright's own way has the page evaluate text, which its policy forbids."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


# -- uploads -----------------------------------------------------------------------------------------------------------


def test_ten_files_at_once_are_ten_documents(page: Page, choose: Choose, example: Example) -> None:
    """All of them are stored and listed, and the element is empty again."""
    choose({f"{number}.txt": str(number).encode() for number in range(10)})
    expect(page.locator(".card")).to_have_count(10)
    expect(page.locator("#upload li")).to_have_count(0)
    assert len(example.keys) == 10


def test_files_that_belong_together_are_one_document(page: Page, choose: Choose) -> None:
    """If it is asked for, what was chosen at once is one document."""
    page.get_by_label("as one document").check()
    choose({"one.txt": b"1", "two.txt": b"22", "three.txt": b"333"})
    expect(page.locator(".card")).to_contain_text("3 files")
    assert page.locator(".card").count() == 1


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_files_that_are_dropped_or_pasted_are_uploaded(page: Page, example: Example, way: str) -> None:
    """The whole page takes them."""
    page.evaluate(
        """way => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(['1'], 'one.txt'));
            transfer.items.add(new File(['22'], 'two.txt'));
            const options = {bubbles: true, cancelable: true};
            document.querySelector('h1').dispatchEvent(way === 'paste'
                ? new ClipboardEvent('paste', {clipboardData: transfer, ...options})
                : new DragEvent('drop', {dataTransfer: transfer, ...options}));
        }""",
        way,
    )
    expect(page.locator(".card")).to_have_count(2)
    assert len(example.keys) == 2


def test_running_upload_can_be_cancelled(page: Page, choose: Choose, example: Example) -> None:
    """An upload that is given up leaves nothing, on the page and in the store."""
    slow_line(page, 200_000)
    choose({"slow.bin": 8_000_000})
    page.get_by_role("button", name="Remove slow.bin").click()
    expect(page.locator("#upload li")).to_have_count(0)
    expect(page.locator(".card")).to_have_count(0)
    example.wait_until_only(set())


def test_upload_goes_on_after_a_broken_connection(page: Page, choose: Choose, example: Example) -> None:
    """Offline in the middle and back: the same bytes arrive without a hand, and none of them twice."""
    offsets: list[int] = []

    def break_second(route: Route, request: Request) -> None:
        if request.method == "PATCH":
            offsets.append(int(request.headers["upload-offset"]))
            if len(offsets) == 2:
                page.context.set_offline(offline=True)
                route.abort("connectionreset")
                return
        route.continue_()

    content = random.Random(3).randbytes(12_000_000)
    page.route("**/documents/uploads/*", break_second)
    choose({"train.bin": content})
    expect(page.locator("#upload li")).to_contain_text("Trying again")
    page.context.set_offline(offline=False)
    expect(card(page, "train.bin")).to_be_visible()
    assert (offsets, stored(example)) == ([0, 8_000_000, 8_000_000], [hashlib.sha256(content).digest()])


def test_document_is_made_after_a_broken_connection(page: Page, choose: Choose, example: Example) -> None:
    """The last byte has come, and then there is no network: the document is made when there is one again."""
    page.route("**/documents", lambda route: route.abort("connectionreset"))
    choose({"train.txt": b"x"})
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.unroute_all()
    expect(card(page, "train.txt")).to_be_visible()
    expect(page.locator("#upload li")).to_have_count(0)


def test_upload_goes_on_after_a_reload(page: Page, choose: Choose, example: Example) -> None:
    """The page was closed in the middle; whoever chooses the file again sends only the rest."""
    content = random.Random(4).randbytes(20_000_000)
    slow_line(page, 8_000_000)
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        choose({"tunnel.bin": content})
    page.reload()
    offsets: list[int] = []
    page.on("request", lambda sent: offsets.extend([int(sent.headers.get("upload-offset", -1))]))
    choose({"tunnel.bin": content})
    expect(card(page, "tunnel.bin")).to_be_visible()
    assert min(each for each in offsets if each >= 0) >= 8_000_000
    assert stored(example) == [hashlib.sha256(content).digest()]


def test_file_above_the_limit_of_bodies_goes_up_in_parts(page: Page, choose: Choose) -> None:
    """No request has more than eight million bytes, so a proxy before the app may forbid larger ones."""
    lengths: list[int] = []
    page.on("request", lambda sent: lengths.append(len(sent.post_data_buffer or b"")))
    choose({"film.bin": 20_000_000})
    expect(card(page, "film.bin")).to_contain_text("20 MB")
    assert max(lengths) <= 8_000_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [(PROGRAM, "Programs are not kept here"), (MAX_BYTES + 1, "The file is too large: 32 MB is the limit")],
    ids=["type", "size"],
)
def test_refused_file_says_why(page: Page, choose: Choose, example: Example, content: bytes | int, reason: str) -> None:
    """It stays in the list of uploads with the reason until it is removed, and the others are stored."""
    choose({"holiday.jpg": content, "small.txt": b"x"})
    expect(page.locator("#upload [part=error]")).to_contain_text(reason)
    expect(card(page, "small.txt")).to_be_visible()
    page.get_by_role("button", name="Remove holiday.jpg").click()
    expect(page.locator("#upload [part=error]")).to_have_count(0)
    example.process.wait_until(lambda: len(example.keys) == 1)


# -- the viewer --------------------------------------------------------------------------------------------------------


def test_viewer_shows_what_browsers_can_show(page: Page, example: Example) -> None:
    """A picture, a sound, a PDF and a text are there to be seen; of another type is said that it is not shown."""
    put(example, ("a.png", picture(page, 320, 200, 190, "image/png")))
    put(example, ("b.wav", sound(2)))
    put(example, ("c.pdf", PDF))
    put(example, ("d.txt", "Grüße aus Zürich.\n".encode() * 10_000))
    put(example, ("e.zip", b"PK\x05\x06" + bytes(18)))
    page.reload()
    stage = open_viewer(page, "a.png").locator("#stage")
    wait_for(page, "document.querySelector('#stage img')?.naturalWidth === 320")
    page.keyboard.press("ArrowLeft")  # the newest comes first
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-name")).to_have_text("c.pdf")
    # Its viewer is a page in the frame: a refused one would have been complained of.
    expect(stage.locator("iframe")).to_be_visible()
    page.keyboard.press("ArrowRight")
    wait_for(page, "document.querySelector('#stage audio')?.duration > 1")
    page.keyboard.press("Escape")
    expect(open_viewer(page, "d.txt").locator("pre")).to_contain_text("[...]")
    assert "Grüße aus Zürich." in stage.inner_text()
    page.keyboard.press("Escape")
    expect(open_viewer(page, "e.zip")).to_contain_text("There is no preview of this type")


def test_film_can_be_sought(page: Page, example: Example) -> None:
    """A moment in the middle is shown without what comes before it: only that part of the file is asked for."""
    content = film(page, 20)
    put(example, ("film.webm", content))
    page.reload()
    open_viewer(page, "film.webm")
    wait_for(page, "document.querySelector('#stage video')?.readyState >= 1")
    ranges: list[str] = []
    page.on("request", lambda sent: ranges.append(sent.headers.get("range", "")))
    with page.expect_response(lambda response: response.status == 206):
        page.evaluate("document.querySelector('#stage video').currentTime = 17")
    wait_for(
        page,
        "(video => video.readyState >= 2 && !video.seeking && video.currentTime === 17)"
        "(document.querySelector('#stage video'))",
    )
    begins = [int(each.removeprefix("bytes=").partition("-")[0]) for each in ranges if each]
    assert max(begins) > len(content) // 2


@pytest.mark.parametrize("way", ["key", "button", "swipe"])
def test_viewer_closes(page: Page, example: Example, way: str) -> None:
    """By Escape, by its button and by a swipe down; the focus is where it was."""
    put(example, ("a.png", picture(page, 320, 200, 20, "image/png")))
    page.reload()
    viewer = open_viewer(page, "a.png")
    if way == "key":
        page.keyboard.press("Escape")
    elif way == "button":
        viewer.get_by_role("button", name="Close").click()
    else:
        swipe(page, 0, 200)
    expect(viewer).to_be_hidden()
    expect(page.get_by_role("button", name="a.png", exact=True)).to_be_focused()
    wait_for(page, "location.hash === ''")  # going back in the history takes a moment


def test_swipe_to_the_side_shows_the_next_document(page: Page, example: Example) -> None:
    """To the left is on, to the right is back."""
    for name in ("second.zip", "first.zip"):
        put(example, (name, b"PK\x05\x06" + bytes(18)))
    page.reload()
    open_viewer(page, "first.zip")
    swipe(page, -150, 5)
    expect(page.locator("#viewer-name")).to_have_text("second.zip")
    swipe(page, 150, 5)
    expect(page.locator("#viewer-name")).to_have_text("first.zip")


def swipe(page: Page, right: int, down: int) -> None:
    """Move a finger over the stage."""
    box = page.locator("#stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    moved = [{"x": x + right, "y": y + down}]
    finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": moved})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_address_of_an_open_document_opens_it(page: Page, example: Example) -> None:
    """A reload shows it again, and the button "back" closes it."""
    put(example, ("a.txt", b"x"))
    page.reload()
    viewer = open_viewer(page, "a.txt")
    page.reload()
    expect(viewer).to_be_visible()
    page.go_back()
    expect(viewer).to_be_hidden()


# -- changes -----------------------------------------------------------------------------------------------------------


def test_file_can_be_replaced(page: Page, example: Example, tmp_path: Path) -> None:
    """The new one is shown at once, and the bytes of the old one are gone."""
    put(example, ("a.txt", b"old"), title="Paper")
    page.reload()
    viewer = open_viewer(page, "Paper")
    viewer.get_by_role("button", name="Replace").click()
    choose_in(page, page.locator("#change"), tmp_path, {"b.txt": b"new"})
    expect(viewer.locator("pre")).to_have_text("new")
    example.process.wait_until(lambda: stored(example) == [hashlib.sha256(b"new").digest()])


def test_files_can_be_added_and_removed(page: Page, example: Example, tmp_path: Path) -> None:
    """A document takes more files; each can be looked at, and removed."""
    put(example, ("a.txt", b"aaa"), title="Paper")
    page.reload()
    viewer = open_viewer(page, "Paper")
    viewer.get_by_role("button", name="Add files").click()
    choose_in(page, page.locator("#change"), tmp_path, {"b.txt": b"bbb", "c.txt": b"ccc"})
    viewer.get_by_role("button", name="b.txt").click()
    expect(viewer.locator("pre")).to_have_text("bbb")
    viewer.get_by_role("button", name="Remove file").click()
    expect(viewer.get_by_role("button", name="b.txt")).to_have_count(0)
    expect(viewer.locator("pre")).to_have_text("ccc")
    expect(card(page, "Paper")).to_contain_text("2 files")
    example.process.wait_until(lambda: len(example.keys) == 2)


def test_delete_can_be_undone(page: Page, example: Example) -> None:
    """At once, and later from the trash; what is deleted for ever goes from the store."""
    put(example, ("a.txt", b"x"))
    page.reload()
    page.get_by_role("button", name="Delete a.txt").click()
    expect(page.locator("#toast")).to_contain_text("a.txt is in the trash")
    expect(page.locator(".card")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(card(page, "a.txt")).to_be_visible()
    page.get_by_role("button", name="Delete a.txt").click()
    expect(page.locator(".card")).to_have_count(0)
    page.get_by_role("link", name="Trash").click()
    page.get_by_role("button", name="Restore a.txt").click()
    expect(page.get_by_text("The trash is empty")).to_be_visible()
    page.goto("/")
    page.get_by_role("button", name="Delete a.txt").click()
    expect(page.locator(".card")).to_have_count(0)
    page.goto("/trash")
    page.get_by_role("button", name="Delete for ever: a.txt").click()
    expect(page.get_by_text("The trash is empty")).to_be_visible()
    example.wait_until_only(set())


def test_shared_page_opens_in_another_browser_until_it_expires(page: Page, example: Example, browser: Browser) -> None:
    """Somebody else sees the document and saves its file; then the page is over by itself."""
    document = put(example, ("Übersicht.txt", b"for everybody"))
    page.reload()
    page.get_by_role("button", name="Share Übersicht.txt").click()
    page.get_by_label("Expires in").select_option("10 minutes")
    page.get_by_role("button", name="Make a link").click()
    link = page.get_by_role("textbox", name="Link")
    expect(link).to_be_visible()
    with example.client() as client:
        soon = client.post(f"/documents/{document['id']}/shares", json={"seconds": 6}).json()["url"]
    with closing(browser.new_context(base_url=example.url)) as other:
        other.set_default_timeout(PATIENCE_MS)
        theirs = other.new_page()
        theirs.goto(link.input_value())
        expect(theirs.get_by_role("heading", name="Übersicht.txt")).to_be_visible()
        expect(theirs.locator("pre")).to_have_text("for everybody")
        with theirs.expect_download() as download:
            theirs.get_by_role("link", name="Download Übersicht.txt").click()
        assert Path(download.value.path()).read_bytes() == b"for everybody"
        theirs.goto(soon)  # the page is loaded again by itself
        expect(theirs.get_by_text("This link has expired")).to_be_visible()


def test_what_fails_is_told_in_front(page: Page, example: Example) -> None:
    """An open dialog hides nothing: the reason is in it."""
    put(example, ("a.txt", b"x"))
    page.reload()
    page.route("**/shares", lambda route: route.abort("connectionreset"))
    page.get_by_role("button", name="Share a.txt").click()
    page.get_by_role("button", name="Make a link").click()
    expect(page.locator("#share").get_by_role("alert")).to_have_text("The server cannot be reached")


# -- for everybody -----------------------------------------------------------------------------------------------------


def test_everything_works_with_the_keyboard(page: Page, example: Example) -> None:
    """Tab reaches the buttons, Enter presses them, and the focus always has a place."""
    put(example, ("a.txt", b"x"))
    page.reload()
    press_until_focused(page, page.locator("#upload [part=button]"))
    with page.expect_file_chooser():
        page.keyboard.press("Enter")
    press_until_focused(page, page.get_by_role("button", name="a.txt", exact=True))
    page.keyboard.press("Enter")
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    press_until_focused(page, viewer.get_by_role("region", name="Text of a.txt"))
    press_until_focused(page, viewer.get_by_role("button", name="Delete"))
    page.keyboard.press("Enter")
    expect(viewer).to_be_hidden()
    expect(page.locator("h1")).to_be_focused()
    press_until_focused(page, page.get_by_role("button", name="Undo"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="a.txt", exact=True)).to_be_focused()


def press_until_focused(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === element.getRootNode().activeElement"):
            return
    pytest.fail(f"Tab does not reach {wanted}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(page: Page, choose: Choose, example: Example, scheme: str) -> None:
    """Axe has nothing to complain of on any page, light or dark, whatever is shown."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    document = put(example, ("a.png", picture(page, 320, 200, 20, "image/png")), ("b.txt", b"text"), title="Both")
    put(example, ("c.pdf", PDF))
    page.reload()
    choose({"holiday.jpg": PROGRAM})
    expect(page.locator("#upload [part=error]")).to_be_visible()
    check(page)
    viewer = open_viewer(page, "Both")
    check(page)
    viewer.get_by_role("button", name="b.txt").click()
    viewer.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Make a link").click()
    expect(page.get_by_role("textbox", name="Link")).to_be_visible()
    check(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete c.pdf").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    check(page)
    with example.client() as client:
        shared = client.post(f"/documents/{document['id']}/shares", json={}).json()["url"]
    for path in ("/trash", "/operations", shared, "/shared/unknown"):
        page.goto(path)
        check(page)


def check(page: Page) -> None:
    """Run axe-core."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_page_fits_a_telephone(page: Page, choose: Choose, example: Example) -> None:
    """At 360 pixels nothing sticks out, long names can be read whole, and a finger meets every button."""
    page.set_viewport_size({"width": 360, "height": 640})
    put(example, (LONG_NAME, PDF))
    page.reload()
    choose({f"x{LONG_NAME}": MAX_BYTES + 1})
    expect(page.locator("#upload [part=error]")).to_be_visible()
    name = card(page, LONG_NAME).locator(".name")
    assert name.evaluate("element => [element.scrollWidth <= element.clientWidth, getComputedStyle(element).overflow]")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for button in card(page, LONG_NAME).locator(".actions > *").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
    viewer = open_viewer(page, LONG_NAME)
    heading = viewer.locator("h2").bounding_box()
    stage = viewer.locator("#stage").bounding_box()
    assert heading is not None
    assert stage is not None
    assert heading["y"] + heading["height"] <= stage["y"]
    assert viewer.evaluate("element => element.scrollWidth") == 360


def test_hostile_name_is_text(page: Page, example: Example) -> None:
    """Markup in a name is shown and not run, should it ever have got into the database."""
    document = put(example, ("a.png", b"x"))
    with closing(sqlite3.connect(example.data / "library.sqlite")) as database, database:
        database.execute("UPDATE document SET title = ?, files = json_set(files, '$[0].filename', ?)", [MARKUP, MARKUP])
    with example.client() as client:
        shared = client.post(f"/documents/{document['id']}/shares", json={}).json()["url"]
    page.reload()
    expect(page.locator(".card .name")).to_have_text(MARKUP)
    page.locator(".card .open").click()
    expect(page.locator("#viewer-name")).to_have_text(MARKUP)
    page.goto(shared)
    expect(page.locator("h1")).to_have_text(MARKUP)
    assert (page.locator("main img").count(), page.title()) == (0, MARKUP)


def test_long_list_is_shown_in_parts(page: Page, example: Example) -> None:
    """More than a page of documents is loaded when it is asked for."""
    with example.client() as client:
        for number in range(49):
            client.post("/documents", files={"files": (f"{number}.txt", b"")})
    page.reload()
    expect(page.locator(".card")).to_have_count(48)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card")).to_have_count(49)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_schema_is_shown_without_the_internet(page: Page) -> None:
    """The viewer and all that it needs come from this machine: no other can be reached here."""
    hosts: set[str] = set()
    page.on("request", lambda sent: hosts.add(sent.url.split("/")[2]))
    page.goto("/schema")
    expect(page.locator(".opblock").first).to_be_visible()
    # A style sheet of the wrong type would leave black text on white.
    assert page.locator(".opblock-summary-method").first.evaluate("each => getComputedStyle(each).color") == (
        "rgb(255, 255, 255)"
    )
    assert len(hosts) == 1
