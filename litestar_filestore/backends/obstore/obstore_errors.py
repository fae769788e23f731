"""The meaning of obstore's exceptions.

obstore's exception classes say little, and their text says much: a missing bucket and a missing object share a class,
as do a wrong secret and a missing permission, and a refused connection has the class that everything else has.
The service's error codes in the text are stable, because they are part of its interface, so they decide first.

The text itself never goes into a message: it contains URLs, request ids and whole responses. It stays in the cause.
"""

from __future__ import annotations

import re

from obstore import exceptions

from litestar_filestore.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    BucketNotFoundError,
    ConfigurationError,
    InvalidKeyError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    UnsupportedOperationError,
)

__all__ = (
    "is_range_refusal",
    "service_code",
    "translate_obstore_error",
)

_CODE = re.compile(r"<Code>\s*([A-Za-z0-9]{1,64})\s*</Code>")
_STATUS = re.compile(r"status code: ([0-9]{3})")

_BUCKET = "The bucket or container does not exist: create it, or mend the backend's URL"
_MISMATCH = "The store does not accept the credentials: check the secret key of the backend"
_IDENTITY = "The store does not know these credentials: check the access key or account of the backend"
_EXPIRED = "The credentials have expired: renew them, or let the backend take them from the environment"
_CLOCK = "The store refuses the signature's time: set the clock of this machine"
_DENIED = "The store does not allow this operation: give the backend's account the permission, or check its credentials"
_BUSY = "The store is overloaded or failing; try again later"
_UNREACHABLE = "The store cannot be reached: check the endpoint of the backend, name resolution and firewalls"
_TIMEOUT = "The store did not answer in time; try again later"
_FULL = "No space is left in the store: make room, or raise its quota"

_REGION = "The bucket is in another region: mend the region option of the backend"

_CODES: dict[str, tuple[type[StorageError], str]] = {
    "NoSuchBucket": (BucketNotFoundError, _BUCKET),
    "ContainerNotFound": (BucketNotFoundError, _BUCKET),
    "SignatureDoesNotMatch": (AuthenticationError, _MISMATCH),
    "AuthenticationFailed": (AuthenticationError, _MISMATCH),
    "InvalidAccessKeyId": (AuthenticationError, _IDENTITY),
    "InvalidToken": (AuthenticationError, _IDENTITY),
    "AuthenticationRequired": (AuthenticationError, _IDENTITY),
    "NoAuthenticationInformation": (AuthenticationError, _IDENTITY),
    "ExpiredToken": (AuthenticationError, _EXPIRED),
    "TokenRefreshRequired": (AuthenticationError, _EXPIRED),
    "RequestTimeTooSkewed": (AuthenticationError, _CLOCK),
    "AccessDenied": (AccessDeniedError, _DENIED),
    "QuotaExceeded": (StorageFullError, _FULL),
    "SlowDown": (BackendUnavailableError, _BUSY),
    "ServerBusy": (BackendUnavailableError, _BUSY),
    "RequestTimeout": (BackendUnavailableError, _TIMEOUT),
    "OperationTimedOut": (BackendUnavailableError, _TIMEOUT),
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"),
        (ConfigurationError, _REGION),
    ),
    "KeyTooLongError": (InvalidKeyError, "The store takes no keys of that length: shorten it"),
}

# Phrases with a clear meaning, in the order in which they are searched for.
_PHRASES: tuple[tuple[str, type[StorageError], str], ...] = (
    ("container does not exist", BucketNotFoundError, _BUCKET),  # Azure's bulk delete has this sentence and no code
    ("failed to authenticate", AuthenticationError, _MISMATCH),  # with the code AuthorizationFailure, which means more
    (
        "169.254.169.254",
        AuthenticationError,
        "No credentials were found, neither among the backend's options nor in the environment: set them",
    ),
    (
        "metadata.google.internal",
        AuthenticationError,
        "No credentials were found, neither among the backend's options nor in the environment: set them",
    ),
    ("incorrectly configured region", ConfigurationError, _REGION),
    (
        "BadScheme",
        ConfigurationError,
        "The endpoint is plain http: allow it with client_options={'allow_http': True}, or use https",
    ),
    (
        "Range request not supported",
        UnsupportedOperationError,
        "The server cannot send a part of a file: use one that sends ranges",
    ),
    (
        "larger than the maximum allowable size for a copy source",
        UnsupportedOperationError,
        "S3 copies objects of at most 5 GiB; read and put larger ones",
    ),
    ("os error 28", StorageFullError, _FULL),
    ("kind: Connect", BackendUnavailableError, _UNREACHABLE),
    ("kind: Timeout", BackendUnavailableError, _TIMEOUT),
    ("kind: Interrupted", BackendUnavailableError, "The connection to the store broke; try again later"),
    ("kind: Request", BackendUnavailableError, "The connection to the store broke; try again later"),
)

_RANGE_REFUSALS = (
    "status code: 416",
    "Wanted range starting at",
    "CONTENT_RANGE header",
    "Range request not supported",
)

_STATUSES: dict[int, tuple[type[StorageError], str]] = {
    401: (AuthenticationError, _IDENTITY),
    403: (AccessDeniedError, _DENIED),
    429: (BackendUnavailableError, _BUSY),
    500: (BackendUnavailableError, _BUSY),
    501: (
        UnsupportedOperationError,
        "The store lacks this operation; for S3 without conditional puts set conditional_put='disabled'",
    ),
    502: (BackendUnavailableError, _BUSY),
    503: (BackendUnavailableError, _BUSY),
    504: (BackendUnavailableError, _BUSY),
    507: (StorageFullError, _FULL),
}

_CLASSES: tuple[tuple[type[Exception], type[StorageError], str], ...] = (
    (FileNotFoundError, ObjectNotFoundError, "There is no such object: check the key and the backend's prefix"),
    (
        exceptions.AlreadyExistsError,
        ObjectExistsError,
        "There is already an object of that key: choose another, or overwrite=True",
    ),
    (exceptions.PreconditionError, ObjectChangedError, "The object was replaced while it was in use: try again"),
    (exceptions.NotModifiedError, ObjectChangedError, "The object was replaced while it was in use: try again"),
    (exceptions.UnauthenticatedError, AuthenticationError, _IDENTITY),
    (exceptions.PermissionDeniedError, AccessDeniedError, _DENIED),
    (exceptions.InvalidPathError, InvalidKeyError, "The store takes no keys of that form: choose another one"),
    (
        exceptions.NotSupportedError,
        UnsupportedOperationError,
        "The store cannot do this: see the capabilities of the backend",
    ),
    (NotImplementedError, UnsupportedOperationError, "The store cannot do this: see the capabilities of the backend"),
    (
        exceptions.UnknownConfigurationKeyError,
        ConfigurationError,
        "An option of the backend is unknown to obstore: check its spelling",
    ),
)


def service_code(error: Exception) -> str | None:
    """Return the error code that the service gave, such as ``"NoSuchKey"``, or ``None``."""
    found = _CODE.search(str(error))
    return found[1] if found else None


def is_range_refusal(error: Exception) -> bool:
    """Return whether a read may have failed because its range starts at or behind the end of the object.

    Most stores say so. Azurite answers ranges of empty objects with ``bytes 0--1/0``, which obstore cannot parse, and
    HTTP servers may send the whole object instead, which obstore calls "not supported".
    """
    return isinstance(error, (exceptions.GenericError, exceptions.NotSupportedError)) and any(
        phrase in str(error) for phrase in _RANGE_REFUSALS
    )


def translate_obstore_error(error: Exception) -> StorageError | None:
    """Return the error of this package for an exception of obstore, or ``None`` for other exceptions."""
    if not isinstance(error, (exceptions.BaseError, FileNotFoundError, NotImplementedError)):
        return None
    text = str(error)
    code = service_code(error)
    if (known := _CODES.get(code or "")) is not None:
        return known[0](known[1])
    for phrase, kind, detail in _PHRASES:
        if phrase in text:
            return kind(detail)
    for cause, kind, detail in _CLASSES:
        if isinstance(error, cause):
            return kind(detail)
    return _by_status(text, code)


def _by_status(text: str, code: str | None) -> StorageError:
    found = _STATUS.search(text)
    if found is not None and (known := _STATUSES.get(int(found[1]))) is not None:
        return known[0](known[1])
    named = code or (f"status {found[1]}" if found else "an error that obstore does not name")
    return StorageError(f"The store answered with {named}")
