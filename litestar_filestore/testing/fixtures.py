"""Fixtures for the tests of applications.

Import them in your ``conftest.py``::

    from litestar_filestore.testing import memory_storage

or load the module as a plugin of pytest: ``pytest_plugins = ["litestar_filestore.testing.fixtures"]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.core.registry import storages

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ("memory_storage",)


@pytest.fixture
def memory_storage() -> Generator[Callable[..., MemoryBackend], None, None]:
    """Return a function that registers an empty memory backend under a key for the duration of the test.

    It takes the key and the options of `StorageBackend`, and returns the backend. After the test the registry is
    restored, whatever the test or the application registered, replaced or removed::

        def test_upload(memory_storage, client):
            documents = memory_storage("documents", max_bytes=1_000_000)
            client.post("/documents", files={"file": b"..."})
            assert len(list(documents.list())) == 1
    """
    before = storages.all()

    def make(key: str, **options: Any) -> MemoryBackend:
        backend = MemoryBackend(key, **options)
        storages.register_backend(backend)
        return backend

    yield make
    storages.clear_backends()
    for backend in before:
        storages.register_backend(backend)
