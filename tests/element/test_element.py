"""`<filestore-upload>` in Chromium: choosing, sending, refusing; always below a policy that allows no inline style."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.sync_api import BrowserContext, FilePayload, Locator, Page, expect

from tests.element.conftest import Show, Tus
from tests.element.tus_app import Fault

PDF, TEXT = "application/pdf", "text/plain"


def a_file(name: str = "contract.pdf", content: bytes = b"%PDF-1.7", content_type: str = PDF) -> FilePayload:
    """Return a file to choose."""
    return {"name": name, "mimeType": content_type, "buffer": content}


def choose(page: Page, *chosen: FilePayload | Path) -> None:
    """Choose files in the dialog that the button opens."""
    with page.expect_file_chooser() as opened:
        page.get_by_role("button", name="Choose, drop or paste").click()
    opened.value.set_files(cast("list[Path]", list(chosen)))  # all of one kind


def row(page: Page, name: str = "contract.pdf") -> Locator:
    """Return what the element shows of a file."""
    return page.locator("filestore-upload li", has_text=name)


def send(page: Page) -> str:
    """Send the form, and return what the server got."""
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/submit")
    return page.locator("body").inner_text()


def _drop(page: Page, type_of_event: str, *files: FilePayload) -> None:
    """Do to the element what a browser does when files are dropped or pasted."""
    given = [{**file, "buffer": base64.b64encode(file["buffer"]).decode()} for file in files]
    page.evaluate(
        """([type, files]) => {
            const transfer = new DataTransfer();
            for (const {name, mimeType, buffer} of files) {
                const bytes = Uint8Array.from(atob(buffer), c => c.charCodeAt());
                transfer.items.add(new File([bytes], name, {type: mimeType}));
            }
            const button = document.querySelector('filestore-upload').shadowRoot.querySelector('button');
            const options = {bubbles: true, composed: true, cancelable: true};
            button.dispatchEvent(type == 'paste'
                ? new ClipboardEvent(type, {...options, clipboardData: transfer})
                : new DragEvent(type, {...options, dataTransfer: transfer}));
        }""",
        [type_of_event, given],
    )


def _follow(page: Page) -> None:
    """Write down the element's events."""
    page.evaluate("""() => {
        window.heard = [];
        for (const type of ['filestore:progress', 'filestore:done', 'filestore:error', 'change'])
            document.addEventListener(type, ({detail}) => heard.push([type, {...detail, file: detail?.file.name}]));
    }""")


def _heard(page: Page) -> list[tuple[str, dict[str, Any]]]:
    return [(kind, detail) for kind, detail in page.evaluate("heard")]


def test_form(show: Show, tus: Tus) -> None:
    """A chosen file goes up at once, under its name and type, and the form sends its reference."""
    page = show()
    _follow(page)
    choose(page, a_file("Vertrag über 5 €.pdf", b"%PDF" + bytes(range(256)) * 1000))
    expect(row(page, "Vertrag über 5 €.pdf")).to_contain_text("Uploaded")
    assert tus.has(b"%PDF" + bytes(range(256)) * 1000)
    pairs = dict(pair.split(" ") for pair in tus.uploads[0]["metadata"].split(","))
    assert base64.b64decode(pairs["filename"]).decode() == "Vertrag über 5 €.pdf"
    assert base64.b64decode(pairs["filetype"]).decode() == PDF
    kinds = [kind for kind, _ in _heard(page)]
    assert kinds[0] == "filestore:progress"
    assert kinds[-2:] == ["filestore:done", "change"]
    reference = _heard(page)[-2][1]["reference"]
    assert page.evaluate("document.querySelector('filestore-upload').value") == reference
    assert send(page) == f"file={reference}&title=T"


def test_required(show: Show, tus: Tus) -> None:
    """Without a file a form that wants one is not sent, and the element has the focus."""
    page = show("required")
    page.get_by_role("button", name="Send").click()
    assert page.evaluate("document.activeElement.localName") == "filestore-upload"
    assert page.evaluate("document.querySelector('filestore-upload').matches(':invalid')")
    assert page.url.endswith("/page")
    choose(page, a_file())
    expect(row(page)).to_contain_text("Uploaded")
    assert "file=reference-" in send(page)


def test_optional(show: Show) -> None:
    """Without a file a form that wants none is sent without a reference."""
    assert send(show()) == "title=T"


@pytest.mark.slow
def test_form_waits_for_uploads(show: Show, tus: Tus) -> None:
    """A form is not sent while a file goes up: it would lack the reference."""
    page = show()
    tus.fail(Fault("PATCH", keeps=1))
    choose(page, a_file())
    expect(row(page)).to_contain_text("%")
    page.get_by_role("button", name="Send").click()
    assert page.url.endswith("/page")
    assert page.evaluate("document.querySelector('form').checkValidity()") is False
    tus.fail()  # the request ends with 503, and the next attempt succeeds
    expect(row(page)).to_contain_text("Uploaded")
    assert "file=reference-" in send(page)


@pytest.mark.slow
def test_several(show: Show, tus: Tus) -> None:
    """Several files are several values, in the order in which they were chosen; a file that is there is not doubled."""
    page = show("multiple")
    choose(page, a_file("one.pdf", b"1"), a_file("empty.pdf", b""))
    _drop(page, "drop", a_file("two.pdf", b"22"))
    for name in ("one.pdf", "empty.pdf", "two.pdf"):
        expect(row(page, name)).to_contain_text("Uploaded")
    assert tus.has(b"1", b"", b"22")
    assert tus.requests == ["POST", "PATCH 0", "POST", "POST", "PATCH 0"]
    references = page.evaluate("document.querySelector('filestore-upload').value")
    assert send(page) == "&".join([*(f"file={reference}" for reference in references), "title=T"])


@pytest.mark.slow
def test_another_file_replaces_the_first(show: Show, tus: Tus) -> None:
    """Without `multiple` there is one file, and the server forgets what it replaced."""
    page = show()
    choose(page, a_file("first.pdf", b"1"))
    expect(row(page, "first.pdf")).to_contain_text("Uploaded")
    _drop(page, "drop", a_file("second.pdf", b"2"), a_file("third.pdf", b"3"))
    expect(row(page, "second.pdf")).to_contain_text("Uploaded")
    expect(page.locator("filestore-upload li")).to_have_count(1)
    assert tus.has(b"2")


def test_paste(show: Show, tus: Tus) -> None:
    """A pasted picture goes up."""
    page = show('accept="image/*"')
    _drop(page, "paste", a_file("image.png", b"png", "image/png"))
    expect(row(page, "image.png")).to_contain_text("Uploaded")
    assert tus.has(b"png")


@pytest.mark.slow
def test_paste_reaches_the_button(show: Show) -> None:
    """The key of the system's clipboard is heard by the element that has the focus."""
    page = show()
    page.evaluate(
        "document.querySelector('filestore-upload').addEventListener('paste', () => document.title = 'heard')"
    )
    page.locator("filestore-upload").locator("button").focus()
    page.keyboard.press("Control+v")
    page.wait_for_function("document.title == 'heard'")


def test_accept(show: Show, tus: Tus) -> None:
    """What is dropped is checked as well: a wrong type is refused with a sentence, and nothing of it is sent."""
    page = show('multiple accept=".pdf, image/*, text/csv"')
    _follow(page)
    # The system knows no type of the third: the server looks at its content.
    right = [("a.PDF", PDF), ("b.png", "image/png"), ("c.heic", ""), ("d.csv", "text/csv")]
    _drop(
        page, "drop", *(a_file(name, b"1", content_type) for name, content_type in right), a_file("e.txt", b"1", TEXT)
    )
    for name, _ in right:
        expect(row(page, name)).to_contain_text("Uploaded")
    assert len(tus.uploads) == len(right)
    refused = "Files of this type are not accepted"
    expect(row(page, "e.txt")).to_contain_text(refused)
    errors = [detail for kind, detail in _heard(page) if kind == "filestore:error"]
    assert errors == [{"file": "e.txt", "message": refused, "status": None}]
    page.get_by_role("button", name="Send").click()
    assert page.url.endswith("/page"), "the user has chosen it, so it must not be missing silently"
    row(page, "e.txt").get_by_role("button", name="Remove e.txt").click()
    assert send(page).count("file=") == len(right)


@pytest.mark.slow
def test_max_bytes(show: Show, tus: Tus) -> None:
    """A file that is too large is refused before a byte of it is sent, in words of the page."""
    page = show('max-bytes="5" text-size="At most 5 bytes"')
    choose(page, a_file(content=b"123456"))
    expect(row(page)).to_contain_text("At most 5 bytes")
    expect(row(page).get_by_role("button")).to_have_count(1)
    assert tus.requests == []
    choose(page, a_file("other.pdf", content=b"12345"))
    expect(row(page, "other.pdf")).to_contain_text("Uploaded")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_refused_by_the_server(show: Show, tus: Tus, method: str) -> None:
    """A refusal is shown in the server's words, and markup in it stays text."""
    page = show()
    _follow(page)
    tus.fail(Fault(method, status=415, detail="<b>No PDF</b>, whatever its name says"))
    choose(page, a_file())
    expect(row(page)).to_contain_text("<b>No PDF</b>, whatever its name says")
    assert _heard(page)[-1][1]["status"] == 415
    row(page).get_by_role("button", name="Resume").click()
    expect(row(page)).to_contain_text("Uploaded")


@pytest.mark.slow
def test_reset(show: Show, tus: Tus) -> None:
    """Resetting the form empties the element; what is complete may belong to a row now and is left alone."""
    page = show("multiple")
    choose(page, a_file("done.pdf", b"1"))
    expect(row(page, "done.pdf")).to_contain_text("Uploaded")
    tus.fail(Fault("PATCH", keeps=1))
    choose(page, a_file("unfinished.pdf", b"22"))
    expect(row(page, "unfinished.pdf")).to_contain_text("%")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.evaluate("document.querySelector('form').reset()")
    expect(page.locator("filestore-upload li")).to_have_count(0)
    assert page.evaluate("new FormData(document.querySelector('form')).has('file')") is False
    assert tus.has(b"1")


@pytest.mark.slow
def test_disabled(show: Show, tus: Tus) -> None:
    """A disabled element takes nothing and sends nothing, also when its fieldset is disabled."""
    page = show("disabled")
    expect(page.get_by_role("button", name="Choose, drop or paste")).to_be_disabled()
    _drop(page, "drop", a_file())
    expect(page.locator("filestore-upload li")).to_have_count(0)
    page.evaluate("document.querySelector('filestore-upload').removeAttribute('disabled')")
    choose(page, a_file())
    expect(row(page)).to_contain_text("Uploaded")
    page.evaluate("document.querySelector('filestore-upload').toggleAttribute('disabled')")
    assert send(page) == "title=T"


@pytest.mark.slow
def test_label(show: Show) -> None:
    """A click on the label opens the dialog, as that of a file input does, and names the element."""
    page = show()
    with page.expect_file_chooser():
        page.get_by_text("Contract").click()
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if "role" in node}
    assert ("group", "Contract") in named


def test_keyboard_only(show: Show, tus: Tus, context: BrowserContext) -> None:
    """Everything is done with the keyboard, and the focus is never lost."""
    page = show("required")
    tus.fail(Fault("PATCH", keeps=1))
    page.get_by_label("Title").focus()
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as opened:
        page.keyboard.press("Enter")
    opened.value.set_files([a_file()])
    expect(row(page)).to_contain_text("%")
    page.keyboard.press("Tab")
    expect(row(page).get_by_role("button", name="Pause contract.pdf")).to_be_focused()
    page.keyboard.press("Space")
    expect(row(page)).to_contain_text("Paused")
    tus.fail()
    expect(row(page).get_by_role("button", name="Resume contract.pdf")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row(page)).to_contain_text("Uploaded")
    expect(row(page).get_by_role("button", name="Remove contract.pdf")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("contract.pdf: Uploaded")
    page.keyboard.press("Space")
    expect(page.locator("filestore-upload li")).to_have_count(0)
    expect(page.get_by_role("button", name="Choose, drop or paste")).to_be_focused()
    assert tus.uploads == []
