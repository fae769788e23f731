"""Deleting through obstore so that missing objects are fine and every object is tried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import obstore

from litestar_filestore.backends.obstore_errors import translate_obstore_error
from litestar_filestore.errors import AccessDeniedError, ObjectNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore.store import ObjectStore

__all__ = ("delete", "delete_async")

_IN_BULK = 1000
"""Objects handed to obstore at a time: what S3 deletes in one request. obstore itself sends many requests at once, and
the last of them may wait for longer than a request is allowed to take."""
_AT_A_TIME = 16
"""Requests in flight where objects are deleted one by one."""


def delete(store: ObjectStore, paths: Sequence[str]) -> None:
    """Delete in bulk; where that fails for some of the objects, one by one."""
    failures: list[Exception] = []
    for some in _slices(paths, _IN_BULK):
        try:
            obstore.delete(store, some)
        except Exception as error:
            if not _concerns_one(error):
                raise
            failures.extend(_delete_each(store, some))
    _raise_first(failures)


def _delete_each(store: ObjectStore, paths: Sequence[str]) -> Iterator[Exception]:
    for path in paths:
        try:
            obstore.delete(store, path)
        except Exception as error:  # noqa: BLE001  # raised by the caller, when all were tried
            yield error


async def delete_async(store: ObjectStore, paths: Sequence[str]) -> None:
    """`delete` without blocking the event loop."""
    failures: list[Exception] = []
    for some in _slices(paths, _IN_BULK):
        try:
            await obstore.delete_async(store, some)
        except Exception as error:
            if not _concerns_one(error):
                raise
            failures.extend(await _delete_each_async(store, some))
    _raise_first(failures)


async def _delete_each_async(store: ObjectStore, paths: Sequence[str]) -> list[Exception]:
    failures: list[Exception] = []
    for some in _slices(paths, _AT_A_TIME):
        outcomes = await asyncio.gather(*(obstore.delete_async(store, path) for path in some), return_exceptions=True)
        failures.extend(outcome for outcome in outcomes if isinstance(outcome, Exception))
    return failures


def _slices(paths: Sequence[str], length: int) -> Iterator[list[str]]:
    for start in range(0, len(paths), length):
        yield list(paths[start : start + length])


def _concerns_one(error: Exception) -> bool:
    """Return whether an error has to do with one object; others would only be met again with every object.

    Azure and HTTP servers complain about missing objects, and obstore about the first of them only; whether it went on
    to the others cannot be told.
    """
    meaning = translate_obstore_error(error)
    return isinstance(meaning, (ObjectNotFoundError, AccessDeniedError)) or type(meaning) is StorageError


def _raise_first(failures: Sequence[Exception]) -> None:
    for failure in failures:
        if not isinstance(translate_obstore_error(failure), ObjectNotFoundError):
            raise failure
