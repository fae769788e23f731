"""A bare ASGI application: as little Python as a file can pass through. Writes on the event loop, no form, no row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ("create_app",)

_BLOCK_BYTES = 1024 * 1024
_ALLOCATOR_BYTES = 8 * 1024 * 1024


def create_app(folder: Path, *, is_warm: bool = True) -> Callable[..., Any]:
    """Return the application.

    Args:
        folder: Where files are kept.
        is_warm: Whether glibc is shown one large block first. It then keeps the memory of the server's messages instead
            of mapping each of them anew.
    """
    numbers = itertools.count(1)
    if is_warm:
        bytearray(_ALLOCATOR_BYTES)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "POST":
            name = str(next(numbers))
            await _store(folder / name, receive)
            await _answer(send, 201, name.encode())
        else:
            await _send_file(folder / scope["path"].rpartition("/")[2], scope, send)

    return app


async def _store(path: Path, receive: Any) -> None:
    with path.open("xb", buffering=0) as file:
        while (message := await receive())["type"] == "http.request":
            file.write(message.get("body", b""))
            if not message.get("more_body"):
                return


async def _send_file(path: Path, scope: Any, send: Any) -> None:
    headers = dict(scope["headers"])
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, 2)
        tag = b'"%d"' % size
        if headers.get(b"if-none-match") == tag:
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", tag)]})
            await send({"type": "http.response.body"})
            return
        start, end, status = 0, size, 200
        if wanted := headers.get(b"range"):
            first, _, last = wanted.removeprefix(b"bytes=").partition(b"-")
            start, end, status = int(first), int(last) + 1, 206
        sent = [(b"content-length", b"%d" % (end - start)), (b"etag", tag)]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        file.seek(start)
        for position in range(start, end, _BLOCK_BYTES):
            block = file.read(min(_BLOCK_BYTES, end - position))
            await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body"})


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
