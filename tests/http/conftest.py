"""The application of `tests.http.upload_app` on a store that can be watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from litestar_filestore import StorageBackend, UploadLimits
from tests.http.multipart_bodies import Piece, body_of
from tests.http.scripted import Answer, Script, messages
from tests.http.upload_app import BACKEND, create_app
from tests.http.watched import WatchedDriver, watched

__all__ = ("Receiver", "Serve")


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


Serve = Callable[..., AbstractAsyncContextManager[Receiver]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Run the application with these limits. In the end nothing is left of any request: no object, slot or memory."""

    @asynccontextmanager
    async def serve(app_options: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Receiver]:
        backend, driver = watched(BACKEND, str(tmp_path / "files"))
        limits = UploadLimits(**options)
        app = create_app(backend, limits, **(app_options or {}))
        async with app.lifespan():
            yield Receiver(app, backend, driver, limits)
            assert [info.key async for info in backend.list_async()] == []
            assert (limits.slots.taken, limits.budget.free_bytes) == (0, limits.buffer_bytes)
            assert (limits.part_budget.holders, limits.part_budget.free_bytes) == (0, limits.part_buffer_bytes)

    return serve
