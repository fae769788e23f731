"""A backend whose objects move from one store to another is a backend like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from litestar_filestore.testing import BackendSpec
from tests.conformance.stand_ins import FewerForms, unfinished

pytestmark = pytest.mark.conformance


@pytest.mark.slow
class TestMoving(FewerForms):
    """Two folders."""

    folder_bytes = 64  # the prefix of the two, which the backend itself does not have

    @pytest.fixture
    def spec(self, tmp_path: Path) -> BackendSpec:
        """Store below folders of the test's own."""
        return BackendSpec("tests.conformance.moving:moving_backend", {"root": str(tmp_path)})

    @pytest.fixture
    def leftovers(self, tmp_path: Path) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(tmp_path)
