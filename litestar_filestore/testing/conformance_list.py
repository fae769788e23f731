"""Lists and deletes: exactly the right objects, whatever their number and names."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from litestar_filestore.testing.contents import several_at_once
from litestar_filestore.testing.harness import Form, Harness, in_loop, once_each

if TYPE_CHECKING:
    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("DeleteConformance", "ListConformance")

ROUNDS = 20

NEIGHBOURS = ("a", "ab", "abc", "a*", "a?", "[ab]", "{a,b}", "**", "b", "A", "c/a", "c/ab", "c*/a", "aa/a")
"""Names that match each other wherever a key is taken for a prefix or a pattern."""


async def put_all(storage: AsyncHalf, names: list[str]) -> None:
    """Make an object of each name, with the name as content."""

    async def put(name: str) -> None:
        await storage.put(name.encode(), key=storage.key(name))

    await several_at_once(names, put)


class ListConformance(Harness):
    """Listings are complete."""

    @in_loop
    async def test_list_tells_key_and_size(self, storage: AsyncHalf) -> None:
        """A listing yields each object once, with the key that the caller used and its size."""
        await put_all(storage, ["a", "folder/bc", "folder/deeper/def"])
        found = sorted([(info.key, info.size) async for info in storage.listing(storage.folder)])
        assert found == [
            (storage.key("a"), 1),
            (storage.key("folder/bc"), 9),
            (storage.key("folder/deeper/def"), 17),
        ]

    @in_loop
    async def test_list_without_prefix(self, storage: AsyncHalf) -> None:
        """The empty prefix covers the whole backend, and nothing outside it."""
        await put_all(storage, ["a", "b/c"])
        keys = [info.key async for info in storage.listing()]
        assert {storage.key("a"), storage.key("b/c")} <= set(keys)
        if storage.backend.prefix:
            assert sorted(keys) == [storage.key("a"), storage.key("b/c")]

    @in_loop
    async def test_prefix_ends_at_a_segment(self, storage: AsyncHalf) -> None:
        """A prefix covers what lies below it as a folder, not what merely begins alike, nor itself."""
        await put_all(storage, ["ls/a", "ls/b/c", "lsx", "lsy/a", "ls.txt", "l/s", "xls/a"])
        for prefix in ("ls", "ls/"):
            assert await storage.names(prefix) == ["ls/a", "ls/b/c"]

    @in_loop
    async def test_object_of_the_prefix_name_is_not_below_it(self, storage: AsyncHalf) -> None:
        """A prefix that is the key of an object does not list that object."""
        await put_all(storage, ["a", "ab"])
        assert await storage.names("a") == []

    @in_loop
    async def test_prefix_without_objects(self, storage: AsyncHalf) -> None:
        """Nothing below a prefix is an empty listing, not an error."""
        assert await storage.names("missing") == []
        assert await storage.names() == []

    @in_loop
    async def test_folder_that_became_empty_is_not_listed(self, storage: AsyncHalf) -> None:
        """After the last object below it, a folder leaves no trace."""
        await put_all(storage, ["folder/deeper/a"])
        await storage.delete(storage.key("folder/deeper/a"))
        assert await storage.names() == []

    @in_loop
    async def test_prefix_is_no_pattern(self, storage: AsyncHalf) -> None:
        """Characters that match others in patterns or are decoded in URLs stand for themselves in prefixes."""
        folders = ["a", "b", "ab", "a*", "a?", "ax", "[ab]", "{a,b}", "**", "a b", "a+b", "a%20b"]
        await put_all(storage, [f"{folder}/x" for folder in folders if not self.is_refused(folder)])
        for folder in folders:
            assert await storage.names(folder) == ([] if self.is_refused(folder) else [f"{folder}/x"])

    @in_loop
    async def test_list_may_be_given_up(self, storage: AsyncHalf) -> None:
        """A listing that is closed after its first object frees what it holds."""
        await put_all(storage, ["a", "b", "c"])
        for _ in range(ROUNDS):
            async with aclosing(storage.listing(storage.folder)) as infos:
                await anext(infos)
        assert await storage.names() == ["a", "b", "c"]

    @in_loop
    async def test_unfinished_put_is_not_listed(self, storage: AsyncHalf) -> None:
        """While content arrives, neither the object nor a temporary one is listed, not even beside the folder."""
        # A backend without a prefix may hold the objects of all other tests.
        place = "" if storage.backend.prefix else storage.folder
        async with storage.stopped_put(storage.key("a"), before=b"x" * 3_000_000, after=b"y"):
            assert [info.key async for info in storage.listing(place)] == []
        assert [info.key async for info in storage.listing(place)] == [storage.key("a")]

    @pytest.mark.parametrize("form", [Form(is_async=True, has_prefix=False)], indirect=True, ids=str)
    @in_loop
    async def test_many_objects(self, storage: AsyncHalf) -> None:
        """A listing of several pages yields every object once, and a delete of several requests removes them all."""
        names = [f"{number % 7}/{number:05}" for number in range(self.listed_objects)]
        await put_all(storage, names)
        assert await storage.names() == sorted(names)
        assert sorted(info.key for info in storage.backend.list(storage.folder)) == sorted(map(storage.key, names))
        await storage.delete([storage.key(name) for name in names])
        assert await storage.names() == []


class DeleteConformance(Harness):
    """Deletes remove the named objects and no others."""

    @in_loop
    async def test_delete(self, storage: AsyncHalf) -> None:
        """A deleted object is gone for every operation."""
        await storage.put(b"abc", key=storage.key("a"))
        await storage.delete(storage.key("a"))
        assert not await storage.exists(storage.key("a"))
        assert await storage.names() == []

    @in_loop
    async def test_delete_of_a_missing_object(self, storage: AsyncHalf) -> None:
        """Deleting a missing object is no error, not even the second time or below a missing folder."""
        await storage.put(b"abc", key=storage.key("a"))
        for key in ("a", "a", "missing", "missing/deeper"):
            await storage.delete(storage.key(key))

    @in_loop
    async def test_delete_many(self, storage: AsyncHalf) -> None:
        """Several objects go at once; missing ones among them, and none at all, are fine."""
        await put_all(storage, ["a", "b", "c", "d/e"])
        await storage.delete([storage.key(name) for name in ("a", "missing", "b", "missing/x", "d/e")])
        await storage.delete([])
        assert await storage.names() == ["c"]

    @in_loop
    async def test_delete_spares_neighbours(self, storage: AsyncHalf) -> None:
        """A key is neither a prefix nor a pattern: exactly this object goes."""
        left = {name for name in NEIGHBOURS if not self.is_refused(name)}
        await put_all(storage, sorted(left))
        for victim in ("a?", "**", "a*", "[ab]", "{a,b}", "a", "c/a"):
            await storage.delete(storage.key(victim))
            left -= {victim}
            assert await storage.names() == sorted(left)

    @in_loop
    async def test_delete_of_a_folder_name(self, storage: AsyncHalf) -> None:
        """The name of a folder is not an object: deleting it removes nothing below."""
        await put_all(storage, ["folder/a", "folder/b"])
        await storage.delete(storage.key("folder"))
        await storage.delete([storage.key("folder")])
        assert await storage.names() == ["folder/a", "folder/b"]

    @once_each
    @in_loop
    async def test_put_survives_deletes_beside_it(self, storage: AsyncHalf) -> None:
        """If a driver removes a folder with its last object, a concurrent put into the folder still succeeds."""

        async def put_and_delete(name: str) -> None:
            for _ in range(ROUNDS):
                await storage.put(name.encode(), key=storage.key(f"folder/deeper/{name}"))
                assert await storage.read(storage.key(f"folder/deeper/{name}")) == name.encode()
                await storage.delete(storage.key(f"folder/deeper/{name}"))

        await asyncio.gather(*map(put_and_delete, "abcd"))
        assert await storage.names() == []
