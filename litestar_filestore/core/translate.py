"""What the operating system's errors mean for stored objects."""

from __future__ import annotations

import errno

from litestar_filestore.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
)

__all__ = ("translate_os_error",)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def translate_os_error(error: Exception) -> StorageError | None:
    """Return the storage error that an ``OSError`` means, or ``None`` for other exceptions.

    Messages name the kind of error only: those of the operating system hold absolute paths.
    """
    if not isinstance(error, OSError):
        return None
    result: StorageError
    if isinstance(error, FileNotFoundError):
        result = ObjectNotFoundError("There is no such object")
    elif isinstance(error, FileExistsError):
        result = ObjectExistsError("There is already an object of that key")
    elif isinstance(error, (IsADirectoryError, NotADirectoryError)):
        result = InvalidKeyError("Another key uses this one as a folder, or the other way round")
    elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
        result = AccessDeniedError("The store does not allow this operation; check its permissions")
    elif error.errno in _FULL:
        result = StorageFullError("No space is left in the store")
    elif isinstance(error, (ConnectionError, TimeoutError)) or error.errno in _UNREACHABLE:
        result = BackendUnavailableError("The store cannot be reached or did not answer in time")
    else:
        result = StorageError(f"The store failed with {errno.errorcode.get(error.errno or 0, type(error).__name__)}")
    return result
