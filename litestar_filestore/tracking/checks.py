"""Content that a session stores itself has to obey the rules of its column, as uploads do.

A rule is asked before the store is: first about the beginning of the content, which is looked at without being lost,
and about the size where that is known. Where it is not, the content is counted as it is read, and a rule that refuses
then is an error of the source: no store finishes an object whose source failed.
"""

from __future__ import annotations

import inspect
import os
from contextlib import aclosing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from litestar_filestore.core.rule import FileRule, Piece, max_files
from litestar_filestore.core.sources import ObjectCopy, iter_blocks, iter_blocks_async
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import FileRejectedError, FileTooLargeError
from litestar_filestore.orm.bridge import call
from litestar_filestore.validation.checking import FileCheck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.rule import CheckedType, Wanted
    from litestar_filestore.core.types import AsyncDataLike, Block, DataLike
    from litestar_filestore.orm.columns import FileColumn

__all__ = (
    "check_content",
    "check_count",
    "check_stored",
)


def check_count(column: FileColumn, count: int) -> None:
    """Make sure that a list does not hold more files than the rules of its column allow.

    Raises:
        FileRejectedError: If it does.
    """
    limit = max_files(column.type.rules)
    if limit is not None and count > limit:
        raise FileRejectedError(f"At most {limit} files are allowed, not {count}", field=column.key)


def check_content(column: FileColumn, file: FileObject) -> None:
    """Check the pending content of a file, and prepare it for being counted while it is stored.

    Raises:
        FileTypeNotAllowedError: If its type is not allowed.
        FileTooLargeError: If it is too long.
        FileRejectedError: If another rule refuses it.
        UnsupportedOperationError: If a rule is a coroutine function and the session is no ``AsyncSession``.
    """
    if column.type.rules:
        check = FileCheck(column.type.rules, filename=file.filename, declared_type=file.content_type)
        checking = _Checking(file, check, column.key)
        with checking.placing():
            if isinstance(file.pending_content().content, ObjectCopy):
                looking = _Looking(file, check)
                checking.apply(call(looking.run, looking.run_async))
            else:
                call(checking.run, checking.run_async)


def check_stored(column: FileColumn, file: FileObject) -> None:
    """Check a stored file that a row is about to take, by those rules that have not accepted it yet.

    A form that says nothing about its column, or content that was saved by hand, comes past no other check.

    Raises:
        Exception: As `check_content` does.
        ObjectNotFoundError: If there is no object to look at.
    """
    # A nearer rule stands in for the column's of its class, see `effective_rules`: what the form allows is allowed.
    classes = {type(rule) for rule in file.passed_rules if isinstance(rule, FileRule)}
    rules = [each for each in column.type.rules if type(each) not in classes and each not in file.passed_rules]
    if not rules:
        return
    check = FileCheck(rules, filename=file.filename, declared_type=file.content_type)
    looking = _Looking(file, check)
    with _Checking(file, check, column.key).placing():
        call(looking.run, looking.run_async)
    file.passed_rules = (*file.passed_rules, *rules)


class _Looking:
    """Checks an object in a store, which for a copy that is still to be made is its origin."""

    def __init__(self, file: FileObject, check: FileCheck) -> None:
        self._file = file
        self._check = check

    def run(self) -> CheckedType:
        head = b"".join(self._file.stream(0, self._check.head_bytes))
        size = self._file.size if self._file.size is not None else self._file.head().size
        checked = self._check.judge_head(head, complete=len(head) == size)
        while (wanted := self._check.wanted) is not None:
            at, length = _place(wanted, size)
            self._check.give(Piece(at, b"".join(self._file.stream(at, at + length)) if length else b""))
        self._check.judge_end(size)
        return self._check.checked or checked

    async def run_async(self) -> CheckedType:
        head = await self._read_async(0, self._check.head_bytes)
        size = self._file.size if self._file.size is not None else (await self._file.head_async()).size
        checked = await self._check.at_head(head, complete=len(head) == size)
        while (wanted := self._check.wanted) is not None:
            at, length = _place(wanted, size)
            self._check.give(Piece(at, await self._read_async(at, length) if length else b""))
        await self._check.at_end(size)
        return self._check.checked or checked

    async def _read_async(self, at: int, length: int) -> bytes:
        async with aclosing(self._file.stream_async(at, at + length)) as blocks:
            return b"".join([block async for block in blocks])


def _place(wanted: Wanted, size: int) -> tuple[int, int]:
    """Return where to read and how many bytes, none behind the end."""
    at = max(size + wanted.offset, 0) if wanted.offset < 0 else min(wanted.offset, size)
    return at, size - at if wanted.offset < 0 else min(wanted.length, size - at)


class _Beginning(NamedTuple):
    """What is known about content after a look at its first bytes."""

    head: bytes
    size: int | None
    """Of the whole, where that is known."""
    rest: Any = None
    """What yields the whole from the start again, where the look has used the source up."""
    read: Callable[[int, int], bytes] | None = None
    """Reads so many bytes at a place, where the source can be read again."""


class _Checking:
    def __init__(self, file: FileObject, check: FileCheck, field: str) -> None:
        pending = file.pending_content()
        self._source: Any = pending.content if pending.content is not None else pending.source_path
        self._file = file
        self.check = check
        self._field = field

    def run(self) -> None:
        count = self.check.head_bytes
        found = _look(self._source, count) or _take(self._source, count)
        if found.rest is not None:
            self._file.replace_content(_counted(found, self))
        self.apply(self.check.judge_head(found.head, complete=len(found.head) == found.size))
        if found.size is not None:
            while (wanted := self.check.wanted) is not None and found.read is not None:
                at, length = _place(wanted, found.size)
                self.check.give(Piece(at, found.read(at, length)))
            self.check.judge_end(found.size)
            self.settle()

    async def run_async(self) -> None:
        count = self.check.head_bytes
        found = None if _is_async(self._source) else await run_blocking(partial(_look, self._source, count))
        found = found or await _take_async(self._source, count)
        if found.rest is not None:
            self._file.replace_content(_counted_async(found, self))
        self.apply(await self.check.at_head(found.head, complete=len(found.head) == found.size))
        if found.size is not None:
            while (wanted := self.check.wanted) is not None and found.read is not None:
                at, length = _place(wanted, found.size)
                self.check.give(Piece(at, await run_blocking(partial(found.read, at, length))))
            await self.check.at_end(found.size)
            self.settle()

    def settle(self) -> None:
        """Call the file what it has turned out to be."""
        if self.check.checked is not None:
            self.apply(self.check.checked)

    def apply(self, checked: CheckedType) -> None:
        """Take over what was found out about the type."""
        self._file.key_ext = checked.ext
        if self.check.judges_type and self._file.content_type != checked.content_type:
            self._file.content_type = checked.content_type

    def count(self, size: int) -> None:
        """Refuse as soon as too many bytes have been read."""
        limit = self.check.max_bytes
        if limit is not None and size > limit:
            with self.placing():
                self.check.judge_end(size)

    def feed(self, block: Block) -> None:
        """Show what passes to those rules that look further on."""
        if self.check.watching:
            with self.placing():
                self.check.feed(block)

    @contextmanager
    def placing(self) -> Generator[None]:
        """Say in refusals which attribute they are about."""
        try:
            yield
        except (FileRejectedError, FileTooLargeError) as error:
            error.field, error.backend = self._field, self._file.backend_key
            raise


# -- the first bytes


def _is_async(source: Any) -> bool:
    return hasattr(source, "__aiter__") or inspect.iscoroutinefunction(getattr(source, "read", None))


def _look(source: Any, count: int) -> _Beginning | None:
    """Return the first bytes of what can be read again, ``None`` for what can be read once."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = memoryview(cast("Block", source)).cast("B")
        return _Beginning(bytes(content[:count]), len(content), read=partial(_read_view, content))
    if isinstance(source, os.PathLike):
        with Path(cast("os.PathLike[str]", source)).open("rb") as file:
            return _Beginning(file.read(count), os.fstat(file.fileno()).st_size, read=partial(_read_file, source))
    if isinstance(source, (list, tuple)):
        pieces = cast("list[Block]", source)
        size = sum(memoryview(each).nbytes for each in pieces)
        return _Beginning(_first(iter_blocks(pieces), count), size, read=partial(_read_pieces, pieces))
    if (
        callable(getattr(source, "read", None))
        and callable(seekable := getattr(source, "seekable", None))
        and seekable()
    ):
        start = source.tell()
        size = source.seek(0, os.SEEK_END) - start
        source.seek(start)
        return _Beginning(_read_again(source, start, 0, count), size, read=partial(_read_again, source, start))
    return None


def _read_view(content: memoryview, at: int, length: int) -> bytes:
    return bytes(content[at : at + length])


def _read_file(path: os.PathLike[str], at: int, length: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(at)
        return file.read(length)


def _read_pieces(pieces: list[Block], at: int, length: int) -> bytes:
    found = bytearray()
    for block in iter_blocks(pieces):
        found += block[max(at, 0) : max(at + length, 0)]
        at -= len(block)
        if len(found) >= length or at + length <= 0:
            break
    return bytes(found[:length])


def _read_again(source: Any, start: int, at: int, length: int) -> bytes:
    """Read at a place behind where the file stands, and leave it standing there."""
    source.seek(start + at)
    try:
        return _first(iter(partial(source.read, length), b""), length)
    finally:
        source.seek(start)


def _first(blocks: Iterator[Block], count: int) -> bytes:
    head = bytearray()
    for block in blocks:
        head += block
        if len(head) >= count:
            break
    return bytes(head[:count])


def _take(source: DataLike, count: int) -> _Beginning:
    blocks = iter_blocks(source)
    taken: list[bytes] = []
    size = 0
    for block in blocks:
        taken.append(bytes(block))
        size += len(block)
        if size >= count:
            return _Beginning(b"".join(taken), None, (taken, blocks))
    return _Beginning(b"".join(taken), size, (taken, blocks))


async def _take_async(source: AsyncDataLike, count: int) -> _Beginning:
    blocks = iter_blocks_async(source)
    taken: list[bytes] = []
    size = 0
    async for block in blocks:
        taken.append(bytes(block))
        size += len(block)
        if size >= count:
            return _Beginning(b"".join(taken), None, (taken, blocks))
    return _Beginning(b"".join(taken), size, (taken, blocks))


# -- the rest, counted


def _counted(found: _Beginning, checking: _Checking) -> Iterator[Block]:
    taken, blocks = found.rest
    size = sum(map(len, taken))
    yield from taken
    for block in blocks:
        size += len(block)
        checking.count(size)
        checking.feed(block)
        yield block
    if found.size is None:
        with checking.placing():
            checking.check.judge_end(size)
        checking.settle()


async def _counted_async(found: _Beginning, checking: _Checking) -> AsyncIterator[Block]:
    taken, blocks = found.rest
    size = sum(map(len, taken))
    for each in taken:
        yield each
    async for block in blocks:
        size += len(block)
        checking.count(size)
        checking.feed(block)
        yield block
    if found.size is None:
        with checking.placing():
            await checking.check.at_end(size)
        checking.settle()
