"""Refuses requests while they are read, with Litestar's own exceptions; ``extra`` holds the details."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar.exceptions import (
    ClientException,
    HTTPException,
    InternalServerException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge, ServiceUnavailableException
from litestar.status_codes import (
    HTTP_408_REQUEST_TIMEOUT,
    HTTP_409_CONFLICT,
    HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    HTTP_507_INSUFFICIENT_STORAGE,
)

from litestar_filestore.errors import InvalidArgumentError, MultipartLimitError

if TYPE_CHECKING:
    from litestar import Request

__all__ = (
    "RAISED_BY_UPLOADS",
    "Conflict",
    "InsufficientStorage",
    "RequestTimeout",
    "UnsupportedMediaType",
    "busy",
    "gone",
    "malformed",
    "not_a_file",
    "not_a_form",
    "refuse_part_of_file",
    "refused",
    "too_large",
    "too_slow",
)


class RequestTimeout(ClientException):
    """The client sends too slowly, or nothing at all (RFC 9110 §15.5.9)."""

    status_code = HTTP_408_REQUEST_TIMEOUT


class UnsupportedMediaType(ClientException):
    """Content of a type that is not taken here (RFC 9110 §15.5.16)."""

    status_code = HTTP_415_UNSUPPORTED_MEDIA_TYPE


class Conflict(ClientException):
    """The file, its key or its row is not what it was when the request began (RFC 9110 §15.5.10)."""

    status_code = HTTP_409_CONFLICT


class InsufficientStorage(InternalServerException):
    """There is no room left in the store (RFC 4918 §11.5)."""

    status_code = HTTP_507_INSUFFICIENT_STORAGE


RAISED_BY_UPLOADS: tuple[type[HTTPException], ...] = (
    ValidationException,
    RequestTimeout,
    Conflict,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    ServiceUnavailableException,
    InsufficientStorage,
)
"""Errors that every handler with uploads may answer, for the OpenAPI document."""


def refused(message: str, key: str = "") -> ValidationException:
    """400: the request can be parsed, but not accepted."""
    return ValidationException(detail=message, extra=_extra(message, key))


def refuse_part_of_file(request: Request[Any, Any, Any]) -> None:
    """Refuse a request that declares its content as a part of a file, before it is taken for the whole file.

    ``curl -C`` and uploaders that send a file in pieces declare it with ``Content-Range``. A server that cannot put the
    piece in its place has to answer 400 (RFC 9110 §9.3.4, §14.5).

    Raises:
        ValidationException: If the request has ``Content-Range``.
    """
    if "content-range" in request.headers:
        raise refused("A part of a file cannot be stored: send the whole file, without Content-Range")


def malformed(error: InvalidArgumentError) -> HTTPException:
    """400 for a form that cannot be parsed, 413 for one that is too large; the error is its ``__cause__``."""
    kind = RequestEntityTooLarge if isinstance(error, MultipartLimitError) else ClientException
    exception = kind(detail=error.detail, extra=_extra(error.detail, ""))
    exception.__cause__ = error
    return exception


def too_large(message: str, key: str = "") -> RequestEntityTooLarge:
    """413: the content is too large."""
    return RequestEntityTooLarge(detail=message, extra=_extra(message, key))


def not_a_form() -> ClientException:
    """415: the body is of another media type."""
    message = "The body has to be multipart/form-data"
    return UnsupportedMediaType(detail=message, headers={"Accept": "multipart/form-data"})


def not_a_file() -> ClientException:
    """415: the body is a form, and something before the handler has parsed it."""
    return UnsupportedMediaType(detail="The body has to be the file itself, not multipart/form-data")


def too_slow(message: str) -> ClientException:
    """408: the client sends too slowly, or nothing at all; the connection ends with the answer."""
    return RequestTimeout(detail=message, headers={"Connection": "close"})


def busy(retry_after_seconds: int) -> ServiceUnavailableException:
    """503: too many uploads at the same time."""
    return ServiceUnavailableException(
        detail="Too many uploads at this moment, try again later",
        headers={"Retry-After": str(retry_after_seconds)},
    )


def gone() -> ClientException:
    """400: the client left before the end. It no longer reads the answer, but logs and metrics show it."""
    return ClientException(detail="The connection ended before the body")


def _extra(message: str, key: str) -> list[dict[str, Any]]:
    return [{"message": message, "key": key, "source": "body"}]
