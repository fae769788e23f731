"""Marks: hidden objects that tell all processes what has happened to an object or a link if there is no ledger.

A mark is put only if none of its name exists, so if two processes want the same thing, one of them gets it, even on
different machines. There are three kinds, all below the reserved folder of the backend:

``taken/<digest>``
    For an object that a client's reference has put into a row, or that the application keeps. It is deleted with the
    object, or when the transaction of the row is rolled back.
``taken-kept/<digest>``
    For a kept object that a reference with ``kept=True`` has put into a row. It is deleted in the same way.
``links/<day>/<digest>``
    For an upload link that was used, whatever happened to its object, until the day after it has expired.

A crash may leave a mark without a row. Then the reference has no effect, and the client has to send the content again:
of the two possible errors, this one loses nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from litestar_filestore.core.backend import Guard
from litestar_filestore.core.file_object import Referred
from litestar_filestore.core.keys import RESERVED_SEGMENT, join_prefix
from litestar_filestore.core.types import PutOptions
from litestar_filestore.errors import ConflictError, LinkLostError, ObjectExistsError, ObjectNotFoundError
from litestar_filestore.orm.bridge import call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.new_file import UsedLink

__all__ = (
    "erase",
    "erase_async",
    "is_taken",
    "mark_kept",
    "mark_taken",
    "mark_used",
)

_TAKEN = f"{RESERVED_SEGMENT}/taken"
_TAKEN_KEPT = f"{RESERVED_SEGMENT}/taken-kept"
_LINKS = f"{RESERVED_SEGMENT}/links"
_ROW, _KEPT = b"row", b"kept"
_DAY_SECONDS = 24 * 3600
_BATCH = 1000

_tidied: WeakKeyDictionary[StorageBackend, int] = WeakKeyDictionary()
"""The day on which this process last looked for marks of expired links."""


# -- objects


def mark_taken(file: FileObject) -> str:
    """Take a file that a client's reference names for exactly one row, and return the name of the mark.

    Raises:
        ConflictError: If a row has it already, or the application keeps it.
        LinkLostError: If the object is gone.
    """
    backend, mark = file.backend, _mark(_TAKEN, file.path)
    found = _put(backend, mark, _ROW)
    if found == _KEPT and file.referred is Referred.KEPT:
        mark = _mark(_TAKEN_KEPT, file.path)
        found = _put(backend, mark, _ROW)
    elif found == _KEPT:
        raise ConflictError(
            "The application keeps this file, and the reference may not put it into a row: make one with "
            "storages.reference_for(file, kept=True), or send the content again",
            backend=file.backend_key,
        )
    if found is not None:
        raise ConflictError(
            "The file was put into a row before; assign file.copy() instead, or send the content again",
            backend=file.backend_key,
        )
    if not call(file.exists, file.exists_async):
        call(partial(erase, backend, mark), partial(erase_async, backend, mark))
        raise LinkLostError("The file has no object any more; send the content again", backend=file.backend_key)
    return mark


def mark_kept(file: FileObject) -> None:
    """Protect a file from clients' references."""
    _put(file.backend, _mark(_TAKEN, file.path), _KEPT)


def is_taken(file: FileObject) -> bool:
    """Return whether a row has taken the file by a reference, or the application keeps it."""
    return _read(file.backend, _mark(_TAKEN, file.path)) is not None


def erase(backend: StorageBackend, key: str, may_be_marked: bool = False) -> None:  # noqa: FBT001, FBT002  # of Target
    """Delete an object and then its marks, if there may be any, or only a mark. Missing ones are not an error."""
    if not _is_mark(key):
        backend.delete(key)
    if marks := _marks_of(backend, key, may_be_marked=may_be_marked):
        with Guard(backend.storage_driver, backend.key, "delete", key):
            backend.storage_driver.delete(marks)


async def erase_async(backend: StorageBackend, key: str, may_be_marked: bool = False) -> None:  # noqa: FBT001, FBT002
    """`erase` without blocking the event loop."""
    if not _is_mark(key):
        await backend.delete_async(key)
    if marks := _marks_of(backend, key, may_be_marked=may_be_marked):
        with Guard(backend.storage_driver, backend.key, "delete", key):
            await backend.storage_driver.delete_async(marks)


def _is_mark(key: str) -> bool:
    return key.startswith(f"{RESERVED_SEGMENT}/")


def _marks_of(backend: StorageBackend, key: str, *, may_be_marked: bool) -> list[str]:
    if _is_mark(key):
        return [_path(backend, key)]
    return [_path(backend, _mark(folder, key)) for folder in (_TAKEN, _TAKEN_KEPT)] if may_be_marked else []


def _mark(folder: str, key: str) -> str:
    return f"{folder}/{hashlib.sha256(key.encode()).hexdigest()}"


# -- links


def mark_used(backend: StorageBackend, link: UsedLink) -> None:
    """Record that a link for an upload into `backend` was used.

    Raises:
        ObjectExistsError: If it was used before.
    """
    _forget_ended(backend)
    day = _day(link.expires_at)
    if _put(backend, f"{_LINKS}/{day}/{link.digest}", _ROW) is not None:
        raise ObjectExistsError("This link was used for an upload before: make another one", backend=backend.key)


def _forget_ended(backend: StorageBackend) -> None:
    """Delete the marks of links that expired before yesterday; each process that marks links lists them once a day."""
    today = _day(time.time())
    if _tidied.get(backend) == today:
        return
    folder = _path(backend, _LINKS)
    ended = [path for path in _list(backend, folder) if _day_of(path.removeprefix(f"{folder}/")) < today - 1]
    driver = backend.storage_driver
    for start in range(0, len(ended), _BATCH):
        batch = ended[start : start + _BATCH]
        with Guard(driver, backend.key, "delete", None):
            call(partial(driver.delete, batch), partial(driver.delete_async, batch))
    _tidied[backend] = today


def _day(seconds: float) -> int:
    return int(seconds) // _DAY_SECONDS


def _day_of(name: str) -> int:
    return int(name.partition("/")[0])


# -- hidden objects


def _path(backend: StorageBackend, name: str) -> str:
    return join_prefix(backend.prefix or "", name)


def _put(backend: StorageBackend, name: str, what: bytes) -> bytes | None:
    """Put a mark; if there was one already, return its content, otherwise ``None``."""
    driver, path = backend.storage_driver, _path(backend, name)
    content = b"%b %b" % (what, secrets.token_hex(16).encode())
    options = PutOptions(size=len(content), overwrite=False)

    async def blocks() -> AsyncGenerator[bytes, None]:
        yield content

    try:
        with Guard(driver, backend.key, "put", name):
            call(
                lambda: driver.put(path, iter([content]), options),
                lambda: driver.put_async(path, blocks(), options),
            )
    except ObjectExistsError:
        # A put whose response was lost is repeated, and finds its own object.
        found = _read(backend, name)
        return None if found == content else (found or what).partition(b" ")[0]
    return None


def _read(backend: StorageBackend, name: str) -> bytes | None:
    driver, path = backend.storage_driver, _path(backend, name)

    async def read() -> bytes:
        return b"".join([block async for block in driver.get_async(path, 0, None)])

    try:
        with Guard(driver, backend.key, "get", name):
            return call(lambda: b"".join(driver.get(path, 0, None)), read)
    except ObjectNotFoundError:
        return None


def _list(backend: StorageBackend, folder: str) -> Sequence[str]:
    driver = backend.storage_driver

    async def listed() -> list[str]:
        return [info.key async for info in driver.list_async(folder)]

    with Guard(driver, backend.key, "list", None):
        return call(lambda: [info.key for info in driver.list(folder)], listed)
