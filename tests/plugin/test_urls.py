"""Each response shows the URLs that the application makes for the request at hand."""

import asyncio
from typing import Any

import pytest
from litestar import Litestar, asgi, get
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.testing import AsyncTestClient
from litestar.types import HTTPRequestEvent, Message, Receive, Scope, Send

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin
from litestar_filestore.core.file_object import public_file

Connection = ASGIConnection[Any, Any, Any, Any]


def build(file: FileObject, connection: Connection) -> str | None:
    """Return an address below the host that the client has asked."""
    return f"{connection.base_url}files/{file.filename}"


@get("/", sync_to_thread=False)
def on_loop(file: NamedDependency[FileObject]) -> FileObject:
    """Return the file from the event loop."""
    return file


@get("/thread", sync_to_thread=True)
def in_thread(file: NamedDependency[FileObject]) -> str | None:
    """Return the URL as it is seen in a worker thread."""
    return public_file(file).url


def application(file: FileObject, config: FilestoreConfig, *handlers: Any) -> Litestar:
    """Return an application that knows the file."""
    dependencies = {"file": Provide(lambda: file, sync_to_thread=False)}
    return Litestar([on_loop, in_thread, *handlers], plugins=[FilestorePlugin(config)], dependencies=dependencies)


@pytest.mark.parametrize("path", ["/", "/thread"])
async def test_get_shows_the_url_for_its_own_request(path: str, file: FileObject) -> None:
    """Fifty requests at a time to fifty hosts see their own host each."""
    app = application(file, FilestoreConfig(url_builder=build))
    async with AsyncTestClient(app) as client:
        responses = await asyncio.gather(
            *(client.get(path, headers={"host": f"host-{number}"}) for number in range(50))
        )
    urls = [each.json()["url"] if path == "/" else each.text for each in responses]
    assert urls == [f"http://host-{number}/files/résumé.pdf" for number in range(50)]


async def test_get_shows_null_where_there_is_no_url(file: FileObject) -> None:
    """A builder may have no place for a file."""
    async with AsyncTestClient(
        application(file, FilestoreConfig(url_builder=lambda _file, _connection: None))
    ) as client:
        assert (await client.get("/")).json()["url"] is None


async def test_builder_can_name_a_route(file: FileObject) -> None:
    """The connection knows the routes of the application."""

    @get("/download/{key:path}", name="download")
    async def download() -> None:
        """Stand for the route."""

    config = FilestoreConfig(url_builder=lambda each, connection: connection.url_for("download", key=each.path))
    async with AsyncTestClient(application(file, config, download)) as client:
        assert (await client.get("/")).json()["url"] == f"http://testserver.local/download/{file.path}"


async def test_mounted_application_does_not_hand_out_the_urls_of_the_outer_one(file: FileObject) -> None:
    """An application without a builder shows no URLs, also inside one that has a builder."""
    inner = application(file, FilestoreConfig())

    @asgi("/inner", is_mount=True, copy_scope=True)
    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    async with (
        AsyncTestClient(inner),
        AsyncTestClient(application(file, FilestoreConfig(url_builder=build), mounted)) as client,
    ):
        outer_url, inner_url = [(await client.get(path)).json()["url"] for path in ("/", "/inner/")]
    assert (outer_url is None, inner_url) == (False, None)


async def test_builder_is_gone_after_the_response(file: FileObject) -> None:
    """What the task of a connection makes when the connection is answered shows no URL."""
    app = application(file, FilestoreConfig(url_builder=build))
    sent: list[Message] = []

    async def receive() -> HTTPRequestEvent:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("host", 80),
        "headers": [(b"host", b"host")],
        "extensions": {},
    }
    async with app.lifespan():
        await app(scope, receive, send)
    body = b"".join(message["body"] for message in sent if message["type"] == "http.response.body")
    assert (b"http://host/files/" in body, public_file(file).url) == (True, None)
