"""Keys: the odd ones are kept as they are, the hostile ones never reach a driver."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from litestar_filestore.core.keys import MAX_KEY_BYTES, RESERVED_SEGMENT
from litestar_filestore.errors import InvalidKeyError
from litestar_filestore.testing.faults import FaultyBackend
from litestar_filestore.testing.harness import Harness, in_loop, once_each
from litestar_filestore.testing.hostile import HOSTILE_KEYS, ODD_KEYS, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("KeyConformance",)


class KeyConformance(Harness):
    """Which keys there are."""

    @once_each
    @pytest.mark.parametrize("name", ODD_KEYS, ids=shown)
    @in_loop
    async def test_odd_key_round_trips(self, storage: AsyncHalf, name: str) -> None:
        """An odd key names one object, for writing, reading and looking up, and is listed as it was given."""
        key = storage.key(name)
        if self.is_refused(name):
            with pytest.raises(InvalidKeyError):
                await storage.put(b"abc", key=key)
            assert await storage.names() == []
            return
        info = await storage.put(b"content of " + name.encode(), key=key)
        assert info.key == key
        assert await storage.read(key) == b"content of " + name.encode()
        assert await storage.read(key, 3, 7) == b"tent"
        assert (await storage.head(key)).key == key
        assert await storage.names() == [name]

    @once_each
    @pytest.mark.parametrize("name", ODD_KEYS, ids=shown)
    @in_loop
    async def test_odd_key_is_copied_and_deleted(self, storage: AsyncHalf, name: str) -> None:
        """An odd key can be source and target of a copy, is overwritten, and deleted without its neighbour."""
        if self.is_refused(name):
            await storage.put(b"abc", key=storage.key("plain"))
            with pytest.raises(InvalidKeyError):
                await storage.copy(storage.key("plain"), storage.key(name))
            return
        await storage.put(b"abc", key=storage.key(name))
        await storage.copy(storage.key(name), storage.key("plain"))
        await storage.copy(storage.key("plain"), storage.key(f"copy/{name}"))
        assert await storage.read(storage.key(f"copy/{name}")) == b"abc"
        await storage.put(b"def", key=storage.key(name), overwrite=True)
        assert await storage.read(storage.key(name)) == b"def"
        await storage.delete(storage.key(name))
        assert await storage.names() == sorted(["plain", f"copy/{name}"])

    @in_loop
    async def test_odd_keys_are_different_objects(self, storage: AsyncHalf) -> None:
        """No two odd keys name the same object, composed and decomposed letters among them."""
        names = {name for name in (*ODD_KEYS, "A", "\u00dcni", "a/b", "a%2fb", "a%20b") if not self.is_refused(name)}
        for name in names:
            await storage.put(name.encode(), key=storage.key(f"{name}/x"))
        assert await storage.names() == sorted(f"{name}/x" for name in names)
        assert [name for name in names if await storage.read(storage.key(f"{name}/x")) != name.encode()] == []
        await storage.delete([storage.key(f"{name}/x") for name in names])
        assert await storage.names() == []

    @in_loop
    async def test_longest_key_round_trips(self, storage: AsyncHalf) -> None:
        """A key of 1,024 bytes, prefix included, is an object like any other."""
        name = _name_of_bytes(storage, MAX_KEY_BYTES - self.folder_bytes)
        await storage.put(b"abc", key=storage.key(name))
        assert await storage.read(storage.key(name)) == b"abc"
        assert await storage.names() == [name]
        await storage.copy(storage.key(name), storage.key("b"))
        await storage.delete(storage.key(name))
        assert await storage.names() == ["b"]

    @in_loop
    async def test_longer_key_is_refused(self, storage: AsyncHalf) -> None:
        """One byte more, with the prefix, is an invalid key."""
        with pytest.raises(InvalidKeyError):
            await storage.put(b"abc", key=storage.key(_name_of_bytes(storage, MAX_KEY_BYTES + 1)))

    @once_each
    @pytest.mark.parametrize("key", HOSTILE_KEYS, ids=shown)
    @in_loop
    async def test_hostile_key_is_refused(self, storage: AsyncHalf, key: str) -> None:
        """A hostile key is refused by every operation before the driver is asked for anything."""
        recorder = FaultyBackend(storage.backend)
        watched = type(storage)(recorder, "folder")
        operations: list[Awaitable[Any]] = [
            watched.put(b"abc", key=key),
            watched.put(b"abc", key=key, overwrite=True),
            watched.read(key),
            watched.read(key, 1, 2),
            watched.head(key),
            watched.exists(key),
            watched.delete(key),
            watched.delete(["a", key]),
            watched.copy(key, "a"),
            watched.copy("a", key, overwrite=True),
            watched.sign(key),
            watched.sign(["a", key][::-1], for_upload=True),
        ]
        for operation in operations:
            with pytest.raises(InvalidKeyError):
                await operation
        with pytest.raises(InvalidKeyError):
            watched.backend.local_path(key)
        assert recorder.faulty.calls == []

    @once_each
    @pytest.mark.parametrize("hostile", ["..", "../x", "a/../b", "a//b", ".", "a\\b", "a\x00b", "a\nb"], ids=shown)
    @in_loop
    async def test_hostile_prefix_is_refused(self, storage: AsyncHalf, hostile: str) -> None:
        """A hostile prefix is refused before the driver is asked to list anything."""
        recorder = FaultyBackend(storage.backend)
        watched = type(storage)(recorder, "folder")
        with pytest.raises(InvalidKeyError):
            _ = [info async for info in watched.listing(hostile)]
        assert recorder.faulty.calls == []

    @in_loop
    async def test_unfinished_writes_are_not_listed(self, storage: AsyncHalf) -> None:
        """The folder of unfinished writes shows nothing, also while something is written."""
        async with storage.stopped_put(storage.key("a"), before=b"x" * 3_000_000, after=b""):
            assert [info async for info in storage.listing(RESERVED_SEGMENT)] == []


def _name_of_bytes(storage: AsyncHalf, size: int) -> str:
    """Make a name with which prefix, folder and name are `size` bytes long, in segments of at most 200."""
    taken = len(storage.key("")) + len(f"{storage.backend.prefix}/" if storage.backend.prefix else "")
    length = size - taken
    return "".join("/" if position % 200 == 199 else "k" for position in range(length - 1)) + "k"  # noqa: PLR2004
