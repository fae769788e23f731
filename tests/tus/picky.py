"""A store that wants parts of one mebibyte or more, all of one size, as R2 does; on disk, for several processes."""

from __future__ import annotations

from typing import Any

from litestar_filestore import LocalBackend
from litestar_filestore.core.types import PartLimits

__all__ = ("PickyBackend",)


class PickyBackend(LocalBackend):
    """A local folder with the demands of such a store, which `finish_parts_async` checks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Use a folder."""
        super().__init__(*arguments, **options)
        self.storage_driver.part_limits = PartLimits(min_bytes=1024 * 1024, max_parts=1000, equal_sizes=True)
