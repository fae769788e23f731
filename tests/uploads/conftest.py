"""An application with one backend and no database, whose handlers keep what they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_filestore import FilestoreConfig, FilestorePlugin, MemoryBackend

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
