"""Routes for the files of a mapped column.

This lives beside the wiring and not in ``http``, which knows nothing of databases: rows are found through SQLAlchemy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from litestar import Request, Response, delete, get, head, put
from litestar.di import NamedDependency, Provide
from litestar.exceptions.http_exceptions import ServiceUnavailableException
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.linking import Disposition
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.http.download import FileDownload
from litestar_filestore.http.preconditions import Preconditions
from litestar_filestore.http.refusals import RAISED_BY_UPLOADS, Conflict
from litestar_filestore.http.router_options import (
    Authorize,
    FileMethod,
    raised_by_asking,
    raised_by_changes,
    refuse_unless_allowed,
)
from litestar_filestore.plugin.router_paths import ColumnPlace, aliased, identity_of
from litestar_filestore.plugin.router_uploads import binary_operation, store_put
from litestar_filestore.plugin.row_files import RowFiles
from litestar_filestore.plugin.upload_columns import ColumnFiles, plan_file
from litestar_filestore.validation.field import FileField

__all__ = ("ColumnRoutes",)

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
