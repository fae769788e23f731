"""`<filestore-upload>` with direct uploads in Chromium, where the parts go through the application: the same script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.direct.pages import shown
from tests.servers.processes import free_port
from tests.tus.stores import describe_local, open_store

pytestmark = pytest.mark.slow

CONTENT = b"text " * 3_400_000
"""Three parts."""
PATIENCE_MS = 60_000

MAKE_ROW = """async () => {
    const reference = document.querySelector('filestore-upload').value[0];
    const answer = await fetch('/documents', {
        method: 'POST', headers: {'content-type': 'application/json'},
        body: JSON.stringify({title: 'T', file: reference}),
    });
    return answer.json();
}"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """The element."""
    with shown("/element", describe_local(tmp_path), tmp_path, free_port()) as found:
        found.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield found


def choose(page: Page, file: Path) -> Locator:
    """Choose a file, and return what the element shows of it."""
    with page.expect_file_chooser() as opened:
        page.get_by_role("button", name="Choose, drop or paste").click()
    opened.value.set_files(file)
    return page.locator("filestore-upload li", has_text=file.name)


def test_element(page: Page, tmp_path: Path) -> None:
    """A reload in the middle, a file that a row has taken, one of a wrong type: each ends as with tus."""
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(f"{sent.method} {sent.url.rpartition('/')[2][:8]}"))
    (tmp_path / "long.txt").write_bytes(CONTENT)
    with page.expect_response(lambda answer: answer.url.endswith("/1") and answer.request.method == "PUT"):
        choose(page, tmp_path / "long.txt")
    page.reload()
    asked.clear()
    expect(choose(page, tmp_path / "long.txt")).to_contain_text("Uploaded")
    assert (asked[0], asked[-2:]) == ("POST complete", ["PUT 3", "POST complete"])
    assert "PUT 1" not in asked
    assert page.evaluate(MAKE_ROW) == {"size": len(CONTENT), "type": "text/plain", "filename": "long.txt"}
    page.reload()
    asked.clear()
    expect(choose(page, tmp_path / "long.txt")).to_contain_text("Uploaded")
    assert asked[:2] == ["POST complete", "POST begin"]
    (tmp_path / "wrong.txt").write_bytes(b"%PDF-1.7")
    expect(choose(page, tmp_path / "wrong.txt")).to_contain_text("application/pdf")
    assert len(list(open_store(describe_local(tmp_path)).list())) >= 2
