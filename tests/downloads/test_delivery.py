"""Who sends the bytes: what the application asks of the server that runs it, of one in front, and of the store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from litestar import Litestar, get, head

from litestar_filestore import (
    DownloadConfig,
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MemoryBackend,
    Nginx,
    ObstoreBackend,
    StorageBackend,
    XSendfile,
)
from litestar_filestore.downloads.download_config import Delivery
from litestar_filestore.errors import ConfigurationError

CONTENT = b"0123456789" * 100


class Sent(NamedTuple):
    """What an ASGI server was told."""

    status: int
    headers: dict[str, str]
    events: list[dict[str, Any]]

    @property
    def body(self) -> bytes:
        """All pieces of the body."""
        return b"".join(event.get("body", b"") for event in self.events)


async def call(
    file: FileObject,
    downloads: DownloadConfig,
    *headers: tuple[str, str],
    delivery: Delivery | None = None,
    method: str = "GET",
    pathsend: bool = False,
) -> Sent:
    """Send one request through a whole application, as a server would."""

    @get("/")
    async def read() -> FileDownload:
        return FileDownload(file, delivery=delivery)

    @head("/")
    async def look() -> FileDownload:
        return FileDownload(file, delivery=delivery)

    app = Litestar([read, look], plugins=[FilestorePlugin(FilestoreConfig(ledger=None, downloads=downloads))])
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": None,
        "server": ("testserver", 80),
        "extensions": {"http.response.pathsend": {}} if pathsend else {},
    }
    events: list[dict[str, Any]] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False} if not events else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        events.append(message)

    await app(scope, receive, send)
    start, *rest = events
    return Sent(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, rest)


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    """A folder."""
    backend = LocalBackend("delivered", tmp_path / "files", fsync=False)
    yield backend
    await backend.close_async()


@pytest.fixture
async def bucket(s3_settings: dict[str, Any]) -> AsyncIterator[StorageBackend]:
    """A bucket."""
    backend = ObstoreBackend(
        "delivered-s3",
        f"s3://{s3_settings['bucket']}",
        prefix="delivered",
        aws_endpoint=s3_settings["endpoint"],
        aws_access_key_id=s3_settings["access_key"],
        aws_secret_access_key=s3_settings["secret_key"],
        aws_region="us-east-1",
        client_options={"allow_http": True},
    )
    yield backend
    await backend.close_async()


async def _stored(backend: StorageBackend, content_type: str = "text/plain") -> FileObject:
    return await FileObject(backend, "a name.txt", content=CONTENT, content_type=content_type).save_async()


async def _fetch(url: str, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url, headers=headers)


# -- pathsend


async def test_pathsend(local: LocalBackend) -> None:
    """A server that sends files itself is given the path of a whole local file, and all headers."""
    file = await _stored(local)
    sent = await call(file, DownloadConfig(), pathsend=True)
    assert sent.events == [{"type": "http.response.pathsend", "path": str(local.local_path(file.path))}]
    assert (sent.status, sent.headers["content-length"]) == (200, "1000")


@pytest.mark.parametrize(
    ("delivery", "pathsend", "headers", "method"),
    [
        pytest.param("auto", True, (("Range", "bytes=0-9"),), "GET", id="range"),
        pytest.param("stream", True, (), "GET", id="not wanted"),
        pytest.param("pathsend", False, (), "GET", id="server cannot"),
        pytest.param("auto", True, (), "HEAD", id="HEAD"),
    ],
)
async def test_no_pathsend(
    local: LocalBackend,
    delivery: Delivery,
    pathsend: bool,  # noqa: FBT001  # a table
    headers: tuple[tuple[str, str], ...],
    method: str,
) -> None:
    """In other cases the application sends the bytes itself, or none."""
    sent = await call(
        await _stored(local), DownloadConfig(), *headers, delivery=delivery, pathsend=pathsend, method=method
    )
    assert all(event["type"] == "http.response.body" for event in sent.events)
    assert sent.body == {"HEAD": b"", "GET": CONTENT[: int(sent.headers["content-length"])]}[method]


async def test_pathsend_needs_a_file(local: LocalBackend) -> None:
    """A file that is not there, or that became a link to another, is a 404 before its path is given away."""
    file = await _stored(local)
    path = local.local_path(file.path)
    path.unlink()
    assert (await call(file, DownloadConfig(), pathsend=True)).status == 404
    path.symlink_to("/etc/passwd")
    assert (await call(file, DownloadConfig(), pathsend=True)).status == 404


async def test_pathsend_of_another_size(local: LocalBackend) -> None:
    """A file that is not as long as its row says is refused: the server would announce one length and send another."""
    file = await _stored(local)
    os.truncate(local.local_path(file.path), 10)
    assert (await call(file, DownloadConfig(), pathsend=True)).status == 503


async def test_memory_has_no_path() -> None:
    """Objects that are no files are sent by the application."""
    file = await _stored(MemoryBackend("delivered-memory"))
    assert (await call(file, DownloadConfig(), delivery="pathsend", pathsend=True)).body == CONTENT


# -- a server in front


async def test_accel_to_a_file(local: LocalBackend) -> None:
    """Nginx is told the internal address of a file; the body is empty, and only its length is nginx's to say."""
    file = await _stored(local)
    front = Nginx(files={str(local.local_path("x").parent): "/_files/"})
    sent = await call(file, DownloadConfig(front_server=front), ("Range", "bytes=0-9"), pathsend=True)
    assert sent.headers["x-accel-redirect"] == f"/_files/{file.path}"
    assert (sent.status, sent.body, sent.headers["content-length"]) == (200, b"", "0")
    assert "content-range" not in sent.headers
    assert sent.headers["etag"] == file.etag


async def test_accel_encodes_addresses(local: LocalBackend) -> None:
    """A key with characters that mean something in an address arrives as it is."""
    await local.put_async(CONTENT, key="a b/100%?#.txt")
    file = FileObject(local, "x", "a b/100%?#.txt")
    front = Nginx(files={str(local.local_path("x").parent): "/_files/"})
    sent = await call(file, DownloadConfig(front_server=front))
    assert sent.headers["x-accel-redirect"] == "/_files/a%20b/100%25%3F%23.txt"


async def test_accel_through_a_link(tmp_path: Path) -> None:
    """The folder of a location may be named by a link: it is resolved, as the backend's root is."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    backend = LocalBackend("linked", tmp_path / "link", fsync=False)
    front = Nginx(files={str(tmp_path / "link"): "/_files/"})
    file = await _stored(backend)
    assert (await call(file, DownloadConfig(front_server=front))).headers["x-accel-redirect"] == f"/_files/{file.path}"


async def test_accel_elsewhere(local: LocalBackend, tmp_path: Path) -> None:
    """A file outside of all locations is sent by the application, unless accel was asked for: that is a mistake."""
    file = await _stored(local)
    downloads = DownloadConfig(front_server=Nginx(files={str(tmp_path / "other"): "/_files/"}))
    assert (await call(file, downloads)).body == CONTENT
    assert (await call(file, downloads, delivery="accel")).status == 500


async def test_accel_to_a_bucket(bucket: StorageBackend) -> None:
    """Nginx is told a URL that works, and which part of it is wanted."""
    file = await _stored(bucket)
    sent = await call(file, DownloadConfig(front_server=Nginx(remote="/_remote")), ("Range", "bytes=5-"))
    assert sent.headers["x-accel-redirect"] == "/_remote"
    answer = await _fetch(sent.headers["x-filestore-url"], {"Range": sent.headers["x-filestore-range"]})
    assert (answer.status_code, answer.content) == (206, CONTENT[5:])


async def test_x_sendfile(local: LocalBackend) -> None:
    """Apache and Lighttpd are told the path of a file below one of their roots."""
    file = await _stored(local)
    root = str(local.local_path("x").parent)
    sent = await call(file, DownloadConfig(front_server=XSendfile((root,)), delivery="accel"))
    assert (sent.headers["x-sendfile"], sent.body) == (f"{root}/{file.path}", b"")
    assert (await call(file, DownloadConfig(front_server=XSendfile(("/nowhere",))))).body == CONTENT


@pytest.mark.parametrize(
    "make",
    [
        lambda: Nginx(files={"relative": "/_files/"}),
        lambda: Nginx(files={"/srv": "/_files"}),
        lambda: Nginx(files={"/srv": "_files/"}),
        lambda: Nginx(remote="_remote"),
        lambda: XSendfile(("relative",)),
        lambda: DownloadConfig(delivery="accel"),
        lambda: DownloadConfig(max_ranges=0),
        lambda: DownloadConfig(redirect_seconds=604_801),
    ],
    ids=[
        "relative folder",
        "location without an end",
        "location without a beginning",
        "remote without a beginning",
        "relative root",
        "accel without a server",
        "no range",
        "too long a redirect",
    ],
)
def test_wrong_configurations(make: Any) -> None:
    """What could never work is refused where it is written."""
    with pytest.raises(ConfigurationError):
        make()


# -- redirects


async def test_redirect(bucket: StorageBackend) -> None:
    """The client is sent to the store, by a URL that fixes type and name; the redirect ends before the URL does."""
    file = await _stored(bucket, "text/html")
    sent = await call(file, DownloadConfig(delivery="redirect"))
    assert (sent.status, sent.body) == (302, b"")
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    assert query["response-content-type"] == ["application/octet-stream"]
    assert query["response-content-disposition"] == ['attachment; filename="a name.txt"']
    assert sent.headers["cache-control"] == "private, max-age=150"
    assert sent.headers["referrer-policy"] == "no-referrer"
    assert (await _fetch(sent.headers["location"], {})).content == CONTENT


async def test_redirects_answer_conditions_themselves(bucket: StorageBackend) -> None:
    """What needs no bytes needs no redirect: HEAD, 304, 412 and 416 are answered at once."""
    file = await _stored(bucket)
    downloads = DownloadConfig(delivery="redirect")
    assert (await call(file, downloads, method="HEAD")).headers["content-length"] == "1000"
    assert (await call(file, downloads, ("If-None-Match", file.etag or ""))).status == 304
    assert (await call(file, downloads, ("If-Match", '"x"'))).status == 412
    assert (await call(file, downloads, ("Range", "bytes=1000-"))).status == 416


async def test_redirects_need_a_store_that_signs(local: LocalBackend) -> None:
    """A store without signed URLs is a mistake of the set-up, and says so."""
    assert (await call(await _stored(local), DownloadConfig(delivery="redirect"))).status == 501
