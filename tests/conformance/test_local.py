"""Folders of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from litestar_filestore.testing import BackendConformance, BackendSpec
from tests.conformance.stand_ins import FSSPEC, OBSTORE, FewerForms, unfinished

pytestmark = pytest.mark.conformance


class TestLocal(BackendConformance):
    """The backend that needs nothing else."""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> BackendSpec:
        """Store below a folder of the test's own."""
        factory = "litestar_filestore.backends.local.local_backend:LocalBackend"
        return BackendSpec(factory, {"key": "conformance", "root": str(tmp_path / "root")})

    @pytest.fixture
    def leftovers(self, tmp_path: Path) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(tmp_path / "root")


@pytest.mark.slow
class TestLocalByObstore(FewerForms, TestLocal):
    """The same by a URL, and without waiting for the disk."""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> BackendSpec:
        """Name the folder by a URL."""
        return BackendSpec(OBSTORE, {"key": "conformance", "fs": (tmp_path / "root").as_uri(), "fsync": False})


@pytest.mark.slow
class TestLocalByFsspec(FewerForms, TestLocal):
    """The same by fsspec's name."""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> BackendSpec:
        """Name the folder by a URL."""
        return BackendSpec(FSSPEC, {"key": "conformance", "fs": (tmp_path / "root").as_uri(), "fsync": False})
