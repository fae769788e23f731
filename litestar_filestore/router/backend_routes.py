"""Routes for the objects of a backend below a prefix, which are in no row."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from weakref import WeakValueDictionary

from litestar import Request, delete, get, head, put
from litestar.exceptions import NotFoundException
from litestar.exceptions.http_exceptions import ServiceUnavailableException
from litestar.params import FromPath

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.keys import check_key, check_prefix, join_prefix
from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.core.types import Capability
from litestar_filestore.downloads.response import FileDownload
from litestar_filestore.errors import InvalidKeyError, ObjectExistsError, ObjectNotFoundError
from litestar_filestore.router.options import RouteOptions
from litestar_filestore.router.preconditions import Preconditions
from litestar_filestore.sansio.disposition import safe_filename
from litestar_filestore.uploads.intake import owned_by
from litestar_filestore.uploads.openapi import binary_operation
from litestar_filestore.uploads.plan import PlannedFile
from litestar_filestore.uploads.raw import RawUpload
from litestar_filestore.uploads.refusals import RAISED_BY_UPLOADS

__all__ = ("BackendRoutes",)

_Request = Request[Any, Any, Any]
_PATH = "/{file_key:path}"

# Both hold only what is in progress at the moment.
_put_now: set[tuple[str, str]] = set()
_deletes: WeakValueDictionary[tuple[int, str, str], asyncio.Lock] = WeakValueDictionary()


@dataclass(frozen=True)
class BackendRoutes:
    """The routes of a backend."""

    backend: str
    prefix: str
    options: RouteOptions
    registry: StorageRegistry

    def __post_init__(self) -> None:
        """Check the prefix.

        Raises:
            InvalidKeyError: If no key can begin with it.
        """
        object.__setattr__(self, "prefix", check_prefix(self.prefix))

    def _place(self, path: PurePosixPath) -> tuple[StorageBackend, str]:
        """Return the backend and the key that a path names.

        Raises:
            NotFoundException: If no object can have that key; clients do not learn the grammar of keys.
        """
        try:
            # The prefix precedes a checked key, so no path leads out of it.
            key = join_prefix(self.prefix, check_key(path.as_posix().lstrip("/")))
        except InvalidKeyError as error:
            raise NotFoundException("The file does not exist") from error
        return self.registry.get_backend(self.backend), key

    def reading(self) -> Sequence[Any]:
        """Return the handlers of GET and HEAD."""

        async def read(request: _Request, file_key: FromPath[PurePosixPath]) -> FileDownload:
            """Send the file."""
            backend, key = self._place(file_key)
            await self.options.allow(request, key, "read")
            return self.options.download(await _look(backend, key))

        shown = get(_PATH, name=self.options.name, summary="Download a file", raises=self.options.raised_by_asking)
        return [shown(read), head(_PATH, include_in_schema=False)(read)]

    def writing(self) -> Any:
        """Return the handler of PUT."""
        planned = PlannedFile(name="file", backend=self.backend, max_bytes=self.options.max_bytes)

        @put(
            _PATH,
            summary="Store a file",
            operation_class=binary_operation(planned),
            raises=self.options.raised_by_changes(*RAISED_BY_UPLOADS),
            status_code=201,
            request_max_body_size=None,  # the limits of uploads apply
        )
        async def write(request: _Request, file_key: FromPath[PurePosixPath]) -> FileObject:
            """Store the body of the request under a key that was never used."""
            backend, key = self._place(file_key)
            await self.options.allow(request, key, "write")
            wanted = Preconditions(request)
            with wanted.deciding(), _alone(backend, key):
                if wanted:
                    await wanted.check(await _present(backend, key))
                # No object is ever overwritten, so what is decided here still holds at the end.
                file = await RawUpload(request).store_as(replace(planned, key=key), filename=file_key.name)
            await owned_by(request.scope).keep(file)
            return file

        return write

    def deleting(self) -> Any:
        """Return the handler of DELETE."""

        @delete(
            _PATH,
            summary="Delete a file",
            raises=self.options.raised_by_changes(ServiceUnavailableException),
        )
        async def remove(request: _Request, file_key: FromPath[PurePosixPath]) -> None:
            """Delete the file; a missing file is not an error."""
            backend, key = self._place(file_key)
            await self.options.allow(request, key, "delete")
            wanted, files = Preconditions(request), owned_by(request.scope)
            async with _one_by_one(backend, key):
                file = await _present(backend, key) if wanted else None
                await wanted.check(file)
                given_up = await files.discard(file or FileObject(backend, safe_filename(key), key))
            # The ledger knows whether another process was faster between the check and the delete.
            if file is not None and not given_up:
                raise wanted.failed()

        return remove


async def _look(backend: StorageBackend, key: str) -> FileObject:
    """Return the file of an object.

    Raises:
        ObjectNotFoundError: If there is none.
    """
    info = await backend.head_async(key)
    # The type comes from the store or the key's extension: types that could run a script are never served anyway.
    return FileObject(backend, safe_filename(key), key, content_type=info.content_type).complete(info)


async def _present(backend: StorageBackend, key: str) -> FileObject | None:
    try:
        return await _look(backend, key)
    except ObjectNotFoundError:
        return None


@contextmanager
def _alone(backend: StorageBackend, key: str) -> Generator[None]:
    """Refuse a second put of one key while the first one runs, if the store would accept both.

    Raises:
        ObjectExistsError: If another put of this key is running.
    """
    place = backend.key, key
    if Capability.PUT_IF_ABSENT in backend.capabilities:
        yield
    elif place in _put_now:
        raise ObjectExistsError(
            "Somebody else is storing this object; try again when that has ended",
            operation="put",
            backend=backend.key,
            key=key,
        )
    else:
        _put_now.add(place)
        try:
            yield
        finally:
            _put_now.remove(place)


def _one_by_one(backend: StorageBackend, key: str) -> asyncio.Lock:
    """Return the lock for deletes of one object: each has to see the result of the one before."""
    place = id(asyncio.get_running_loop()), backend.key, key
    lock = _deletes.get(place)
    if lock is None:
        lock = _deletes[place] = asyncio.Lock()
    return lock
