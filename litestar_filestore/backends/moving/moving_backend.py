"""`MovingBackend`: one backend for the application, two stores below it, while objects move between them.

Rows name a backend, not a store, so no row changes. New objects go to one store; an object that is not there yet is
read from the other one; deletes go to both. What copies the rest is `Mover`.
"""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn

import msgspec

from litestar_filestore.core.advanced_alchemy import LegacyDriver
from litestar_filestore.core.backend import Guard, StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.keys import join_prefix
from litestar_filestore.core.part_objects import PartObjects
from litestar_filestore.core.sources import AsyncFeed, Feed, Meter
from litestar_filestore.core.types import Capability, PartLimits, PutOptions
from litestar_filestore.errors import ConfigurationError, ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from litestar_filestore.core.driver import ObjectVersion
    from litestar_filestore.core.types import Block, FormPolicy, ObjectInfo, Part, SignedAnswer, SignedForm, SignMethod
    from litestar_filestore.errors import StorageError

__all__ = ("MovingBackend", "MovingDriver", "Side")

_OF_BOTH = Capability.SIGN_GET | Capability.METADATA | Capability.LOCAL_PATH | Capability.NATIVE_ASYNC
"""Abilities that are needed for every object, whichever store it is in."""
_OF_ONE = Capability.SIGN_PUT | Capability.PUT_IF_ABSENT | Capability.SIGN_PARTS | Capability.SIGN_FORM
"""Abilities that only new objects need."""
_MARK = "target."
"""Begins the names of unfinished objects in the target. Those that were begun before the move have none."""


class Side:
    """One of the two stores."""

    def __init__(self, backend: StorageBackend) -> None:
        """Use the driver and the prefix of `backend`."""
        self.backend = backend
        self.driver = backend.storage_driver
        self._prefix = backend.prefix or ""
        self.parts = self.driver if Capability.PARTS in self.driver.capabilities else PartObjects(self.driver)

    def path(self, key: str) -> str:
        """Return the path of a key in this store."""
        return join_prefix(self._prefix, key)

    def guard(self, feed: Feed | AsyncFeed | None = None, *, names: bool = False) -> Guard:
        """Return a context that raises errors of this package. With `names`, they name this store.

        Without, they get the key of the moving backend, and the operation that was called there.
        """
        return Guard(self.driver, self.backend.key if names else "", "", None, feed)

    def named(self, info: ObjectInfo) -> ObjectInfo:
        """Return `info` with the key instead of the path."""
        return msgspec.structs.replace(info, key=info.key[len(self._prefix) + 1 :]) if self._prefix else info


class MovingDriver(Driver):
    """Writes to one store, reads from it and then from the other one, deletes in both."""

    name: ClassVar[str] = "moving"

    def __init__(self, source: StorageBackend, target: StorageBackend, *, writes: Literal["target", "source"]) -> None:
        """Use the drivers of two backends; see `MovingBackend`."""
        self._source, self._target = Side(source), Side(target)
        self.now, self.then = (self._target, self._source) if writes == "target" else (self._source, self._target)
        """The store that is written to, and read first; and the other one."""
        driver = self.now.driver
        self.protocol = driver.protocol
        self.capabilities = (
            Capability.PARTS
            | (driver.capabilities & self.then.driver.capabilities & _OF_BOTH)
            | (driver.capabilities & _OF_ONE)
        )
        self.part_buffers = driver.part_buffers
        self.part_limits = self.now.parts.part_limits or PartLimits()
        self.puts_in_thread = driver.puts_in_thread

    @property
    def place(self) -> str:
        """Where new objects go."""
        return "/".join(filter(None, (self.now.driver.place.rstrip("/"), self.now.backend.prefix)))

    # -- writing

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Put into the store that is written to."""
        if not options.overwrite:
            self._refuse_existing(path)
        with self.now.guard():
            return self.now.named(self.now.driver.put(self.now.path(path), blocks, options))

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Put into the store that is written to."""
        if not options.overwrite:
            await self._refuse_existing_async(path)
        with self.now.guard():
            return self.now.named(await self.now.driver.put_async(self.now.path(path), blocks, options))

    def _refuse_existing(self, path: str) -> None:
        try:
            with self.then.guard():
                self.then.driver.head(self.then.path(path))
        except ObjectNotFoundError:
            return
        _refuse()

    async def _refuse_existing_async(self, path: str) -> None:
        try:
            with self.then.guard():
                await self.then.driver.head_async(self.then.path(path))
        except ObjectNotFoundError:
            return
        _refuse()

    # The order of the two deletes is a promise: the mover looks, after each copy, whether the original is still there.
    # If it is, this delete comes to the copy as well; if it is not, the mover removes the copy.

    def delete(self, paths: Sequence[str]) -> None:
        """Delete in both stores: first where objects are copied from."""
        try:
            with self.then.guard():
                self.then.driver.delete([self.then.path(path) for path in paths])
        finally:
            with self.now.guard():
                self.now.driver.delete([self.now.path(path) for path in paths])

    async def delete_async(self, paths: Sequence[str]) -> None:
        """Delete in both stores: first where objects are copied from."""
        try:
            with self.then.guard():
                await self.then.driver.delete_async([self.then.path(path) for path in paths])
        finally:
            with self.now.guard():
                await self.now.driver.delete_async([self.now.path(path) for path in paths])

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside the store that is written to, or into it."""
        if not overwrite:
            self._refuse_existing(target)
        try:
            with self.now.guard():
                self.now.driver.copy(self.now.path(source), self.now.path(target), overwrite=overwrite)
        except ObjectNotFoundError:
            with self.then.guard():
                options = _options_of(self.then.driver.head(self.then.path(source)), overwrite=overwrite)
                feed = Feed(self.then.driver.get(self.then.path(source), 0, None), Meter(digest=None))
            with self.now.guard(feed):
                self.now.driver.put(self.now.path(target), feed, options)

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside the store that is written to, or into it."""
        if not overwrite:
            await self._refuse_existing_async(target)
        try:
            with self.now.guard():
                await self.now.driver.copy_async(self.now.path(source), self.now.path(target), overwrite=overwrite)
        except ObjectNotFoundError:
            with self.then.guard():
                options = _options_of(await self.then.driver.head_async(self.then.path(source)), overwrite=overwrite)
                feed = AsyncFeed(self.then.driver.get_async(self.then.path(source), 0, None), Meter(digest=None))
            with self.now.guard(feed):
                await self.now.driver.put_async(self.now.path(target), feed, options)

    # -- reading

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Read from the store that has the object."""
        for side in (self.now, self.then):
            has_begun = False
            try:
                with side.guard():
                    for block in side.driver.get(side.path(path), start, end):
                        has_begun = True
                        yield block
            except ObjectNotFoundError:
                if has_begun or side is self.then:
                    raise
            else:
                return

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Read from the store that has the object."""
        for side in (self.now, self.then):
            has_begun = False
            try:
                with side.guard():
                    async with aclosing(side.driver.get_async(side.path(path), start, end)) as blocks:
                        async for block in blocks:
                            has_begun = True
                            yield block
            except ObjectNotFoundError:
                if has_begun or side is self.then:
                    raise
            else:
                return

    def version_at_hand(self, path: str) -> ObjectVersion | None:
        """Open an object of the store that is read first, if nothing has to be waited for."""
        return self.now.driver.version_at_hand(self.now.path(path))

    async def open_version_async(self, path: str, start: int, end: int | None) -> ObjectVersion | None:
        """Open the object in the store that has it."""
        try:
            with self.now.guard():
                return await self.now.driver.open_version_async(self.now.path(path), start, end)
        except ObjectNotFoundError:
            with self.then.guard():
                return await self.then.driver.open_version_async(self.then.path(path), start, end)

    def head(self, path: str) -> ObjectInfo:
        """Ask the store that has the object."""
        try:
            with self.now.guard():
                return self.now.named(self.now.driver.head(self.now.path(path)))
        except ObjectNotFoundError:
            with self.then.guard():
                return self.then.named(self.then.driver.head(self.then.path(path)))

    async def head_async(self, path: str) -> ObjectInfo:
        """Ask the store that has the object."""
        try:
            with self.now.guard():
                return self.now.named(await self.now.driver.head_async(self.now.path(path)))
        except ObjectNotFoundError:
            with self.then.guard():
                return self.then.named(await self.then.driver.head_async(self.then.path(path)))

    # An object that is copied meanwhile was not in the first listing, so it is in the second one.

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List both stores, each key once. Keys are kept in a temporary file, so the memory does not grow."""
        with closing(_Keys()) as seen:
            for side in (self.now, self.then):
                with side.guard():
                    for info in map(side.named, side.driver.list(side.path(prefix))):
                        if seen.add(info.key):
                            yield info

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """List both stores, each key once."""
        with closing(_Keys()) as seen:
            for side in (self.now, self.then):
                with side.guard():
                    async with aclosing(side.driver.list_async(side.path(prefix))) as infos:
                        async for info in infos:
                            if seen.add((named := side.named(info)).key):
                                yield named

    # -- links: those that were signed for the other store work until they run out, because its objects stay there

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Sign a URL of the store that has the object, or will have it."""
        side = self.now if method == "PUT" else self._holder(path)
        with side.guard():
            return side.driver.sign(side.path(path), method=method, expires_in=expires_in)

    async def sign_async(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Sign a URL of the store that has the object, or will have it."""
        side = self.now if method == "PUT" else await self._holder_async(path)
        with side.guard():
            return await side.driver.sign_async(side.path(path), method=method, expires_in=expires_in)

    def sign_answer(self, path: str, answer: SignedAnswer) -> str:
        """Sign a URL of the store that has the object."""
        side = self._holder(path)
        with side.guard():
            return side.driver.sign_answer(side.path(path), answer)

    async def sign_answer_async(self, path: str, answer: SignedAnswer) -> str:
        """Sign a URL of the store that has the object."""
        side = await self._holder_async(path)
        with side.guard():
            return await side.driver.sign_answer_async(side.path(path), answer)

    async def sign_form_async(self, path: str, policy: FormPolicy) -> SignedForm:
        """Sign a form that puts into the store that is written to."""
        with self.now.guard():
            return await self.now.driver.sign_form_async(self.now.path(path), policy)

    def _holder(self, path: str) -> Side:
        try:
            with self.now.guard():
                self.now.driver.head(self.now.path(path))
        except ObjectNotFoundError:
            return self.then
        return self.now

    async def _holder_async(self, path: str) -> Side:
        try:
            with self.now.guard():
                await self.now.driver.head_async(self.now.path(path))
        except ObjectNotFoundError:
            return self.then
        return self.now

    # -- parts: they stay in the store in which their object was begun

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Begin in the store that is written to."""
        if not options.overwrite:
            await self._refuse_existing_async(path)
        with self.now.guard():
            upload = await self.now.parts.begin_parts_async(self.now.path(path), options)
        return f"{_MARK}{upload}" if self.now is self._target else upload

    def _owner(self, upload: str) -> tuple[Side, str]:
        return (self._target, upload.removeprefix(_MARK)) if upload.startswith(_MARK) else (self._source, upload)

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Put into the store in which the object was begun."""
        side, name = self._owner(upload)
        with side.guard():
            return await side.parts.put_part_async(side.path(path), name, number, offset, blocks, size=size)

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Finish in the store in which the object was begun. If that is the other one, the mover finds it there."""
        side, name = self._owner(upload)
        if not options.overwrite and side is self.now:
            await self._refuse_existing_async(path)
        with side.guard():
            return side.named(await side.parts.finish_parts_async(side.path(path), name, parts, options))

    def abandon_parts(self, path: str, upload: str) -> None:
        """Abandon in the store in which the object was begun."""
        side, name = self._owner(upload)
        with side.guard():
            side.parts.abandon_parts(side.path(path), name)

    async def abandon_parts_async(self, path: str, upload: str) -> None:
        """Abandon in the store in which the object was begun."""
        side, name = self._owner(upload)
        with side.guard():
            await side.parts.abandon_parts_async(side.path(path), name)

    async def sign_part_async(self, path: str, upload: str, number: int, *, expires_in: int, size: int | None) -> str:
        """Sign for the store in which the object was begun."""
        side, name = self._owner(upload)
        with side.guard():
            return await side.driver.sign_part_async(side.path(path), name, number, expires_in=expires_in, size=size)

    async def list_parts_async(self, path: str, upload: str) -> Sequence[Part]:
        """Ask the store in which the object was begun."""
        side, name = self._owner(upload)
        with side.guard():
            return await side.driver.list_parts_async(side.path(path), name)

    async def cors_async(self, rules: Sequence[Mapping[str, Any]] | None = None) -> Sequence[Mapping[str, Any]]:
        """Ask the store that is written to, and perhaps set its rules."""
        with self.now.guard():
            return await self.now.driver.cors_async(rules)

    # -- life

    def local_path(self, path: str) -> Path:
        """Return the file in the folder that has it."""
        found = self.now.driver.local_path(self.now.path(path))
        return found if found.exists() else self.then.driver.local_path(self.then.path(path))

    def start(self) -> None:
        """Start both drivers."""
        for side in (self.then, self.now):
            with side.guard(names=True):
                side.driver.start()

    async def start_async(self) -> None:
        """Start both drivers."""
        for side in (self.then, self.now):
            with side.guard(names=True):
                await side.driver.start_async()

    def close(self) -> None:
        """Close both drivers."""
        try:
            self.then.driver.close()
        finally:
            self.now.driver.close()

    async def close_async(self) -> None:
        """Close both drivers."""
        try:
            await self.then.driver.close_async()
        finally:
            await self.now.driver.close_async()

    def clean(self, older_than: float) -> int:
        """Clean up in both stores."""
        return self.then.driver.clean(older_than) + self.now.driver.clean(older_than)

    async def clean_async(self, older_than: float) -> int:
        """Clean up in both stores."""
        return await self.then.driver.clean_async(older_than) + await self.now.driver.clean_async(older_than)

    def translate(self, error: Exception) -> StorageError | None:
        """Translate as the driver does that raised it; only versions that are read raise what is not translated yet."""
        return self.now.driver.translate(error) or self.then.driver.translate(error)


class MovingBackend(StorageBackend):
    """A backend whose objects move from one store to another, while the application runs and rows stay as they are.

    It stands in the place of the old backend, under the key that columns and rows name::

        MovingBackend("documents", source=LocalBackend("old", ...), target=ObstoreBackend("new", "s3://..."))

    * New objects are stored in the target. With ``writes="source"`` they are stored in the source, and the target is
      only read: deploy that first where several processes serve, so that none of the old ones is asked for an object
      that only the target has. It is the way back as well.
    * An object is read from the store that is written to, and from the other one if it is not there.
    * Deletes go to both stores. Nothing else is removed from the other store, so links that were signed for it work
      until they run out.
    * An upload in parts stays in the store in which it was begun.

    ``litestar storages migrate`` copies what is in the old store, and verifies it. Do not overwrite objects under keys
    of your own meanwhile.
    """

    def __init__(
        self,
        key: str,
        *,
        source: StorageBackend,
        target: StorageBackend,
        writes: Literal["target", "source"] = "target",
        **options: Any,
    ) -> None:
        """Set up a backend; nothing is contacted.

        Args:
            key: The key that columns and rows name.
            source: Backend on the old store. It gets a key of its own, and is not registered.
            target: Backend on the new store, likewise. Its template of keys, digest and limit hold for new objects.
            writes: Which of the two stores new objects.
            **options: See `StorageBackend`. There is no `prefix`: the two backends have theirs.

        Raises:
            ConfigurationError: If the two are one, or one of them cannot be read and written as it is.
        """
        if "prefix" in options:
            raise ConfigurationError("MovingBackend has no prefix: give one to its source or target", backend=key)
        if source.key == target.key:
            raise ConfigurationError(
                f"The source and the target have the same key {source.key!r}: give one of them another", backend=key
            )
        for side in (source, target):
            _check_side(side, key)
        self.source = source
        self.target = target
        self.moving_driver = MovingDriver(source, target, writes=writes)
        defaults: dict[str, Any] = {
            "key_template": target.key_template,
            "digest": target.digest,
            "max_bytes": target.max_bytes,
        }
        super().__init__(key, driver=self.moving_driver, **{**defaults, **options})


_READ_AND_WRITTEN = ("put", "put_async", "get", "get_async", "head", "head_async", "delete", "delete_async")


def _check_side(side: StorageBackend, key: str) -> None:
    """Refuse a backend whose class changes what is stored: objects are copied below it, driver to driver."""
    changed = [name for name in _READ_AND_WRITTEN if getattr(type(side), name) is not getattr(StorageBackend, name)]
    if changed or isinstance(side.storage_driver, LegacyDriver):
        what = f"overrides {changed[0]}()" if changed else "is in Advanced Alchemy's form"
        raise ConfigurationError(
            f"{type(side).__name__} {what}, so its objects cannot be copied as they are: move between backends that "
            "have a driver",
            backend=key,
        )


def _options_of(info: ObjectInfo, *, overwrite: bool) -> PutOptions:
    return PutOptions(content_type=info.content_type, metadata=info.metadata or {}, overwrite=overwrite, size=info.size)


def _refuse() -> NoReturn:
    raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")


class _Keys:
    """A set of keys that grows on the disk: SQLite keeps a database without a name in a temporary file."""

    def __init__(self) -> None:
        # A generator may be continued in another thread, but never in two at a time.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, key: str) -> bool:
        """Add a key, and return whether it is new."""
        return bool(self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount)

    def close(self) -> None:
        """Drop the keys."""
        self._database.close()
