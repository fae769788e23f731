"""Drivers that are broken in one way each. Every one must be caught by the conformance tests.

They derive from the memory driver, which is right, and break what their docstring says, in both halves.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

import msgspec

from litestar_filestore.backends.memory import MemoryDriver
from litestar_filestore.core.types import Block, Capability, ObjectInfo, PutOptions, SignMethod
from litestar_filestore.errors import ObjectExistsError, ObjectNotFoundError

__all__ = ("MUTANTS",)


class VisibleWhileWritten(MemoryDriver):
    """Publishes what has arrived so far after each block."""

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        content = b""
        self._publish(path, content, options)
        for block in blocks:
            content += bytes(block)
            self._publish(path, content, msgspec.structs.replace(options, overwrite=True))
        return self.head(path)

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        content = b""
        self._publish(path, content, options)
        async for block in blocks:
            content += bytes(block)
            self._publish(path, content, msgspec.structs.replace(options, overwrite=True))
        return self.head(path)


class KeepsWhatABrokenSourceGave(MemoryDriver):
    """Publishes the beginning of the content when the source raises or the task is cancelled."""

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        content = b""
        try:
            for block in blocks:
                content += bytes(block)
        finally:
            info = self._publish(path, content, options)
        return info

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        content = b""
        try:
            async for block in blocks:
                content += bytes(block)
        finally:
            info = self._publish(path, content, options)
        return info


class SwallowsCancellation(MemoryDriver):
    """Takes a cancellation for the end of the content."""

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        content = b""
        try:
            async for block in blocks:
                content += bytes(block)
        except asyncio.CancelledError:
            pass
        return self._publish(path, content, options)


class KeepsBorrowedBuffers(MemoryDriver):
    """Joins the blocks at the end, when their sender has used the buffers again."""

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        return self._publish(path, b"".join(list(blocks)), options)

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        return self._publish(path, b"".join([block async for block in blocks]), options)


class AlwaysOverwrites(MemoryDriver):
    """Ignores `overwrite`."""

    def _store(self, path: str, content: bytes, info: ObjectInfo, *, overwrite: bool) -> None:
        super()._store(path, content, info, overwrite=True)


class LooksFirst(MemoryDriver):
    """Claims to create atomically, but looks first and stores later."""

    def _look(self, path: str, options: PutOptions) -> PutOptions:
        if not options.overwrite and path in self._objects:
            raise ObjectExistsError("taken")
        return msgspec.structs.replace(options, overwrite=True)

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        return super().put(path, blocks, self._look(path, options))

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        return await super().put_async(path, blocks, self._look(path, options))


class IgnoresTheRange(MemoryDriver):
    """Reads the whole object, as some servers answer a range."""

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        return super().get(path, 0, None)


class EndIsInclusive(MemoryDriver):
    """Takes the end for the last byte, as HTTP does."""

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        return super().get(path, start, end if end is None else end + 1)


class NothingBehindTheEnd(MemoryDriver):
    """Gives no bytes for a range behind the end."""

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        return iter(()) if start >= self.head(path).size else super().get(path, start, end)


class ReadsWhatIsThereNow(MemoryDriver):
    """Takes each block from the object as it is at that moment."""

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        stop = self._load(path)[1].size if end is None else min(end, self._load(path)[1].size)
        for offset in range(start, stop, 1_000_000):
            yield self._load(path)[0][offset : min(offset + 1_000_000, stop)]


class LosesTheLastByte(MemoryDriver):
    """Stores one byte less than it was given."""

    def _store(self, path: str, content: bytes, info: ObjectInfo, *, overwrite: bool) -> None:
        super()._store(path, content[:-1], info, overwrite=overwrite)


class EmptyIsMissing(MemoryDriver):
    """Takes an empty object for none."""

    def _load(self, path: str) -> tuple[bytes, ObjectInfo]:
        found = super()._load(path)
        if not found[0]:
            raise ObjectNotFoundError("empty")
        return found


class DeleteOfMissingRaises(MemoryDriver):
    """Is not idempotent."""

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._load(path)
        super().delete(paths)


class DeletesByPattern(MemoryDriver):
    """Takes a key for a pattern."""

    def delete(self, paths: Sequence[str]) -> None:
        super().delete([key for key in self._objects if any(fnmatch.fnmatch(key, path) for path in paths)])


class DeletesByPrefix(MemoryDriver):
    """Deletes everything that begins with the key."""

    def delete(self, paths: Sequence[str]) -> None:
        super().delete([key for key in self._objects if key.startswith(tuple(paths))])


class ListsByText(MemoryDriver):
    """Compares the beginning of keys instead of segments."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter([info for _, info in self._objects.values() if info.key.startswith(prefix)])


class ListsOnePage(MemoryDriver):
    """Forgets to ask for the second page."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for _, info in zip(range(1_000), super().list(prefix), strict=False):
            yield info


class CopyOverwrites(MemoryDriver):
    """Ignores `overwrite` when it copies."""

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        super().copy(source, target, overwrite=True)


class CopyMoves(MemoryDriver):
    """Renames instead of copying."""

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        super().copy(source, target, overwrite=overwrite)
        self.delete([source])


class ForgetsTheContentType(MemoryDriver):
    """Claims to keep metadata, and does not."""

    def head(self, path: str) -> ObjectInfo:
        return msgspec.structs.replace(super().head(path), content_type=None, metadata={})

    async def head_async(self, path: str) -> ObjectInfo:
        return self.head(path)


class TellsLocalTime(MemoryDriver):
    """Takes the clock of another time zone for UTC."""

    def head(self, path: str) -> ObjectInfo:
        info = super().head(path)
        return msgspec.structs.replace(info, last_modified=(info.last_modified or 0) + 3600)

    async def head_async(self, path: str) -> ObjectInfo:
        return self.head(path)


class FoldsCase(MemoryDriver):
    """Does not tell upper from lower case."""

    def _store(self, path: str, content: bytes, info: ObjectInfo, *, overwrite: bool) -> None:
        super()._store(path.lower(), content, info, overwrite=overwrite)

    def _load(self, path: str) -> tuple[bytes, ObjectInfo]:
        return super()._load(path.lower())


class LeavesATask(MemoryDriver):
    """Leaves something running after a put."""

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        self.task = asyncio.create_task(asyncio.sleep(3600))
        return await super().put_async(path, blocks, options)


class BelongsToOneLoop(MemoryDriver):
    """Works in the event loop of its first use only."""

    loop: asyncio.AbstractEventLoop | None = None

    async def head_async(self, path: str) -> ObjectInfo:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        return await super().head_async(path)


class ClaimsToSign(MemoryDriver):
    """Has the flag and not the method."""

    capabilities = MemoryDriver.capabilities | Capability.SIGN_GET


class SignsWithoutTheFlag(MemoryDriver):
    """Has the method and not the flag, and makes links that are none."""

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        return f"https://example.com/{path}"


class HalvesDiffer(MemoryDriver):
    """Is right in the async half only."""

    def head(self, path: str) -> ObjectInfo:
        return msgspec.structs.replace(super().head(path), size=0)


class CannotBeUsedAfterClose(MemoryDriver):
    """Is closed for ever."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def _load(self, path: str) -> tuple[bytes, ObjectInfo]:
        if self.closed:
            raise RuntimeError("closed")
        return super()._load(path)


class CleansWhatIsUnderWay(MemoryDriver):
    """Removes puts that have just begun."""

    doomed: set[str] = set()  # noqa: RUF012 - one for all, as a store has it
    underway: set[str] = set()  # noqa: RUF012

    def clean(self, older_than: float) -> int:
        self.doomed.update(self.underway)
        return len(self.underway)

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        self.underway.add(path)
        try:
            return super().put(path, blocks, options)
        finally:
            self.underway.discard(path)
            if path in self.doomed:
                self.delete([path])

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        self.underway.add(path)
        try:
            return await super().put_async(path, blocks, options)
        finally:
            self.underway.discard(path)
            if path in self.doomed:
                self.delete([path])


class ListsUnfinishedWrites(MemoryDriver):
    """Keeps what arrives under a name beside the object, for everybody to see."""

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        super().put(f"{path}.part", iter(()), msgspec.structs.replace(options, overwrite=True))
        try:
            return super().put(path, blocks, options)
        finally:
            self.delete([f"{path}.part"])

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        super().put(f"{path}.part", iter(()), msgspec.structs.replace(options, overwrite=True))
        try:
            return await super().put_async(path, blocks, options)
        finally:
            self.delete([f"{path}.part"])


class HoldsStreamsOpen(MemoryDriver):
    """Has eight connections, and gives one back only at the end of a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 8

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        if not self.free:
            raise RuntimeError("no connection left")
        self.free -= 1
        yield from super().get(path, start, end)
        self.free += 1

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        for block in self.get(path, start, end):
            yield block


MUTANTS: dict[type[MemoryDriver], str] = {
    VisibleWhileWritten: "test_unfinished_put_is_invisible",
    KeepsWhatABrokenSourceGave: "test_source_that_raises",
    SwallowsCancellation: "test_task_cancelled",
    KeepsBorrowedBuffers: "test_source_round_trips",
    AlwaysOverwrites: "test_overwrite_is_refused_unless_asked_for",
    LooksFirst: "test_one_of_many_creates_wins",
    IgnoresTheRange: "test_range",
    EndIsInclusive: "test_range",
    NothingBehindTheEnd: "test_range_behind_the_end_is_refused",
    ReadsWhatIsThereNow: "test_reader_during_an_overwrite",
    LosesTheLastByte: "test_size_round_trips",
    EmptyIsMissing: "test_empty_source_makes_an_empty_object",
    DeleteOfMissingRaises: "test_delete_of_a_missing_object",
    DeletesByPattern: "test_delete_spares_neighbours",
    DeletesByPrefix: "test_delete_of_a_folder_name",
    ListsByText: "test_prefix_ends_at_a_segment",
    ListsOnePage: "test_many_objects",
    CopyOverwrites: "test_copy_refuses_to_overwrite",
    CopyMoves: "test_copy",
    ForgetsTheContentType: "test_content_type_and_metadata_are_kept",
    TellsLocalTime: "test_head_tells_when_the_object_was_written",
    FoldsCase: "test_odd_keys_are_different_objects",
    LeavesATask: "test_info_is_complete",
    BelongsToOneLoop: "test_event_loops_one_after_the_other",
    ClaimsToSign: "test_signed_get",
    SignsWithoutTheFlag: "test_signing_is_unsupported_without_the_flag",
    HalvesDiffer: "test_head_tells_size_and_key",
    CannotBeUsedAfterClose: "test_backend_works_after_close",
    CleansWhatIsUnderWay: "test_clean_spares_puts_under_way",
    ListsUnfinishedWrites: "test_unfinished_put_is_not_listed",
    HoldsStreamsOpen: "test_streams_may_be_given_up",
}
"""Each broken driver, and the test that must catch it."""
