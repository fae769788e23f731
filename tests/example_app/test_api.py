"""The example app over HTTP, on disk with SQLite and on S3 with PostgreSQL."""

from __future__ import annotations

import hashlib
import random
import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.example_app.example import MAX_BYTES, Example, serve_on_cloud, serve_on_disk

LARGE = random.Random(7).randbytes(30_000_000)


@pytest.fixture(scope="module", params=["disk", "cloud"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The app, once on each of its two footings."""
    directory = tmp_path_factory.mktemp(f"example-{request.param}")
    if request.param == "disk":
        with serve_on_disk(directory) as running:
            yield running
        return
    servers = request.getfixturevalue("s3_server"), request.getfixturevalue("postgres_server")
    with serve_on_cloud(directory, *servers) as running:
        yield running


@pytest.fixture
def client(example: Example) -> Iterator[httpx.Client]:
    """A client for one test."""
    with example.client() as client:
        yield client


def post(client: httpx.Client, name: str, content: bytes, content_type: str = "application/pdf") -> dict[str, Any]:
    """Upload a file and return its document."""
    response = client.post("/documents", files={"files": (name, content, content_type)})
    assert response.status_code == 201, response.text
    document: dict[str, Any] = response.json()
    return document


def path_of(document: dict[str, Any], part: str = "downloads", place: int = 0) -> str:
    """Return where a file of a document is."""
    return f"/documents/{document['id']}/{part}/{document['files'][place]['id']}"


def wait_until(moment: datetime) -> None:
    """Return when it is over."""
    while (left := (moment - datetime.now(UTC)).total_seconds()) >= 0:
        time.sleep(left + 0.01)


def test_post_answers_with_what_is_stored(client: httpx.Client) -> None:
    """The document of a new file is complete: size and etag are known."""
    (file,) = post(client, "a.pdf", b"%PDF-")["files"]
    assert (file["filename"], file["content_type"], file["size"], bool(file["etag"])) == (
        "a.pdf",
        "application/pdf",
        5,
        True,
    )


def test_get_returns_the_bytes_of_a_large_file(client: httpx.Client) -> None:
    """30 MB of random bytes come back as they went in."""
    document = post(client, "large.bin", LARGE)
    received = hashlib.sha256()
    with client.stream("GET", path_of(document)) as response:
        for block in response.iter_bytes():
            received.update(block)
    assert received.hexdigest() == hashlib.sha256(LARGE).hexdigest()


def test_get_with_a_range_returns_that_part(client: httpx.Client) -> None:
    """A download that broke off goes on from where it was."""
    document = post(client, "large.bin", LARGE)
    first = len(LARGE) - 1_000_000
    response = client.get(path_of(document), headers={"Range": f"bytes={first}-"})
    assert (response.status_code, response.content == LARGE[first:]) == (206, True)
    assert response.headers["content-range"] == f"bytes {first}-{len(LARGE) - 1}/{len(LARGE)}"


def test_get_with_a_range_behind_the_end_is_416(client: httpx.Client) -> None:
    """The answer says how long the file is."""
    document = post(client, "a.txt", b"0123456789")
    response = client.get(path_of(document), headers={"Range": "bytes=10-"})
    assert (response.status_code, response.headers["content-range"]) == (416, "bytes */10")


def test_get_of_a_known_version_is_304(client: httpx.Client) -> None:
    """The tag of a file is that of its document, and whoever has it is sent nothing again."""
    document = post(client, "a.txt", b"Some text.")
    path, etag = path_of(document), document["files"][0]["etag"]
    response = client.get(path, headers={"If-None-Match": etag})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert client.get(path, headers={"If-None-Match": '"another"'}).content == b"Some text."


def test_head_answers_as_get_without_the_bytes(client: httpx.Client) -> None:
    """All that GET would say about the file is said."""
    path = path_of(post(client, "a.txt", b"Some text."))
    got, looked = client.get(path), client.head(path)
    assert (looked.status_code, looked.content) == (200, b"")
    assert {**looked.headers, "date": ""} == {**got.headers, "date": ""}


def test_get_lists_the_newest_first(client: httpx.Client) -> None:
    """The document that was made last is the first of the list."""
    made = [post(client, name, b"")["id"] for name in ("first.txt", "second.txt")]
    listed = client.get("/documents", params={"limit": 2}).json()["items"]
    assert [each["id"] for each in listed] == made[::-1]


def test_get_lists_in_pages(client: httpx.Client) -> None:
    """An offset skips as many documents as it says."""
    for name in ("a", "b", "c"):
        post(client, name, b"")
    whole = client.get("/documents", params={"limit": 3}).json()
    second = client.get("/documents", params={"limit": 1, "offset": 1}).json()
    assert (second["items"], second["total"]) == ([whole["items"][1]], whole["total"])


@pytest.mark.parametrize("parameters", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"offset": 10**30}])
def test_get_refuses_pages_that_cannot_be(client: httpx.Client, parameters: dict[str, int]) -> None:
    """Limits of a page are checked before the database sees them."""
    assert client.get("/documents", params=parameters).status_code == 400


def test_delete_for_ever_removes_the_bytes(example: Example, client: httpx.Client) -> None:
    """With the document its object goes from the store."""
    before = example.keys
    document = post(client, "gone.txt", b"x")
    assert len(example.keys - before) == 1
    assert client.delete(f"/documents/{document['id']}", params={"forever": True}).status_code == 204
    example.wait_until_only(before)


def test_get_of_a_deleted_document_is_404(client: httpx.Client) -> None:
    """What was deleted is not found, neither in the list nor by its address."""
    document = post(client, "gone.txt", b"x")
    client.delete(f"/documents/{document['id']}")
    listed = client.get("/documents").json()["items"]
    assert (client.get(path_of(document)).status_code, document in listed) == (404, False)


def test_post_restores_a_deleted_document(client: httpx.Client) -> None:
    """What was deleted is in the trash, cannot be read there, and comes back with its bytes."""
    document = post(client, "back.txt", b"back")
    path = f"/documents/{document['id']}"
    client.delete(path)
    (trashed, *_) = client.get("/documents", params={"deleted": True}).json()["items"]
    hidden = [client.get(path_of(document, part)).status_code for part in ("downloads", "previews")]
    assert (trashed["id"], hidden) == (document["id"], [404, 404])
    assert client.post(f"{path}/restore").json()["deleted_at"] is None
    assert client.get(path_of(document)).content == b"back"
    assert client.post(f"{path}/restore").status_code == 404


def test_post_of_several_files_is_one_document(client: httpx.Client) -> None:
    """A document holds any number of files, each of which is read by its id."""
    response = client.post("/documents", data={"title": "Both"}, files=[("files", ("a", b"1")), ("files", ("b", b"2"))])
    document = response.json()
    contents = [client.get(path_of(document, place=place)).content for place in (0, 1)]
    assert (document["title"], contents) == ("Both", [b"1", b"2"])


def test_files_of_a_document_are_added_replaced_and_taken_out(example: Example, client: httpx.Client) -> None:
    """Each change is there when it is answered, and the bytes of what went are gone soon after."""
    before = example.keys
    document = post(client, "a.txt", b"a")
    path, first = f"/documents/{document['id']}", path_of(document, "files")
    second = path_of(client.post(f"{path}/files", files={"files": ("b.txt", b"b")}).json(), place=1)
    client.put(first, files={"file": ("c.txt", b"c")})
    assert [each["filename"] for each in client.get(path).json()["files"]] == ["c.txt", "b.txt"]
    assert client.get(path_of(document)).content == b"c"
    assert [each["filename"] for each in client.delete(first).json()["files"]] == ["b.txt"]
    example.process.wait_until(lambda: len(example.keys - before) == 1)
    assert client.get(second).content == b"b"
    assert client.put(first, files={"file": ("c.txt", b"c")}).status_code == 404


def test_post_takes_the_reference_of_a_resumable_upload(client: httpx.Client) -> None:
    """An upload that breaks off and goes on ends in a document."""
    tus = {"Tus-Resumable": "1.0.0"}
    octets = {**tus, "Content-Type": "application/offset+octet-stream"}
    name = "filename bGFyZ2UuYmlu"  # large.bin
    created = client.post("/documents/uploads", headers={**tus, "Upload-Length": "20", "Upload-Metadata": name})
    url = created.headers["location"]
    client.patch(url, content=b"0123456789", headers={**octets, "Upload-Offset": "0"})
    offset = client.head(url, headers=tus).headers["upload-offset"]
    last = client.patch(url, content=b"0123456789", headers={**octets, "Upload-Offset": offset})
    document = client.post("/documents", files={"files": (None, last.headers["filestore-reference"])}).json()
    assert document["title"] == "large.bin"
    assert client.get(path_of(document)).content == b"0123456789" * 2


UNKNOWN = [
    ("GET", "/documents/{}/downloads/0"),
    ("HEAD", "/documents/{}/downloads/0"),
    ("GET", "/documents/{}/previews/0"),
    ("GET", "/documents/{}"),
    ("DELETE", "/documents/{}"),
    ("POST", "/documents/{}/restore"),
    ("DELETE", "/documents/{}/files/0"),
]


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_unknown_document_is_404(client: httpx.Client, method: str, path: str) -> None:
    """A document that never was is not found."""
    assert client.request(method, path.format(uuid.uuid4())).status_code == 404


def test_get_of_a_missing_object_is_404(example: Example, client: httpx.Client) -> None:
    """An object that somebody removed behind the app's back is an answer that names no key."""
    before = example.keys
    document = post(client, "lost.txt", b"x")
    (key,) = example.keys - before
    example.connect().delete(key)
    response = client.get(path_of(document))
    assert (response.status_code, key in response.text) == (404, False)


def test_post_of_an_empty_file_stores_an_empty_file(client: httpx.Client) -> None:
    """No bytes are a file too."""
    document = post(client, "empty.txt", b"")
    response = client.get(path_of(document))
    assert (document["files"][0]["size"], response.content, response.headers["content-length"]) == (0, b"", "0")


@pytest.mark.parametrize("size", [MAX_BYTES + 1, MAX_BYTES + 2 * 1024**2], ids=["file", "request"])
def test_post_of_too_many_bytes_is_413(example: Example, client: httpx.Client, size: int) -> None:
    """A file over the limit is refused and leaves nothing, whoever counts first."""
    before = example.keys
    response = client.post("/documents", files={"files": ("big.bin", bytes(size))})
    assert response.status_code == 413
    example.wait_until_only(before)


def test_post_without_a_file_is_400(client: httpx.Client) -> None:
    """A form without a file is not a document."""
    assert client.post("/documents", files={"title": (None, "no file")}).status_code == 400


@pytest.mark.parametrize("claim", ["nonsense", "text/html"])
def test_post_does_not_believe_the_content_type(client: httpx.Client, claim: str) -> None:
    """What a file is comes from its content, whatever the client calls it."""
    assert post(client, "a.txt", b"Some text.", claim)["files"][0]["content_type"] == "text/plain"


def test_post_of_a_program_is_400(example: Example, client: httpx.Client) -> None:
    """The rule of the column refuses it under any name, and nothing of it stays."""
    before = example.keys
    program = b"\x7fELF\x02\x01\x01".ljust(4096, b"\0")
    response = client.post("/documents", files={"files": ("holiday.jpg", program, "image/jpeg")})
    assert (response.status_code, response.json()["extra"][0]["message"]) == (400, "Programs are not kept here")
    example.wait_until_only(before)


def test_post_without_the_rest_of_the_body_is_400(example: Example, client: httpx.Client) -> None:
    """A form that ends in the middle of its file is refused, and leaves nothing."""
    before = example.keys
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf a fi'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.post("/documents", content=body, headers=headers).status_code == 400
    example.wait_until_only(before)


def test_post_of_the_same_name_twice_stores_two_files(client: httpx.Client) -> None:
    """The name of a file is no address: the second upload does not replace the first."""
    first, second = (post(client, "same.txt", content) for content in (b"first", b"second"))
    contents = [client.get(path_of(each)).content for each in (first, second)]
    assert contents == [b"first", b"second"]


def test_get_of_a_page_does_not_run_it(client: httpx.Client) -> None:
    """HTML from a stranger is a download that no browser opens as a page of this site."""
    document = post(client, "page.html", b"<script>alert(1)</script>", "text/html")
    headers = client.get(path_of(document)).headers
    assert headers["content-disposition"].startswith("attachment;")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["content-type"] == "application/octet-stream"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("a.txt", b"Some text.", True),
        ("a.pdf", b"%PDF-1.7", True),
        ("a.gif", b"GIF89a", True),
        ("a.html", b"<!doctype html><script>alert(1)</script>", False),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', False),
    ],
)
def test_get_of_a_preview_shows_what_cannot_run(
    client: httpx.Client, name: str, content: bytes, *, shown: bool
) -> None:
    """What could run a script is saved, whatever the address says; only pages of this site may frame a PDF."""
    headers = client.get(path_of(post(client, name, content), "previews")).headers
    assert headers["content-disposition"].startswith("inline;" if shown else "attachment;")
    framed = "frame-ancestors 'self'" in headers["content-security-policy"]
    assert (framed, headers["x-content-type-options"]) == (name == "a.pdf", "nosniff")


def test_get_of_a_shared_page_shows_the_document(client: httpx.Client) -> None:
    """Whoever has the address sees the page and its files, and nobody who changes it."""
    document = post(client, "Übersicht.txt", b"shared")
    made = client.post(f"/documents/{document['id']}/shares", json={"seconds": 60})
    url = made.json()["url"]
    page = client.get(url)
    file = f"files/{document['files'][0]['id']}"
    assert (made.status_code, page.status_code, "Übersicht.txt" in page.text) == (201, 200, True)
    saved = client.get(f"{url}/{file}", params={"download": True})
    assert (saved.content, saved.headers["content-disposition"][:10]) == (b"shared", "attachment")
    assert client.get(f"{url}/{file}").headers["content-disposition"].startswith("inline")
    other = url[:-1] + ("A" if url[-1] != "A" else "B")
    assert [client.get(each).status_code for each in (other, f"{other}/{file}", f"{url}/files/1")] == [404] * 3


@pytest.mark.parametrize("end", ["expiry", "delete"])
def test_get_of_a_shared_page_that_is_over_is_404(client: httpx.Client, end: str) -> None:
    """After its time, or with its document, a page is gone, and its files with it."""
    path = f"/documents/{post(client, 'a.txt', b'shared')['id']}"
    link = client.post(f"{path}/shares", json={"seconds": 1 if end == "expiry" else 600}).json()
    if end == "delete":
        client.delete(path)
    else:
        # The server's clock decides, and it is this machine's.
        wait_until(datetime.fromisoformat(link["expires_at"]))
    page = client.get(link["url"])
    assert (page.status_code, "expired" in page.text) == (404, True)
    assert client.get(f"{link['url']}/files/0").status_code == 404


@pytest.mark.parametrize("seconds", [0, -1, 604_801, 10**30, "x"])
def test_post_of_a_share_refuses_times_that_cannot_be(client: httpx.Client, seconds: int | str) -> None:
    """A link is good for a second at least and a week at most."""
    path = f"/documents/{post(client, 'a.txt', b'x')['id']}"
    assert client.post(f"{path}/shares", json={"seconds": seconds}).status_code == 400


def test_get_of_the_operations_page_counts_objects(client: httpx.Client) -> None:
    """The page has the counts of the ledger, and sweeps when it is asked to."""
    post(client, "a.txt", b"x")
    assert re.search(r"linked.*?</th><td class=\"number\">[1-9]", client.get("/operations").text, re.DOTALL)
    assert "Swept:" in client.post("/operations/sweep").text


@pytest.mark.parametrize("path", ["/", "/trash", "/operations", "/shared/unknown", "/schema"])
def test_pages_load_nothing_from_elsewhere(request: pytest.FixtureRequest, client: httpx.Client, path: str) -> None:
    """Scripts and styles come from files of this application, which browsers may keep for ever.

    Only requests of the script may go to a bucket, and only from where it uploads.
    """
    page = client.get(path)
    policy = page.headers["content-security-policy"]
    assert ("default-src 'none'" in policy, "script-src 'self';" in policy) == (True, True)
    elsewhere = re.findall(r"[\w-]+(?= [^;]*http)", policy)
    sends_to_bucket = request.node.callspec.params["example"] == "cloud" and path in {"/", "/trash"}
    assert elsewhere == (["connect-src"] if sends_to_bucket else [])
    files = re.findall(r'(?:href|src)="(/(?:static|schema-viewer|filestore-upload)[^"]+)"', page.text)
    assert files
    assert re.findall(r"(?:href|src)=\"\w+:|<script(?! src| type=\"module\" src)|<style| style=", page.text) == []
    for each in files:
        answer = client.get(each)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
        assert answer.headers["content-type"].partition(";")[0] in {"text/css", "text/javascript", "image/svg+xml"}


def test_documents_have_links_that_work(client: httpx.Client) -> None:
    """What is listed can be downloaded from where it says."""
    assert client.get(post(client, "a.txt", b"listed")["files"][0]["url"]).content == b"listed"


NAMES = [
    ("Übersicht.pdf", "Übersicht.pdf"),
    ("日本語.pdf", "日本語.pdf"),
    ("👩‍💻 notes.txt", "👩_💻 notes.txt"),
    ("../../etc/passwd", "passwd"),
    ("C:\\Windows\\system.ini", "system.ini"),
    ("evil.txt\r\nX-Injected: 1", "evil.txt__X-Injected_ 1"),
    ('x"; filename="other.exe', "x_; filename=_other.exe"),
    ("<img src=x onerror=alert(1)>.png", "_img src=x onerror=alert(1)_.png"),
    ("photo\u202egpj.exe", "photo_gpj.exe"),
    ("...", "download"),
    ("a" * 300 + ".txt", "a" * 196 + ".txt"),
]


@pytest.mark.parametrize(("name", "cleaned"), NAMES, ids=range(len(NAMES)))
def test_post_cleans_hostile_names(client: httpx.Client, name: str, cleaned: str) -> None:
    """A name keeps what people can read, and loses paths, markup and what is not to be seen."""
    assert post(client, name, b"x")["files"][0]["filename"] == cleaned


@pytest.mark.parametrize(("name", "cleaned"), NAMES, ids=range(len(NAMES)))
def test_get_offers_the_name_for_saving(client: httpx.Client, name: str, cleaned: str) -> None:
    """The header carries the whole name in ASCII, and nothing else gets into the headers with it."""
    document = post(client, name, b"x")
    headers = client.get(path_of(document)).headers
    match = re.fullmatch(
        r"""attachment; filename="([^"\\]*)"(?:; filename\*=UTF-8''(\S+))?""", headers["content-disposition"]
    )
    assert match is not None
    assert (unquote(match[2]) if match[2] else match[1], "x-injected" in headers) == (cleaned, False)


def test_get_of_the_schema_is_openapi(client: httpx.Client) -> None:
    """The document shows files as clients see them."""
    document = client.get("/schema/openapi.json").json()
    shown = set(document["components"]["schemas"]["FileObject"]["properties"])
    assert shown >= {"filename", "content_type", "size", "etag", "url"}


@pytest.mark.slow
def test_documents_survive_a_restart(tmp_path: Path) -> None:
    """What was uploaded is there when the app is started again."""
    with serve_on_disk(tmp_path) as first, first.client() as client:
        document = post(client, "kept.txt", b"kept")
    with serve_on_disk(tmp_path) as second, second.client() as client:
        assert client.get(path_of(document)).content == b"kept"


@pytest.mark.slow
def test_trash_is_emptied_after_its_time(tmp_path: Path) -> None:
    """What was deleted goes for ever by itself, with its bytes, and the rest stays."""
    with serve_on_disk(tmp_path, FILESTORE_TRASH_SECONDS="0.5") as example, example.client() as client:
        kept, deleted = (post(client, name, name.encode()) for name in ("kept.txt", "deleted.txt"))
        client.delete(f"/documents/{deleted['id']}")
        example.process.wait_until(lambda: len(example.keys) == 1)
        assert client.post(f"/documents/{deleted['id']}/restore").status_code == 404
        assert client.get(path_of(kept)).content == b"kept.txt"
