"""The admin of the page "Manage files in an admin", used as a browser does: by its forms and links."""

from __future__ import annotations

import asyncio
import gc
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from litestar.testing import TestClient

from litestar_filestore import FileObject
from litestar_filestore.testing import Filestore
from tests.docs.conftest import UserModule
from tests.docs.run_page import ROOT, parse

# starlette-admin 1.0 reads a form twice, and leaves its temporary files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.SpooledTemporaryFile:ResourceWarning")

PDF = b"%PDF-1.7 one"
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
NEW_PDF = b"%PDF-1.7 two"
CREATE, EDIT, DETAIL = "/admin/document/create", "/admin/document/edit?pk=1", "/admin/document/detail?pk=1"


class Browser:
    """Fills in forms, and follows links."""

    def __init__(self, client: TestClient[Any], filestore: Filestore) -> None:
        self.client = client
        self._filestore = filestore

    def submit(self, page: str, *files: tuple[str, tuple[str, bytes]], **fields: str) -> Response:
        """Send the form of a page."""
        token = re.search(r'name="csrftoken" value="([^"]+)"', self.client.get(page).text)
        assert token is not None
        data = {"csrftoken": token[1], **fields}
        return self.client.post(page, data=data, files=files, follow_redirects=False)

    def links(self, page: str) -> list[str]:
        """Return the links to files on a page."""
        found = re.findall(r'href="([^"]*/filestore/[^"]*)"', self.client.get(page).text)
        return [html.unescape(link) for link in found]

    def contents(self, page: str) -> list[bytes]:
        """Return what the links of a page lead to."""
        return [self.client.get(link).content for link in self.links(page)]

    def stored(self) -> list[FileObject]:
        """Return all objects."""
        return [FileObject("documents", info.key) for info in self._filestore.stored("documents")]


@pytest.fixture
def browser(
    user_module: UserModule, filestore: Filestore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Browser]:
    """A member of the staff, and the running application of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADMIN_PASSWORD", "secret")
    for example in parse(ROOT / "docs/howto/admin.md", lambda _: None).examples():
        user_module.run(example.parsed)
        if "app" in user_module.names:  # what comes after it is no part of the application
            break
    with TestClient(user_module.names["app"], raise_server_exceptions=False) as client:
        client.auth = ("admin", "secret")
        yield Browser(client, filestore)
    asyncio.run(user_module.names["database"].get_engine().dispose())  # Advanced Alchemy does so for its first one only
    gc.collect()


def test_upload_and_preview(browser: Browser) -> None:
    """A form stores a file, and the pages of its row link to it with signed links, to be shown by a browser."""
    assert browser.submit(CREATE, ("file", ("a.gif", GIF)), title="A").status_code == 303
    for page in (DETAIL, EDIT):
        (link,) = browser.links(page)
        answer = browser.client.get(link, auth=None)
        assert (answer.content, answer.headers["content-type"]) == (GIF, "image/gif")
        assert answer.headers["content-disposition"].startswith("inline")


@pytest.mark.slow
def test_replacement(browser: Browser, filestore: Filestore) -> None:
    """A form with another file replaces the file, whose object goes; one without a file keeps it."""
    browser.submit(CREATE, ("file", ("a.pdf", PDF)), title="A")
    (old,) = browser.stored()
    assert browser.submit(EDIT, title="B").status_code == 303
    assert browser.contents(DETAIL) == [PDF]
    assert browser.submit(EDIT, ("file", ("b.pdf", NEW_PDF)), title="B").status_code == 303
    assert browser.contents(DETAIL) == [NEW_PDF]
    filestore.assert_gone(old)
    assert len(browser.stored()) == 1


@pytest.mark.slow
def test_clearing(browser: Browser, filestore: Filestore) -> None:
    """The box beside a file clears it, and its object goes; a file that the row needs stays."""
    browser.submit(CREATE, ("file", ("a.pdf", PDF)), ("note", ("n.txt", b"note")), title="A")
    note = next(file for file in browser.stored() if file.get_content() == b"note")
    refused = browser.submit(EDIT, title="A", **{"_file-delete": "on"})
    assert (refused.status_code, "Choose a file" in refused.text) == (422, True)
    assert browser.submit(EDIT, title="A", **{"_note-delete": "on"}).status_code == 303
    assert browser.contents(DETAIL) == [PDF]
    filestore.assert_gone(note)


@pytest.mark.slow
def test_several_files(browser: Browser) -> None:
    """A column with several files takes all that were chosen."""
    pages = [("pages", (f"{number}.txt", b"page %d" % number)) for number in range(3)]
    assert browser.submit(CREATE, ("file", ("a.pdf", PDF)), *pages, title="A").status_code == 303
    assert browser.contents(DETAIL) == [PDF, b"page 0", b"page 1", b"page 2"]


def test_a_form_that_fails_leaves_nothing(browser: Browser, filestore: Filestore) -> None:
    """A refused file, a row that the database refuses, a missing file: the form says why, and no object stays."""
    browser.submit(CREATE, ("file", ("a.pdf", PDF)), title="A")
    (kept,) = browser.stored()
    for page, files, said in (
        (CREATE, [("file", ("a.txt", b"text"))], "Files of type text/plain are not allowed here"),
        (CREATE, [("file", ("a.pdf", NEW_PDF)), ("note", ("n.txt", b"note"))], "There is a document of this title"),
        (CREATE, [("note", ("n.txt", b"note"))], "Choose a file"),
        (EDIT, [("file", ("a.txt", b"text"))], "Files of type text/plain are not allowed here"),
    ):
        answer = browser.submit(page, *files, title="A")
        assert (answer.status_code, said in html.unescape(answer.text)) == (422, True), (said, answer.text)
    for other in browser.stored():
        if other != kept:
            filestore.assert_gone(other)
    assert browser.contents(DETAIL) == [PDF]


@pytest.mark.slow
def test_deletion(browser: Browser, filestore: Filestore) -> None:
    """A row that is deleted in the list takes its files with it."""
    browser.submit(CREATE, ("file", ("a.pdf", PDF)), title="A")
    token = browser.client.cookies["starlette_admin_csrftoken"]
    answer = browser.client.post(
        "/admin/_api/document/action", params={"pks": "1", "name": "delete"}, headers={"X-CSRFToken": token}
    )
    assert answer.status_code == 200, answer.text
    filestore.assert_gone("documents")


def test_strangers(browser: Browser) -> None:
    """Who is not of the staff sees no page of the admin, and no form of theirs is read."""
    guessed = ("admin", "guessed")
    assert browser.client.get("/admin/document/list", auth=None).status_code == 401
    answer = browser.client.post(CREATE, data={"title": "A"}, files=[("file", ("a.pdf", PDF))], auth=guessed)
    assert answer.status_code == 401
    assert browser.stored() == []
