"""Turns errors of this package into HTTP errors.

Clients get a status and a general sentence. The details, which name keys, backends and stores, go to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from litestar.exceptions import (
    ClientException,
    HTTPException,
    InternalServerException,
    NotFoundException,
    PermissionDeniedException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge, ServiceUnavailableException
from litestar.exceptions.responses import (
    create_debug_response,  # pyright: ignore[reportUnknownVariableType]
    create_exception_response,  # pyright: ignore[reportUnknownVariableType]
)
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR

from litestar_filestore import errors
from litestar_filestore.downloads.answer import PreconditionFailedException, RangeNotSatisfiableException
from litestar_filestore.errors import (
    DatabaseUnavailableError,
    FileRejectedError,
    FileTooLargeError,
    RangeNotSatisfiableError,
    StorageError,
)
from litestar_filestore.ledger.outages import is_locked
from litestar_filestore.uploads.refusals import Conflict, InsufficientStorage, RequestTimeout, UnsupportedMediaType
from litestar_filestore.validation.rules import too_large_message

if TYPE_CHECKING:
    from litestar import Request, Response
    from litestar.types import Scope
    from sqlalchemy.exc import OperationalError

__all__ = (
    "ANSWERS",
    "RAISED",
    "Answer",
    "answer_exception",
    "answer_operational_error",
    "answer_storage_error",
    "log_wrapped_error",
    "to_http_exception",
)

logger = logging.getLogger("litestar_filestore")

_Handler: TypeAlias = "Callable[[Request[Any, Any, Any], Any], Response[Any]]"
_Handlers: TypeAlias = "Mapping[int | type, _Handler]"
_default_answer = cast("_Handler", create_exception_response)
_debug_answer = cast("_Handler", create_debug_response)


_SOON = {"Retry-After": "5"}  # RFC 9110 §10.2.3


class Answer(NamedTuple):
    """How clients see one class of errors."""

    status_code: int
    """HTTP status."""
    exception: type[HTTPException]
    """Litestar's exception, so that ProblemDetailsPlugin and exception handlers treat it like any other."""
    detail: str
    """Sentence for the client."""
    headers: Mapping[str, str] | None = None
    """Headers of the answer. `_SOON` is for errors that may go away soon; refused credentials and a missing bucket need
    a repair."""


_STORE_AWAY = Answer(503, ServiceUnavailableException, "The file storage is unavailable")

ANSWERS: Mapping[type[StorageError], Answer] = {
    errors.MultipartError: Answer(400, ClientException, "The form cannot be read: correct it and send it again"),
    errors.InvalidKeyError: Answer(400, ClientException, "This cannot be the name of a file: choose another one"),
    errors.TusError: Answer(
        400, ClientException, "The request does not follow the protocol of resumable uploads: correct it"
    ),
    errors.FileRejectedError: Answer(400, ValidationException, "The file is not acceptable"),
    errors.InvalidTokenError: Answer(
        403, PermissionDeniedException, "This link is not valid, or no longer valid: ask for a new one"
    ),
    errors.ObjectNotFoundError: Answer(404, NotFoundException, "The file does not exist"),
    errors.ObjectExistsError: Answer(409, ClientException, "The file exists already: choose another name"),
    errors.LinkLostError: Answer(409, ClientException, "The upload was given up meanwhile, upload it again"),
    errors.ConflictError: Answer(409, ClientException, "The file was changed meanwhile, try again"),
    errors.MultipartLimitError: Answer(
        413, RequestEntityTooLarge, "The form is too large: send fewer or smaller fields"
    ),
    errors.FileTooLargeError: Answer(413, RequestEntityTooLarge, "The file is too large"),
    errors.QuotaExceededError: Answer(
        413, RequestEntityTooLarge, "There is no room left for this file: delete others first"
    ),
    errors.FileTypeNotAllowedError: Answer(415, ClientException, "Files of this type are not allowed here"),
    errors.RangeNotSatisfiableError: Answer(
        416, ClientException, "The range lies outside the file: ask for bytes within it"
    ),
    errors.UnsupportedOperationError: Answer(501, InternalServerException, "The file storage cannot do this"),
    errors.AccessError: _STORE_AWAY,
    errors.BucketNotFoundError: _STORE_AWAY,
    errors.BackendUnavailableError: _STORE_AWAY._replace(
        detail="The file storage is unavailable, try again later", headers=_SOON
    ),
    errors.ObjectChangedError: Answer(
        503, ServiceUnavailableException, "The file was replaced meanwhile, try again", _SOON
    ),
    errors.DatabaseUnavailableError: Answer(
        503, ServiceUnavailableException, "The database is unavailable, try again later", _SOON
    ),
    errors.StorageFullError: Answer(507, InternalServerException, "The file storage is full, try again later"),
    errors.DatabaseFullError: Answer(507, InternalServerException, "The database is full, try again later"),
    # Everything else is a mistake in the program, which no client can correct: wrong arguments, types and settings.
    errors.StorageError: Answer(500, InternalServerException, ""),
}
"""Answers by class of error; a class that is not listed is answered like its nearest parent."""

RAISED: Mapping[type[HTTPException], int] = {
    RequestTimeout: 408,  # an upload is too slow
    Conflict: 409,
    PreconditionFailedException: 412,  # If-Match and similar, on downloads and changes
    UnsupportedMediaType: 415,  # a body that is no form, or a form where a file is expected
    RangeNotSatisfiableException: 416,
    InsufficientStorage: 507,
}
"""Statuses of the package's own HTTP errors, which uploads and downloads raise directly.

The other HTTP errors that they raise are Litestar's: 400, 404, 413 and 503.
"""


def to_http_exception(error: StorageError) -> HTTPException:
    """Return the HTTP error for `error`, which becomes its ``__cause__``."""
    answer = next(ANSWERS[each] for each in type(error).__mro__ if each in ANSWERS)
    headers = dict(answer.headers) if answer.headers is not None else None
    if isinstance(error, RangeNotSatisfiableError) and error.size is not None:
        headers = {"Content-Range": f"bytes */{error.size}"}  # RFC 9110 §14.4
    detail, extra = answer.detail, None
    if isinstance(error, (FileRejectedError, FileTooLargeError)):
        # A rule's message is written for the sender, who may have sent several files and needs to know which one it
        # means.
        detail = error.detail if isinstance(error, FileRejectedError) else too_large_message(error.max_bytes)
        extra = [{"message": detail, "key": error.field or "", "source": "body"}]
    exception = answer.exception(detail=detail, status_code=answer.status_code, headers=headers, extra=extra)
    exception.__cause__ = error
    return exception


def answer_storage_error(request: Request[Any, Any, Any], error: StorageError) -> Response[Any]:
    """Answer with the table's status, through the exception handler that the application has for such errors.

    Handlers for a parent of the error (``FileNotFoundError``) come first, then those for the HTTP error: by status, by
    class (as ProblemDetailsPlugin installs them), then Litestar's own. A mistake in the program is answered like any
    other exception, with Litestar's page in debug mode; Litestar itself logs it only in debug mode.
    """
    handlers = _handlers_for(request)
    own = _first(handlers, type(error))
    if own is not None:
        return own(request, error)
    exception = to_http_exception(error)
    _log(exception.status_code, error)
    is_mistake = exception.status_code == HTTP_500_INTERNAL_SERVER_ERROR
    return answer_exception(request, error if is_mistake else exception)


def answer_operational_error(request: Request[Any, Any, Any], error: OperationalError) -> Response[Any]:
    """Answer 503 if SQLite's lock could not be had in time, and otherwise as without this handler."""
    if is_locked(error) and _first(_handlers_for(request), type(error), but=answer_operational_error) is None:
        busy = DatabaseUnavailableError("Others write to the SQLite database; try again later")
        busy.__cause__ = error
        return answer_storage_error(request, busy)
    return answer_exception(request, error, instead_of=answer_operational_error)


async def log_wrapped_error(exception: Exception, _scope: Scope) -> None:
    """Log an error of this package that Litestar replaces by another one; otherwise it would be lost.

    If an encoder raises an error, for a URL that cannot be made, Litestar reports it as its own
    `ImproperlyConfiguredException`.
    """
    if isinstance(exception, StorageError) or getattr(exception, "status_code", 500) < HTTP_500_INTERNAL_SERVER_ERROR:
        return
    cause = exception.__cause__
    while cause is not None and not isinstance(cause, StorageError):
        cause = cause.__cause__
    if cause is not None:
        _log(HTTP_500_INTERNAL_SERVER_ERROR, cause)


def answer_exception(
    request: Request[Any, Any, Any], exception: Exception, *, instead_of: _Handler | None = None
) -> Response[Any]:
    """Answer an error of any kind through the exception handler that the application has for such errors.

    Args:
        request: The request.
        exception: The error.
        instead_of: An exception handler to leave out: the caller.
    """
    handlers = _handlers_for(request)
    if isinstance(exception, HTTPException):
        answer = handlers.get(exception.status_code) or _first(handlers, type(exception), catch_all=True)
    else:
        answer = _first(handlers, type(exception), catch_all=True, but=instead_of)
        answer = answer or handlers.get(HTTP_500_INTERNAL_SERVER_ERROR)
    return (answer or _answer_by_default)(request, exception)


def _answer_by_default(request: Request[Any, Any, Any], exception: Exception) -> Response[Any]:
    status_code = exception.status_code if isinstance(exception, HTTPException) else HTTP_500_INTERNAL_SERVER_ERROR
    if request.app.debug and status_code == HTTP_500_INTERNAL_SERVER_ERROR:
        return _debug_answer(request, exception)
    return _default_answer(request, exception)


def _handlers_for(request: Request[Any, Any, Any]) -> _Handlers:
    handler: Any = request.route_handler
    if hasattr(handler, "ownership_layers"):  # Litestar 2; 3 has merged the layers beforehand
        return cast("_Handlers", handler.resolve_exception_handlers())
    return cast("_Handlers", handler.exception_handlers)


def _first(
    handlers: _Handlers, class_: type[Exception], *, catch_all: bool = False, but: _Handler | None = None
) -> _Handler | None:
    """Return the application's handler for the nearest parent of `class_`; for ``Exception`` only with `catch_all`."""
    for parent in class_.__mro__:
        if parent is Exception and not catch_all:
            break
        found = handlers.get(parent)
        if found is not None and found is not answer_storage_error and found is not but:
            return found
    return None


def _log(status_code: int, error: StorageError) -> None:
    if status_code >= HTTP_500_INTERNAL_SERVER_ERROR:
        logger.error("Answered %d: %s", status_code, error, exc_info=error)
    else:
        logger.info("Answered %d: %s", status_code, error)
