"""Bodies that a middleware, or a hook, has read before the handler: they are used from where they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from litestar import Litestar, Request, put
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.middleware.logging import LoggingMiddlewareConfig
from litestar.params import FromPath
from litestar.testing import TestClient

from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
    RawBody,
    create_file_router,
    storages,
)
from tests.uploads.multipart_bodies import Piece

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from tests.uploads.conftest import Receiving

MIB = 1024 * 1024
SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"
LOGGED = LoggingMiddlewareConfig(request_log_fields=("path", "body"), response_log_fields=()).middleware


class _Reader(ASGIMiddleware):
    """Looks at every body."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Read it, and go on."""
        if scope["type"] == ScopeType.HTTP:
            await self.read(Request(scope, receive, send))
        await next_app(scope, receive, send)

    async def read(self, request: Request[Any, Any, Any]) -> None:
        raise NotImplementedError


class Body(_Reader):
    async def read(self, request: Request[Any, Any, Any]) -> None:
        await request.body()


class Form(_Reader):
    async def read(self, request: Request[Any, Any, Any]) -> None:
        await request.form()


class FormAndFiles(_Reader):
    async def read(self, request: Request[Any, Any, Any]) -> None:
        for value in (await request.form()).values():
            if not isinstance(value, str):
                await value.read()


class BodyAndForm(_Reader):
    async def read(self, request: Request[Any, Any, Any]) -> None:
        await request.body()
        await request.form()


async def body_in_a_hook(request: Request[Any, Any, Any]) -> None:
    """Read the body before the handler."""
    await request.body()


READERS: dict[str, dict[str, Any]] = {
    "logging": {"middleware": [LOGGED]},
    "body": {"middleware": [Body()]},
    "form": {"middleware": [Form()]},
    "files": {"middleware": [FormAndFiles()]},
    "both": {"middleware": [BodyAndForm()]},
    "hook": {"before_request": body_in_a_hook},
}
FILE = Piece("file", b"content " * 10, "a.txt", "text/plain")


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the application has that reads bodies."""
    return READERS[request.param]


async def test_typed_form(receiving: Receiving, reader: dict[str, Any]) -> None:
    """Files, lists, spooled files and texts are what they would be."""
    async with receiving(reader) as receiver:
        answer = await receiver.send_form(
            FILE,
            Piece("more", b"1", "1.txt"),
            Piece("more", b"2", "2.txt"),
            Piece("spooled", b"on disk", "s.txt"),
            Piece("text", "größe".encode()),
            Piece("texts", b"one"),
            Piece("texts", b""),
        )
    assert answer.status == 200, answer.content
    found = answer.json
    assert [each["filename"] for each in found["files"]] == ["a.txt", "1.txt", "2.txt"]
    assert found["files"][0]["size"] == len(FILE.content)
    assert (found["spooled"], found["text"], found["texts"]) == ("on disk", "größe", ["one", ""])


async def test_parts(receiving: Receiving, reader: dict[str, Any]) -> None:
    """The parts come one by one all the same."""
    async with receiving(reader) as receiver:
        answer = await receiver.send_form(FILE, Piece("text", b"a text"), Piece("other", b""), path="/parts")
    assert answer.status == 200, answer.content
    assert [answer.json[0]["size"], *answer.json[1:]] == [len(FILE.content), "a text", None]


async def test_raw_body(receiving: Receiving, reader: dict[str, Any]) -> None:
    """A body that is a file is stored as it came."""
    content = bytes(range(256)) * 10_000
    async with receiving(reader) as receiver:
        answer = await receiver.send(
            content[:1000], content[1000:], path="/raw/a.bin", method="PUT", headers={"content-type": "image/png"}
        )
    assert answer.status == 200, answer.content
    assert (answer.json["size"], answer.json["checksum"]) == (
        len(content),
        f"sha256:{hashlib.sha256(content).hexdigest()}",
    )


async def test_more_than_litestar_reads_by_itself(receiving: Receiving, reader: dict[str, Any]) -> None:
    """Who reads the body first may have as much of it as the handler takes."""
    content = b"x" * (11 * MIB)
    async with receiving(reader) as receiver:
        form = await receiver.send_form(Piece("file", content, "a.txt"))
        parts = await receiver.send_form(Piece("file", content, "a.txt"), path="/parts")
        raw = await receiver.send(content, path="/raw/a", method="PUT", headers={"content-type": "image/png"})
    assert [form.status, parts.status, raw.status] == [200, 200, 200]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([Piece("file", b"x" * 1001, "a.txt")], 413),
        ([Piece("text", b"x" * 101)], 413),
        ([Piece("texts", b"x" * 90)] * 3, 413),
        ([Piece("other", b"", "a.txt")] * 6, 413),
        ([Piece("texts", b"")] * 20, 413),
        ([Piece("file", b"x", "a.txt")] * 2, 400),
    ],
)
async def test_limits_hold(receiving: Receiving, reader: dict[str, Any], parts: list[Piece], status: int) -> None:
    """What has been read is judged like anything else."""
    limits = {"max_file_bytes": 1000, "max_field_bytes": 100, "max_fields_bytes": 250, "max_files": 2, "max_parts": 10}
    async with receiving(reader, **limits) as receiver:
        answer = await receiver.send_form(*parts)
    assert answer.status == status


async def test_digests_hold(receiving: Receiving, reader: dict[str, Any]) -> None:
    """A digest that a part announces is compared with what lies there."""
    wrong = Piece("file", b"x", "a.txt", headers=("Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==",))
    async with receiving(reader) as receiver:
        assert (await receiver.send_form(wrong)).status == 400


async def test_form_for_a_handler_that_takes_a_file(receiving: Receiving) -> None:
    """A form that a middleware has taken apart is no file any more."""
    async with receiving({"middleware": [Form()]}) as receiver:
        answer = await receiver.send_form(FILE, path="/raw/a", method="PUT")
    assert answer.status == 415


@pytest.mark.parametrize("path", ["/media/a.txt", "/link"])
def test_put_of_routers_and_links(reader: dict[str, Any], path: str) -> None:
    """Bodies that go to routers and links are stored as well."""
    backend = MemoryBackend("media")
    config = FilestoreConfig([backend], secret=SECRET, ledger=None)
    router = create_file_router("/media", backend="media", public=True, methods=("GET", "PUT"))
    app = Litestar([router], plugins=[FilestorePlugin(config)], **reader)
    with TestClient(app) as client:
        url = storages.url_for(FileObject(backend, "a.txt"), for_upload=True) if path == "/link" else path
        answer = client.put(url, content=b"some text", headers={"content-type": "text/plain"})
        assert answer.status_code == 201, answer.text
        assert [info.size for info in backend.list()] == [9]


def test_body_that_was_streamed_away_is_the_application_s_mistake() -> None:
    """What nobody has any more cannot be stored: that is no fault of the client."""

    async def stream(request: Request[Any, Any, Any]) -> None:
        async for _ in request.stream():
            pass

    @put("/{name:str}", before_request=stream)
    async def raw(name: FromPath[str], raw_upload: RawBody) -> None:
        await raw_upload.store(filename=name)

    config = FilestoreConfig([MemoryBackend("media")], ledger=None)
    with TestClient(Litestar([raw], plugins=[FilestorePlugin(config)]), raise_server_exceptions=False) as client:
        assert client.put("/a", content=b"x").status_code == 500
