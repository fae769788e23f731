"""Applications without a database: one with the handlers of a test, and `tests.uploads.upload_app`.

The store of the second one can be watched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_filestore import FilestoreConfig, FilestorePlugin, MemoryBackend, StorageBackend, UploadLimits
from tests.uploads.multipart_bodies import Piece, body_of
from tests.uploads.scripted import Answer, Script, messages
from tests.uploads.upload_app import BACKEND as WATCHED, create_app
from tests.uploads.watched import WatchedDriver, watched

__all__ = ("Receiver", "Receiving", "Serve")

Serve = Callable[..., TestClient[Litestar]]

BACKEND = "uploads-together"


@pytest.fixture
def backend() -> MemoryBackend:
    """A backend of this test."""
    return MemoryBackend(BACKEND)


@pytest.fixture
def serve(backend: MemoryBackend) -> Iterator[Serve]:
    """Start applications around the backend; they are stopped after the test."""
    with ExitStack() as stack:

        def start(*handlers: Any, plugins: Any = (), behind: Any = (), **options: Any) -> TestClient[Litestar]:
            plugin = FilestorePlugin(FilestoreConfig([backend]))
            app = Litestar(list(handlers), plugins=[*plugins, plugin, *behind], **options)
            return stack.enter_context(TestClient(app))

        yield start


@pytest.fixture
def stored(backend: MemoryBackend) -> Callable[[], list[bytes]]:
    """Return the contents of everything in the backend."""
    return lambda: [b"".join(backend.get(info.key)) for info in backend.list()]


@dataclass(frozen=True)
class Receiver:
    """A running application, and what it stores in."""

    app: Litestar
    backend: StorageBackend
    driver: WatchedDriver
    limits: UploadLimits

    async def send(self, *pieces: bytes | dict[str, Any], path: str = "/form", **options: Any) -> Answer:
        """Send a body in these pieces."""
        return await Script(messages(*pieces)).run(self.app, path, **options)

    async def send_form(self, *parts: Piece, path: str = "/form", **options: Any) -> Answer:
        """Send a form with these parts, as one piece."""
        return await self.send(body_of(*parts), path=path, **options)


Receiving = Callable[..., AbstractAsyncContextManager[Receiver]]


@pytest.fixture
def receiving(tmp_path: Path) -> Receiving:
    """Run the application with these limits. In the end nothing is left of any request: no object, slot or memory."""

    @asynccontextmanager
    async def receive(app_options: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Receiver]:
        backend, driver = watched(WATCHED, str(tmp_path / "files"))
        limits = UploadLimits(**options)
        app = create_app(backend, limits, **(app_options or {}))
        async with app.lifespan():
            yield Receiver(app, backend, driver, limits)
            assert [info.key async for info in backend.list_async()] == []
            assert (limits.slots.taken, limits.budget.free_bytes) == (0, limits.buffer_bytes)
            assert (limits.part_budget.holders, limits.part_budget.free_bytes) == (0, limits.part_buffer_bytes)

    return receive
