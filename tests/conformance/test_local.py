"""Folders of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from litestar_filestore.testing.conformance import BackendConformance, BackendSpec

pytestmark = pytest.mark.conformance


class TestLocal(BackendConformance):
    """The backend that needs nothing else."""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> BackendSpec:
        """Store below a folder of the test's own."""
        return BackendSpec(
            "litestar_filestore.backends.local:LocalBackend",
            {"key": "conformance", "root": str(tmp_path / "root"), "fsync": False},
        )

    @pytest.fixture
    def leftovers(self, tmp_path: Path) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(tmp_path / "root")


class TestLocalByUrl(TestLocal):
    """The same through the backend for object storage, with everything synced to the disk."""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> BackendSpec:
        """Store below a folder of the test's own."""
        return BackendSpec(
            "litestar_filestore.backends.obstore:ObstoreBackend",
            {"key": "conformance", "fs": (tmp_path / "root").as_uri()},
        )


def unfinished(root: Path) -> list[str]:
    """List the files that drivers on folders keep until a put is complete."""
    return [str(path) for path in root.rglob(".filestore/**/*") if path.is_file()]
