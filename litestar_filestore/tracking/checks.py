"""Checks content that a session stores against the rules of its column, as for uploads.

A rule is applied before anything is stored: to the beginning of the content, which is read without being lost, and to
the size if it is known. If it is not known, the content is counted while it is read. A rule that refuses then appears
as an error of the source, and no store completes an object whose source has failed.
"""

from __future__ import annotations

import inspect
import os
from contextlib import aclosing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from litestar_filestore.core.backend import ObjectCopy
from litestar_filestore.core.rule import FileRule, Piece, max_files
from litestar_filestore.core.sources import iter_blocks, iter_blocks_async
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import FileRejectedError, FileTooLargeError
from litestar_filestore.orm.bridge import call
from litestar_filestore.validation.checking import FileCheck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.rule import Rule, Wanted
    from litestar_filestore.core.types import AsyncDataLike, Block, DataLike
    from litestar_filestore.orm.columns import FileColumn
    from litestar_filestore.validation.checking import CheckedType

__all__ = (
    "check_content",
    "check_count",
    "check_stored",
)

T = TypeVar("T")


def check_count(column: FileColumn, count: int) -> None:
    """Make sure that a list does not hold more files than the rules of its column allow.

    Raises:
        FileRejectedError: If it does.
    """
    limit = max_files(column.type.rules)
    if limit is not None and count > limit:
        raise FileRejectedError(f"At most {limit} files are allowed, not {count}", field=column.key)


def check_content(column: FileColumn, file: FileObject) -> None:
    """Check the pending content of a file, and count it while it is stored.

    Raises:
        FileTypeNotAllowedError: If its type is not allowed.
        FileTooLargeError: If it is too large.
        FileRejectedError: If another rule refuses it.
        UnsupportedOperationError: If a rule is a coroutine function and the session is no ``AsyncSession``.
    """
    if not column.type.rules:
        return
    checking = _Checking(column, file, column.type.rules)
    with checking.placing():
        if isinstance(file.pending_content().content, ObjectCopy):
            checking.apply(checking.judge_object())
        else:
            checking.judge_source()


def check_stored(column: FileColumn, file: FileObject) -> None:
    """Check a stored file that a row is about to take, by those rules that have not accepted it yet.

    It is the only check for a form that does not name its column, and for content that the program saved itself.

    Raises:
        Exception: The same as `check_content`.
        ObjectNotFoundError: If the object is missing.
    """
    # A nearer rule replaces the column's rule of the same class, see `effective_rules`: what the form allows is
    # allowed.
    classes = {type(rule) for rule in file.passed_rules if isinstance(rule, FileRule)}
    rules = [each for each in column.type.rules if type(each) not in classes and each not in file.passed_rules]
    if not rules:
        return
    checking = _Checking(column, file, rules)
    with checking.placing():
        checking.judge_object()
    file.passed_rules = (*file.passed_rules, *rules)


def _place(wanted: Wanted, size: int) -> tuple[int, int]:
    """Return where to read and how many bytes, without going past the end."""
    at = max(size + wanted.offset, 0) if wanted.offset < 0 else min(wanted.offset, size)
    return at, size - at if wanted.offset < 0 else min(wanted.length, size - at)


class _Beginning(NamedTuple):
    """The first bytes of content, and how to read on."""

    head: bytes
    size: int | None
    """Size of the whole content, if it is known."""
    rest: Any = None
    """Yields the whole content from the start again, if the source can be read only once."""
    read: Callable[[int, int], bytes] | None = None
    """Reads a number of bytes at a position, if the source can be read again."""


class _Checking:
    """Checks one file by the rules of its column, in sync and async sessions: blocking steps go through `call`."""

    def __init__(self, column: FileColumn, file: FileObject, rules: Sequence[Rule]) -> None:
        self._file = file
        self._field = column.key
        self.check = FileCheck(rules, filename=file.filename, declared_type=file.content_type)

    def judge_object(self) -> CheckedType:
        """Check the object in its store; for a copy that is still to be made, check the original."""
        file = self._file
        head = self._read_object(0, self.check.head_bytes)
        size = file.size if file.size is not None else call(file.head, file.head_async).size
        checked = self._judge_head(head, complete=len(head) == size)
        self._judge_rest(self._read_object, size)
        return self.check.checked or checked

    def judge_source(self) -> None:
        """Check what can be checked before content is stored; the rest is checked while it is read."""
        pending = self._file.pending_content()
        source: Any = pending.content if pending.content is not None else pending.source_path
        found = self._look(source) or call(
            partial(_take, source, self.check.head_bytes), partial(_take_async, source, self.check.head_bytes)
        )
        if found.rest is not None:
            counted = _counted_async if hasattr(found.rest[1], "__aiter__") else _counted
            self._file.replace_content(counted(found, self))
        self.apply(self._judge_head(found.head, complete=len(found.head) == found.size))
        if found.size is not None:
            self._judge_rest(found.read and partial(_blocking, found.read), found.size)
            self.settle()

    def _look(self, source: Any) -> _Beginning | None:
        if hasattr(source, "__aiter__") or inspect.iscoroutinefunction(getattr(source, "read", None)):
            return None
        return _blocking(_look, source, self.check.head_bytes)

    def _judge_head(self, head: bytes, *, complete: bool) -> CheckedType:
        check = self.check
        return call(partial(check.judge_head, head, complete=complete), partial(check.at_head, head, complete=complete))

    def _judge_rest(self, read: Callable[[int, int], bytes] | None, size: int) -> None:
        while read is not None and (wanted := self.check.wanted) is not None:
            at, length = _place(wanted, size)
            self.check.give(Piece(at, read(at, length) if length else b""))
        call(partial(self.check.judge_end, size), partial(self.check.at_end, size))

    def _read_object(self, at: int, length: int) -> bytes:
        async def read() -> bytes:
            async with aclosing(self._file.stream_async(at, at + length)) as blocks:
                return b"".join([block async for block in blocks])

        return call(lambda: b"".join(self._file.stream(at, at + length)), read)

    def settle(self) -> None:
        """Give the file the detected type."""
        if self.check.checked is not None:
            self.apply(self.check.checked)

    def apply(self, checked: CheckedType) -> None:
        """Take over the result of the detection."""
        self._file.key_ext = checked.ext
        if self.check.judges_type and self._file.content_type != checked.content_type:
            self._file.content_type = checked.content_type

    def count(self, size: int, block: Block) -> None:
        """Refuse the file as soon as too many bytes have been read, and pass the block to rules that read on."""
        with self.placing():
            if self.check.max_bytes is not None and size > self.check.max_bytes:
                self.check.judge_end(size)
            if self.check.watching:
                self.check.feed(block)

    @contextmanager
    def placing(self) -> Generator[None]:
        """Name the attribute in refusals."""
        try:
            yield
        except (FileRejectedError, FileTooLargeError) as error:
            error.field, error.backend = self._field, self._file.backend_key
            raise


def _blocking(work: Callable[..., T], *arguments: Any) -> T:
    """Read a file or file-like source, in a worker thread if there is an event loop."""
    return call(partial(work, *arguments), partial(run_blocking, partial(work, *arguments)))


# -- the first bytes


def _look(source: Any, count: int) -> _Beginning | None:
    """Return the first bytes of a source that can be read again, ``None`` for one that can be read only once."""
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
    """Read at an offset from the file's position, and restore the position."""
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
        checking.count(size, block)
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
        checking.count(size, block)
        yield block
    if found.size is None:
        with checking.placing():
            await checking.check.at_end(size)
        checking.settle()
