"""A backend is really used: saved to, read from, deleted from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from litestar_filestore import FileObject, StorageBackend

__all__ = ("CONTENT", "use", "use_async")

CONTENT = b"what is stored"


def use(backend: StorageBackend) -> None:
    """Save a file, get it, delete it, both halves."""
    file = FileObject(backend.key, "report.txt", content=CONTENT).save()
    assert file.get_content() == CONTENT
    file.delete()
    assert not file.exists()
    backend.close()
    asyncio.run(use_async(backend))


async def use_async(backend: StorageBackend) -> None:
    """`use` through the async half."""

    async def content() -> AsyncIterator[bytes]:
        yield CONTENT[:4]
        yield CONTENT[4:]

    file = await FileObject(backend.key, "report.txt", content=content()).save_async()
    assert await file.get_content_async() == CONTENT
    await file.delete_async()
    assert not await file.exists_async()
    await backend.close_async()
