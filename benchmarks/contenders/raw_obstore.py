"""A store of obstore behind a bare ASGI application: the body as it comes, and obstore's own stream. No row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import LocalStore, S3Store

from benchmarks.places import place_from_environment, s3_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = ("create_app",)


def create_app(folder: Path, *, is_remote: bool = False) -> Callable[..., Any]:
    """Return the application, which stores in `folder`, or in the S3 server of the benchmarks."""
    place = place_from_environment() if is_remote else None
    store = LocalStore(folder) if place is None else S3Store(place.bucket, **s3_options(place))
    numbers = itertools.count(1)

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
