"""Every exception that this package raises.

::

    StorageError
    |-- ConfigurationError              (ValueError)           wrong set-up, found at start-up where possible
    |   |-- MissingDependencyError      (ImportError)          an extra is not installed
    |   `-- BackendNotRegisteredError   (LookupError)          no backend of that key in the registry
    |-- InvalidArgumentError            (ValueError)           a call that can never work
    |   |-- InvalidKeyError                                    a key that no backend may see
    |   |-- MultipartError                                     a form that cannot be read
    |   |   `-- MultipartLimitError                            more of something than the limits allow
    |   |-- TusError                                           a request that does not follow tus
    |   `-- RangeNotSatisfiableError                           the range starts behind the end of the object
    |-- InvalidTokenError               (PermissionError)      a link or reference that is not valid, or has expired
    |-- SourceTypeError                 (TypeError)            bytes cannot be read from what was given
    |-- FileTooLargeError               (ValueError)           more bytes than the limit allows
    |-- FileRejectedError               (ValueError)           a rule for files refused this one
    |   `-- FileTypeNotAllowedError                            because of its type
    |-- ObjectNotFoundError             (FileNotFoundError)    no object of that key
    |-- ObjectExistsError               (FileExistsError)      the key is taken, and overwriting was not allowed
    |-- ObjectChangedError                                     the object was replaced or cut while it was read
    |-- AccessError                     (PermissionError)      the store refused
    |   |-- AuthenticationError                                credentials missing, wrong or expired
    |   `-- AccessDeniedError                                  known to the store, but not allowed to do this
    |-- BucketNotFoundError             (FileNotFoundError)    bucket, container or root folder missing
    |-- BackendUnavailableError         (ConnectionError)      unreachable, overloaded or too slow; try again later
    |-- StorageFullError                (OSError)              no space left
    |-- DatabaseUnavailableError        (ConnectionError)      the database is down or busy; try again later
    |-- DatabaseFullError               (OSError)              no space left in the database
    |-- QuotaExceededError                                     the owner of the file may not store that much
    |-- UnsupportedOperationError       (NotImplementedError)  this backend cannot do that
    `-- LedgerError                                            rows and objects would no longer match
        |-- LinkLostError                                      the object was swept before its row was written
        |-- ConflictError                                      another row or transaction owns the object
        `-- LedgerMissingError          (ConfigurationError)   the database has no ledger table

Each class keeps the built-in parent in brackets, so code that catches ``FileNotFoundError`` or ``NotImplementedError``
still works. Each instance says what failed (`operation`), where (`backend`) and for which object (`key`); the cause is
chained. Messages contain no secrets and no absolute paths.
"""

from __future__ import annotations

from typing import Any

__all__ = (
    "AccessDeniedError",
    "AccessError",
    "AuthenticationError",
    "BackendNotRegisteredError",
    "BackendUnavailableError",
    "BucketNotFoundError",
    "ConfigurationError",
    "ConflictError",
    "DatabaseFullError",
    "DatabaseUnavailableError",
    "FileRejectedError",
    "FileTooLargeError",
    "FileTypeNotAllowedError",
    "InvalidArgumentError",
    "InvalidKeyError",
    "InvalidTokenError",
    "LedgerError",
    "LedgerMissingError",
    "LinkLostError",
    "MissingDependencyError",
    "MultipartError",
    "MultipartLimitError",
    "ObjectChangedError",
    "ObjectExistsError",
    "ObjectNotFoundError",
    "QuotaExceededError",
    "RangeNotSatisfiableError",
    "SourceTypeError",
    "StorageError",
    "StorageFullError",
    "TusError",
    "UnsupportedOperationError",
)


class StorageError(Exception):
    """Base class of all errors of this package.

    Attributes:
        detail: What happened and what to do about it, for people.
        operation: Name of the operation that failed (``"put"``, ``"get"`` ...), or ``None`` outside one.
        backend: Key of the backend, or ``None`` if none is involved.
        key: Key of the object as the caller gave it, or ``None``.
    """

    def __init__(
        self, detail: str, *, operation: str | None = None, backend: str | None = None, key: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.operation = operation
        self.backend = backend
        self.key = key

    def __str__(self) -> str:
        """Return the detail, followed by operation, backend and key."""
        place = ", ".join(
            f"{name}={value!r}"
            for name, value in (("operation", self.operation), ("backend", self.backend), ("key", self.key))
            if value is not None
        )
        return f"{self.detail} [{place}]" if place else self.detail

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with all attributes, which ``OSError`` parents would drop."""
        return _rebuild, (type(self), self.__dict__)


def _rebuild(cls: type[StorageError], attributes: dict[str, Any]) -> StorageError:
    error = cls.__new__(cls, attributes.get("detail", ""))
    StorageError.__init__(error, attributes.get("detail", ""))
    error.__dict__.update(attributes)
    return error


class ConfigurationError(StorageError, ValueError):
    """An option, URL or template is wrong. Raised when the object is built, not when it is first used."""


class MissingDependencyError(ConfigurationError, ImportError):
    """A backend needs a package that is not installed; the message says which ``pip install`` fixes it."""


class BackendNotRegisteredError(ConfigurationError, LookupError):
    """No backend of that key is registered; the message lists those that are."""


class InvalidArgumentError(StorageError, ValueError):
    """An argument is invalid, whatever is stored."""


class InvalidKeyError(InvalidArgumentError):
    """A key breaks the grammar of `litestar_filestore.core.keys`, or leaves the root of a local backend."""


class InvalidTokenError(StorageError, PermissionError):
    """A signed link or reference was not made by this application for this use, was changed, or has expired.

    The error deliberately does not say which: that would help an attacker.
    """

    def __init__(
        self,
        detail: str = "This link is not valid, or no longer valid: ask for a new one",
        *,
        operation: str | None = None,
        backend: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(detail, operation=operation, backend=backend, key=key)


class MultipartError(InvalidArgumentError):
    """A ``multipart/form-data`` body breaks its grammar, ends early, or has deceptive headers."""


class MultipartLimitError(MultipartError):
    """A ``multipart/form-data`` body has more parts, or more or longer headers, than its reader accepts."""


class TusError(InvalidArgumentError):
    """A request that does not follow tus 1.0.0, the protocol for resumable uploads, or the draft of its successor.

    Attributes:
        status_code: Status of the answer, as tus wants it.
        problem: Name of the problem type (RFC 9457), if the draft has one for this.
    """

    def __init__(
        self,
        detail: str,
        *,
        status_code: int = 400,
        problem: str | None = None,
        operation: str | None = None,
        backend: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(detail, operation=operation, backend=backend, key=key)
        self.status_code = status_code
        self.problem = problem


class RangeNotSatisfiableError(InvalidArgumentError):
    """A range starts at or after the end of the object (RFC 9110 §15.5.17).

    Attributes:
        size: Length of the object in bytes, where known.
    """

    def __init__(
        self,
        detail: str,
        *,
        size: int | None = None,
        operation: str | None = None,
        backend: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(detail, operation=operation, backend=backend, key=key)
        self.size = size


class SourceTypeError(StorageError, TypeError):
    """Bytes cannot be read from the source: it is text, an async source in a sync call, or yields a wrong type."""


class FileTooLargeError(StorageError, ValueError):
    """The source holds more bytes than the limit allows; nothing was kept.

    Attributes:
        max_bytes: The limit in bytes.
        field: Name of the form field or attribute that the file was meant for, if there is one.
    """

    field: str | None

    def __init__(
        self,
        detail: str,
        *,
        max_bytes: int,
        field: str | None = None,
        operation: str | None = None,
        backend: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(detail, operation=operation, backend=backend, key=key)
        self.max_bytes = max_bytes
        self.field = field


class FileRejectedError(StorageError, ValueError):
    """A rule refused the file; nothing was kept. The detail is written for the person who sent the file.

    Attributes:
        field: Name of the form field or attribute that the file was meant for, if there is one.
    """

    field: str | None

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        operation: str | None = None,
        backend: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(detail, operation=operation, backend=backend, key=key)
        self.field = field


class FileTypeNotAllowedError(FileRejectedError):
    """The type of the content or of the filename extension is not allowed here, or the two do not match."""


class ObjectNotFoundError(StorageError, FileNotFoundError):
    """The backend holds no object of that key."""


class ObjectExistsError(StorageError, FileExistsError):
    """The backend already holds an object of that key, and the call did not ask to overwrite it."""


class ObjectChangedError(StorageError):
    """The object was replaced or became shorter while it was read; discard what you have read so far."""


class AccessError(StorageError, PermissionError):
    """The store refused the operation; the subclasses say why."""


class AuthenticationError(AccessError):
    """Credentials are missing, wrong or expired."""


class AccessDeniedError(AccessError):
    """The credentials are valid but do not allow this operation."""


class BucketNotFoundError(StorageError, FileNotFoundError):
    """The bucket, container or root folder of the backend does not exist."""


class BackendUnavailableError(StorageError, ConnectionError):
    """The store cannot be reached, is overloaded or did not answer in time. The same call may work later."""


class StorageFullError(StorageError, OSError):
    """No space is left, or a quota of the store is used up; nothing was kept."""


class DatabaseUnavailableError(StorageError, ConnectionError):
    """The database with rows or ledger cannot be reached, is busy or did not answer in time. Try again later."""


class DatabaseFullError(StorageError, OSError):
    """No space is left in the database with rows or ledger; nothing was committed."""


class QuotaExceededError(StorageError):
    """The file would exceed its owner's quota; nothing was kept. Other files must be deleted first."""


class UnsupportedOperationError(StorageError, NotImplementedError):
    """The backend cannot do this at all; check `StorageBackend.capabilities` beforehand."""


class LedgerError(StorageError):
    """A change would leave a row without its bytes, or bytes without their row, so the transaction fails."""


class LinkLostError(LedgerError):
    """The object was given up before its row was written: its upload lease expired, or its transaction was rolled back.

    Nothing was committed. The bytes are gone or soon will be; store the content again.
    """


class ConflictError(LedgerError):
    """The object belongs to another row, or another transaction replaced it meanwhile. Nothing was committed.

    To use the same content in two rows, assign ``file.copy()``. After a concurrent change, load the row again.
    """


class LedgerMissingError(LedgerError, ConfigurationError):
    """The database lacks the table ``filestore_object``: create it with the models' metadata or a migration."""
