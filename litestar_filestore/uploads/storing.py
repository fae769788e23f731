"""Stores the files of requests, and enters them in the ledger of the database that will hold their rows."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.threads import finish
from litestar_filestore.errors import ConfigurationError, DatabaseUnavailableError
from litestar_filestore.ledger.intents import Intents, intents_of, saving, saving_async, store_async
from litestar_filestore.ledger.ledger import Facts, ObjectKey
from litestar_filestore.ledger.staging import staging_engine
from litestar_filestore.ledger.table import State, ledger_of
from litestar_filestore.orm.columns import configured_mappers, file_columns
from litestar_filestore.tracking import holds
from litestar_filestore.tracking.deletes import Target, delete_targets_async
from litestar_filestore.tracking.journal import has_committed_row
from litestar_filestore.tracking.marks import mark_kept, mark_used

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence

    import sqlalchemy as sa

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.new_file import NewFile
    from litestar_filestore.core.types import AsyncDataLike
    from litestar_filestore.ledger.places import Place

__all__ = (
    "ApplicationStorer",
    "LedgerStorer",
    "PlainStorer",
)

logger = logging.getLogger("litestar_filestore")


class LedgerStorer:
    """Stores files for the rows of one database, whose ledger knows every object before its first byte."""

    def __init__(self, place: Place) -> None:
        """Store files for rows in `place`."""
        self._place = place

    @property
    def place(self) -> Place:
        """The ledger, and where it is."""
        return self._place

    @property
    def table(self) -> sa.Table:
        """The ledger's table."""
        return self._place.table

    def store(self, backend: StorageBackend, source: AsyncDataLike, new: NewFile) -> Awaitable[FileObject]:
        """Stage and store; the row that takes the file records what was written."""
        return store_async(self._place.database, self._place.table, backend, source, new)

    def has_row(self, file: FileObject) -> bool:
        """Return whether a row is known to have taken a file, without a look into the ledger."""
        return has_committed_row(file)

    async def release(self, files: Iterable[FileObject]) -> int:
        """Doom what is still staged."""
        keys = [_key(file) for file in files]
        try:
            return await finish(self._intents.abandon(keys, (State.STAGED,)))
        except DatabaseUnavailableError as error:
            # A staged object has a lease, so nothing stays. On SQLite an open transaction may also still take it.
            logger.warning("%d uploaded files are left to their lease: %s", len(keys), error)
            return 0

    async def hand_over(self, file: FileObject) -> None:
        """Record what was written, and renew the lease: the row may come from another process, within an hour."""
        await self._intents.record(_key(file), Facts(file.size, file.checksum))

    async def keep(self, file: FileObject) -> None:
        """Record that an object stays."""
        await self._intents.keep(_key(file), Facts(file.size, file.checksum))

    async def discard(self, file: FileObject) -> bool:
        """Doom a kept object."""
        # A kept object has no lease, so the caller has to learn it if the database did not record this.
        return bool(await finish(self._intents.abandon([_key(file)], (State.STAGED, State.KEPT))))

    @property
    def _intents(self) -> Intents:
        return intents_of(self._place.database, self._place.table)


class PlainStorer:
    """Stores files without a ledger, and deletes those that no committed row took. A crash leaves unknown objects."""

    async def store(self, backend: StorageBackend, source: AsyncDataLike, new: NewFile) -> FileObject:
        """Store the file, and watch what becomes of it."""
        if new.link is not None:
            await greenlet_spawn(mark_used, backend, new.link)
        file = new.with_content(backend, source)
        target = Target(backend, file.prepare_key())
        try:
            await file.put_async(max_concurrency=new.max_concurrency)
        except BaseException:
            # The store may have the object all the same: a response was lost, or a cancellation came too late. But an
            # object under a key that others know may be theirs.
            if new.key is None:
                await finish(delete_targets_async([target]))
            raise
        holds.watch(target)
        return file

    def has_row(self, file: FileObject) -> bool:
        """Return whether a row has taken a file; if so, forget it."""
        return holds.let_go_of_taken(Target(file.backend, file.path))

    async def release(self, files: Iterable[FileObject]) -> int:
        """Delete the files that no committed row holds."""
        targets = [(Target(file.backend, file.path), file) for file in files]
        unwanted = [target for target, file in targets if holds.let_go(target, file, give_up=True)]
        if unwanted:
            await finish(delete_targets_async(unwanted))
        return len(unwanted)

    async def hand_over(self, file: FileObject) -> None:
        """Forget a file: this object cannot tell when it is no longer needed."""
        holds.let_go(Target(file.backend, file.path), file, give_up=False)

    async def keep(self, file: FileObject) -> None:
        """Forget a file, so that it is not deleted, and mark it for all processes."""
        holds.check(file)
        await greenlet_spawn(mark_kept, file)
        holds.let_go(Target(file.backend, file.path), file, give_up=False)

    async def discard(self, file: FileObject) -> bool:
        """Delete a file. Rows are not known here, so it must not be in one."""
        target = Target(file.backend, file.path)
        holds.let_go(target, file, give_up=False)
        await finish(delete_targets_async([target._replace(may_be_marked=True)]))
        return True


_Storer: TypeAlias = LedgerStorer | PlainStorer


class ApplicationStorer:
    """Chooses among an application's databases, and stores each file with the right ledger."""

    def __init__(self) -> None:
        """Store without a ledger until `open` has found the places."""
        self.has_started = False
        """Whether the application was started by its server."""
        self._places: Sequence[Place] = ()
        self._chosen: dict[tuple[type | None, str], LedgerStorer] = {}
        """The storers that were chosen, until `open` brings other places."""
        self._look_again: Callable[[], None] | None = None
        self._plain = PlainStorer()
        self._storers: WeakKeyDictionary[FileObject, _Storer] = WeakKeyDictionary()

    def open(self, places: Iterable[Place], *, look_again: Callable[[], None] | None = None) -> None:
        """Use these places from now on; a database that is reached in two ways is one place.

        Args:
            places: The ledgers that were found.
            look_again: Called for a file that may belong to a place not found yet, because a database is away; ``None``
                if all databases were examined.
        """
        self._look_again = look_again
        distinct: dict[object, Place] = {}
        for place in places:
            key = place.identity
            if key not in distinct or isinstance(place.database, AsyncEngine):
                distinct[key] = place
        self._places = tuple(distinct.values())
        self._chosen = {}

    def storer_for(self, model: type | None, backend: str) -> _Storer:
        """Return the object that stores files for the rows of a class.

        Args:
            model: A mapped class; ``None`` if it is not known whose rows are going to hold the files.
            backend: Key of the backend that the files go to. If no class is known, the columns of this backend decide.

        Raises:
            ConfigurationError: If several databases are possible.
            DatabaseUnavailableError: If it may be a database that is away.
        """
        if (chosen := self._chosen.get((model, backend))) is not None:
            return chosen
        if model is not None:
            places = [place for place in self._places if _has_model(place, model)] or self._beside(model)
        else:
            places = [place for place in self._places if place.stores_in(backend)] or list(self._places)
        if self._look_again is not None and (model is None or not places):
            # Without its ledger the object would be unknown, and another ledger would sweep it.
            raise self._not_found_yet(backend)
        if len(places) > 1:
            raise ConfigurationError(
                "The files could belong to rows of several databases, each with its own ledger: name the column"
                " in the form, as in Annotated[FileObject, Document.file], give each database its own backend, or"
                " list in LedgerConfig.databases only those that take uploads",
                backend=backend,
            )
        if not places or staging_engine(places[0].engine) is None:
            return self._plain  # a database in memory has only one connection, and none to stage on
        chosen = self._chosen[model, backend] = LedgerStorer(places[0])
        return chosen

    def _beside(self, model: type) -> list[Place]:
        """Return the places with the ledger of a class whose own table did not exist yet when they were found."""
        table: Any = getattr(model, "__table__", None)
        ledger = None if table is None else ledger_of(table.metadata)
        return [place for place in self._places if ledger is not None and ledger in place.tables]

    async def store(self, backend: StorageBackend, source: AsyncDataLike, new: NewFile) -> FileObject:
        """Store content under a new key, or once under a given one.

        After an error or a cancellation, nothing stays, or the ledger knows what stays and it is swept.

        Args:
            backend: Where to store.
            source: Content; its exceptions are passed on unchanged.
            new: Describes the new file, and the class whose row is going to hold it.

        Returns:
            The stored file. It belongs to the caller, who gives it to a row, keeps it or releases it.

        Raises:
            ObjectExistsError: If the key of `new` is taken.
            StorageError: If it cannot be stored.
        """
        storer = self.storer_for(new.model, backend.key)
        file = await storer.store(backend, source, new)
        self._storers[file] = storer
        return file

    def knows(self, backend: str) -> bool:
        """Return whether a file that the program itself stores in a backend is entered in a ledger.

        It is if the columns of exactly one database store there. If several databases are possible, the session that
        takes the file notes it, as without an application.
        """
        return self._is_awaited(backend) or self._place_of(backend) is not None

    @contextmanager
    def saving(self, file: FileObject) -> Generator[None]:
        """Enter a file that the program itself stores in the ledger of its backend."""
        if (place := self._place_of(file.backend_key)) is None:
            yield
            return
        with saving(place.database, place.table, file):
            yield
        self._storers[file] = LedgerStorer(place)

    @asynccontextmanager
    async def saving_async(self, file: FileObject) -> AsyncGenerator[None]:
        """`saving` without blocking the event loop."""
        if (place := self._place_of(file.backend_key)) is None:
            yield
            return
        async with saving_async(place.database, place.table, file):
            yield
        self._storers[file] = LedgerStorer(place)

    def _place_of(self, backend: str) -> Place | None:
        places = [place for place in self._places if place.stores_in(backend)]
        if not places and self._is_awaited(backend):
            raise self._not_found_yet(backend)
        return places[0] if len(places) == 1 and staging_engine(places[0].engine) is not None else None

    def _is_awaited(self, backend: str) -> bool:
        """Return whether columns that store in a backend may be in a database that was away."""
        return self._look_again is not None and any(
            column.type.storage_key == backend for mapper in configured_mappers() for column in file_columns(mapper)
        )

    def _not_found_yet(self, backend: str) -> DatabaseUnavailableError:
        if self._look_again is not None:
            self._look_again()
        return DatabaseUnavailableError(
            "A database was away when the application started, and its ledger is not found yet; try again later",
            backend=backend,
        )

    def has_row(self, file: FileObject) -> bool:
        """Return whether it is known, without asking a database, that a row has taken a file; it belongs to the row."""
        return self._storer_of(file).has_row(file)

    async def release(self, files: Iterable[FileObject]) -> int:
        """Give up those of `files` that no row has taken and that were not kept, and return their number.

        Files that an open transaction has taken are left alone.
        """
        by_storer: dict[_Storer, list[FileObject]] = {}
        for file in files:
            by_storer.setdefault(self._storer_of(file), []).append(file)
        failures: list[Exception] = []
        given_up = 0
        for storer, its in by_storer.items():
            try:
                given_up += await storer.release(its)
            except Exception as error:  # noqa: BLE001  # raised when the others are given up as well
                failures.append(error)
        if failures:
            raise failures[0] if len(failures) == 1 else ExceptionGroup("Files could not be given up", failures)
        return given_up

    async def hand_over(self, file: FileObject) -> None:
        """Let go of a file without releasing it, because another request may put it into a row.

        The ledger still knows it after the process has ended; without a ledger, it is forgotten here.

        Raises:
            LinkLostError: If it was given up already.
        """
        await self._storer_of(file).hand_over(file)

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds; once this returns, it is kept whatever happens next.

        Raises:
            LinkLostError: If it was given up already.
        """
        await self._storer_of(file).keep(file)

    async def discard(self, file: FileObject) -> bool:
        """Give up a kept file. A file that a row holds belongs to the row, and stays.

        Returns:
            Whether it was given up now; ``False`` if another caller was faster, or the file was not kept. Without a
            ledger it is always ``True``.
        """
        return await self._storer_of(file).discard(file)

    def _storer_of(self, file: FileObject) -> _Storer:
        return self._storers.get(file) or self.storer_for(None, file.backend_key)


def _key(file: FileObject) -> ObjectKey:
    return ObjectKey(file.backend_key, file.path)


def _has_model(place: Place, model: type) -> bool:
    return any(issubclass(model, mapper.class_) or issubclass(mapper.class_, model) for mapper in place.mappers)
