"""An application with links that stands where the environment says."""

from __future__ import annotations

import os
from typing import Any

from litestar import Litestar, Request, Response, asgi, get
from litestar.types import Receive, Scope, Send

from litestar_filestore import FileObject, FileRedirect, FilestoreConfig, FilestorePlugin, MemoryBackend, storages
from tests.links.conftest import SECRET

__all__ = ("app", "build", "mounted")


@get("/file")
async def show() -> FileObject:
    """Store a file and show it."""
    return await FileObject("documents", "a.txt", content=b"abc").save_async()


@get("/redirect")
async def lead() -> FileRedirect:
    """Lead on to a file."""
    return FileRedirect(await FileObject("documents", "a.txt", content=b"abc").save_async())


@get("/upload", media_type="text/plain")
async def invite() -> str:
    """Return a link to upload."""
    return storages.url_for(FileObject("documents", "a.txt"), for_upload=True)


@asgi(["/admin", "/more/admin"], is_mount=True, copy_scope=True)
async def admin(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for a program of another framework that shows a link."""
    url = (await FileObject("documents", "a.txt", content=b"abc").save_async()).url()
    await Response(url, media_type="text/plain").to_asgi_response(None, Request(scope))(scope, receive, send)


def build(path: str = "/", **options: Any) -> Litestar:
    """Return the application, which puts `path` before its routes."""
    config = FilestoreConfig([MemoryBackend("documents")], secret=SECRET, **options)
    return Litestar([show, lead, invite, admin], path=path, plugins=[FilestorePlugin(config)])


def mounted(inner: Litestar, at: str, path: str = "/") -> Litestar:
    """Return an application that has mounted `inner`, whose lifespan it runs."""

    @asgi(at, is_mount=True, copy_scope=True)
    async def mount(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    return Litestar([mount], path=path, lifespan=[lambda _: inner.lifespan()])


_inner = build(os.environ.get("FILESTORE_PATH", "/"))
app = mounted(_inner, os.environ["FILESTORE_MOUNT"]) if "FILESTORE_MOUNT" in os.environ else _inner
