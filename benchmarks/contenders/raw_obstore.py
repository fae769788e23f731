"""obstore's local store behind a bare ASGI application: the body as it comes, and obstore's own stream. No row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = ("create_app",)


def create_app(folder: Path) -> Callable[..., Any]:
    """Return the application."""
    numbers, store = itertools.count(1), LocalStore(folder)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "POST":
            name = str(next(numbers))
            await obstore.put_async(store, name, _body(receive))
            headers = [(b"content-length", b"%d" % len(name))]
            await send({"type": "http.response.start", "status": 201, "headers": headers})
            await send({"type": "http.response.body", "body": name.encode()})
            return
        found = await obstore.get_async(store, scope["path"].rpartition("/")[2])
        headers = [(b"content-length", b"%d" % found.meta["size"])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for block in found.stream():
            await send({"type": "http.response.body", "body": bytes(block), "more_body": True})
        await send({"type": "http.response.body"})

    return app


async def _body(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)
