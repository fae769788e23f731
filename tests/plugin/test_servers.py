"""What servers do differently: queues that fill up, no start, another event loop. The servers' own parts are played."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import httpx
import pytest
from litestar import Litestar, post
from litestar.params import MultipartBody
from litestar.testing import TestClient

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, MaxSize, MemoryBackend, storages
from litestar_filestore.errors import ConfigurationError

BODY = b'--b\r\nContent-Disposition: form-data; name="data"; filename="a.txt"\r\n\r\n' + bytes(1_000)


def make_app() -> Litestar:
    """Build an application that refuses files of more than ten bytes."""

    @post("/")
    async def upload(data: MultipartBody[FileObject]) -> str:
        await storages.keep(data)
        return data.filename

    storage = FilestoreConfig(backends=[MemoryBackend("documents")], rules=[MaxSize(10)])
    return Litestar([upload], plugins=[FilestorePlugin(storage)], logging_config=None)


def scope() -> dict[str, Any]:
    """Return the scope of an upload."""
    headers = [(b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", b"100000")]
    where = {"path": "/", "raw_path": b"/", "root_path": "", "query_string": b"", "scheme": "http"}
    return {"type": "http", "method": "POST", "headers": headers, "client": None, "server": ("a", 80), **where}


async def test_answer_ends_although_the_queue_of_the_server_is_full() -> None:
    """A refusal reaches a client whose server hands over the end of the answer only when somebody reads (Hypercorn)."""
    queue: asyncio.Queue[Any] = asyncio.Queue(1)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            while len(sent) < 3:  # what the client sends meanwhile fills the queue again
                await queue.put({"type": "http.request", "body": bytes(100), "more_body": True})
                sent.append("taken")

    app: Any = make_app()
    await queue.put({"type": "http.request", "body": BODY, "more_body": True})
    waiting = asyncio.ensure_future(_fill(queue))
    try:
        async with asyncio.timeout(60):
            async with app.lifespan():
                await app({**scope(), "app": app, "state": {}}, queue.get, send)
    finally:
        waiting.cancel()
    assert sent[0]["status"] == 413


async def _fill(queue: asyncio.Queue[Any]) -> None:
    while True:
        await queue.put({"type": "http.request", "body": bytes(100), "more_body": True})


async def test_application_that_was_not_started(caplog: pytest.LogCaptureFixture) -> None:
    """A server without lifespan events (Daphne) gets 500, and the log says why."""
    app: Any = make_app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        answer = await client.post("/", files={"data": ("a.txt", b"hello")})
    assert answer.status_code == 500
    assert "The application was not started" in caplog.text


async def test_backends_that_were_registered_by_hand() -> None:
    """Without a start, an application works if somebody has registered its backends."""

    @post("/")
    async def upload() -> int:
        return (await FileObject("documents", "a.txt", content=b"hello").save_async()).size or 0

    backend = MemoryBackend("documents")
    storages.register_backend(backend)
    app: Any = Litestar([upload], plugins=[FilestorePlugin(FilestoreConfig(backends=[backend]))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        assert (await client.post("/")).json() == 5
    storages.unregister_backend("documents")


def test_another_event_loop() -> None:
    """On trio the start says what to choose instead."""

    async def start() -> None:
        async with make_app().lifespan():
            pass

    with pytest.raises((ConfigurationError, ExceptionGroup)) as failure:
        anyio.run(start, backend="trio")
    assert any("choose asyncio or uvloop" in str(error) for error in _leaves(failure.value))


def _leaves(error: BaseException) -> Sequence[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def test_test_client() -> None:
    """In a test with a started application nothing changes."""
    with TestClient(make_app()) as client:
        assert client.post("/", files={"data": ("a.txt", b"hello")}).status_code == 201
