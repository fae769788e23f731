"""As which types files leave the server: those on a list, on every way out, whoever has said what the type is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

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
    create_file_router,
    storages,
)
from litestar_filestore.core.file_object import LinkWish
from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.links.link_config import LinkConfig
from litestar_filestore.links.signer import LinkSigner
from litestar_filestore.sansio.active_types import DEFAULT_CONTENT_TYPE, INLINE_TYPES, SERVED_TYPES, served_type
from litestar_filestore.sansio.tokens import KeyRing
from tests.downloads.test_delivery import call
from tests.validation.samples import SAMPLES

SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"

JAVASCRIPT = (
    "application/ecmascript",
    "application/javascript",
    "application/x-ecmascript",
    "application/x-javascript",
    "text/ecmascript",
    "text/javascript",
    "text/javascript1.0",
    "text/javascript1.1",
    "text/javascript1.2",
    "text/javascript1.3",
    "text/javascript1.4",
    "text/javascript1.5",
    "text/jscript",
    "text/livescript",
    "text/x-ecmascript",
    "text/x-javascript",
)
"""What the MIME Sniffing Standard, section 4.6, takes for JavaScript."""
OTHERS = (
    "application/atom+xml",
    "application/json+protobuf+xml",
    "application/vnd.ms-word.document.macroenabled.12",
    "application/x-msdownload",
    "application/x-unheard-of",
    "image/svg",
    "image/x-unheard-of",
    "message/rfc822",
    "model/stl",
    "multipart/x-mixed-replace",
    "text/vbscript",
    "text/x-component",
)


def s3() -> ObstoreBackend:
    """A bucket that nobody talks to: its links are signed here."""
    return ObstoreBackend(
        "documents", "s3://bucket/", aws_access_key_id="A" * 20, aws_secret_access_key="b" * 40, aws_region="us-east-1"
    )


def file_of(backend: StorageBackend, content_type: str, **more: Any) -> FileObject:
    """Return a stored file as a row of another program may have it."""
    return FileObject(backend, "x.bin", "a/x.bin", content_type=content_type, size=3, etag='"a"', **more)


@pytest.mark.parametrize("content_type", [*JAVASCRIPT, *OTHERS, *(each.upper() for each in JAVASCRIPT[:2])])
def test_type_that_is_not_on_the_list_is_served_as_bytes(content_type: str) -> None:
    """Nobody has a complete list of what browsers run, so what is not known to be harmless has no type."""
    assert served_type(content_type) == DEFAULT_CONTENT_TYPE
    assert served_type(f"{content_type}; charset=utf-8") == DEFAULT_CONTENT_TYPE


@pytest.mark.parametrize("content_type", sorted(SERVED_TYPES))
def test_type_on_the_list_is_served_as_itself(content_type: str) -> None:
    """Text is declared as UTF-8, everything else goes as it is."""
    expected = f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type
    assert served_type(content_type) == expected


NOT_SERVED = {
    "application/gpx+xml",
    "application/hta",
    "application/java-archive",
    "application/postscript",
    "application/rss+xml",
    "application/sql",
    "application/vnd.android.package-archive",
    "application/vnd.google-earth.kml+xml",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    "application/vnd.ms-excel.sheet.macroenabled.12",
    "application/vnd.ms-excel.template.macroenabled.12",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    "application/vnd.ms-word.document.macroenabled.12",
    "application/vnd.ms-word.template.macroenabled.12",
    "application/wasm",
    "application/x-bat",
    "application/x-deb",
    "application/x-elf",
    "application/x-httpd-php",
    "application/x-ms-regedit",
    "application/x-ms-shortcut",
    "application/x-msdownload",
    "application/x-msi",
    "application/x-mswinurl",
    "application/x-powershell",
    "application/x-sh",
    "application/x-vbscript",
    "application/x-windows-script",
    "application/xhtml+xml",
    "application/xml",
    "image/svg+xml",
    "image/svg+xml-compressed",
    "message/rfc822",
    "text/css",
    "text/html",
    "text/javascript",
    "text/x-python",
    "text/x-typescript",
}
"""What a browser, or the program that it starts, may run, and XML, in which scripts may stand."""


@pytest.mark.parametrize("content_type", sorted({each.type for each in SAMPLES} - {DEFAULT_CONTENT_TYPE}))
def test_types_that_are_told_are_served_unless_they_run(content_type: str) -> None:
    """What uploads are verified to be is known here: it is served as itself, unless something in it may run."""
    served = served_type(content_type).removesuffix("; charset=utf-8")
    assert served == (DEFAULT_CONTENT_TYPE if content_type in NOT_SERVED else content_type)


# -- the ways out

WAYS = [JAVASCRIPT[12], "text/html", "model/stl"]


@pytest.mark.parametrize("content_type", WAYS)
@pytest.mark.parametrize("way", ["stream", "range", "pathsend", "accel"])
async def test_ways_of_the_application(tmp_path: Path, way: str, content_type: str) -> None:
    """Whoever sends the bytes, the headers are the same."""
    backend = LocalBackend("documents", tmp_path / "store", fsync=False)
    backend.put(b"abc", key="a/x.bin")
    front = Nginx(files={str(tmp_path): "/_files/"}) if way == "accel" else None
    headers = [("Range", "bytes=0-1")] if way == "range" else []
    sent = await call(
        file_of(backend, content_type),
        DownloadConfig(front_server=front),
        *headers,
        pathsend=way == "pathsend",
    )
    assert sent.headers["content-type"] == DEFAULT_CONTENT_TYPE
    assert sent.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("content_type", WAYS)
async def test_parts_of_several_ranges(content_type: str) -> None:
    """Each part of a ``multipart/byteranges`` has the type in a header of its own."""
    backend = MemoryBackend("documents")
    backend.put(bytes(3000), key="a/x.bin")
    file = file_of(backend, content_type)
    file.size = 3000
    sent = await call(file, DownloadConfig(), ("Range", "bytes=0-0,2000-2000"))
    assert sent.headers["content-type"].startswith("multipart/byteranges")
    assert content_type.encode() not in sent.body
    assert sent.body.count(DEFAULT_CONTENT_TYPE.encode()) == 2


@pytest.mark.parametrize("content_type", WAYS)
async def test_redirect_to_a_store(content_type: str) -> None:
    """The store is told the type in the signed address, and does not answer with the one that it holds."""
    sent = await call(file_of(s3(), content_type), DownloadConfig(delivery="redirect"))
    assert parse_qs(urlsplit(sent.headers["location"]).query)["response-content-type"] == [DEFAULT_CONTENT_TYPE]


@pytest.mark.parametrize("content_type", WAYS)
def test_link_of_a_store(content_type: str) -> None:
    """The same for links that are made beforehand."""
    registry = StorageRegistry()
    registry.register_backend(backend := s3())
    signer = LinkSigner(KeyRing(SECRET), LinkConfig(), registry)
    url = signer.url_for(file_of(backend, content_type), LinkWish(disposition="inline"))
    query = parse_qs(urlsplit(url).query)
    assert query["response-content-type"] == [DEFAULT_CONTENT_TYPE]
    assert query["response-content-disposition"][0].startswith("attachment")


@pytest.mark.parametrize("content_type", WAYS)
def test_link_of_the_application(content_type: str) -> None:
    """A type in a signed token is no better than where it came from."""
    backend = MemoryBackend("documents")
    backend.put(b"abc", key="a/x.bin")
    with TestClient(Litestar([], plugins=[FilestorePlugin(FilestoreConfig([backend], secret=SECRET))])) as client:
        answer = client.get(storages.url_for(file_of(backend, content_type), disposition="inline"))
    assert answer.headers["content-type"] == DEFAULT_CONTENT_TYPE


@pytest.mark.parametrize("content_type", WAYS)
def test_router_of_a_backend(content_type: str) -> None:
    """A bucket holds what somebody has said when the object was put."""
    backend = MemoryBackend("documents")
    backend.put(b"abc", key="x.bin", content_type=content_type)
    router = create_file_router("/media", backend="documents", public=True)
    with TestClient(Litestar([router], plugins=[FilestorePlugin(FilestoreConfig([backend]))])) as client:
        answer = client.get("/media/x.bin")
    assert (answer.status_code, answer.headers["content-type"]) == (200, DEFAULT_CONTENT_TYPE)


# -- what an application can change


def served(config: DownloadConfig, content_type: str) -> str:
    """Return the type as which an application serves a file."""
    backend = MemoryBackend("documents")
    backend.put(b"abc", key="a/x.bin")

    @get("/")
    async def show() -> FileDownload:
        return FileDownload(file_of(backend, content_type))

    plugin = FilestorePlugin(FilestoreConfig([backend], downloads=config))
    with TestClient(Litestar([show], plugins=[plugin])) as client:
        return client.get("/").headers["content-type"]


def test_type_can_be_added() -> None:
    """An application that knows of a harmless type adds it."""
    assert served(DownloadConfig(served_types=SERVED_TYPES | {"model/stl"}), "model/stl") == "model/stl"


def test_type_can_be_taken_away() -> None:
    """An application that wants none of a type leaves it out."""
    config = DownloadConfig(served_types=SERVED_TYPES - {"application/msword"})
    assert served(config, "application/msword") == DEFAULT_CONTENT_TYPE


@pytest.mark.parametrize(
    "content_type", [*JAVASCRIPT, "text/html", "image/svg+xml", "application/atom+xml", "multipart/mixed", "Model/STL"]
)
def test_active_types_cannot_be_added(content_type: str) -> None:
    """No configuration serves scripts and pages as such."""
    with pytest.raises(ConfigurationError, match="could run scripts"):
        DownloadConfig(served_types=SERVED_TYPES | {content_type})


def test_types_that_are_shown_are_served() -> None:
    """What is shown in place goes out as what it is, so it is on the list."""
    with pytest.raises(ConfigurationError, match="model/stl"):
        DownloadConfig(inline_types=INLINE_TYPES | {"model/stl"})
