"""The files of one column, read and changed through the application's own session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from litestar.exceptions import NotFoundException
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.errors import ConflictError
from litestar_filestore.orm.columns import lock_for_writing, writing_connection
from litestar_filestore.orm.idle import has_only_read
from litestar_filestore.orm.outages import guard_database

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Mapper, Session

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.plugin.router_paths import ColumnPlace

__all__ = ("RowFiles",)

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
