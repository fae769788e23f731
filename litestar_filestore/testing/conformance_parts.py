"""Objects that are put in parts, by requests and processes that know nothing of each other."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from anyio import to_thread

from litestar_filestore.core.types import BLOCK_BYTES, Capability, Part
from litestar_filestore.errors import (
    FileTooLargeError,
    InvalidArgumentError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from litestar_filestore.testing.conformance_atomic import assert_clean
from litestar_filestore.testing.conformance_crash import kill_in_mid_put
from litestar_filestore.testing.contents import content
from litestar_filestore.testing.halves import Gate
from litestar_filestore.testing.harness import Harness, async_forms, async_once, in_loop, require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from litestar_filestore.core.types import AsyncSource, ObjectInfo
    from litestar_filestore.testing.halves import AsyncHalf
    from litestar_filestore.testing.spec import BackendSpec

    Leftovers = Callable[[], Sequence[str]] | None

__all__ = ("PartsConformance",)

OLD = b"old content"
SMALL = 100_000


class SourceBrokenError(Exception):
    """Raised by a source in the middle of a part."""


class Unfinished:
    """An object of the folder that is being put in parts of one size."""

    def __init__(self, storage: AsyncHalf, upload: str, name: str = "a") -> None:
        """Use `upload`, which was begun under the key of `name`."""
        self.backend = storage.backend
        self.key = storage.key(name)
        self.upload = upload
        self.size = part_bytes(storage)
        self.content = content(3 * self.size + 7)

    @classmethod
    async def begin(cls, storage: AsyncHalf, name: str = "a", *, overwrite: bool = False) -> Unfinished:
        """Begin."""
        return cls(storage, await storage.backend.begin_parts_async(storage.key(name), overwrite=overwrite), name)

    def piece(self, place: int) -> bytes:
        """Return the content of the part in that place, from 0; part 3 is the short rest."""
        return self.content[place * self.size : (place + 1) * self.size]

    async def put(self, place: int, number: int | None = None, source: AsyncSource | None = None) -> Part:
        """Put the part in that place, under the number that follows from it unless another is given."""
        data = self.piece(place) if source is None else source
        size = len(data) if isinstance(data, bytes) else None
        number = place + 1 if number is None else number
        return await self.backend.put_part_async(self.key, self.upload, number, place * self.size, data, size=size)

    async def finish(self, *parts: Part, overwrite: bool = False) -> ObjectInfo:
        """Make the object."""
        return await self.backend.finish_parts_async(self.key, self.upload, parts, overwrite=overwrite)

    async def abandon(self) -> None:
        """Give the object up."""
        await self.backend.abandon_parts_async(self.key, self.upload)


def part_bytes(storage: AsyncHalf) -> int:
    """Return a size that every part may have."""
    return max(storage.backend.part_limits.min_bytes, SMALL)


class PartsConformance(Harness):
    """Every backend takes objects in parts; with `Capability.PARTS`, the store joins them."""

    @async_forms
    @in_loop
    async def test_parts_make_an_object(self, storage: AsyncHalf, leftovers: Leftovers) -> None:
        """Parts are joined in the order of their numbers, which have gaps, in whatever order they were put."""
        whole = await Unfinished.begin(storage)
        last = await whole.put(3, 21)
        middle = await asyncio.gather(whole.put(1, 4), whole.put(2, 9))
        first = await whole.put(0, 2)
        info = await whole.finish(first, last, *middle)
        assert (info.key, info.size) == (storage.key("a"), len(whole.content))
        assert await storage.read(storage.key("a")) == whole.content
        assert await storage.names() == ["a"]
        await assert_clean(storage, leftovers)

    @async_once
    @in_loop
    async def test_one_part_with_type_and_metadata(self, storage: AsyncHalf) -> None:
        """One short part is an object, with the same attributes as one that is put at once."""
        backend, key, name = storage.backend, storage.key("a b/c.txt"), "a b/c.txt"
        attributes: dict[str, Any] = {"content_type": "text/plain", "metadata": {"author": "Ann"}}
        upload = await backend.begin_parts_async(key, **attributes)
        part = await backend.put_part_async(key, upload, 1, 0, iter([b"he", b"llo"]))
        info = await backend.finish_parts_async(key, upload, [part], **attributes)
        assert (part.number, part.offset, part.size) == (1, 0, 5)
        found = await storage.head(key)
        assert (found.size, info.etag) in {(5, None), (5, found.etag)}
        assert await storage.read(key) == b"hello"
        assert await storage.names() == [name]
        require(storage, Capability.METADATA)
        assert (found.content_type, dict(found.metadata)) == ("text/plain", {"author": "Ann"})

    @async_once
    @in_loop
    async def test_no_part_makes_an_empty_object(self, storage: AsyncHalf, leftovers: Leftovers) -> None:
        """An object without parts is empty, not missing; parts that are not listed are dropped."""
        whole = await Unfinished.begin(storage)
        await whole.put(0)
        assert (await whole.finish()).size == 0
        assert await storage.read(whole.key) == b""
        assert await storage.names() == ["a"]
        await assert_clean(storage, leftovers)

    @async_once
    @in_loop
    async def test_parts_are_not_visible_before_the_end(self, storage: AsyncHalf) -> None:
        """Whoever looks for the key finds the old object until the new one is complete."""
        await storage.put(OLD, key=storage.key("a"))
        whole = await Unfinished.begin(storage, overwrite=True)
        part = await whole.put(0)
        assert await storage.read(whole.key) == OLD
        assert {name for name in await storage.names() if not name.startswith("a.parts/")} == {"a"}
        await whole.finish(part, overwrite=True)
        assert await storage.read(whole.key) == whole.piece(0)

    @async_once
    @in_loop
    async def test_part_put_again(self, storage: AsyncHalf) -> None:
        """Under the same number, the later content counts."""
        whole = await Unfinished.begin(storage)
        await whole.put(0, source=bytes(whole.size))
        first = await whole.put(0)
        await whole.finish(first, await whole.put(1, source=b"end"))
        assert await storage.read(whole.key) == whole.piece(0) + b"end"

    @async_once
    @in_loop
    async def test_parts_that_are_not_listed_are_dropped(self, storage: AsyncHalf) -> None:
        """Neither a longer part of the same place nor one behind the end gets into the object."""
        if not self.server_drops_parts:
            pytest.skip("the server finishes no object while there are such parts")
        whole = await Unfinished.begin(storage)
        await whole.put(0, 1, bytes(whole.size + SMALL))
        await whole.put(2, 3)
        part = await whole.put(0, 2)
        assert (await whole.finish(part)).size == whole.size
        assert await storage.read(whole.key) == whole.piece(0)
        assert await storage.names() == ["a"]

    @async_once
    @in_loop
    async def test_parts_finished_twice(self, storage: AsyncHalf) -> None:
        """Somebody who continues a killed process learns that the object is there, and changes nothing."""
        self.require_upload_ids()
        whole = await Unfinished.begin(storage)
        part = await whole.put(0)
        await whole.finish(part)
        with pytest.raises((ObjectNotFoundError, ObjectExistsError)):
            await whole.finish(part)
        with pytest.raises(ObjectNotFoundError):
            await whole.put(1)
        await whole.abandon()
        assert await storage.read(whole.key) == whole.piece(0)
        assert await storage.names() == ["a"]

    @async_once
    @in_loop
    async def test_parts_abandoned_twice(self, storage: AsyncHalf, leftovers: Leftovers) -> None:
        """Nothing is left of an abandoned object, by either half; no part can be added, and it cannot be finished."""
        self.require_upload_ids()
        whole = await Unfinished.begin(storage)
        part = await whole.put(0)
        await whole.abandon()
        await to_thread.run_sync(storage.backend.abandon_parts, whole.key, whole.upload)
        with pytest.raises(ObjectNotFoundError) as caught:
            await whole.put(1)
        assert (caught.value.operation, caught.value.key) == ("put_part", whole.key)
        with pytest.raises(ObjectNotFoundError):
            await whole.finish(part)
        assert not await storage.exists(whole.key)
        assert await storage.names() == []
        await assert_clean(storage, leftovers)

    @async_once
    @in_loop
    async def test_two_unfinished_objects_of_one_key(self, storage: AsyncHalf) -> None:
        """Unfinished objects of one key know nothing of each other."""
        one, two = await Unfinished.begin(storage), await Unfinished.begin(storage)
        await one.put(0, source=bytes(one.size))
        part = await two.put(0)
        await one.abandon()
        await two.finish(part)
        assert await storage.read(two.key) == two.piece(0)

    @async_once
    @in_loop
    async def test_parts_of_a_taken_key(self, storage: AsyncHalf) -> None:
        """A key that was taken meanwhile keeps its object, and the unfinished one can be abandoned."""
        whole = await Unfinished.begin(storage)
        part = await whole.put(0)
        await storage.put(OLD, key=whole.key, overwrite=True)  # Azure takes a key with parts for one that is taken
        with pytest.raises(ObjectExistsError):
            await whole.finish(part)
        await whole.abandon()
        assert await storage.read(whole.key) == OLD
        assert await storage.names() == ["a"]

    @async_once
    @pytest.mark.parametrize("cancelled", [False, True], ids=["broken", "cancelled"])
    @in_loop
    async def test_part_that_fails(self, storage: AsyncHalf, leftovers: Leftovers, *, cancelled: bool) -> None:
        """A part whose source breaks or whose task is cancelled leaves nothing, and can be put again."""
        whole = await Unfinished.begin(storage)
        first = await whole.put(0)
        if cancelled:
            gate = Gate()
            part = asyncio.create_task(whole.put(1, source=gate.blocks_async(before=bytes(BLOCK_BYTES), after=b"")))
            await gate.reached.wait()
            part.cancel()
            assert isinstance((await asyncio.gather(part, return_exceptions=True))[0], asyncio.CancelledError)
        else:
            with pytest.raises(SourceBrokenError):
                await whole.put(1, source=_broken())
        await whole.finish(first, await whole.put(1))
        assert await storage.read(whole.key) == whole.piece(0) + whole.piece(1)
        assert await storage.names() == ["a"]
        await assert_clean(storage, leftovers)

    @async_once
    @in_loop
    async def test_parts_that_make_no_object(self, storage: AsyncHalf) -> None:
        """Gaps, overlaps, sizes and numbers that the store does not allow are refused, and can be put right."""
        whole, limits = await Unfinished.begin(storage), storage.backend.part_limits
        first, third = await whole.put(0), await whole.put(2)
        for parts in ([first, third], [third], [first, first]):
            with pytest.raises(InvalidArgumentError):
                await whole.finish(*parts)
        with pytest.raises(InvalidArgumentError):
            await whole.put(1, 0)
        if limits.max_parts is not None:
            with pytest.raises(InvalidArgumentError):
                await whole.put(1, limits.max_parts + 1)
        if limits.min_bytes > 1:
            short = Part(2, whole.size, limits.min_bytes - 1, third.receipt)
            behind = Part(3, short.offset + short.size, third.size, third.receipt)
            with pytest.raises(InvalidArgumentError, match=str(limits.min_bytes)):
                await whole.finish(first, short, behind)
        with pytest.raises(InvalidArgumentError):
            await whole.backend.put_part_async(whole.key, whole.upload, 2, whole.size, b"short", size=6)
        with pytest.raises(FileTooLargeError):
            await whole.backend.put_part_async(whole.key, whole.upload, 2, whole.size, b"long", size=3)
        await whole.finish(first, await whole.put(1), third)
        assert await storage.read(whole.key) == whole.content[: 3 * whole.size]

    @async_once
    @in_loop
    async def test_unknown_objects_and_parts(self, storage: AsyncHalf) -> None:
        """Names that this key's unfinished object does not have are refused, whatever they look like."""
        self.require_upload_ids()
        whole = await Unfinished.begin(storage)
        part = await whole.put(0)
        for upload in ("unknown", "../../etc", "0" * 32):
            with pytest.raises(ObjectNotFoundError):
                await Unfinished(storage, upload).put(0)
            with pytest.raises(ObjectNotFoundError):
                await Unfinished(storage, upload).finish(part)
            await Unfinished(storage, upload).abandon()
        with pytest.raises(ObjectNotFoundError):
            await Unfinished(storage, whole.upload, "b").put(0)
        with pytest.raises(ObjectChangedError):
            await whole.finish(part, Part(7, whole.size, whole.size, "../unknown"))
        await whole.finish(part)

    @async_once
    @in_loop
    async def test_cleaning_spares_unfinished_objects(self, storage: AsyncHalf) -> None:
        """`clean` does not take an object that waits for its next part for the remains of a crash."""
        if not self.server_dates_uploads:
            pytest.skip("the server reports a wrong age of unfinished uploads")
        whole = await Unfinished.begin(storage)
        first = await whole.put(0)
        await storage.clean(older_than=-60)
        await whole.finish(first, await whole.put(1))
        assert (await storage.head(whole.key)).size == 2 * whole.size

    @async_once
    @in_loop
    async def test_process_killed_between_parts(
        self, storage: AsyncHalf, spec: BackendSpec | None, leftovers: Leftovers
    ) -> None:
        """After SIGKILL in a part, another process puts that part again and finishes the object."""
        if spec is None:
            pytest.skip("without a spec the backend cannot be built in another process")
        order = {
            "factory": spec.factory,
            "options": spec.options,
            "prefix": storage.backend.prefix,
            "key": storage.key("a"),
            "size": part_bytes(storage),
            "is_async": True,
            "in_parts": True,
        }
        said = await to_thread.run_sync(kill_in_mid_put, json.dumps(order))
        upload, *part_put = json.loads(said)
        whole, part = Unfinished(storage, upload), Part(*part_put)
        assert not await storage.exists(whole.key)
        await whole.finish(part, await whole.put(1, 3))
        assert await storage.read(whole.key) == b"\xaa" * whole.size + whole.piece(1)
        assert await storage.names() == ["a"]
        await assert_clean(storage, leftovers)


async def _broken() -> AsyncIterator[bytes]:
    yield bytes(BLOCK_BYTES)
    raise SourceBrokenError
