"""The files of one column, read and changed through the application's own session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from litestar import Request, Response, delete, get, head, put
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotFoundException
from litestar.exceptions.http_exceptions import ServiceUnavailableException
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import Disposition
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.downloads.response import FileDownload
from litestar_filestore.errors import ConfigurationError, ConflictError
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.orm.rows import lock_for_writing, writing_connection
from litestar_filestore.router.options import (
    Authorize,
    ColumnPlace,
    FileMethod,
    aliased,
    binary_operation,
    identity_of,
    raised_by_asking,
    raised_by_changes,
    refuse_unless_allowed,
    store_put,
)
from litestar_filestore.router.preconditions import Preconditions
from litestar_filestore.tracking.idle import has_only_read
from litestar_filestore.uploads.forms import ColumnFiles, plan_file
from litestar_filestore.uploads.refusals import RAISED_BY_UPLOADS, Conflict
from litestar_filestore.validation.field import FileField

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Mapper, Session

__all__ = (
    "ColumnRoutes",
    "RowFiles",
)

_DATA_EXCEPTION = "22"  # the class of ISO/IEC 9075-2 §24.1
_SERIALIZATION_FAILURE = "40001"  # PostgreSQL, ISO/IEC 9075-2 §24.1
_MARIADB_CHECKREAD = 1020  # "Record has changed since last read", with innodb_snapshot_isolation


class RowFiles:
    """Finds rows of a mapped class, and puts files into them. Works with sessions of both kinds."""

    def __init__(self, place: ColumnPlace, *, commit: bool) -> None:
        """Look at the column `place`.

        Args:
            place: The column.
            commit: Whether changes are committed here. Otherwise they are flushed, and whoever made the session
                commits.
        """
        self._place = place
        self._commit = commit

    async def find(self, session: Any, identity: tuple[Any, ...], *, lock: bool = False) -> Any:
        """Return the row of a primary key.

        Args:
            session: Of the request.
            identity: The primary key.
            lock: Whether the row is going to be changed. Nobody else can change it then until the transaction ends.

        Raises:
            NotFoundException: If there is no such row.
            ConflictError: If the row is to be locked, and the transaction reads what was there before another one
                changed it.
        """
        column = undefer(getattr(self._place.model, self._place.name))

        def get(sync: Session) -> Any:
            if lock:
                # SQLite reads what another connection is about to replace, unless this one has its only write lock.
                mapper: Mapper[Any] = sa.inspect(self._place.model)
                lock_for_writing(writing_connection(sync, mapper), mapper)
            return sync.get(
                self._place.model,
                identity,
                options=[column],
                with_for_update=lock or None,
                populate_existing=lock,
            )

        try:
            row = await _call(session, get)
        except OverflowError as error:  # of sqlite3
            raise NotFoundException("The file does not exist") from error
        except DBAPIError as error:
            if _is_no_key(error):
                raise NotFoundException("The file does not exist") from error
            if lock and _is_overtaken(error):
                raise ConflictError("Another transaction changed the row meanwhile; send the request again") from error
            raise
        if row is None:
            raise NotFoundException("The file does not exist")
        return row

    def file(self, row: Any, index: int | None) -> FileObject:
        """Return the file of a row, or the one at `index` where there are several.

        Raises:
            NotFoundException: If there is none.
        """
        file = self.present(row, index)
        if file is None:
            raise NotFoundException("The file does not exist")
        return file

    def present(self, row: Any, index: int | None) -> FileObject | None:
        """Return the file of a row, or the one at `index`; ``None`` if there is none."""
        value: Any = getattr(row, self._place.name)
        if index is None or value is None:
            return cast("FileObject | None", value)
        # A negative index would count from the end.
        return cast("FileObject", value[index]) if 0 <= index < len(value) else None

    def put(self, row: Any, index: int | None, file: FileObject) -> bool:
        """Put a file into a row, and return whether it took the place of another.

        Raises:
            NotFoundException: If `index` is neither that of a file nor the next one.
        """
        value = getattr(row, self._place.name)
        if index is None:
            setattr(row, self._place.name, file)
            return value is not None
        files = cast("list[FileObject]", value if value is not None else [])
        if not 0 <= index <= len(files):
            raise NotFoundException("The file does not exist")
        is_there = index < len(files)
        if value is None:
            setattr(row, self._place.name, [file])
        elif is_there:
            files[index] = file
        else:
            files.append(file)
        return is_there

    def remove(self, row: Any, index: int | None) -> None:
        """Take the file out of a row. Its bytes are deleted when that is committed."""
        self.file(row, index)
        if index is None:
            setattr(row, self._place.name, None)
        else:
            del getattr(row, self._place.name)[index]

    async def save(self, session: Any) -> None:
        """Send what was changed to the database, so that its errors become the answer."""
        await _call(session, lambda sync: sync.commit() if self._commit else sync.flush())

    async def pause(self, session: Any) -> None:
        """Give the connection back for as long as a transfer takes, if the application lets go of it too."""
        await _call(session, _pause)


def _is_no_key(error: DBAPIError) -> bool:
    """Return whether a database says that no row can have such a key: a number out of range, a text with NUL."""
    # SQLAlchemy knows no class for asyncpg's errors of this kind.
    return isinstance(error, DataError) or str(getattr(error.orig, "sqlstate", None)).startswith(_DATA_EXCEPTION)


def _is_overtaken(error: DBAPIError) -> bool:
    """Return whether a database refuses to lock a row because it is not what the transaction sees of it.

    That takes a snapshot from before somebody else's change. At READ COMMITTED a transaction looks again instead.
    """
    reason: Any = error.orig
    state = getattr(reason, "sqlstate", None)
    arguments: tuple[Any, ...] = getattr(reason, "args", ())
    return state == _SERIALIZATION_FAILURE or arguments[:1] == (_MARIADB_CHECKREAD,)


def _pause(session: Session) -> None:
    if has_only_read(session):
        session.rollback()


async def _call(session: Any, function: Callable[[Session], Any]) -> Any:
    """Run `function` with the sync session behind `session`, without blocking the event loop."""
    with guard_database():
        if isinstance(session, AsyncSession):
            return await session.run_sync(function)
        return await run_blocking(partial(function, session))


_Request = Request[Any, Any, Any]


@dataclass(frozen=True)
class ColumnRoutes:
    """What `create_file_router` was told about a column."""

    place: ColumnPlace
    methods: frozenset[FileMethod]
    session_dependency_key: str
    authorize: Authorize | None
    disposition: Disposition
    cache_control: str | None
    commit: bool
    max_bytes: int | None
    name: str | None

    def __post_init__(self) -> None:
        """Check what would fail at every request.

        Raises:
            ConfigurationError: If files could be taken out of rows that need one.
        """
        if "DELETE" in self.methods and not self.place.nullable and not self.place.column_type.multiple:
            raise ConfigurationError(
                f"{self.place.model.__name__}.{self.place.name} always holds a file: delete the row, or make the "
                "column nullable"
            )

    @property
    def dependencies(self) -> dict[str, Provide]:
        """What the handlers are given: row, session and, for a list, place in it."""
        return {
            "filestore_identity": identity_of(self.place),
            "filestore_session": aliased(self.session_dependency_key),
            "filestore_index": Provide(_index if self.place.column_type.multiple else _no_index, sync_to_thread=False),
        }

    def handlers(self) -> Sequence[Any]:
        """Return the handlers."""
        made: list[Any] = []
        if "GET" in self.methods:
            made += self._reading()
        if "PUT" in self.methods:
            made.append(self._writing())
        if "DELETE" in self.methods:
            made.append(self._deleting())
        return made

    @property
    def _path(self) -> str:
        return "/{index:int}" if self.place.column_type.multiple else "/"

    def _reading(self) -> Sequence[Any]:
        rows = RowFiles(self.place, commit=self.commit)

        async def download(
            request: _Request, identity: tuple[Any, ...], session: Any, index: int | None
        ) -> FileDownload:
            row = await rows.find(session, identity)
            await refuse_unless_allowed(self.authorize, request, row, "read")
            file = rows.file(row, index)
            # Nor should anybody wait for it while the store is waited for.
            await rows.pause(session)
            return FileDownload(file, disposition=self.disposition, cache_control=self.cache_control)

        @get(self._path, name=self.name, summary="Download the file", raises=raised_by_asking(self.authorize))
        async def read(
            request: _Request,
            filestore_identity: NamedDependency[tuple[Any, ...]],
            filestore_session: NamedDependency[Any],
            filestore_index: NamedDependency[int | None],
        ) -> FileDownload:
            """Send the file."""
            return await download(request, filestore_identity, filestore_session, filestore_index)

        @head(self._path, summary="Look at the file", include_in_schema=False)
        async def look(
            request: _Request,
            filestore_identity: NamedDependency[tuple[Any, ...]],
            filestore_session: NamedDependency[Any],
            filestore_index: NamedDependency[int | None],
        ) -> FileDownload:
            """Send the headers of the file."""
            return await download(request, filestore_identity, filestore_session, filestore_index)

        return [read, look]

    def _writing(self) -> Any:
        rows = RowFiles(self.place, commit=self.commit)
        files = ColumnFiles(self.place.column_type, self.place.model)
        planned = replace(plan_file(self.place.name, FileField(), files), max_bytes=self.max_bytes)

        @put(
            self._path,
            summary="Replace the file",
            operation_class=binary_operation(planned),
            raises=raised_by_changes(self.authorize, *RAISED_BY_UPLOADS),
            responses={201: ResponseSpec(FileObject, description="There was no file, request fulfilled")},
            request_max_body_size=None,  # the rules and limits of uploads hold
        )
        async def write(
            request: _Request,
            filestore_identity: NamedDependency[tuple[Any, ...]],
            filestore_session: NamedDependency[Any],
            filestore_index: NamedDependency[int | None],
            filename: FromQuery[str | None] = None,
        ) -> Response[FileObject]:
            """Put the body of the request in the place of the file, or of none."""
            session, wanted = filestore_session, Preconditions(request)
            row = await rows.find(session, filestore_identity)
            await refuse_unless_allowed(self.authorize, request, row, "write")
            previous = rows.present(row, filestore_index)
            await wanted.check(previous)  # before an upload that would be for nothing; its own word is given below
            name = filename or (previous.filename if previous is not None else self.place.name)
            # An upload may take minutes: nobody else should wait for its connection meanwhile.
            await rows.pause(session)
            file = await store_put(request, planned, filename=name)
            with wanted.deciding():
                row = await rows.find(session, filestore_identity, lock=True)
                # Rows and rights may have changed since.
                await refuse_unless_allowed(self.authorize, request, row, "write")
                await wanted.check(rows.present(row, filestore_index))
                replaced = rows.put(row, filestore_index, file)
                await rows.save(session)
            return Response(file, status_code=200 if replaced else 201)

        return write

    def _deleting(self) -> Any:
        rows = RowFiles(self.place, commit=self.commit)

        @delete(
            self._path,
            summary="Delete the file",
            raises=raised_by_changes(self.authorize, Conflict, ServiceUnavailableException),
        )
        async def remove(
            request: _Request,
            filestore_identity: NamedDependency[tuple[Any, ...]],
            filestore_session: NamedDependency[Any],
            filestore_index: NamedDependency[int | None],
        ) -> None:
            """Take the file out of its row."""
            wanted = Preconditions(request)
            with wanted.deciding():
                row = await rows.find(filestore_session, filestore_identity, lock=True)
                await refuse_unless_allowed(self.authorize, request, row, "delete")
                # Also where there is no file any more: who deletes a version and comes second is told so.
                await wanted.check(rows.present(row, filestore_index))
                rows.remove(row, filestore_index)
                await rows.save(filestore_session)

        return remove


def _index(index: FromPath[int]) -> int | None:
    return index


def _no_index() -> int | None:
    return None
