"""Takes the bytes of a resumable upload into the store, commits each step, and makes the file at the end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import sys
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import msgspec
from litestar.exceptions import HTTPException

from litestar_filestore.core.file_events import UploadEnded
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.core.rule import Piece
from litestar_filestore.core.sources import HeldBlocks, Meter
from litestar_filestore.core.threads import finish, run_blocking
from litestar_filestore.core.types import PartBuffers
from litestar_filestore.core.watching import tell
from litestar_filestore.errors import (
    FileRejectedError,
    FileTooLargeError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    TusError,
)
from litestar_filestore.ledger.ledger import Facts
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.uploads import new_holder
from litestar_filestore.sansio.disposition import safe_filename
from litestar_filestore.sansio.tus import parse_metadata, upload_names
from litestar_filestore.validation.checking import FileCheck

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from sqlalchemy import Connection

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_events import Transport
    from litestar_filestore.core.rule import Rule
    from litestar_filestore.core.types import Block, ObjectInfo, Part
    from litestar_filestore.ledger.uploads import Committed, Upload, UploadLedger, UploadName
    from litestar_filestore.sansio.tus import Checksum
    from litestar_filestore.uploads.arrivals import Arrivals
    from litestar_filestore.uploads.plan import PlannedFile
    from litestar_filestore.validation.checking import CheckedType
    from litestar_filestore.validation.detect import Detector

__all__ = (
    "Destination",
    "Hold",
    "Receiver",
    "give_up",
    "new_file_of",
    "part_bytes_of",
    "part_memory_of",
    "take_hold",
)

logger = logging.getLogger("litestar_filestore")

_MIB = 1024 * 1024
_PART_BYTES = 8 * _MIB
"""How much is gathered before it is stored and committed."""
_COMMIT_SECONDS = 2.0
"""How long bytes wait for that if they come slowly."""
_BEAT_SECONDS = 1.0
"""How often a holder that commits nothing asks whether somebody else wants the upload."""
_ASK_SECONDS = 0.1
"""How often one who wants it looks whether it is free."""
_SPARE_PARTS = 500
"""Numbers of parts that are left for parts that are short because a request has ended."""


class Destination(NamedTuple):
    """Where the uploads of a router go."""

    book: UploadLedger
    """Remembers them."""
    backend: StorageBackend
    """Stores them."""
    planned: PlannedFile
    """The column or field, with its key template and its rules."""
    rules: tuple[Rule, ...]
    """The rules that apply."""
    detector: Detector | None
    """Detects the types of files."""
    max_bytes: int
    """Largest file."""
    life_seconds: float
    """How long an upload is kept if nothing comes."""


def new_file_of(upload: Upload, to: Destination, checked: CheckedType | None) -> NewFile:
    """Return the description of the file that an upload becomes."""
    filename, _ = upload_names(parse_metadata(upload.metadata))
    return NewFile(
        filename=safe_filename(filename),
        content_type=None if checked is None else checked.content_type,
        ext="" if checked is None else checked.ext,
        metadata=None if checked is None else checked.metadata,
        key_template=to.planned.key_template,
        model=to.planned.model,
    )


def part_memory_of(to: Destination) -> PartBuffers:
    """Return the memory that one upload needs."""
    return PartBuffers(part_bytes=part_bytes_of(to, None), max_concurrency=1)


def part_bytes_of(to: Destination, length: int | None) -> int:
    """Return the size of the parts of an upload; it stays the same, because some stores want all parts equal."""
    limits = to.backend.part_limits
    wanted = max(_PART_BYTES, limits.min_bytes)
    if limits.max_parts is not None:
        at_least = -(-(to.max_bytes if length is None else length) // max(1, limits.max_parts - _SPARE_PARTS))
        wanted = max(wanted, -(-at_least // _MIB) * _MIB)
    return wanted if limits.max_bytes is None else min(wanted, limits.max_bytes)


# -- the lease


class Hold:
    """The hold of one request on an upload. It is a context, at whose end the upload is free."""

    def __init__(self, book: UploadLedger, upload: Upload, holder: str) -> None:
        """Represent a hold that was taken."""
        self._book = book
        self.holder = holder
        """Names the hold."""
        self.upload = upload
        """The upload as it was committed last."""
        self.is_wanted = False
        """Whether somebody else asks for it, or has taken it already."""
        self.is_over = False
        """Whether the last commit has let go of it."""
        self.waiting: asyncio.Future[Any] | None = None
        """What the holder waits for; cancelled once somebody else asks."""
        self._asked_at = asyncio.get_running_loop().time()
        self._beat: asyncio.Task[None] | None = None
        # Most requests are over before the first beat, and need no task.
        self._first_beat = asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._begin_to_watch)

    async def __aenter__(self) -> Self:
        return self

    def _begin_to_watch(self) -> None:
        self._beat = asyncio.create_task(self._watch())

    async def __aexit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._first_beat.cancel()
        if self._beat is not None or not self.is_over:
            await finish(self._end())

    async def _end(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait({self._beat})
        if not self.is_over:
            with suppress(StorageError):  # then the hold runs out
                await self._book.run(lambda c: self._book.uploads.let_go(c, self.upload.id, self.holder))

    async def _watch(self) -> None:
        while True:
            if asyncio.get_running_loop().time() - self._asked_at >= _BEAT_SECONDS:  # no commit has asked
                await self._ask()
            await asyncio.sleep(_BEAT_SECONDS)

    async def _ask(self) -> None:
        try:
            self.note(await self._book.run(lambda c: self._book.uploads.renew(c, self.upload.id, self.holder)))
        except TusError:
            self.note(True)
        except StorageError as error:
            logger.info("It is not known whether somebody wants an upload: %s", error)

    def note(self, is_wanted: bool) -> None:  # noqa: FBT001  # what a commit returns
        """Take note of what the database has answered."""
        self._asked_at = asyncio.get_running_loop().time()
        self.is_wanted = self.is_wanted or is_wanted
        if self.is_wanted and self.waiting is not None:
            self.waiting.cancel()

    async def commit(
        self, after: Upload, parts: list[Part], *, life_seconds: float, let_go: bool = False, all_parts: bool = False
    ) -> None:
        """Record what was stored; see `Uploads.commit`."""
        uploads, before = self._book.uploads, self.upload

        def work(connection: Connection) -> Committed:
            return uploads.commit(
                connection,
                before,
                after,
                self.holder,
                parts,
                life_seconds=life_seconds,
                let_go=let_go,
                all_parts=all_parts,
            )

        committed = await self._book.run(work)
        self.upload = replace(after, expires_at=committed.expires_at)
        self.is_over = let_go
        self.note(committed.is_wanted)


async def take_hold(book: UploadLedger, name: UploadName, *, patience_seconds: float) -> Hold | None:
    """Take an upload, and ask its holder to let go; ``None`` if there is no such upload.

    Raises:
        TusError: 423 if its holder does not let go in time.
    """
    holder, loop = new_holder(), asyncio.get_running_loop()
    end = loop.time() + patience_seconds
    while True:
        upload = await book.run(lambda c: book.uploads.take(c, name, holder))
        if upload is not None:
            return Hold(book, upload, holder)
        if await book.run(lambda c: book.uploads.want(c, name)) is None:
            return None
        if loop.time() > end:
            raise TusError("Another request is sending to this upload: try again soon", status_code=423)
        await asyncio.sleep(_ASK_SECONDS)


# -- the content


class _Judge:
    """Checks and hashes content that passes from its first byte on."""

    def __init__(self, upload: Upload, to: Destination) -> None:
        filename, declared = upload_names(parse_metadata(upload.metadata))
        # What is only a piece of a file says nothing about it: the whole is checked when it is joined.
        rules = () if upload.is_partial else to.rules
        self._check = FileCheck(rules, filename=safe_filename(filename), declared_type=declared, detector=to.detector)
        self._head: list[Block] = []
        self.meter = Meter(digest=to.backend.digest, max_bytes=to.max_bytes)
        """Counts what is fed. What is stored in parts is hashed with its part, off the event loop."""
        self.checked: CheckedType | None = None
        """The type as far as it is known; ``None`` before there are enough bytes."""

    async def feed(self, block: Block) -> None:
        """Take the next bytes.

        Raises:
            FileRejectedError: If a rule refuses the file.
            FileTooLargeError: If it is too long.
        """
        self.meter.count(block)
        if self.checked is not None:
            if self._check.watching:
                self._check.feed(block)
            return
        self._head.append(block)
        if self.meter.size >= self._check.head_bytes:
            await self._at_head(complete=False)

    async def end(self) -> CheckedType:
        """Check the whole, and return its type; raises the same as `feed`."""
        if self.checked is None:
            await self._at_head(complete=True)
        await self._check.at_end(self.meter.size)
        return cast("CheckedType", self._check.checked)

    async def look_into(self, backend: StorageBackend, info: ObjectInfo) -> CheckedType:
        """Check an object by the bytes that the rules ask for, without a digest; raises the same as `feed`.

        What a client has put into a store would otherwise be fetched as a whole, which is what it was to spare us.
        """

        async def read(start: int, end: int) -> bytes:
            async with aclosing(backend.get_async(info.key, start, min(end, info.size))) as blocks:
                return b"".join([bytes(block) async for block in blocks])

        self.meter, check = Meter(digest=None), self._check
        head = await read(0, check.head_bytes)
        await check.at_head(head, complete=len(head) >= info.size)
        while (wanted := check.wanted) is not None:
            start = wanted.offset if wanted.offset >= 0 else max(0, info.size + wanted.offset)
            end = info.size if wanted.offset < 0 else start + wanted.length
            check.give(Piece(start, await read(start, end) if start < info.size else b""))
        await check.at_end(info.size)
        return cast("CheckedType", check.checked)

    async def read(self, backend: StorageBackend, info: ObjectInfo) -> CheckedType:
        """Take all bytes of an object, and check them; raises the same as `feed`."""
        async with aclosing(backend.get_async(info.key)) as blocks:
            async for block in blocks:
                await self.feed(block)
                await run_blocking(partial(self.meter.hash, block))
        return await self.end()

    async def _at_head(self, *, complete: bool) -> None:
        head, self._head = b"".join(self._head), []
        self.checked = await self._check.at_head(head, complete=complete)


class Receiver:
    """Takes bytes for an upload that its request holds.

    What has come and is not in a part yet is *pending*: the first bytes while there are too few to judge them, and what
    is too little for a part. If an upload is complete before it has a part, it is stored like any other file.

    While a part is stored, the bytes of the next one are read and judged, and the part before is committed: one part
    and one commit are on their way at most, and everything else that touches the upload waits for both (`_settle`).
    """

    def __init__(
        self, hold: Hold, to: Destination, *, reads_all: bool = True, transport: Transport = "resumable"
    ) -> None:
        """Prepare; call `load` first.

        Args:
            hold: The hold of the request.
            to: Where the upload goes.
            reads_all: Whether the stored bytes are all read at the end, for their digest, if this has not seen them.
            transport: The way on which the bytes come, for events.
        """
        self._reads_all = reads_all
        self._transport: Transport = transport
        self._hold = hold
        self._to = to
        self._now = hold.upload
        self._parts: list[Part] = []
        """Stored, and not committed yet."""
        self._stored_bytes = 0
        """Where the last part ends."""
        self._storing: asyncio.Task[None] | None = None
        """Stores a part."""
        self._committing: asyncio.Task[None] | None = None
        """Commits the part before."""
        self._pending: list[Block] = []
        self._pending_bytes = 0
        self._come_bytes = 0
        """Where the content ends that has come."""
        self._judge: _Judge | None = None
        """Sees all content; ``None`` if some has passed in another request."""
        self._reading: asyncio.Future[Block | None] | None = None
        self._has_ended = False
        self._ends: bool | None = None
        self._committed_at = asyncio.get_running_loop().time()
        limits = to.backend.part_limits
        self._takes_any_size = limits.min_bytes <= 1 and not limits.equal_sizes

    async def load(self) -> None:
        """Read what is pending from before."""
        upload = self._now
        if upload.store_upload is None:
            self._judge = _Judge(upload, self._to)
        if upload.head:
            await self._add(upload.head)
        if upload.tail_key is not None:
            async with aclosing(self._to.backend.get_async(upload.tail_key)) as blocks:
                async for block in blocks:
                    await self._add(bytes(block))
        self._stored_bytes, self._come_bytes = upload.offset - self._pending_bytes, upload.offset

    def declare(self, length: int | None, *, ends: bool | None = None) -> None:
        """Take note of what a request says of the whole.

        Args:
            length: Its length; ``None`` if that is not known yet.
            ends: Whether it ends with the body of this request; ``None`` if it ends when its length has come.
        """
        self._now, self._ends = replace(self._now, length=length), ends

    @property
    def is_complete(self) -> bool:
        """Whether everything has come."""
        return self._ends is not False and self._come_bytes == self._now.length

    # -- what a request brings

    async def receive(self, arrivals: Arrivals, checksum: Checksum | None) -> Upload:
        """Take a body, however it ends, and return the upload as it is then.

        Raises:
            HTTPException: If the client is too slow, has left, or sends too much; what has come is kept, unless a
                checksum was announced.
            TusError: 460 if the checksum does not match, 423 if somebody else has taken the upload over.
            FileRejectedError: If a rule refuses the file; then the upload is gone.
            FileTooLargeError: If it is too long; then the upload is gone.
        """
        try:
            await (self._receive(arrivals) if checksum is None else self._receive_checked(arrivals, checksum))
            if self._ends and self._has_ended and self._now.length is None:
                self.declare(self._come_bytes)
            if not self.is_complete:
                await self._keep(let_go=True)
                return self._hold.upload
        except (FileRejectedError, FileTooLargeError):
            await finish(give_up(self._hold, self._to))
            raise
        return await self.complete()

    async def _receive(self, arrivals: Arrivals) -> None:
        try:
            while (block := await self._next(arrivals, may_keep=True)) is not None:
                await self._add(block)
                await self._store_full(commit=True)
            await self._settle()
        except (HTTPException, asyncio.CancelledError):
            await finish(self._keep_if_possible())
            raise
        finally:
            await self._stop()

    async def _receive_checked(self, arrivals: Arrivals, checksum: Checksum) -> None:
        """Take a body that counts only as a whole: none of it is committed before its checksum is known."""
        content = hashlib.new(checksum.algorithm, usedforsecurity=False)
        try:
            while (block := await self._next(arrivals, may_keep=False)) is not None:
                content.update(block)
                await self._add(block)
                await self._store_full(commit=False)
            await self._settle()
        finally:
            await self._stop()
        if not self._has_ended:
            raise TusError(
                "Another request wants this upload: ask for its offset, and go on from there", status_code=423
            )
        if content.digest() != checksum.digest:
            raise TusError(
                "The bytes do not have the checksum that the request announces: send them again", status_code=460
            )

    async def _next(self, arrivals: Arrivals, *, may_keep: bool) -> Block | None:
        """Return the next block; ``None`` at the end, and if somebody else wants the upload."""
        if self._hold.is_wanted:
            return None
        reading = self._reading = self._hold.waiting = asyncio.ensure_future(_first(arrivals))
        while not reading.done():
            either = {task for task in (reading, self._storing, self._committing) if task is not None}
            left = self._seconds_left if may_keep else None
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if self._committing is not None and self._committing.done():
                await self._committed()
            if self._storing is not None and self._storing.done():
                await self._stored()
            if may_keep and not reading.done():
                await self._keep_in_time()
        self._hold.waiting = None
        if reading.cancelled():
            return None
        block: Block | None = reading.result()
        self._has_ended = block is None
        return block

    async def _stop(self) -> None:
        """Stop reading, and let what is on its way end."""
        if self._reading is not None:
            self._reading.cancel()
        # The part first: at its end it commits.
        for task in (self._reading, self._storing):
            if task is not None and not task.done():
                await finish(asyncio.wait({task}))
        if self._committing is not None and not self._committing.done():
            await finish(asyncio.wait({self._committing}))
        ended = {task for task in (self._storing, self._committing) if task is not None and not task.cancelled()}
        for error in {task.exception() for task in ended} - {None, sys.exception()}:  # something else has failed before
            logger.warning("An upload that has failed could not store a part, either: %s", error)

    @property
    def _seconds_left(self) -> float | None:
        """How long pending bytes may wait; ``None`` if there are none, or if the store takes only full parts."""
        can_keep = self._takes_any_size or (self._judge is not None and self._judge.checked is None)
        if not can_keep or self._come_bytes == self._hold.upload.offset:
            return None
        return max(0.0, self._committed_at + _COMMIT_SECONDS - asyncio.get_running_loop().time())

    async def _add(self, block: Block) -> None:
        self._pending.append(block)
        self._pending_bytes += len(block)
        self._come_bytes += len(block)
        if self._judge is not None:
            await self._judge.feed(block)

    # -- into the store

    async def _store_full(self, *, commit: bool) -> None:
        part_bytes = self._now.part_bytes or part_bytes_of(self._to, self._now.length)
        while self._pending_bytes >= part_bytes:
            await self._stored()
            if self.is_complete and self._now.store_upload is None:
                break
            self._storing = asyncio.create_task(self._store(self._cut(part_bytes), part_bytes, commit=commit))
        if commit:
            await self._keep_in_time()

    async def _store(self, blocks: list[Block], size: int, *, commit: bool) -> None:
        await self._put_part(blocks, size)
        if commit:
            await self._committed()
            self._committing = asyncio.create_task(self._commit(offset=self._stored_bytes))

    async def _settle(self) -> None:
        """Wait until everything is committed that is on its way, and raise what has come between.

        A caller that is cancelled leaves it on its way. A part that is not stored or committed is never forgotten: what
        has come behind it must not be kept.
        """
        await self._stored()
        await self._committed()

    async def _stored(self) -> None:
        if (storing := self._storing) is not None:
            await asyncio.wait({storing})
            storing.result()
            self._storing = None

    async def _committed(self) -> None:
        if (committing := self._committing) is not None:
            await asyncio.wait({committing})
            committing.result()
            if self._committing is committing:  # the end of a part waits for it as well, and begins the next one
                self._committing = None

    async def _put_part(self, taken: list[Block], size: int) -> None:
        await self._begin()
        now, number = self._now, self._now.next_part
        key, name = cast("str", now.key), cast("str", now.store_upload)
        put = self._to.backend.put_part_async(key, name, number, self._stored_bytes, HeldBlocks(taken), size=size)
        part = await self._hashed(taken, put)
        reach("upload.part")
        self._parts.append(part)
        self._stored_bytes += size
        self._now = replace(self._now, next_part=number + 1)

    async def _hashed(self, blocks: list[Block], put: Awaitable[Part]) -> Part:
        """Hash the blocks of a part while it is put."""
        if self._judge is None or not self._judge.meter.hashes:
            return await put
        hashing = asyncio.ensure_future(run_blocking(partial(self._judge.meter.hash, *blocks)))
        try:
            part = await put
        finally:
            await finish(asyncio.wait({hashing}))
        hashing.result()
        return part

    async def _put_pending(self) -> None:
        if size := self._pending_bytes:
            await self._put_part(self._cut(size), size)

    def _cut(self, size: int) -> list[Block]:
        """Take that many of the pending bytes."""
        taken: list[Block] = []
        self._pending_bytes -= size
        while size:
            block = self._pending.pop(0)
            if len(block) > size:
                self._pending.insert(0, block[size:])
                block = block[:size]
            taken.append(block)
            size -= len(block)
        return taken

    async def _begin(self) -> None:
        """Enter the object in the ledger, and begin it in the store, before the first part."""
        if self._now.store_upload is not None:
            return
        file = self._file(self._judge.checked if self._judge is not None else None, b"")
        await self._stage(file)
        backend, key = self._to.backend, file.path
        name = await backend.begin_parts_async(key, content_type=self._now.content_type)
        reach("upload.begun")
        self._now = replace(self._now, store_upload=name)
        await self._hold.commit(self._now, [], life_seconds=self._to.life_seconds)

    async def _stage(self, file: FileObject) -> None:
        key, book, life = file.prepare_key(), self._to.book, self._to.life_seconds
        now = self._now = replace(
            self._now,
            key=key,
            content_type=file.content_type,
            part_bytes=self._now.part_bytes or part_bytes_of(self._to, self._now.length),
        )
        before, holder = self._hold.upload.key, self._hold.holder
        await book.run(lambda c: book.uploads.begin(c, before, now, holder, life_seconds=life))
        reach("upload.staged")

    def _file(self, checked: CheckedType | None, content: bytes) -> FileObject:
        return new_file_of(self._now, self._to, checked).with_content(self._to.backend, content)

    async def _put_tail(self) -> str | None:
        """Store what is too little for a part as an object of its own, which the next request promotes to a part."""
        if not self._pending_bytes:
            return None
        await self._begin()
        now, book, life = self._now, self._to.book, self._to.life_seconds
        key = f"{now.key}.tail-{secrets.token_hex(8)}"
        await book.run(lambda c: book.uploads.stage_tail(c, now, key, life_seconds=life))
        reach("upload.tail")
        await self._to.backend.put_async(HeldBlocks(self._pending), key=key)
        return key

    async def _keep_in_time(self) -> None:
        """Store and commit what has come if it has waited long enough."""
        if self._seconds_left == 0.0:
            await self._settle()  # which may have been what it waited for
        if self._seconds_left == 0.0:
            await self._keep()

    async def _keep(self, *, let_go: bool = False) -> None:
        """Store and commit everything that has come."""
        await self._settle()
        if self._come_bytes == self._hold.upload.offset and self._now.length == self._hold.upload.length:
            return
        if self._judge is not None and self._judge.checked is None:
            await self._commit(offset=self._come_bytes, head=b"".join(self._pending), let_go=let_go)
        elif self._takes_any_size:
            await self._put_pending()
            await self._commit(offset=self._stored_bytes, let_go=let_go)
        else:
            tail_key = await self._put_tail()
            await self._commit(offset=self._come_bytes, tail_key=tail_key, let_go=let_go)

    async def _keep_if_possible(self) -> None:
        try:
            await self._keep(let_go=True)
        except StorageError as error:
            logger.warning("The last bytes of an interrupted upload are lost, and will be sent again: %s", error)

    async def _commit(
        self, *, offset: int, head: bytes | None = None, tail_key: str | None = None, let_go: bool = False
    ) -> None:
        self._now = replace(self._now, offset=offset, head=head, tail_key=tail_key)
        parts, self._parts = self._parts, []
        await self._hold.commit(self._now, parts, life_seconds=self._to.life_seconds, let_go=let_go)
        self._committed_at = asyncio.get_running_loop().time()
        reach("upload.committed")

    # -- the end

    async def complete(self, made: ObjectInfo | None = None) -> Upload:
        """Make the file of an upload whose bytes have all come, and return the upload.

        A request that is killed meanwhile loses nothing: the next one, even a HEAD, goes on.

        Args:
            made: Its object, if that is in the store already.

        Raises:
            FileRejectedError: If a rule refuses the file; then the upload is gone.
            FileTooLargeError: If it is too long; then the upload is gone.
        """
        try:
            whole = made is None and self._now.store_upload is None
            file = await (self._put_whole() if whole else self._judged(made or await self._join()))
        except (FileRejectedError, FileTooLargeError):
            await finish(give_up(self._hold, self._to))
            raise
        book, holder = self._to.book, self._hold.holder
        done = self._now = replace(self._now, result=json.dumps(file.to_dict()), offset=self._come_bytes, head=None)
        facts = Facts(file.size, file.checksum)
        life = self._to.life_seconds
        await book.run(lambda c: book.uploads.complete(c, done, holder, facts, life_seconds=life))
        self._hold.upload, self._hold.is_over = done, True
        reach("upload.completed")
        tell(UploadEnded(self._to.backend.key, self._transport, "ok", file.size or 0, None))
        return done

    async def _put_whole(self) -> FileObject:
        """Store content that is all in memory: its digest is made on the way."""
        checked = await cast("_Judge", self._judge).end()
        file = self._file(checked, b"".join(self._pending))
        await self._stage(file)
        await file.put_async()
        reach("upload.put")
        return file

    async def _join(self) -> ObjectInfo:
        await self._put_pending()
        if self._parts:
            await self._commit(offset=self._stored_bytes)
        info = await self._finish_parts()
        reach("upload.joined")
        return info

    async def _judged(self, info: ObjectInfo) -> FileObject:
        if self._judge is not None:
            return self._described(info, self._judge, await self._judge.end())
        judge = _Judge(self._now, self._to)
        # One pass over the stored bytes: a digest cannot be carried from one process to another.
        look = judge.read if self._reads_all else judge.look_into
        return self._described(info, judge, await look(self._to.backend, info))

    def _described(self, info: ObjectInfo, judge: _Judge, checked: CheckedType) -> FileObject:
        meter = judge.meter
        found = msgspec.structs.replace(info, checksum=meter.checksum, etag=meter.etag or info.etag)
        new = new_file_of(self._now, self._to, checked)
        file = FileObject(
            self._to.backend, new.filename, info.key, content_type=new.content_type, metadata=new.metadata
        )
        return file.complete(found)

    async def _finish_parts(self) -> ObjectInfo:
        now, book, backend = self._now, self._to.book, self._to.backend
        key, name = cast("str", now.key), cast("str", now.store_upload)
        parts = await book.run(lambda c: book.uploads.parts(c, now.id))
        try:
            return await backend.finish_parts_async(key, name, parts, content_type=now.content_type)
        except (ObjectNotFoundError, ObjectExistsError):
            # Finished before by a request that was killed then?
            info = await backend.head_async(key)
            if info.size != now.length:
                raise
        await backend.abandon_parts_async(key, name)
        return info


async def give_up(hold: Hold, to: Destination) -> None:
    """Remove an upload with all that has come of it; its URL leads nowhere from now on."""
    upload, book = hold.upload, to.book
    await book.run(lambda c: book.uploads.expire(c, upload.id, hold.holder))
    if upload.store_upload is not None:
        await to.backend.abandon_parts_async(cast("str", upload.key), upload.store_upload)
    await book.run(lambda c: book.uploads.remove(c, upload, give_up=True))
    hold.is_over = True


async def _first(arrivals: Arrivals) -> Block | None:
    return await anext(arrivals, None)
