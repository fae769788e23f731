"""Uppy in Chromium puts files into Ceph, across origins, as the bucket's CORS permits it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.direct.cors import permit
from tests.direct.pages import shown
from tests.servers.npm import find_package_file
from tests.servers.processes import HOST, free_port
from tests.tus.stores import describe, open_store

UPLOAD = """
async ([sizes, multipart]) => {
    const uppy = new Uppy.Uppy();
    uppy.use(Uppy.AwsS3, {companionEndpoint: "/documents/uploads", shouldUseMultipart: multipart});
    for (const size of sizes) {
        uppy.addFile({name: `${size}.txt`, type: "text/plain", data: new Blob(["0123456789".repeat(size / 10)])});
    }
    const {successful, failed} = await uppy.upload();
    if (failed.length) throw new Error(failed.map((file) => file.error).join());
    const rows = [];
    for (const file of successful) {
        const send = (url, data) => fetch(url, {
            method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(data),
        }).then((answer) => answer.json());
        const {reference} = await send("/documents/uploads/finish", {ticket: file.response.body.key});
        rows.push(await send("/documents", {title: "T", file: reference}));
    }
    return rows;
}
"""


MAKE_FORM = """
async () => {
    const answer = await fetch("/documents/uploads/form", {
        method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({filename: "a.txt"}),
    });
    const {url, fields} = await answer.json();
    const make = (tag, values) => Object.assign(document.createElement(tag), values);
    const form = make("form", {action: url, method: "post", enctype: "multipart/form-data"});
    for (const name in fields) form.append(make("input", {type: "hidden", name, value: fields[name]}));
    form.append(make("input", {type: "file", name: "file"}), make("button", {textContent: "Send"}));
    document.body.append(form);
}
"""


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Ceph, with an empty bucket."""
    return describe(request, "s3", tmp_path)


@pytest.mark.slow
def test_bucket_permits_what_was_applied(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what is missing, sets it beside the rules of others, and sees that it works."""
    backend = open_store(store)
    with pytest.raises(SystemExit):
        permit(backend, "https://www.example.com", apply=False)
    assert "does not expose" in capsys.readouterr().out
    permit(backend, "https://www.example.com", apply=True)
    permit(backend, "https://other.example.com", apply=True)
    permit(backend, "https://www.example.com", apply=False)
    assert "may upload" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        permit(backend, "https://evil.example.com", apply=False)


@pytest.fixture
def page(store: str, tmp_path: Path) -> Iterator[Page]:
    """A page of an application whose files are in Ceph, from an origin that the bucket knows."""
    find_package_file("uppy/dist/uppy.min.js")
    permit(open_store(store), f"http://{HOST}:{(port := free_port())}", apply=True)
    with shown("/page", store, tmp_path, port) as found:
        found.set_default_timeout(120_000)
        yield found


@pytest.mark.slow
def test_plain_form(page: Page, store: str) -> None:
    """A form goes to the bucket by itself, and the browser comes back by way of the check, to the page it may see."""
    page.evaluate(MAKE_FORM)
    page.locator("input[type=file]").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/page?reference=*")
    assert [info.size for info in open_store(store).list()] == [4]


@pytest.mark.slow
def test_uppy(page: Page, store: str) -> None:
    """Large files go to the store in parts, small ones to the application in a form; rows take all of them."""
    puts: list[str] = []
    page.on("request", lambda request: puts.append(request.url) if request.method == "PUT" else None)
    rows = page.evaluate(UPLOAD, [[12_000_000, 10], True])
    assert sorted(row["size"] for row in rows) == [10, 12_000_000], rows
    assert {row["type"] for row in rows} == {"text/plain"}
    assert len(puts) == 3
    assert all("X-Amz-Signature" in url for url in puts)
    assert sorted(info.size for info in open_store(store).list()) == [10, 12_000_000]
