"""`<filestore-upload>` with direct uploads in Chromium, where the parts go through the application: the same script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.servers import chromium
from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, find_package, free_port, running
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
    """The element; a script error, or something that the page's policy refuses, fails the test."""
    find_package("uvicorn", "pip install uvicorn")
    program, port, complaints = chromium.executable(), free_port(), list[str]()
    command = [sys.executable, "-P", "-m", "uvicorn", "tests.direct.uppy_app:app", "--port", str(port)]
    environment = {**TESTS_IMPORTABLE, "DIRECT_STORE": describe_local(tmp_path), "DIRECT_FOLDER": str(tmp_path)}
    expect.set_options(timeout=PATIENCE_MS)
    with (
        running("uvicorn", command, tmp_path, Surroundings(environment=environment)) as process,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=list(chromium.ARGUMENTS)) as browser,
    ):
        process.wait_for_port(port)
        found = browser.new_page()
        found.set_default_timeout(PATIENCE_MS)
        found.on("filechooser", lambda _: None)
        found.on("pageerror", lambda error: complaints.append(str(error)))
        found.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        found.goto(f"http://{HOST}:{port}/element")
        yield found
    assert complaints == []


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
