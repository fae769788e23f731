"""Copies inside a store."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from litestar_filestore.core.types import Capability
from litestar_filestore.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from litestar_filestore.testing.contents import MIB, content
from litestar_filestore.testing.harness import Harness, in_loop, once_each, require

if TYPE_CHECKING:
    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("CopyConformance",)


class CopyConformance(Harness):
    """Copies are made, or refused."""

    @pytest.mark.parametrize("data", [b"", b"abc", content()], ids=["empty", "small", "blocks"])
    @in_loop
    async def test_copy(self, storage: AsyncHalf, data: bytes) -> None:
        """A copy has the content of its source, which stays."""
        await storage.put(data, key=storage.key("a"))
        assert await storage.copy(storage.key("a"), storage.key("folder/b")) == storage.key("folder/b")
        assert await storage.read(storage.key("folder/b")) == data
        assert await storage.read(storage.key("a")) == data

    @once_each
    @in_loop
    async def test_copy_of_a_large_object(self, storage: AsyncHalf) -> None:
        """An object of several parts is copied whole."""
        await storage.put(content(8 * MIB + 1), key=storage.key("a"))
        await storage.copy(storage.key("a"), storage.key("b"))
        assert await storage.read(storage.key("b")) == content(8 * MIB + 1)

    @in_loop
    async def test_copy_keeps_content_type_and_metadata(self, storage: AsyncHalf) -> None:
        """A copy has the content type and metadata of its source."""
        require(storage, Capability.METADATA)
        await storage.put(b"abc", key=storage.key("a"), content_type="image/png", metadata={"author": "x"})
        await storage.copy(storage.key("a"), storage.key("b"))
        info = await storage.head(storage.key("b"))
        assert (info.key, info.content_type, dict(info.metadata)) == (storage.key("b"), "image/png", {"author": "x"})

    @in_loop
    async def test_copy_makes_a_key_where_none_is_given(self, storage: AsyncHalf) -> None:
        """Without a target each copy gets a new key."""
        await storage.put(b"abc", key=storage.key("a"))
        first, second = await storage.copy(storage.key("a")), await storage.copy(storage.key("a"))
        assert first != second
        assert await storage.read(first) == await storage.read(second) == b"abc"
        await storage.delete([first, second])

    @in_loop
    async def test_copy_refuses_to_overwrite(self, storage: AsyncHalf) -> None:
        """A taken target is an error, and its object stays."""
        await storage.put(b"source", key=storage.key("a"))
        await storage.put(b"target", key=storage.key("b"))
        with pytest.raises(ObjectExistsError):
            await storage.copy(storage.key("a"), storage.key("b"))
        assert await storage.read(storage.key("b")) == b"target"

    @in_loop
    async def test_copy_overwrites_when_asked(self, storage: AsyncHalf) -> None:
        """A requested overwrite replaces the target, even a longer one."""
        await storage.put(b"source", key=storage.key("a"))
        await storage.put(b"longer target", key=storage.key("b"))
        await storage.copy(storage.key("a"), storage.key("b"), overwrite=True)
        assert await storage.read(storage.key("b")) == b"source"

    @pytest.mark.parametrize("overwrite", [False, True])
    @in_loop
    async def test_copy_of_a_missing_object(self, storage: AsyncHalf, *, overwrite: bool) -> None:
        """A missing source is an error, and no target is made."""
        with pytest.raises(ObjectNotFoundError) as caught:
            await storage.copy(storage.key("missing"), storage.key("b"), overwrite=overwrite)
        assert (caught.value.operation, caught.value.key) == ("copy", storage.key("missing"))
        assert not await storage.exists(storage.key("b"))

    @in_loop
    async def test_copy_of_a_missing_object_keeps_the_target(self, storage: AsyncHalf) -> None:
        """A missing source leaves the object that it should have replaced."""
        await storage.put(b"target", key=storage.key("b"))
        with pytest.raises(ObjectNotFoundError):
            await storage.copy(storage.key("missing"), storage.key("b"), overwrite=True)
        assert await storage.read(storage.key("b")) == b"target"

    @in_loop
    async def test_copy_onto_itself_keeps_the_object(self, storage: AsyncHalf) -> None:
        """A copy onto its own source may be refused, but never empties it."""
        await storage.put(content(), key=storage.key("a"))
        with contextlib.suppress(StorageError):
            await storage.copy(storage.key("a"), storage.key("a"), overwrite=True)
        assert await storage.read(storage.key("a")) == content()

    @in_loop
    async def test_copy_is_independent(self, storage: AsyncHalf) -> None:
        """A copy outlives its source."""
        await storage.put(b"abc", key=storage.key("a"))
        await storage.copy(storage.key("a"), storage.key("b"))
        await storage.put(b"changed", key=storage.key("a"), overwrite=True)
        await storage.delete(storage.key("a"))
        assert await storage.read(storage.key("b")) == b"abc"
