"""The memory backend."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.testing.conformance import BackendConformance

pytestmark = pytest.mark.conformance


class TestMemory(BackendConformance):
    """Objects in this process."""

    @pytest.fixture
    def make_backend(self) -> Callable[[str | None], StorageBackend]:
        """Make a store of its own."""
        return lambda prefix: MemoryBackend("conformance", prefix=prefix)
