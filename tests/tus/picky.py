"""A store that is as strict about parts as S3 can be: R2 about their sizes, Ceph about those that are not listed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from litestar_filestore import LocalBackend, StorageBackend
from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.core.types import Block, ObjectInfo, Part, PartLimits, PutOptions
from litestar_filestore.errors import ObjectChangedError

__all__ = ("backend_in",)


class _PickyDriver(LocalDriver):
    """A local folder, for several processes. Beside it stands what was put under each number, which `finish` checks."""

    part_limits = PartLimits(min_bytes=1024 * 1024, max_parts=1000, equal_sizes=True)

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Put a part; its receipt is a digest, like an entity tag."""
        digest = hashlib.md5(usedforsecurity=False)
        part = await super().put_part_async(path, upload, number, offset, _hashed(blocks, digest), size=size)
        with self._numbers(upload).open("a") as numbers:
            numbers.write(f"{number} {digest.hexdigest()}\n")
        return Part(number, offset, part.size, digest.hexdigest())

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Make the object of all parts that there are, each as it was put last."""
        there = dict(line.split() for line in self._numbers(upload).read_text().splitlines())
        if there != {str(part.number): part.receipt for part in parts}:
            raise ObjectChangedError("InvalidPart")
        return await super().finish_parts_async(path, upload, parts, options)

    def _numbers(self, upload: str) -> Path:
        return self.root.parent / f"{upload}.numbers"


async def _hashed(blocks: AsyncIterator[Block], digest: Any) -> AsyncGenerator[Block]:
    async for block in blocks:
        digest.update(block)
        yield block


class _PickyBackend(StorageBackend):
    """Such a store."""

    def __init__(self, key: str, root: Path) -> None:
        """Use a folder below one that nobody else uses."""
        super().__init__(key, driver=_PickyDriver(root, fsync=False))


def backend_in(folder: Path, *, picky: bool) -> StorageBackend:
    """Return such a store below `folder`, or one that takes everything."""
    files = folder / "files"
    return _PickyBackend("documents", files) if picky else LocalBackend("documents", files, fsync=False)
