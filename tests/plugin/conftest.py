"""A backend on the disk, a file in it, and an application around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LocalBackend

Serve = Callable[..., TestClient[Litestar]]

PRIVATE = "known to the application only"


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    """A folder of this test."""
    return LocalBackend("documents", tmp_path / "documents")


@pytest.fixture
def file(backend: LocalBackend) -> FileObject:
    """A stored file with a name that is not ASCII, and with metadata that clients must not see."""
    return FileObject(backend, "résumé.pdf", content=b"%PDF-1.7", metadata={"note": PRIVATE}).save()


@pytest.fixture
def serve(backend: LocalBackend) -> Iterator[Serve]:
    """Start applications around the backend; they are stopped after the test."""
    with ExitStack() as stack:

        def start(
            handlers: list[Any], *, config: FilestoreConfig | None = None, plugins: Any = (), **options: Any
        ) -> TestClient[Litestar]:
            plugin = FilestorePlugin(config or FilestoreConfig([backend]))
            app = Litestar(handlers, plugins=[*plugins, plugin], **options)
            return stack.enter_context(TestClient(app))

        yield start
