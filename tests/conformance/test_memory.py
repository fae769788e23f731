"""Objects in the memory of this process. It dies with them, so the tests that kill a process are left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.testing import BackendConformance
from tests.conformance.stand_ins import FewerForms

pytestmark = pytest.mark.conformance


class TestMemory(BackendConformance):
    """The backend for tests."""

    @pytest.fixture
    def make_backend(self) -> Callable[[str | None], StorageBackend]:
        """Make a store of its own."""
        return lambda prefix: MemoryBackend("conformance", prefix=prefix)


@pytest.mark.slow
class TestMemoryByObstore(FewerForms):
    """obstore's memory store."""

    @pytest.fixture
    def make_backend(self) -> Callable[[str | None], StorageBackend]:
        """Make a store of its own."""
        return lambda prefix: ObstoreBackend("conformance", "memory:///", prefix=prefix)


@pytest.mark.slow
class TestMemoryByFsspec(FewerForms):
    """fsspec's memory file system, one for the whole process."""

    @pytest.fixture
    def make_backend(self) -> Callable[[str | None], StorageBackend]:
        """Use the one that there is."""
        return lambda prefix: FSSpecBackend("conformance", "memory", prefix)
