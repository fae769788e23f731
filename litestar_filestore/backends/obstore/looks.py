"""Looking at what a store holds, through obstore."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import HTTPStore

from litestar_filestore.backends.obstore.obstore_errors import is_range_refusal, translate_obstore_error
from litestar_filestore.core.keys import RESERVED_SEGMENT
from litestar_filestore.errors import (
    AccessDeniedError,
    ObjectExistsError,
    ObjectNotFoundError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from obstore import GetOptions, ListStream, ObjectMeta
    from obstore.store import ObjectStore

    from litestar_filestore.backends.obstore.kinds import Kind
    from litestar_filestore.core.types import ObjectInfo

__all__ = (
    "head",
    "head_async",
    "list_objects",
    "list_objects_async",
    "probe",
    "probe_async",
    "refuse_existing",
    "refuse_existing_async",
)

_PAGE = 1000
_ABSENT = f"{RESERVED_SEGMENT}/absent"
_FIRST_BYTE: GetOptions = {"range": (0, 1)}
_REFUSED = (
    "The store refuses the account everything: give it the permissions to read, write and delete, or check the "
    "credentials and the bucket's name. An account that only reads needs the permission to list as well"
)
_REFUSALS = (FileNotFoundError, exceptions.PermissionDeniedError)


def head(store: ObjectStore, kind: Kind, path: str) -> ObjectInfo:
    """Return what the store knows about an object."""
    try:
        result = obstore.get(store, path, options={"head": True})
    except _REFUSALS as error:
        if kind.explains:
            _explain(store, path, error)
        raise
    return kind.info(path, result.meta, result.attributes)


async def head_async(store: ObjectStore, kind: Kind, path: str) -> ObjectInfo:
    """`head` without blocking the event loop."""
    try:
        result = await obstore.get_async(store, path, options={"head": True})
    except _REFUSALS as error:
        if kind.explains:
            await _explain_async(store, path, error)
        raise
    return kind.info(path, result.meta, result.attributes)


def _explain(store: ObjectStore, path: str, error: Exception) -> None:
    """Raise what the answer to a GET says.

    That to a HEAD has no body: a missing bucket looks like a missing object, a wrong secret like a missing permission.
    """
    try:
        obstore.get(store, path, options=_FIRST_BYTE)
    except Exception as told:
        if not is_range_refusal(told):
            raise told from error


async def _explain_async(store: ObjectStore, path: str, error: Exception) -> None:
    try:
        await obstore.get_async(store, path, options=_FIRST_BYTE)
    except Exception as told:
        if not is_range_refusal(told):
            raise told from error


def refuse_existing(store: ObjectStore, path: str) -> None:
    """Raise if there is an object.

    Raises:
        ObjectExistsError: If so.
    """
    try:
        obstore.head(store, path)
    except FileNotFoundError:
        return
    except exceptions.PermissionDeniedError as error:
        _explain(store, path, error)
        raise
    raise ObjectExistsError("There is already an object of that key")


async def refuse_existing_async(store: ObjectStore, path: str) -> None:
    """`refuse_existing` without blocking the event loop."""
    try:
        await obstore.head_async(store, path)
    except FileNotFoundError:
        return
    except exceptions.PermissionDeniedError as error:
        await _explain_async(store, path, error)
        raise
    raise ObjectExistsError("There is already an object of that key")


def list_objects(store: ObjectStore, kind: Kind, prefix: str) -> Iterator[ObjectInfo]:
    """Yield what the store knows about every object below `prefix`, page by page."""
    folder = _folder(store)
    for page in _pages(store, prefix):
        for meta in page:
            yield kind.info(meta["path"].removeprefix(folder), meta)


async def list_objects_async(store: ObjectStore, kind: Kind, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
    """`list_objects` without blocking the event loop."""
    folder = _folder(store)
    async for page in _pages(store, prefix):
        for meta in page:
            yield kind.info(meta["path"].removeprefix(folder), meta)


def _pages(store: ObjectStore, prefix: str) -> ListStream[Sequence[ObjectMeta]]:
    # The other overloads of obstore.list return tables of a library that is not installed.
    return obstore.list(store, prefix or None, chunk_size=_PAGE)  # pyright: ignore[reportUnknownMemberType]


def _folder(store: ObjectStore) -> str:
    """Return what obstore 0.12.1 leaves in front of the keys that it lists below an HTTP URL: the path of that URL."""
    path = unquote(urlsplit(store.url).path).strip("/") if isinstance(store, HTTPStore) else ""
    return f"{path}/" if path else ""


def probe(store: ObjectStore) -> None:
    """Ask for an object that cannot exist: the answer tells whether there is a bucket, and who we are to it.

    Accounts that may not list are told of a missing object that it is forbidden, and so is everybody of everything by a
    bucket that is not theirs. Deleting that object tells the two apart.

    Raises:
        Exception: If there is no bucket, the credentials are wrong or refused, or the store cannot be reached.
    """
    try:
        obstore.get(store, _ABSENT, options=_FIRST_BYTE)
    except Exception as error:
        if _is_harmless(error):
            return
        if not _is_refusal(error):
            raise
        _probe_delete(store)


def _probe_delete(store: ObjectStore) -> None:
    try:
        obstore.delete(store, _ABSENT)
    except Exception as error:
        if _is_refusal(error):
            raise AccessDeniedError(_REFUSED) from error
        if not _is_harmless(error):
            raise


async def probe_async(store: ObjectStore) -> None:
    """`probe` without blocking the event loop."""
    try:
        await obstore.get_async(store, _ABSENT, options=_FIRST_BYTE)
    except Exception as error:
        if _is_harmless(error):
            return
        if not _is_refusal(error):
            raise
        await _probe_delete_async(store)


async def _probe_delete_async(store: ObjectStore) -> None:
    try:
        await obstore.delete_async(store, _ABSENT)
    except Exception as error:
        if _is_refusal(error):
            raise AccessDeniedError(_REFUSED) from error
        if not _is_harmless(error):
            raise


def _is_harmless(error: Exception) -> bool:
    return is_range_refusal(error) or isinstance(
        translate_obstore_error(error), (ObjectNotFoundError, UnsupportedOperationError)
    )


def _is_refusal(error: Exception) -> bool:
    return isinstance(translate_obstore_error(error), AccessDeniedError)
