"""Reads and changes the files of one column, through the application's own session."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import sqlalchemy as sa
from litestar import Request, Response, delete, get, head, put
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotFoundException
from litestar.exceptions.http_exceptions import ServiceUnavailableException
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery, PathParameter
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, undefer

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.downloads.response import FileDownload
from litestar_filestore.errors import ConfigurationError, ConflictError
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.orm.rows import lock_for_writing, writing_connection
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.router.options import RouteOptions
from litestar_filestore.router.preconditions import Preconditions
from litestar_filestore.tracking.idle import has_only_read
from litestar_filestore.uploads.forms import FileField, plan_file
from litestar_filestore.uploads.openapi import binary_operation
from litestar_filestore.uploads.raw import RawUpload
from litestar_filestore.uploads.refusals import RAISED_BY_UPLOADS, Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.orm import Mapper, Session

__all__ = (
    "ColumnPlace",
    "ColumnRoutes",
    "RowFiles",
    "find_column",
)

_DATA_EXCEPTION = "22"  # the class in ISO/IEC 9075-2 §24.1
_SERIALIZATION_FAILURE = "40001"  # PostgreSQL, ISO/IEC 9075-2 §24.1
_MARIADB_CHECKREAD = 1020  # "Record has changed since last read", with innodb_snapshot_isolation
_PLACE = re.compile(r"[0-9]{1,9}")
_PARAMETER = re.compile(r"\{([^{}:]+):([^{}:]+)\}")


@dataclass(frozen=True)
class ColumnPlace:
    """One file column, and how a path names a row of its table."""

    model: type[Any]
    """The mapped class."""
    name: str
    """The attribute that holds the file or files."""
    column_type: StoredObject
    """Type of the column."""
    nullable: bool
    """Whether a row may have no file."""
    key_types: Mapping[str, type[Any]]
    """Types of the path's parameters, in the order of the primary key."""


def find_column(column: Any, path: str) -> ColumnPlace:
    """Return what a router needs to know about a mapped column.

    Raises:
        ConfigurationError: If it is not a file column, or the path does not name the primary key.
    """
    if not isinstance(column, InstrumentedAttribute) or not isinstance(column.type, StoredObject):
        raise ConfigurationError(
            f"column= must be an attribute of a mapped class that holds files, such as Document.file, not {column!r}"
        )
    mapper = column.parent
    keys = {mapper.get_property_by_column(each).key: each.type.python_type for each in mapper.primary_key}
    named = [name for name, _ in _PARAMETER.findall(path)]
    if sorted(named) != sorted(keys):
        example = "/".join(f"{{{name}:{type_.__name__.lower()}}}" for name, type_ in keys.items())
        raise ConfigurationError(
            f"The path of the files of {mapper.class_.__name__} must name its primary key, for example /files/{example}"
        )
    nullable = bool(mapper.columns[column.key].nullable)
    return ColumnPlace(mapper.class_, column.key, column.type, nullable, keys)


_Request = Request[Any, Any, Any]


@dataclass(frozen=True)
class ColumnRoutes:
    """The routes of a column."""

    place: ColumnPlace
    options: RouteOptions
    session_dependency_key: str
    commit: bool

    def __post_init__(self) -> None:
        """Check for settings that would fail at every request.

        Raises:
            ConfigurationError: If clients could delete files from rows that must have one.
        """
        if "DELETE" in self.options.methods and not self.place.nullable and not self.place.column_type.multiple:
            raise ConfigurationError(
                f"{self.place.model.__name__}.{self.place.name} always holds a file, so DELETE cannot work: "
                "leave it out of methods=, or make the column nullable"
            )

    @property
    def dependencies(self) -> dict[str, Provide]:
        """Dependencies of the handlers: the row, the session and, for a list, which of its files is meant."""
        return {
            "filestore_identity": _identity_of(self.place),
            "filestore_session": _aliased(self.session_dependency_key),
            "filestore_entry": Provide(_entry if self.place.column_type.multiple else _no_entry, sync_to_thread=False),
        }

    @property
    def _path(self) -> str:
        return "/{file_id:str}" if self.place.column_type.multiple else "/"

    def reading(self) -> Sequence[Any]:
        """Return the handlers of GET and HEAD."""
        rows = RowFiles(self.place, commit=self.commit)

        async def read(
            request: _Request,
            filestore_identity: NamedDependency[tuple[Any, ...]],
            filestore_session: NamedDependency[Any],
            filestore_entry: NamedDependency[str | None],
        ) -> FileDownload:
            """Send the file."""
            row = await rows.find(filestore_session, filestore_identity)
            await self.options.allow(request, row, "read")
            file = rows.file(row, filestore_entry)
            # Nothing should wait for its connection while the store is slow.
            await rows.pause(filestore_session)
            return self.options.download(file)

        shown = get(
            self._path, name=self.options.name, summary="Download the file", raises=self.options.raised_by_asking
        )
        return [shown(read), head(self._path, include_in_schema=False)(read)]

    def writing(self) -> Any:
        """Return the handler of PUT."""
        rows = RowFiles(self.place, commit=self.commit)
        planned = replace(
            plan_file(self.place.name, FileField(), self.place.column_type, self.place.model),
            max_bytes=self.options.max_bytes,
        )

        @put(
            self._path,
            summary="Replace the file",
            operation_class=binary_operation(planned),
            raises=self.options.raised_by_changes(*RAISED_BY_UPLOADS),
            responses={201: ResponseSpec(FileObject, description="There was no file, request fulfilled")},
            request_max_body_size=None,  # the rules and limits of uploads apply
        )
        async def write(
            request: _Request,
            *,
            filestore_identity: NamedDependency[tuple[Any, ...]],
            filestore_session: NamedDependency[Any],
            filestore_entry: NamedDependency[str | None],
            filename: FromQuery[str | None] = None,
        ) -> Response[FileObject]:
            """Store the body of the request as the file; it replaces the previous file."""
            session, wanted = filestore_session, Preconditions(request)
            row = await rows.find(session, filestore_identity)
            await self.options.allow(request, row, "write")
            previous = rows.present(row, filestore_entry)
            await wanted.check(previous)  # before a useless upload; the final decision comes below
            name = filename or (previous.filename if previous is not None else self.place.name)
            # An upload may take minutes: nothing else should wait for its connection meanwhile.
            await rows.pause(session)
            file = await RawUpload(request).store_as(planned, filename=name)
            with wanted.deciding():
                row = await rows.find(session, filestore_identity, lock=True)
                # Rows and permissions may have changed since.
                await self.options.allow(request, row, "write")
                await wanted.check(rows.present(row, filestore_entry))
                replaced = rows.put(row, filestore_entry, file)
                await rows.save(session)
            return Response(file, status_code=200 if replaced else 201)

        return write

    def deleting(self) -> Any:
        """Return the handler of DELETE."""
        rows = RowFiles(self.place, commit=self.commit)

        @delete(
            self._path,
            summary="Delete the file",
            raises=self.options.raised_by_changes(Conflict, ServiceUnavailableException),
        )
        async def remove(
            request: _Request,
            filestore_identity: NamedDependency[tuple[Any, ...]],
            filestore_session: NamedDependency[Any],
            filestore_entry: NamedDependency[str | None],
        ) -> None:
            """Delete the file from its row."""
            wanted = Preconditions(request)
            with wanted.deciding():
                row = await rows.find(filestore_session, filestore_identity, lock=True)
                await self.options.allow(request, row, "delete")
                # Even if there is no file any more: a client that deletes a version and comes second has to learn it.
                await wanted.check(rows.present(row, filestore_entry))
                rows.remove(row, filestore_entry)
                await rows.save(filestore_session)

        return remove


def _entry(
    file_id: Annotated[str, PathParameter(description="The id of the file in its list, or its place there, from 0")],
) -> str | None:
    return file_id


def _no_entry() -> str | None:
    return None


def _place(files: Sequence[FileObject], entry: str) -> int | None:
    """Return the place of a file in a list, by its id or its place; the next place has none yet."""
    for place, file in enumerate(files):
        if file.id == entry:
            return place
    # A negative place would count from the end.
    place = int(entry) if _PLACE.fullmatch(entry) else -1
    return place if 0 <= place <= len(files) else None


def _identity_of(place: ColumnPlace) -> Provide:
    """Return a dependency that provides the primary key from the path, as ``Session.get`` takes it."""

    def provide(**values: Any) -> tuple[Any, ...]:
        return tuple(values[name] for name in place.key_types)

    annotations: dict[str, Any] = {name: _of(FromPath, type_) for name, type_ in place.key_types.items()}
    return _provide(provide, annotations, tuple[Any, ...])


def _aliased(key: str) -> Provide:
    """Return a dependency that provides another one, whose name is known only now."""

    def provide(**values: Any) -> Any:
        return values[key]

    return _provide(provide, {key: _of(NamedDependency, Any)}, Any)


def _of(marker: Any, type_: Any) -> Any:
    """Return one of Litestar's markers for a type that is known only now."""
    return marker[type_]


def _provide(function: Any, annotations: dict[str, Any], returned: Any) -> Provide:
    """Return a provider with arguments whose names and types are known only now: Litestar reads signatures."""
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in annotations.items()
    ]
    function.__signature__ = inspect.Signature(parameters, return_annotation=returned)
    function.__annotations__ = {**annotations, "return": returned}
    return Provide(function, sync_to_thread=False)


class RowFiles:
    """Finds rows of a mapped class, and changes their files. Works with sync and async sessions."""

    def __init__(self, place: ColumnPlace, *, commit: bool) -> None:
        """Work on the column `place`.

        Args:
            place: The column.
            commit: Whether to commit changes here. Otherwise they are flushed, and the provider of the session commits.
        """
        self._place = place
        self._commit = commit

    async def find(self, session: Any, identity: tuple[Any, ...], *, lock: bool = False) -> Any:
        """Return the row of a primary key.

        Args:
            session: The request's session.
            identity: The primary key.
            lock: Whether the row is going to be changed. If so, no one else can change it until the transaction ends.

        Raises:
            NotFoundException: If there is no such row.
            ConflictError: If the row is to be locked, and another transaction has changed it since this one's snapshot.
        """
        column = undefer(getattr(self._place.model, self._place.name))

        def get(sync: Session) -> Any:
            if lock:
                # SQLite reads data that another connection is about to replace, unless this one holds the only write
                # lock.
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
        except OverflowError as error:  # from sqlite3
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

    def file(self, row: Any, entry: str | None) -> FileObject:
        """Return the file of a row, or the one that `entry` names in a list.

        Raises:
            NotFoundException: If there is none.
        """
        file = self.present(row, entry)
        if file is None:
            raise NotFoundException("The file does not exist")
        return file

    def present(self, row: Any, entry: str | None) -> FileObject | None:
        """Return the file of a row, or the one that `entry` names; ``None`` if there is none."""
        value: Any = getattr(row, self._place.name)
        if entry is None or value is None:
            return cast("FileObject | None", value)
        place = _place(value, entry)
        return None if place is None or place == len(value) else cast("FileObject", value[place])

    def put(self, row: Any, entry: str | None, file: FileObject) -> bool:
        """Put a file into a row, and return whether it replaced another one.

        Raises:
            NotFoundException: If `entry` is neither the id or place of a file nor the next place.
        """
        value = getattr(row, self._place.name)
        if entry is None:
            setattr(row, self._place.name, file)
            return value is not None
        files = cast("list[FileObject]", value if value is not None else [])
        if (place := _place(files, entry)) is None:
            raise NotFoundException("The file does not exist")
        is_there = place < len(files)
        if value is None:
            setattr(row, self._place.name, [file])
        elif is_there:
            file.id = files[place].id  # the path names it as before
            files[place] = file
        else:
            files.append(file)
        return is_there

    def remove(self, row: Any, entry: str | None) -> None:
        """Remove the file from a row. Its bytes are deleted after the commit."""
        self.file(row, entry)
        if entry is None:
            setattr(row, self._place.name, None)
        else:
            files = getattr(row, self._place.name)
            del files[_place(files, entry)]

    async def save(self, session: Any) -> None:
        """Flush or commit the changes, so that errors of the database become the answer."""
        await _call(session, lambda sync: sync.commit() if self._commit else sync.flush())

    async def pause(self, session: Any) -> None:
        """Give the connection back during a transfer, if nothing else in the application needs the transaction."""
        await _call(session, _pause)


def _is_no_key(error: DBAPIError) -> bool:
    """Return whether a database error means that no row can have such a key: a number out of range, a text with NUL."""
    # SQLAlchemy has no class for these errors of asyncpg.
    return isinstance(error, DataError) or str(getattr(error.orig, "sqlstate", None)).startswith(_DATA_EXCEPTION)


def _is_overtaken(error: DBAPIError) -> bool:
    """Return whether a database refuses to lock a row because the transaction sees an older version of it.

    This happens if the snapshot is older than another transaction's change. At READ COMMITTED the row is read again
    instead.
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
