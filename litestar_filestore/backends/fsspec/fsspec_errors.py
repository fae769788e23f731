"""The meaning of exceptions of the libraries under fsspec, recognised by name, so that none of them is imported."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar_filestore.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    BucketNotFoundError,
    ConfigurationError,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = (
    "FOLDER",
    "ResponseError",
    "is_named",
    "translate_library_error",
)

FOLDER = "Another key uses this one as a folder, or the other way round: choose another key"
"""Message of `InvalidKeyError` where a store keeps files in folders."""


class ResponseError(Exception):
    """An HTTP response to one of our own requests that reports a failure.

    Attributes:
        status: The status code.
        reason: What the server says about it; may be empty.
    """

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(f"{status} {reason}".rstrip())
        self.status = status
        self.reason = reason

    @property
    def is_bucket_missing(self) -> bool:
        """Whether Google Cloud Storage says that the bucket is missing, not the object."""
        return self.status == HTTPStatus.NOT_FOUND and "specified bucket" in self.reason


_UNREACHABLE = "The store cannot be reached or did not answer in time: check its address, or try again later"
_CREDENTIALS = "The store refused the credentials; check that they are right and not expired"
_DENIED = "The credentials do not allow this operation: give their account the permission"
_BUCKET = "The bucket or container does not exist: create it, or correct the backend's URL"
_MISSING = "There is no such object: check the key and the backend's prefix"
_TAKEN = "There is already an object of that key: choose another, or overwrite=True"
_BUSY = "The store is busy; try again later"
_FULL = "No space is left in the store: make room, or raise its quota"

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_S3_CODES: dict[str, tuple[type[StorageError], str]] = {
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"), (ObjectNotFoundError, _MISSING)),
    "NoSuchBucket": (BucketNotFoundError, _BUCKET),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "InvalidAccessKeyId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
            "UnauthorizedAccess",
        ),
        (AuthenticationError, _CREDENTIALS),
    ),
    "RequestTimeTooSkewed": (AuthenticationError, "The clock of this machine differs from the store's: set it"),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled"), (AccessDeniedError, _DENIED)),
    "PreconditionFailed": (ObjectExistsError, _TAKEN),
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"),
        (ConfigurationError, "The bucket is in another region: mend region_name among the backend's client_kwargs"),
    ),
    "KeyTooLongError": (InvalidKeyError, "The store takes no key that long: shorten it"),
    **dict.fromkeys(("QuotaExceeded", "XMinioStorageFull"), (StorageFullError, _FULL)),
    **dict.fromkeys(("NotImplemented", "MethodNotAllowed"), (UnsupportedOperationError, "The store cannot do this")),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted", "SlowDown"), (BackendUnavailableError, _BUSY)),
}

# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
_AZURE_CODES: dict[str, tuple[type[StorageError], str]] = {
    **dict.fromkeys(
        ("ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"),
        (BucketNotFoundError, _BUCKET),
    ),
    "BlobNotFound": (ObjectNotFoundError, _MISSING),
    **dict.fromkeys(("BlobAlreadyExists", "UnauthorizedBlobOverwrite"), (ObjectExistsError, _TAKEN)),
    **dict.fromkeys(
        ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"),
        (AuthenticationError, _CREDENTIALS),
    ),
}

_STATUSES: dict[int, tuple[type[StorageError], str]] = {
    401: (AuthenticationError, _CREDENTIALS),
    403: (AccessDeniedError, _DENIED),
    404: (ObjectNotFoundError, _MISSING),
    405: (UnsupportedOperationError, "The store cannot do this"),
    408: (BackendUnavailableError, _UNREACHABLE),
    409: (InvalidKeyError, FOLDER),
    412: (ObjectExistsError, _TAKEN),
    423: (BackendUnavailableError, "Somebody has locked the object; try again later"),
    429: (BackendUnavailableError, _BUSY),
    501: (UnsupportedOperationError, "The store cannot do this"),
    507: (StorageFullError, _FULL),
}

# Class names, most telling first; subclasses count as their parents.
_NAMES: dict[str, tuple[type[StorageError], str]] = {
    # botocore, aiobotocore
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"),
        (
            AuthenticationError,
            "There are no usable credentials for the store: give them to the backend or in the environment",
        ),
    ),
    # google.auth
    **dict.fromkeys(("DefaultCredentialsError", "RefreshError"), (AuthenticationError, _CREDENTIALS)),
    # azure.core
    "ClientAuthenticationError": (AuthenticationError, _CREDENTIALS),
    # paramiko, asyncssh
    **dict.fromkeys(("AuthenticationException", "PermissionDenied"), (AuthenticationError, _CREDENTIALS)),
    **dict.fromkeys(
        ("HostKeyNotVerifiable", "BadHostKeyException"),
        (AuthenticationError, "The server's host key is not known: add it to known_hosts"),
    ),
    "SFTPPermissionDenied": (AccessDeniedError, _DENIED),
    "SFTPWriteProtect": (AccessDeniedError, "The store is read-only: give the account the permission to write"),
    **dict.fromkeys(("SFTPNoSpaceOnFilesystem", "SFTPQuotaExceeded", "InsufficientStorage"), (StorageFullError, _FULL)),
    **dict.fromkeys(("SFTPNoSuchFile", "SFTPNoSuchPath", "ResourceNotFound"), (ObjectNotFoundError, _MISSING)),
    **dict.fromkeys(("SFTPFileAlreadyExists", "ResourceAlreadyExists"), (ObjectExistsError, _TAKEN)),
    # webdav4
    "ForbiddenOperation": (AccessDeniedError, _DENIED),
    "ResourceConflict": _STATUSES[409],
    "ResourceLocked": _STATUSES[423],
    # all of them: the server cannot be reached, or the connection broke
    **dict.fromkeys(
        (
            "ConnectionError",
            "HTTPClientError",
            "ReadTimeoutError",
            "ServiceRequestError",
            "ServiceResponseError",
            "ClientConnectionError",
            "ClientPayloadError",
            "TransportError",
            "BadGatewayError",
            "NoValidConnectionsError",
            "SSHException",
            "DisconnectError",
            "ChannelOpenError",
            "SFTPConnectionLost",
            "SFTPNoConnection",
            "FSTimeoutError",
            "EOFError",
            "gaierror",
        ),
        (BackendUnavailableError, _UNREACHABLE),
    ),
}


def is_named(error: BaseException, *names: str) -> bool:
    """Return whether the class of `error`, or a parent of it, has one of these names."""
    return any(cls.__name__ in names for cls in type(error).__mro__)


def translate_library_error(error: Exception) -> StorageError | None:
    """Return the error of this package for an exception of a library under fsspec, or ``None`` for others."""
    roots = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    for root, translate in _LIBRARIES.items():
        if root in roots and (result := translate(error)) is not None:
            return result
    return _by_name(error, roots)


def _s3(error: Any) -> StorageError | None:
    if not is_named(error, "ClientError"):
        return None
    code = error.response["Error"]["Code"]
    known = _S3_CODES.get(code)
    if known is not None:
        return known[0](known[1])
    # The response to HEAD has no body, so botocore takes the status for the code.
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == HTTPStatus.NOT_FOUND and error.operation_name == "HeadBucket":
        return BucketNotFoundError(_BUCKET)
    return _by_status(status, code)


def _azure(error: Any) -> StorageError | None:
    known = _AZURE_CODES.get(str(getattr(error, "error_code", "")))
    if known is not None:
        return known[0](known[1])
    status = getattr(error, "status_code", None)
    return _by_status(status, "") if isinstance(status, int) else None


def _webdav(error: Any) -> StorageError | None:
    status = getattr(error, "status_code", None)
    return _by_status(status, "") if isinstance(status, int) else None


def _google(error: Any) -> StorageError | None:
    code: Any = getattr(error, "code", None)
    return _by_status(int(code), "") if str(code).isdecimal() else None


def _ftp(error: Exception) -> StorageError | None:
    code = str(error)[:3]
    if code in {"430", "530", "532"}:
        return AuthenticationError(_CREDENTIALS)
    if code in {"452", "552"}:
        return StorageFullError(_FULL)
    if code in {"550", "553"}:
        denied = "permission" in str(error).lower() or "denied" in str(error).lower()
        return AccessDeniedError(_DENIED) if denied else ObjectNotFoundError(_MISSING)
    if code[:1] == "4":
        return BackendUnavailableError(_UNREACHABLE)
    return StorageError(f"The server answered with {code}") if code.isdecimal() else None


def _own(error: Any) -> StorageError | None:
    if not isinstance(error, ResponseError):
        return None
    return BucketNotFoundError(_BUCKET) if error.is_bucket_missing else _by_status(error.status, error.reason)


_LIBRARIES: dict[str, Callable[[Any], StorageError | None]] = {
    "botocore": _s3,
    "azure": _azure,
    "webdav4": _webdav,
    "gcsfs": _google,
    "ftplib": _ftp,
    "litestar_filestore": _own,
}

_KNOWN_ROOTS = frozenset(
    {"botocore", "aiobotocore", "azure", "google", "gcsfs", "aiohttp", "httpx", "requests", "webdav4"}
    | {"paramiko", "asyncssh", "sshfs", "fsspec", "socket", "ftplib"}
)


def _by_status(status: int, reason: str) -> StorageError:
    known = _STATUSES.get(status)
    if known is not None:
        return known[0](known[1])
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BackendUnavailableError(f"The store failed with status {status}; try again later")
    return StorageError(f"The store answered with status {status} {reason}".rstrip())


def _by_name(error: Exception, roots: set[str]) -> StorageError | None:
    cause = error.__cause__
    if isinstance(error, PermissionError) and type(cause).__name__ == "PermissionDenied":
        return AuthenticationError(_CREDENTIALS)  # sshfs raises the built-in class for a refused login
    if isinstance(error, NotImplementedError):
        return UnsupportedOperationError("The file system cannot do this")
    if isinstance(error, EOFError):
        return BackendUnavailableError(_UNREACHABLE)  # how ftplib reports a connection that the server closed
    if not roots & _KNOWN_ROOTS:
        return None
    for cls in type(error).__mro__:
        known = _NAMES.get(cls.__name__)
        if known is not None and cls.__module__ != "builtins":
            return known[0](known[1])
    # Errors of the operating system say more than their class. The texts of libraries may contain paths and secrets.
    return None if isinstance(error, OSError) else StorageError(f"The store failed with {type(error).__name__}")
