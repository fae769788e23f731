"""The IETF's draft "Resumable Uploads for HTTP", on the core of tus and beside it."""

from __future__ import annotations

import hashlib
import secrets
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from litestar import Litestar

from litestar_filestore import create_upload_router
from litestar_filestore.errors import QuotaExceededError
from litestar_filestore.ledger import LedgerConfig, Usage
from tests.servers.processes import HOST, RunningProcess
from tests.tus.conftest import Serve, Site, metadata
from tests.tus.http_upload_client import DRAFT, PARTIAL, HttpUploads, problem_of
from tests.tus.servers import serving
from tests.tus.stores import describe, describe_local, open_store
from tests.tus.tus_app import PATH, Base

MIB = 1024 * 1024
TOO_LARGE = 100_000_001
"""More than the rules of the column allow."""


class Served(NamedTuple):
    """The application behind uvicorn."""

    uploads: HttpUploads
    client: httpx.Client
    port: int
    process: RunningProcess
    folder: Path

    def files(self) -> list[bytes]:
        """Return the contents of all files that rows hold."""
        with closing(sa.create_engine(f"sqlite:///{self.folder / 'rows.db'}", poolclass=sa.NullPool).connect()) as rows:
            keys = rows.execute(sa.text("SELECT key FROM filestore_object WHERE state = 'linked'")).scalars()
            backend = open_store(describe_local(self.folder))
            return [b"".join(backend.get(key)) for key in keys]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with real connections."""
    folder = tmp_path_factory.mktemp("served")
    engine = sa.create_engine(database := f"sqlite:///{folder / 'rows.db'}", poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    with (
        serving(folder, describe_local(folder), database, experimental=True) as (port, process),
        httpx.Client(base_url=f"http://{HOST}:{port}", timeout=60, trust_env=False) as client,
    ):
        yield Served(HttpUploads(client), client, port, process, folder)


@pytest.fixture
def site(serve: Serve) -> Site:
    """An application that speaks both protocols."""
    return serve(experimental_http_uploads=True)


@pytest.fixture
def uploads(site: Site) -> HttpUploads:
    """Speaks the draft with it."""
    return HttpUploads(site.client)


# -- over a socket


def test_post_the_whole_file(served: Served) -> None:
    """A creation with all bytes answers the reference, and a row takes the file by it."""
    content = b"Hello, draft!\n" + secrets.token_bytes(100_000)
    answer = served.uploads.create(content, ends=True)
    assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1"), answer.text
    form = {"title": "x", "file": answer.headers["filestore-reference"]}
    assert served.client.post("/documents/json", json=form).status_code == 201
    assert content in served.files()


def test_post_then_patch(served: Served) -> None:
    """A careful creation has no bytes; they come later, and only the last request says that it is complete."""
    content = secrets.token_bytes(9 * MIB + 77)
    url = served.uploads.begin(len(content))
    assert served.uploads.look(url) == (0, "?0", str(len(content)))
    reference = served.uploads.go_on(url, content, [1, 70_000, 8 * MIB])
    assert served.uploads.look(url) == (len(content), "?1", str(len(content)))
    assert served.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201
    assert content in served.files()


def test_lost_connection_is_resumed(served: Served) -> None:
    """What has come before the connection was lost counts: HEAD tells how much, and PATCH sends the rest."""
    content = secrets.token_bytes(3 * MIB)
    url = served.uploads.begin(len(content))
    head = (
        f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: {HOST}\r\nUpload-Draft-Interop-Version: 8\r\n"
        f"Upload-Offset: 0\r\nUpload-Complete: ?1\r\nContent-Type: {PARTIAL}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with closing(socket.create_connection((HOST, served.port), timeout=60)) as wire:
        wire.sendall(head.encode() + content[:MIB])
        served.process.wait_until(lambda: served.uploads.look(url)[0] > 0)
    offset, complete, _ = served.uploads.look(url)
    assert (0 < offset <= MIB, complete) == (True, "?0")
    reference = served.uploads.go_on(url, content, [])
    assert served.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201
    assert content in served.files()


def test_length_is_known_with_the_last_byte(served: Served) -> None:
    """A stream has no length: the end of the body of the last request is the end of the file."""
    content = secrets.token_bytes(200_000)
    url = served.uploads.begin()
    assert served.uploads.append(url, 0, iter([content[:70_000]]), ends=False).status_code == 204
    assert served.uploads.look(url) == (70_000, "?0", None)
    assert served.uploads.append(url, 70_000, iter([content[70_000:]]), ends=True).status_code == 201
    assert served.uploads.look(url) == (200_000, "?1", "200000")


# -- any store


@pytest.mark.parametrize(
    "kind", ["picky", *(pytest.param(each, marks=pytest.mark.slow) for each in ("local", "s3", "azure"))]
)
def test_stores(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path, kind: str) -> None:
    """In uneven pieces, of a length that nobody has told: the file is the sum of them, and nothing else stays."""
    site = serve(open_store(describe(request, kind, tmp_path)), experimental_http_uploads=True)
    uploads, content = HttpUploads(site.client), secrets.token_bytes(17 * MIB + 77)
    reference = uploads.go_on(uploads.begin(), content, [1, 70_000, 9 * MIB, 100])
    assert site.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201
    other = uploads.begin(len(content))
    assert uploads.append(other, 0, content[: 9 * MIB], ends=False).status_code == 204
    site.change("UPDATE filestore_upload SET expires_at = 0")
    site.sweep()
    (key,) = site.keys()
    assert b"".join(site.backend.get(key)) == content


# -- what makes it complete


def test_only_the_client_completes(uploads: HttpUploads) -> None:
    """All bytes may be there, and the upload is still not complete; an empty request completes it."""
    url = uploads.begin(5)
    answer = uploads.append(url, 0, b"Hello", ends=False)
    assert (answer.headers["upload-complete"], "filestore-reference" in answer.headers) == ("?0", False)
    assert uploads.look(url) == (5, "?0", "5")
    assert uploads.append(url, 5, b"", ends=True).status_code == 201
    assert uploads.look(url) == (5, "?1", "5")


def test_large_upload_is_completed_by_an_empty_request(site: Site, uploads: HttpUploads) -> None:
    """So it is with one that has parts in the store, and no length."""
    content = secrets.token_bytes(8 * MIB)
    url = uploads.begin()
    assert uploads.append(url, 0, content, ends=False).status_code == 204
    assert uploads.append(url, len(content), b"", ends=True).status_code == 201
    (key,) = site.keys()
    assert b"".join(site.backend.get(key)) == content


def test_empty_file(uploads: HttpUploads) -> None:
    """A file of no bytes is complete with its creation, or with an empty request."""
    assert uploads.create(ends=True).headers["upload-complete"] == "?1"
    assert uploads.append(uploads.begin(), 0, b"", ends=True).status_code == 201


def test_creation_with_the_first_bytes(uploads: HttpUploads) -> None:
    """A creation may bring some of the bytes."""
    answer = uploads.create(b"Hello, ", Upload_Length="13")
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "7")
    assert uploads.append(answer.headers["location"], 7, b"draft!", ends=True).status_code == 201


# -- what is refused


def test_patch_at_another_offset(uploads: HttpUploads) -> None:
    """409 tells where the upload is."""
    url = uploads.begin(20)
    uploads.append(url, 0, b"Hello", ends=False)
    for offset in (0, 4, 6):
        answer = uploads.append(url, offset, b"Hello", ends=False)
        assert problem_of(answer) == (409, "mismatching-upload-offset")
        assert (answer.json()["expected-offset"], answer.json()["provided-offset"]) == (5, offset)
        assert (answer.headers["upload-offset"], answer.headers["upload-complete"]) == ("5", "?0")


def test_length_cannot_change(uploads: HttpUploads) -> None:
    """Lengths that contradict each other are 400, whichever way they are told, and what has come stays."""
    refused = (400, "inconsistent-upload-length")
    assert problem_of(uploads.create(b"Hello", ends=True, Upload_Length="6")) == refused
    assert problem_of(uploads.create(b"Hello", Upload_Length="4")) == refused
    url = uploads.begin(5)
    assert problem_of(uploads.append(url, 0, b"He", ends=False, Upload_Length="6")) == refused
    assert problem_of(uploads.append(url, 0, b"He", ends=True)) == refused
    assert problem_of(uploads.append(url, 0, b"Hello!", ends=False)) == refused
    assert uploads.look(url) == (0, "?0", "5")
    other = uploads.begin()
    assert uploads.append(other, 0, b"He", ends=False, Upload_Length="5").status_code == 204
    assert uploads.look(other) == (2, "?0", "5")
    assert problem_of(uploads.append(other, 2, b"llo", ends=True, Upload_Length="6")) == refused


def test_more_than_the_length_ends_the_upload(site: Site, uploads: HttpUploads) -> None:
    """A body of unknown length that goes beyond the upload's: nobody can go on with it."""
    one, two = uploads.begin(5), uploads.begin(5)
    uploads.append(two, 0, b"He", ends=False)
    for url, offset in ((one, 0), (two, 2)):
        answer = uploads.append(url, offset, iter([b"Hel", b"lo, draft!"]), ends=True)
        assert (answer.status_code, "max-size=" in answer.headers["upload-limit"]) == (413, True)
        assert uploads.ask("HEAD", url).status_code == 404
    assert site.query("SELECT id FROM filestore_upload") == []


def test_too_large(uploads: HttpUploads) -> None:
    """413 tells the limits."""
    answers = [uploads.create(Upload_Length=str(TOO_LARGE))]
    url = uploads.begin()
    answers.append(uploads.append(url, 0, b"Hello", ends=False, Upload_Length=str(TOO_LARGE)))
    for answer in answers:
        assert problem_of(answer) == (413, None)
        assert answer.headers["upload-limit"].startswith("max-size=100000000, max-age=")


def test_quota(serve: Serve) -> None:
    """An owner without room is refused at the creation."""

    def quota(_: str, usage: Usage) -> None:
        if usage.bytes > 100_000:
            raise QuotaExceededError("No room")

    ledger: Any = lambda engine: LedgerConfig([engine], run_sweeper=False, quota=quota)  # noqa: E731
    uploads = HttpUploads(serve(experimental_http_uploads=True, ledger=ledger).client)
    answer = uploads.create(Upload_Length="100001")
    assert (answer.status_code, "upload-limit" in answer.headers) == (413, True)
    assert uploads.create(bytes(100_001), ends=True).status_code == 413
    assert uploads.create(b"Hello", ends=True).status_code == 201


def test_upload_of_another_owner_is_unknown(uploads: HttpUploads) -> None:
    """Another owner gets 404 for everything, and guards are asked."""
    url = uploads.begin(5)
    assert uploads.ask("HEAD", url, X_User="bob").status_code == 404
    assert uploads.append(url, 0, b"Hello", ends=True, X_User="bob").status_code == 404
    assert uploads.ask("DELETE", url, X_User="bob").status_code == 404
    assert uploads.create(X_User="stranger").status_code == 401
    assert uploads.append(url, 0, b"Hello", ends=True).status_code == 201


def test_patch_of_a_complete_upload(site: Site, uploads: HttpUploads) -> None:
    """A complete upload takes nothing more; HEAD has the reference for who has missed the answer."""
    url = uploads.create(b"Hello", ends=True).headers["location"]
    assert problem_of(uploads.append(url, 5, b"", ends=True)) == (400, "completed-upload")
    assert problem_of(uploads.append(url, 5, b"!", ends=True)) == (400, "inconsistent-upload-length")
    reference = uploads.ask("HEAD", url).headers["filestore-reference"]
    assert site.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201
    assert uploads.append(url, 5, b"", ends=True).status_code == 410
    assert uploads.ask("HEAD", url).status_code == 410
    assert uploads.ask("DELETE", url).status_code == 410
    assert site.states() == ["linked"]


def test_delete(site: Site, uploads: HttpUploads) -> None:
    """Of an upload that its client gives up nothing stays."""
    for url in (uploads.begin(20), uploads.create(b"Hello", ends=True).headers["location"]):
        assert uploads.ask("DELETE", url).status_code == 204
        assert uploads.ask("HEAD", url).status_code == 404
    site.sweep()
    assert (site.keys(), site.query("SELECT id FROM filestore_upload")) == ([], [])


def test_expired_upload_is_gone(site: Site, uploads: HttpUploads) -> None:
    """Its client begins again."""
    url = uploads.begin(5)
    site.change("UPDATE filestore_upload SET expires_at = 1")
    assert uploads.ask("HEAD", url).status_code == uploads.append(url, 0, b"Hello", ends=True).status_code == 410


def test_wrong_digest_counts_for_nothing(uploads: HttpUploads) -> None:
    """The bytes of a request with ``Content-Digest`` count as a whole, if they are the right ones."""
    right = f"sha-256=:{b64encode(hashlib.sha256(b'Hello').digest()).decode()}:"
    url = uploads.begin(10)
    assert problem_of(uploads.append(url, 0, b"Hallo", ends=False, Content_Digest=right)) == (400, None)
    assert problem_of(uploads.append(url, 0, b"Hello", ends=False, Content_Digest="sha-256=:?:")) == (400, None)
    assert uploads.look(url) == (0, "?0", "10")
    assert uploads.append(url, 0, b"Hello", ends=False, Content_Digest=right).status_code == 204


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload_Complete": "true"}, 400),
        ({"Upload_Offset": "-1"}, 400),
        ({"Content_Type": "application/offset+octet-stream"}, 415),
        ({"Upload_Draft_Interop_Version": "7"}, 400),
        ({"Upload_Draft_Interop_Version": ""}, 400),
    ],
)
def test_malformed_patch(uploads: HttpUploads, headers: dict[str, str], status: int) -> None:
    """What cannot be read is refused with a reason, and changes nothing."""
    url = uploads.begin(5)
    answer = uploads.append(url, 0, b"Hello", ends=True, **headers)
    assert problem_of(answer) == (status, None)
    assert answer.headers["upload-draft-interop-version"] == "8"
    assert answer.headers.get("accept-patch") == (PARTIAL if status == 415 else None)
    assert uploads.look(url) == (0, "?0", "5")


def test_open_uploads_of_one_owner_are_limited(serve: Serve) -> None:
    """Uploads of both protocols count together."""
    site = serve(experimental_http_uploads=True, max_open_per_owner=2)
    uploads = HttpUploads(site.client)
    uploads.begin()
    site.create(5)
    assert problem_of(uploads.create()) == (429, None)
    assert site.ask("POST", Upload_Length="5").status_code == 429


# -- what the file is


def test_name_and_type_come_with_the_creation(site: Site, uploads: HttpUploads) -> None:
    """The filename of ``Content-Disposition`` and the media type are the file's, and the rules judge them."""
    said = {"Content_Disposition": "inline; filename=\"x.txt\"; filename*=UTF-8''na%C3%AFve.txt"}
    answer = uploads.create(b"Hello, draft!\n", ends=True, Content_Type="text/plain", **said)
    reference = answer.headers["filestore-reference"]
    form: Any = {"title": (None, "x"), "file": ("f.txt", b"f"), "pages": (None, reference)}
    row = site.client.post("/documents", files=form)
    assert (row.status_code, row.json()["pages"]) == (201, ["na\u00efve.txt"]), row.text
    assert uploads.create(Content_Type="image/png", Content_Disposition='inline; filename="a.png"').status_code == 415
    assert uploads.create(b"%PDF-1.7\n" + bytes(100_000), ends=True).status_code == 415


@pytest.mark.parametrize("said", [{"Content_Type": "multipart/form-data; boundary=x"}, {"Content_Encoding": "gzip"}])
def test_creation_takes_the_file_itself(uploads: HttpUploads, said: dict[str, str]) -> None:
    """A form, or content that would be stored encoded, is refused."""
    assert problem_of(uploads.create(b"Hello", ends=True, **said)) == (415, None)


def test_authorize_sees_name_and_type(serve: Serve) -> None:
    """As metadata, by the names that clients of tus have agreed on."""
    seen: list[tuple[Any, str]] = []

    def authorize(_: Any, said: Any, action: str) -> bool:
        seen.append((dict(said), action))
        return action != "delete"

    uploads = HttpUploads(serve(experimental_http_uploads=True, authorize=authorize).client)
    url = uploads.begin(5, Content_Type="text/plain", Content_Disposition="inline; filename=a.txt")
    uploads.look(url)
    assert uploads.append(url, 0, b"He", ends=False).status_code == 204
    assert uploads.ask("DELETE", url).status_code == 403
    expected = {"filename": "a.txt", "filetype": "text/plain"}
    assert seen == [(expected, action) for action in ("write", "read", "write", "delete")]


# -- beside tus


def test_protocols_do_not_see_each_other(site: Site, uploads: HttpUploads) -> None:
    """An upload belongs to the protocol that has begun it; to the other one it is unknown, and stays as it is."""
    one, two = uploads.begin(5), site.create(5, Upload_Metadata=metadata(filename="a.txt"))
    assert site.ask("HEAD", one).status_code == uploads.ask("HEAD", two).status_code == 404
    assert site.append(one, 0, b"Hello").status_code == uploads.append(two, 0, b"Hello", ends=True).status_code == 404
    assert site.ask("DELETE", one).status_code == uploads.ask("DELETE", two).status_code == 404
    assert site.ask("POST", Upload_Concat=f"final;{one}").status_code == 400
    answers = [site.append(two, 0, b"Hello"), uploads.append(one, 0, b"Hello", ends=True)]
    assert [answer.status_code for answer in answers] == [204, 201]
    names = ("tus-resumable", "upload-draft-interop-version")
    versions = [[each.headers.get(name) for name in names] for each in answers]
    assert versions == [["1.0.0", None], [None, "8"]]


def test_version_header_decides(site: Site) -> None:
    """A request with both is one of tus, and one with neither is refused as tus wants it."""
    both = site.ask("POST", Upload_Length="5", **DRAFT)
    assert (both.status_code, both.headers["tus-resumable"]) == (201, "1.0.0")
    assert site.client.post(PATH, headers={"Upload-Length": "5"}).status_code == 412


def test_options_tells_both(uploads: HttpUploads) -> None:
    """What the server can do by either protocol."""
    told = uploads.ask("OPTIONS").headers
    assert (told["accept-patch"], told["tus-version"]) == (PARTIAL, "1.0.0")
    assert told["upload-limit"] == "max-size=100000000, max-age=86400"
    exposed = told["access-control-expose-headers"].lower().split(",")
    assert {"upload-complete", "tus-resumable"} <= set(exposed)


def test_off_by_default(serve: Serve) -> None:
    """Without the option a request of the draft is one of an unknown version of tus."""
    uploads = HttpUploads(serve().client)
    answer = uploads.create(b"Hello", ends=True)
    assert (answer.status_code, answer.headers["tus-resumable"]) == (412, "1.0.0")
    assert not {"accept-patch", "upload-limit"} & set(uploads.ask("OPTIONS").headers)


@pytest.mark.parametrize("on", [True, False])
def test_openapi_tells_of_it_when_it_is_on(on: bool) -> None:  # noqa: FBT001
    """The document names the draft for the routes that speak it."""
    router = create_upload_router(
        PATH, backend="documents", public=True, include_in_schema=True, experimental_http_uploads=on
    )
    paths = Litestar([router]).openapi_schema.to_schema()["paths"]
    told = {method for method, each in paths[f"{PATH}/{{upload_id}}"].items() if "draft" in each.get("description", "")}
    assert told == ({"head", "patch", "delete", "post", "options"} if on else set())
