"""Heads: what a store says about an object, and what does not count as one."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from litestar_filestore.core.backend import portable_metadata
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import ObjectNotFoundError, StorageError, UnsupportedOperationError
from litestar_filestore.testing.contents import content
from litestar_filestore.testing.harness import Harness, in_loop, require

if TYPE_CHECKING:
    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("HeadConformance",)

CLOCK_SECONDS = 60.0
"""Clocks may differ, but one read in another time zone is off by half an hour or more."""

METADATA: dict[str, str] = {
    "author": "Zoë Müller",
    "title": "日本語 🎉",
    "note": "100% & more; a=b, \"quoted\" 'text' <tag>",
    "space": " ends with spaces ",
    "nothing": "",
}


class HeadConformance(Harness):
    """Head reports the facts."""

    @in_loop
    async def test_head_tells_size_and_key(self, storage: AsyncHalf) -> None:
        """Head reports the size, under the key that the caller used."""
        await storage.put(content(), key=storage.key("a"))
        info = await storage.head(storage.key("a"))
        assert (info.key, info.size) == (storage.key("a"), len(content()))

    @in_loop
    async def test_head_tells_when_the_object_was_written(self, storage: AsyncHalf) -> None:
        """The time of the last write is a POSIX time in UTC."""
        await storage.put(b"abc", key=storage.key("a"))
        last_modified = (await storage.head(storage.key("a"))).last_modified
        assert last_modified is not None
        assert abs(last_modified - time.time()) < CLOCK_SECONDS

    @in_loop
    async def test_etag_changes_with_the_content(self, storage: AsyncHalf) -> None:
        """An entity tag, if the store has one, has its quotes, stays with the object and changes with it."""
        await storage.put(b"first", key=storage.key("a"))
        first, again = await storage.head(storage.key("a")), await storage.head(storage.key("a"))
        if first.etag is None:
            pytest.skip("the store has no entity tags")
        await storage.put(b"second", key=storage.key("a"), overwrite=True)
        second = await storage.head(storage.key("a"))
        assert re.fullmatch(r'(W/)?"[^"]+"', first.etag)
        assert first.etag == again.etag != second.etag

    @in_loop
    async def test_head_of_a_missing_object(self, storage: AsyncHalf) -> None:
        """Head of a missing object is an error that says where and which."""
        with pytest.raises(ObjectNotFoundError) as caught:
            await storage.head(storage.key("missing"))
        error = caught.value
        assert (error.operation, error.backend, error.key) == ("head", storage.backend.key, storage.key("missing"))

    @in_loop
    async def test_exists(self, storage: AsyncHalf) -> None:
        """Exists works for missing and empty objects."""
        await storage.put(b"", key=storage.key("a"))
        assert await storage.exists(storage.key("a"))
        assert not await storage.exists(storage.key("missing"))

    @in_loop
    async def test_folder_is_no_object(self, storage: AsyncHalf) -> None:
        """The first segment of a key is not an object by itself, for any operation."""
        await storage.put(b"abc", key=storage.key("folder/a"))
        assert not await storage.exists(storage.key("folder"))
        with pytest.raises(ObjectNotFoundError):
            await storage.read(storage.key("folder"))
        with pytest.raises(ObjectNotFoundError):
            await storage.copy(storage.key("folder"), storage.key("copy"))

    @in_loop
    async def test_object_is_no_folder(self, storage: AsyncHalf) -> None:
        """Nothing is found below an object, even if the store would have to look inside a file."""
        await storage.put(b"abc", key=storage.key("a"))
        assert not await storage.exists(storage.key("a/b"))
        with pytest.raises(ObjectNotFoundError):
            await storage.read(storage.key("a/b"))
        await storage.delete(storage.key("a/b"))
        assert await storage.names("a/b") == []

    @in_loop
    async def test_object_and_folder_of_one_name(self, storage: AsyncHalf) -> None:
        """A put below an object works or is refused with an error; the first object stays either way."""
        await storage.put(b"abc", key=storage.key("a"))
        try:
            await storage.put(b"def", key=storage.key("a/b"))
        except StorageError:
            assert not await storage.exists(storage.key("a/b"))
        else:
            assert await storage.read(storage.key("a/b")) == b"def"
        assert await storage.read(storage.key("a")) == b"abc"

    @in_loop
    async def test_content_type_and_metadata_are_kept(self, storage: AsyncHalf) -> None:
        """Content type and metadata come back as they were put, in the form that every store can keep."""
        require(storage, Capability.METADATA)
        content_type = 'text/plain; charset="utf-8"'
        await storage.put(b"abc", key=storage.key("a"), content_type=content_type, metadata=METADATA)
        info = await storage.head(storage.key("a"))
        assert info.content_type == content_type
        assert dict(info.metadata) == portable_metadata(METADATA)
        assert await storage.read(storage.key("a")) == b"abc"

    @pytest.mark.parametrize("name", ["long-name", "long_name", "2fast", "x" * 64])
    @in_loop
    async def test_odd_metadata_name(self, storage: AsyncHalf, name: str) -> None:
        """A name that not every store can keep is kept or left out, with ``_`` and ``-`` as one; the put succeeds."""
        require(storage, Capability.METADATA)
        await storage.put(b"abc", key=storage.key("a"), metadata={name: "value", "author": "x"})
        metadata = (await storage.head(storage.key("a"))).metadata
        kept = {each.replace("_", "-"): value for each, value in metadata.items()}
        assert kept in ({"author": "x"}, {"author": "x", name.replace("_", "-"): "value"})

    @in_loop
    async def test_metadata_of_a_large_object_is_kept(self, storage: AsyncHalf) -> None:
        """Content that is sent in parts keeps content type and metadata as well."""
        require(storage, Capability.METADATA)
        source = iter([content(6 * 1024 * 1024)])
        await storage.put(source, key=storage.key("a"), content_type="video/mp4", metadata={"author": "x"})
        info = await storage.head(storage.key("a"))
        assert (info.content_type, dict(info.metadata)) == ("video/mp4", {"author": "x"})

    @in_loop
    async def test_content_type_and_metadata_are_not_invented(self, storage: AsyncHalf) -> None:
        """A driver that does not claim to keep them accepts them, and later reports none."""
        if Capability.METADATA in storage.backend.capabilities:
            pytest.skip("the driver claims METADATA")
        await storage.put(b"abc", key=storage.key("a"), content_type="text/plain", metadata=METADATA)
        info = await storage.head(storage.key("a"))
        assert (info.content_type, dict(info.metadata)) == (None, {})

    @in_loop
    async def test_local_path(self, storage: AsyncHalf) -> None:
        """A local path names the file that holds the object."""
        require(storage, Capability.LOCAL_PATH)
        await storage.put(content(), key=storage.key("a"))
        assert storage.backend.local_path(storage.key("a")).read_bytes() == content()

    @in_loop
    async def test_local_path_is_unsupported_elsewhere(self, storage: AsyncHalf) -> None:
        """A store without local files says so."""
        if Capability.LOCAL_PATH in storage.backend.capabilities:
            pytest.skip("the driver claims LOCAL_PATH")
        with pytest.raises(UnsupportedOperationError):
            storage.backend.local_path(storage.key("a"))
