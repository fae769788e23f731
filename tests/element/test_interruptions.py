"""`<filestore-upload>` in Chromium when something comes between: the network, the server, the user, a reload."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.element.conftest import Show, Tus
from tests.element.test_element import a_file, choose, row, send
from tests.element.tus_app import BREAK, Fault

pytestmark = pytest.mark.slow

CONTENT = random.Random(12).randbytes(2_000_000)
KEPT = 600_000
"""How much of it has arrived when something happens."""


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A file on the disk: it has the same time whenever it is chosen."""
    (tmp_path / "contract.pdf").write_bytes(CONTENT)
    return tmp_path / "contract.pdf"


def _begin(page: Page, tus: Tus, file: Path) -> None:
    """Choose a file, of which the server has `KEPT` bytes when it stops reading."""
    tus.fail(Fault("PATCH", keeps=KEPT))
    choose(page, file)
    expect(row(page)).to_contain_text("%")
    for _ in range(500):
        if [upload["offset"] for upload in tus.uploads] == [KEPT]:
            return
        page.wait_for_timeout(20)
    pytest.fail(f"the server has {tus.uploads}")


def test_offline(show: Show, tus: Tus, context: BrowserContext, contract: Path) -> None:
    """A lost connection is waited for, and what the server has is not sent again."""
    page = show()
    _begin(page, tus, contract)
    context.set_offline(offline=True)
    tus.fail()  # the request ends, and the next ones find no network
    expect(row(page)).to_contain_text("Trying again")
    page.wait_for_event("requestfailed")
    assert tus.requests == ["POST", "PATCH 0"]
    context.set_offline(offline=False)
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.has(CONTENT)
    assert tus.requests == ["POST", "PATCH 0", "HEAD", f"PATCH {KEPT}"]


def test_connection_that_breaks(show: Show, tus: Tus, contract: Path) -> None:
    """A connection that breaks in the middle is no end."""
    page = show()
    tus.fail(Fault("PATCH", status=BREAK, keeps=KEPT))
    choose(page, contract)
    expect(row(page)).to_contain_text("Trying again")
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests == ["POST", "PATCH 0", "HEAD", f"PATCH {KEPT}"]
    assert tus.has(CONTENT)


def test_reload(show: Show, tus: Tus, contract: Path) -> None:
    """After a reload the same file, chosen again, goes on where it was; another one of the same name does not."""
    page = show("multiple")
    _begin(page, tus, contract)
    page.reload()
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests == ["POST", "PATCH 0", "HEAD", f"PATCH {KEPT}"]
    choose(page, a_file(content=CONTENT[1:]))
    expect(row(page).last).to_contain_text("Uploaded")
    assert tus.has(CONTENT, CONTENT[1:])


def test_form_that_comes_back(show: Show, tus: Tus, contract: Path) -> None:
    """When the page is shown again, with an error in another field, a file that is complete is not sent again."""
    page = show()
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded")
    page.reload()
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests == ["POST", "PATCH 0", "HEAD"]
    assert "file=reference-" in send(page)


def test_upload_that_is_gone(show: Show, tus: Tus, contract: Path) -> None:
    """An upload that has expired, or that a row has taken, is begun anew."""
    page = show()
    tus.fail(Fault("HEAD", status=410))
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded")
    page.reload()
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests == ["POST", "PATCH 0", "HEAD", "POST", "PATCH 0"]


def test_upload_that_goes_away_meanwhile(show: Show, tus: Tus, contract: Path) -> None:
    """The same while it is sent."""
    page = show()
    tus.fail(Fault("PATCH", status=404), Fault("HEAD", status=404))
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests == ["POST", "PATCH 0", "HEAD", "POST", "PATCH 0"]


def test_pause(show: Show, tus: Tus, contract: Path) -> None:
    """A paused upload is not sent, and lets the next file go first; it goes on where it was."""
    page = show("multiple")
    _begin(page, tus, contract)
    row(page).get_by_role("button", name="Pause").click()
    expect(row(page)).to_contain_text("Paused")
    choose(page, a_file("next.pdf", b"1"))
    expect(row(page, "next.pdf")).to_contain_text("Uploaded")
    row(page).get_by_role("button", name="Resume").click()
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests[-2:] == ["HEAD", f"PATCH {KEPT}"]
    assert tus.has(CONTENT, b"1")


def test_cancel(show: Show, tus: Tus, contract: Path) -> None:
    """A file that is removed is forgotten by the server and by the browser."""
    page = show()
    _begin(page, tus, contract)
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        row(page).get_by_role("button", name="Remove").click()
    assert tus.uploads == []
    assert page.evaluate("localStorage.length") == 0
    assert send(page) == "title=T"


def test_failures_that_pass(show: Show, tus: Tus, contract: Path) -> None:
    """What may pass is tried again, from what the server has."""
    page = show()
    statuses = [409, 423, 429, 460, 500, 503]
    tus.fail(*(Fault("PATCH", status=status, keeps=1000) for status in statuses), Fault("HEAD", status=503))
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded", timeout=30_000)
    offsets = [f"PATCH {1000 * times}" for times in range(len(statuses) + 1)]
    assert [request for request in tus.requests if request != "HEAD"] == ["POST", *offsets]
    assert tus.requests.count("HEAD") == len(statuses) + 1
    assert tus.has(CONTENT)


def test_session_that_has_ended(show: Show, tus: Tus, contract: Path) -> None:
    """A refusal for the time being does not lose what has arrived."""
    page = show()
    _begin(page, tus, contract)
    tus.fail(Fault("HEAD", status=401))
    expect(row(page)).to_contain_text("The upload failed")
    row(page).get_by_role("button", name="Resume").click()
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests[-1] == f"PATCH {KEPT}"


def test_chunks(show: Show, tus: Tus, contract: Path) -> None:
    """For a proxy that limits bodies, a file goes up in chunks."""
    page = show('chunk-bytes="900000"')
    choose(page, contract)
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.requests == ["POST", "PATCH 0", "PATCH 900000", "PATCH 1800000"]
    assert tus.has(CONTENT)


def test_no_storage(show: Show, tus: Tus, context: BrowserContext) -> None:
    """A browser that keeps nothing uploads all the same."""
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden') }})")
    page = show()
    choose(page, a_file())
    expect(row(page)).to_contain_text("Uploaded")


def test_element_that_is_taken_away(show: Show, tus: Tus, contract: Path) -> None:
    """When the element leaves the page, its upload pauses, and goes on when it is back."""
    page = show()
    _begin(page, tus, contract)
    page.evaluate("window.taken = document.querySelector('filestore-upload'); taken.remove()")
    tus.fail()
    page.evaluate("document.querySelector('form').prepend(taken)")
    expect(row(page)).to_contain_text("Paused")
    row(page).get_by_role("button", name="Resume").click()
    expect(row(page)).to_contain_text("Uploaded")
    assert tus.has(CONTENT)
