"""Keys: odd ones are kept unchanged, hostile ones never reach a driver."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from litestar_filestore.core.keys import MAX_KEY_BYTES, RESERVED_SEGMENT
from litestar_filestore.errors import InvalidKeyError
from litestar_filestore.testing.contents import several_at_once
from litestar_filestore.testing.faults import FaultyBackend
from litestar_filestore.testing.harness import Harness, in_loop, once_each
from litestar_filestore.testing.hostile import HOSTILE_KEYS, ODD_KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("KeyConformance",)


class KeyConformance(Harness):
    """Valid keys are kept, others refused."""

    @once_each
    @in_loop
    async def test_odd_keys_round_trip(self, storage: AsyncHalf) -> None:
        """An odd key names one object, for writing, reading and looking up, and is listed as it was given."""

        async def round_trip(name: str) -> None:
            key, data = storage.key(name), b"content of " + name.encode()
            assert (await storage.put(data, key=key)).key == key
            assert await storage.read(key) == data
            assert await storage.read(key, 3, 7) == b"tent"
            assert (await storage.head(key)).key == key

        names = self._kept_apart()
        await several_at_once(names, round_trip)
        assert await storage.names() == sorted(names)

    @once_each
    @in_loop
    async def test_odd_keys_are_copied_and_deleted(self, storage: AsyncHalf) -> None:
        """An odd key can be source and target of a copy, is overwritten, and deleted without its neighbour."""

        async def move_about(name: str) -> None:
            key, copied = storage.key(f"odd/{name}"), storage.key(name)
            plain = storage.key(f"plain/{name.partition('/')[0]}")
            await storage.put(b"abc", key=key)
            await storage.copy(key, plain)
            await storage.copy(plain, copied)
            assert await storage.read(copied) == b"abc"
            await storage.put(b"def", key=key, overwrite=True)
            assert await storage.read(key) == b"def"
            await storage.delete(key)
            await storage.delete(plain)

        names = self._kept_apart()
        await several_at_once(names, move_about)
        assert await storage.names() == sorted(names)

    @once_each
    @in_loop
    async def test_names_that_the_server_changes_are_refused(self, storage: AsyncHalf) -> None:
        """A key that this server would take for another one is invalid, for a put and as the target of a copy."""
        await storage.put(b"abc", key=storage.key("plain"))
        for name in filter(self.is_refused, ODD_KEYS):
            with pytest.raises(InvalidKeyError):
                await storage.put(b"abc", key=storage.key(name))
            with pytest.raises(InvalidKeyError):
                await storage.copy(storage.key("plain"), storage.key(name))
        assert await storage.names() == ["plain"]

    def _kept_apart(self) -> list[str]:
        """Return all odd names that the server takes, each in a folder of its own."""
        return [f"{number}/{name}" for number, name in enumerate(ODD_KEYS) if not self.is_refused(name)]

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
    @in_loop
    async def test_hostile_keys_are_refused(self, storage: AsyncHalf) -> None:
        """A hostile key is refused by every operation before the driver is asked for anything."""
        recorder = FaultyBackend(storage.backend)
        watched = type(storage)(recorder, "folder")
        for key in HOSTILE_KEYS:
            for operation in _operations_on(watched, key):
                with pytest.raises(InvalidKeyError):
                    await operation
            with pytest.raises(InvalidKeyError):
                watched.backend.local_path(key)
        assert recorder.faulty.calls == []

    @once_each
    @in_loop
    async def test_hostile_prefixes_are_refused(self, storage: AsyncHalf) -> None:
        """A hostile prefix is refused before the driver is asked to list anything."""
        recorder = FaultyBackend(storage.backend)
        watched = type(storage)(recorder, "folder")
        for prefix in ("..", "../x", "a/../b", "a//b", ".", "a\\b", "a\x00b", "a\nb"):
            with pytest.raises(InvalidKeyError):
                _ = [info async for info in watched.listing(prefix)]
        assert recorder.faulty.calls == []

    @in_loop
    async def test_unfinished_writes_are_not_listed(self, storage: AsyncHalf) -> None:
        """The folder of unfinished writes shows nothing, even while something is being written."""
        async with storage.stopped_put(storage.key("a"), before=b"x" * 3_000_000, after=b""):
            assert [info async for info in storage.listing(RESERVED_SEGMENT)] == []


def _operations_on(watched: AsyncHalf, key: str) -> list[Awaitable[Any]]:
    return [
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


def _name_of_bytes(storage: AsyncHalf, size: int) -> str:
    """Make a name with which prefix, folder and name are `size` bytes long, in segments of at most 200."""
    taken = len(storage.key("")) + len(f"{storage.backend.prefix}/" if storage.backend.prefix else "")
    length = size - taken
    return "".join("/" if position % 200 == 199 else "k" for position in range(length - 1)) + "k"  # noqa: PLR2004
