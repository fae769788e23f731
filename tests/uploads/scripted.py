"""Requests whose body arrives as a test wants it: message by message, with events in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Litestar

from tests.uploads.multipart_bodies import CONTENT_TYPE

__all__ = ("GONE", "Answer", "Script", "messages", "sending", "until")

GONE: dict[str, Any] = {"type": "http.disconnect"}
"""What a server hands over when the client has left."""


@dataclass(frozen=True)
class Answer:
    """What the application answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The content."""
        return json.loads(self.content)

    @property
    def keys(self) -> list[str]:
        """The fields that the answer complains of."""
        return [each["key"] for each in self.json["extra"]]


async def messages(*pieces: bytes | dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the messages of a body in these pieces; one that is a message already goes through, and is the last."""
    for number, each in enumerate(pieces, 1):
        if isinstance(each, dict):
            yield each
        else:
            more = number < len(pieces)
            yield {"type": "http.request", "body": each, "more_body": more}


class Script:
    """A client that sends what it is told, and counts what the application has taken."""

    def __init__(self, source: AsyncIterator[dict[str, Any]]) -> None:
        self._source = source
        self.taken = 0
        """Messages that the application has asked for and got."""
        self._sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        """Hand over the next message; a client that has sent everything waits for its answer."""
        message = await anext(self._source, None)
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError
        self.taken += 1
        return message

    async def send(self, message: Any) -> None:
        """Take a piece of the answer."""
        self._sent.append(message)

    @property
    def answer(self) -> Answer:
        """What came back."""
        start = next(each for each in self._sent if each["type"] == "http.response.start")
        body = b"".join(each.get("body", b"") for each in self._sent if each["type"] == "http.response.body")
        return Answer(start["status"], {k.decode().lower(): v.decode() for k, v in start["headers"]}, body)

    @property
    def bodies(self) -> list[int]:
        """The lengths of the messages that the body came in."""
        return [len(each.get("body", b"")) for each in self._sent if each["type"] == "http.response.body"]

    async def run(
        self,
        app: Litestar,
        path: str = "/form",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> Answer:
        """Have the application answer."""
        given = {"content-type": CONTENT_TYPE, **(headers or {})}
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": (client, 1),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {},
        }
        receive: Any = self.receive
        await app(scope, receive, self.send)
        return self.answer


@asynccontextmanager
async def sending(
    script: Script, app: Litestar, path: str = "/form", **options: Any
) -> AsyncIterator[asyncio.Task[Answer]]:
    """Run a script beside the test."""
    task = asyncio.create_task(script.run(app, path, **options))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(condition: Callable[[], bool]) -> None:
    """Return when something is so that nobody tells."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # the limits have no event for tests
            await asyncio.sleep(0)
