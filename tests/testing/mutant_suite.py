"""The conformance tests for each broken driver, and for the right one. Run by `test_conformance.py`, not collected."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from litestar_filestore.backends.memory import MemoryDriver
from litestar_filestore.core.backend import StorageBackend
from tests.conformance.stand_ins import FewerForms
from tests.testing.mutants import MUTANTS


def conformance_of(driver: type[MemoryDriver]) -> type[FewerForms]:
    """Make the test class of a driver."""

    class TestDriver(FewerForms):
        listed_objects = 1_100

        @pytest.fixture
        def make_backend(self) -> Callable[[str | None], StorageBackend]:
            return lambda prefix: StorageBackend("mutant", driver=driver(), prefix=prefix)

    TestDriver.__name__ = TestDriver.__qualname__ = f"Test{driver.__name__}"
    return TestDriver


drivers: list[type[MemoryDriver]] = [MemoryDriver, *MUTANTS]
globals().update({f"Test{driver.__name__}": conformance_of(driver) for driver in drivers})
