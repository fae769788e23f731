"""The plugin of pytest: one fixture, `filestore`. pytest loads it by itself where this package is installed.

Every test run of every project in that environment imports this module, so it imports nothing before a test asks for
the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from litestar_filestore.testing.kit import Filestore

__all__ = ("filestore",)


@pytest.fixture
def filestore() -> Generator[Filestore]:
    """Files in memory, checks of what is stored, planned faults, and a clock for links; undone after the test."""
    from litestar_filestore.testing.kit import Filestore  # see above

    with Filestore() as kit:
        yield kit
