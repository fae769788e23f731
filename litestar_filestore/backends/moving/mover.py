"""Copies the objects of a `MovingBackend` from one store to the other, verifies them, and notes what is done.

What is done stands in the store that they move to, under the reserved segment, so that any machine can go on, and a
process that was killed has lost a page of notes at most. The notes alone are not believed: an object counts only if
both listings have it as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import msgspec

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.keys import RESERVED_SEGMENT
from litestar_filestore.core.part_objects import unfinished_key
from litestar_filestore.core.sources import iter_blocks_async
from litestar_filestore.core.types import Capability, PutOptions
from litestar_filestore.errors import (
    BackendUnavailableError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from litestar_filestore.backends.moving.moving_backend import MovingBackend, Side
    from litestar_filestore.core.types import ObjectInfo

__all__ = ("KnownFacts", "MoveConfig", "MoveReport", "Mover")

_PAGE = 500
_FLUSH_SECONDS = 5.0
_ATTEMPTS = 4
_MOST_PASSES = 20
_NAMED = 1000

Standing: TypeAlias = Literal["left", "moved", "unverified", "differs"]
"""``unverified``: in both stores, but nobody has noted that they are the same."""


class KnownFacts(NamedTuple):
    """What is known about an object besides the store: from the row that holds it."""

    content_type: str | None = None
    metadata: Mapping[str, Any] = {}
    checksum: str | None = None


@dataclass
class MoveConfig:
    """How to move."""

    max_bytes_per_second: float | None = None
    """Most bytes that are read from the old store in a second, over all objects; ``None`` for no limit."""
    jobs: int = 4
    """Objects that are copied at the same time."""
    read_back: bool = True
    """Whether each copy is read again and compared. Without, the new store is believed when it confirms a put."""
    facts: Callable[[Sequence[str]], Awaitable[Mapping[str, KnownFacts]]] | None = None
    """Returns what rows know of the objects of these keys: stores without metadata do not keep content types."""
    on_progress: Callable[[MoveReport], object] | None = None
    """Called with the unfinished report after each object."""
    retry_seconds: float = 1.0
    """Pause before an object is tried again because its store was away; doubled each time."""


@dataclass
class MoveReport:
    """What a run has done, or what `Mover.status` has found."""

    objects: int = 0
    """Objects in the old store, at the last look."""
    moved: int = 0
    """Those of them that are in the new one, and verified."""
    left: int = 0
    """Those that are not; some may have been looked at in vain."""
    copied: int = 0
    """Objects copied in this run."""
    verified: int = 0
    """Objects that were in both stores before and turned out to be the same."""
    gone: int = 0
    """Objects that were deleted while they were copied."""
    bytes: int = 0
    """Bytes copied in this run."""
    bytes_left: int = 0
    """Bytes of the objects that are left."""
    unfinished: int = 0
    """Objects that are parts of an unfinished upload: they are not moved, and their upload ends in the old store."""
    failed: Counter[str] = field(default_factory=Counter[str])
    """How many objects could not be moved, by error class."""
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """The first of them, and why."""

    @property
    def is_complete(self) -> bool:
        """Whether every object of the old store is in the new one."""
        return not self.left and not self.failed and not self.unfinished


class _Notes:
    """What is in the new store, and what is noted there as verified: a temporary file, and pages in the store."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            "CREATE TABLE there (key TEXT PRIMARY KEY, size INTEGER, modified REAL) WITHOUT ROWID;"
            "CREATE TABLE noted (key TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN;"
        )
        self._next_page = 0
        self._new: list[str] = []
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        self._database.close()

    async def read(self) -> None:
        """Read all pages that are in the store."""
        while True:
            try:
                with self._side.guard():
                    content = b"".join([b async for b in self._side.driver.get_async(self._page_path(), 0, None)])
            except ObjectNotFoundError:
                return
            for key in msgspec.json.decode(content, type=list[str]):
                self._note(key)
            self._next_page += 1

    async def look(self, driver_infos: AsyncIterator[ObjectInfo]) -> None:
        """Take the listing of the new store."""
        self._database.execute("DELETE FROM there")
        async for info in driver_infos:
            self._database.execute("INSERT INTO there VALUES (?, ?, ?)", (info.key, info.size, info.last_modified))

    def standing(self, info: ObjectInfo) -> Standing:
        """Return how an object of the old store stands."""
        there = self._database.execute("SELECT size, modified FROM there WHERE key = ?", (info.key,)).fetchone()
        if there is None:
            return "left"
        noted = self._database.execute("SELECT 1 FROM noted WHERE key = ?", (info.key,)).fetchone() is not None
        size, modified = there
        if noted:
            # Of another size: the application has replaced it since, in the new store only.
            newer = modified is None or info.last_modified is None or modified >= info.last_modified
            return "moved" if size == info.size or newer else "differs"
        return "unverified" if size == info.size else "differs"

    async def add(self, key: str) -> None:
        """Note that an object is verified."""
        self._note(key)
        self._new.append(key)
        if time.monotonic() - self._flushed_at > _FLUSH_SECONDS:
            await self.flush()

    def _note(self, key: str) -> None:
        self._database.execute("INSERT OR IGNORE INTO noted VALUES (?)", (key,))

    async def flush(self) -> None:
        """Write what is new into the store."""
        self._flushed_at = time.monotonic()
        keys, self._new = self._new, []
        if not keys:
            return
        content = msgspec.json.encode(keys)
        while True:
            path, self._next_page = self._page_path(), self._next_page + 1
            try:
                with self._side.guard():
                    options = PutOptions(overwrite=False, size=len(content))
                    await self._side.driver.put_async(path, iter_blocks_async(content), options)
            except ObjectExistsError:
                continue  # another process moves as well
            return

    def _page_path(self) -> str:
        return self._side.path(f"{RESERVED_SEGMENT}/moved-{self._next_page:08}")


class Mover:
    """Moves what is in the old store. Several may run at the same time; they only do some work twice."""

    def __init__(self, backend: MovingBackend, config: MoveConfig | None = None) -> None:
        """Move towards the store that `backend` writes to; it must be started."""
        self._from, self._to = backend.moving_driver.then, backend.moving_driver.now
        # Without the classes and limits of the application: what was stored once is stored again.
        self._old = StorageBackend(
            self._from.backend.key, driver=self._from.driver, prefix=self._from.backend.prefix, digest=None
        )
        self._new = StorageBackend(
            self._to.backend.key,
            driver=self._to.driver,
            prefix=self._to.backend.prefix,
            digest=backend.digest or "sha256",
        )
        self._config = config or MoveConfig()
        self._free_at = 0.0
        self.report = MoveReport()

    async def status(self) -> MoveReport:
        """Look at both stores, and change nothing."""
        report = MoveReport()
        with closing(_Notes(self._to)) as notes:
            await notes.read()
            await notes.look(self._new.list_async())
            async for info, standing in self._compare(notes, report):
                _count(report, info, standing)
        return report

    async def run(self) -> MoveReport:
        """Copy and verify until nothing is left, or nothing more can be done.

        Raises:
            StorageError: If a store cannot be used at all: no access, no bucket, no space.
        """
        with closing(_Notes(self._to)) as notes:
            await notes.read()
            for _ in range(_MOST_PASSES):
                done = self.report.copied + self.report.verified
                await self._pass(notes)
                if self.report.copied + self.report.verified == done or self.report.failed:
                    break
        return self.report

    async def _pass(self, notes: _Notes) -> None:
        """Look at all objects once. What is written meanwhile, by processes of an older set-up, is for the next one."""
        report = self.report
        report.objects = report.moved = report.left = report.bytes_left = report.unfinished = 0
        await notes.look(self._new.list_async())
        page: list[tuple[ObjectInfo, Standing]] = []
        async for each in self._compare(notes, report):
            _count(report, *each)
            if each[1] != "moved":
                page.append(each)
            if len(page) == _PAGE:
                await self._move_page(notes, page)
                page = []
        await self._move_page(notes, page)

    async def _compare(self, notes: _Notes, report: MoveReport) -> AsyncGenerator[tuple[ObjectInfo, Standing], None]:
        async with aclosing(self._old.list_async()) as infos:
            async for info in infos:
                if unfinished_key(info.key) is not None:
                    report.unfinished += 1
                else:
                    yield info, notes.standing(info)

    async def _move_page(self, notes: _Notes, page: Sequence[tuple[ObjectInfo, Standing]]) -> None:
        facts = await self._facts([info.key for info, _ in page])
        places = asyncio.Semaphore(self._config.jobs)

        async def move(info: ObjectInfo, standing: Standing) -> None:
            async with places:
                await self._move(notes, info, standing, facts.get(info.key, KnownFacts()))

        try:
            async with asyncio.TaskGroup() as tasks:
                for each in page:
                    tasks.create_task(move(*each))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await notes.flush()

    async def _facts(self, keys: Sequence[str]) -> Mapping[str, KnownFacts]:
        return await self._config.facts(keys) if self._config.facts is not None and keys else {}

    async def _move(self, notes: _Notes, info: ObjectInfo, standing: Standing, facts: KnownFacts) -> None:
        """Move one object; note why it could not be moved if that is its own fault."""
        try:
            await self._attempt(info, standing, facts)
        except ObjectNotFoundError:
            self.report.gone += 1
        except (ObjectChangedError, BackendUnavailableError, _NotTheSameError) as error:
            self._fail(info.key, error)
            return
        except StorageError as error:
            if type(error) is not StorageError:
                raise  # the next object would fail as well
            self._fail(info.key, error)
            return
        else:
            await notes.add(info.key)
            self.report.moved += 1
        self.report.left -= 1
        self.report.bytes_left -= info.size
        if self._config.on_progress is not None:
            self._config.on_progress(self.report)

    def _fail(self, key: str, error: Exception) -> None:
        self.report.failed[type(error).__name__.lstrip("_")] += 1
        if len(self.report.failures) < _NAMED:
            self.report.failures[key] = error.detail if isinstance(error, StorageError) else str(error)

    async def _attempt(self, info: ObjectInfo, standing: Standing, facts: KnownFacts) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                if standing != "left" or not await self._copy(info.key, facts):
                    await self._verify(info.key)
            except BackendUnavailableError:
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(self._config.retry_seconds * 2**attempt)
            except ObjectNotFoundError:
                if standing == "left":
                    await self._new.delete_async(info.key)  # what an attempt without an answer may have left
                raise
            else:
                return

    async def _copy(self, key: str, facts: KnownFacts) -> bool:
        """Copy an object, and return whether it was not there: an answer may be lost, another process faster."""
        info = await self._old.head_async(key)
        content = self._paced(self._old.get_async(key))
        try:
            stored = await self._new.put_async(content, key=key, overwrite=False, **self._kept(info, facts))
        except ObjectExistsError:
            return False
        self.report.bytes += stored.size
        try:
            await self._check_copy(info, stored, facts)
        except (ObjectNotFoundError, _NotTheSameError):
            await self._new.delete_async(key)
            raise
        self.report.copied += 1
        return True

    async def _check_copy(self, info: ObjectInfo, stored: ObjectInfo, facts: KnownFacts) -> None:
        if stored.size != info.size:
            raise _NotTheSameError(f"{info.size} bytes became {stored.size}: run this again")
        _check_digest(facts.checksum, stored.checksum)
        if self._config.read_back and await self._digest(self._new, info.key) != stored.checksum:
            raise _NotTheSameError("The new store gives back other bytes than it was given: check that store")
        # A delete that came meanwhile may have looked into the new store before the copy was there. It has looked into
        # the old one before that: see `MovingDriver.delete`.
        await self._old.head_async(info.key)

    def _kept(self, info: ObjectInfo, facts: KnownFacts) -> dict[str, Any]:
        """Return content type and metadata: the store's, or where it keeps none, the row's."""
        if Capability.METADATA in self._from.driver.capabilities:
            return {"content_type": info.content_type, "metadata": info.metadata}
        content_type = facts.content_type or mimetypes.guess_type(info.key)[0]
        return {"content_type": content_type, "metadata": facts.metadata}

    async def _verify(self, key: str) -> None:
        """Read both, and compare."""
        old, new = await self._digest(self._old, key), await self._digest(self._new, key)
        if old != new:
            raise _NotTheSameError(
                "The two stores hold different content under this key: if the new one is right, delete it in the old "
                "store, else in the new one, and run this again"
            )
        self.report.verified += 1

    async def _digest(self, backend: StorageBackend, key: str) -> str:
        algorithm = self._new.digest or "sha256"
        digest = hashlib.new(algorithm)
        source = backend.get_async(key)
        async with aclosing(self._paced(source) if backend is self._old else source) as blocks:
            async for block in blocks:
                digest.update(block)
        return f"{algorithm}:{digest.hexdigest()}"

    async def _paced(self, blocks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Pass blocks on, no faster than allowed."""
        rate = self._config.max_bytes_per_second
        async with aclosing(blocks):
            async for block in blocks:
                yield block
                if rate is not None:
                    now = time.monotonic()
                    self._free_at = max(now, self._free_at) + len(block) / rate
                    await asyncio.sleep(self._free_at - now)


class _NotTheSameError(Exception):
    """The copy is not the original."""


def _check_digest(known: str | None, found: str | None) -> None:
    """Compare with the digest in the row, if it is of the same kind."""
    if known is None or found is None or known.partition(":")[0] != found.partition(":")[0]:
        return
    if known != found:
        raise _NotTheSameError(
            "The old store holds other bytes than the row's checksum says: restore the object from a backup"
        )


def _count(report: MoveReport, info: ObjectInfo, standing: Standing) -> None:
    report.objects += 1
    if standing == "moved":
        report.moved += 1
    else:
        report.left += 1
        report.bytes_left += info.size
