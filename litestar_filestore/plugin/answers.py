"""Errors of this package as HTTP errors.

Clients get a status and a sentence of their own: details name keys, backends and stores. Those go to the log.
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
from litestar.status_codes import (
    HTTP_409_CONFLICT,
    HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTP_500_INTERNAL_SERVER_ERROR,
    HTTP_501_NOT_IMPLEMENTED,
    HTTP_503_SERVICE_UNAVAILABLE,
    HTTP_507_INSUFFICIENT_STORAGE,
)

from litestar_filestore.errors import (
    AccessError,
    BackendUnavailableError,
    BucketNotFoundError,
    ConflictError,
    DatabaseFullError,
    DatabaseUnavailableError,
    FileRejectedError,
    FileTooLargeError,
    FileTypeNotAllowedError,
    InvalidKeyError,
    InvalidTokenError,
    LinkLostError,
    MultipartError,
    MultipartLimitError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    QuotaExceededError,
    RangeNotSatisfiableError,
    StorageError,
    StorageFullError,
    UnsupportedOperationError,
)
from litestar_filestore.validation.rules import too_large_message

if TYPE_CHECKING:
    from litestar import Request, Response
    from litestar.types import Scope

__all__ = (
    "ANSWERS",
    "Answer",
    "answer_exception",
    "answer_storage_error",
    "log_wrapped_error",
    "to_http_exception",
)

logger = logging.getLogger("litestar_filestore")

_Handler: TypeAlias = "Callable[[Request[Any, Any, Any], Any], Response[Any]]"
_Handlers: TypeAlias = "Mapping[int | type, _Handler]"
_default_answer = cast("_Handler", create_exception_response)
_debug_answer = cast("_Handler", create_debug_response)


_RETRY_SECONDS = 5
_PASSING = (BackendUnavailableError, DatabaseUnavailableError, ObjectChangedError)
"""What may be over soon. Refused credentials and a missing bucket are not: somebody has to mend them."""


class Answer(NamedTuple):
    """How one class of errors looks to a client."""

    exception: type[HTTPException]
    """Litestar's exception: with ProblemDetailsPlugin and handlers for it, the answer is as for any other."""
    status_code: int
    """HTTP status."""
    detail: str
    """What the client reads."""


ANSWERS: Mapping[type[StorageError], Answer] = {
    MultipartError: Answer(ClientException, 400, "The form cannot be read"),
    MultipartLimitError: Answer(RequestEntityTooLarge, 413, "The form is too large"),
    InvalidKeyError: Answer(ClientException, 400, "This cannot be the key of a file"),
    InvalidTokenError: Answer(PermissionDeniedException, 403, "This link is not valid, or not any longer"),
    ObjectNotFoundError: Answer(NotFoundException, 404, "The file does not exist"),
    ObjectExistsError: Answer(ClientException, HTTP_409_CONFLICT, "The file exists already"),
    FileRejectedError: Answer(ValidationException, 400, "The file is not acceptable"),
    FileTooLargeError: Answer(RequestEntityTooLarge, 413, "The file is too large"),
    FileTypeNotAllowedError: Answer(
        ClientException, HTTP_415_UNSUPPORTED_MEDIA_TYPE, "Files of this type are not allowed here"
    ),
    RangeNotSatisfiableError: Answer(
        ClientException, HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE, "The range lies outside the file"
    ),
    UnsupportedOperationError: Answer(
        InternalServerException, HTTP_501_NOT_IMPLEMENTED, "The file storage cannot do this"
    ),
    AccessError: Answer(ServiceUnavailableException, HTTP_503_SERVICE_UNAVAILABLE, "The file storage is unavailable"),
    BackendUnavailableError: Answer(
        ServiceUnavailableException, HTTP_503_SERVICE_UNAVAILABLE, "The file storage is unavailable"
    ),
    BucketNotFoundError: Answer(
        ServiceUnavailableException, HTTP_503_SERVICE_UNAVAILABLE, "The file storage is unavailable"
    ),
    ObjectChangedError: Answer(
        ServiceUnavailableException, HTTP_503_SERVICE_UNAVAILABLE, "The file was replaced meanwhile, try again"
    ),
    LinkLostError: Answer(ClientException, HTTP_409_CONFLICT, "The upload was given up meanwhile, upload it again"),
    ConflictError: Answer(ClientException, HTTP_409_CONFLICT, "The file was changed meanwhile, try again"),
    QuotaExceededError: Answer(RequestEntityTooLarge, 413, "There is no room left for this file"),
    StorageFullError: Answer(InternalServerException, HTTP_507_INSUFFICIENT_STORAGE, "The file storage is full"),
    DatabaseUnavailableError: Answer(
        ServiceUnavailableException, HTTP_503_SERVICE_UNAVAILABLE, "The database is unavailable, try again later"
    ),
    DatabaseFullError: Answer(InternalServerException, HTTP_507_INSUFFICIENT_STORAGE, "The database is full"),
    # Everything else is a mistake of the program, which no client can mend: wrong arguments, types and set-ups.
    StorageError: Answer(InternalServerException, HTTP_500_INTERNAL_SERVER_ERROR, ""),
}
"""Answers by class of error."""


def to_http_exception(error: StorageError) -> HTTPException:
    """Return the HTTP error that stands for `error`, which is its ``__cause__``."""
    answer = next(ANSWERS[each] for each in type(error).__mro__ if each in ANSWERS)
    headers: dict[str, str] | None = None
    if isinstance(error, _PASSING):
        headers = {"Retry-After": str(_RETRY_SECONDS)}  # RFC 9110 §10.2.3
    if isinstance(error, RangeNotSatisfiableError) and error.size is not None:
        headers = {"Content-Range": f"bytes */{error.size}"}  # RFC 9110 §14.4
    detail, extra = answer.detail, None
    if isinstance(error, (FileRejectedError, FileTooLargeError)):
        # What a rule says is written for the sender, and who sends several files needs to know which one it is about.
        detail = error.detail if isinstance(error, FileRejectedError) else too_large_message(error.max_bytes)
        extra = [{"message": detail, "key": error.field or "", "source": "body"}]
    exception = answer.exception(detail=detail, status_code=answer.status_code, headers=headers, extra=extra)
    exception.__cause__ = error
    return exception


def answer_storage_error(request: Request[Any, Any, Any], error: StorageError) -> Response[Any]:
    """Answer with the table's status, in the words of whoever answers such errors in this application.

    Handlers for a parent of the error (``FileNotFoundError``) come first, then those for the HTTP error: by status, by
    class (as ProblemDetailsPlugin installs them), then Litestar's own. A mistake of the program is answered as any
    other exception, with Litestar's page in debug mode; Litestar itself logs it in debug mode only.
    """
    handlers = _handlers_for(request)
    own = _first(handlers, type(error))
    if own is not None:
        return own(request, error)
    exception = to_http_exception(error)
    _log(exception.status_code, error)
    is_mistake = exception.status_code == HTTP_500_INTERNAL_SERVER_ERROR
    return answer_exception(request, error if is_mistake else exception)


async def log_wrapped_error(exception: Exception, _scope: Scope) -> None:
    """Log an error of this package that Litestar answers as another one, which nobody would hear of.

    It takes what encoders raise for a mistake of its own (`ImproperlyConfiguredException`): a URL that cannot be made.
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
    """Answer an error of any kind in the words of whoever answers such errors in this application.

    Args:
        request: The request.
        exception: The error.
        instead_of: A handler that is not meant: the caller.
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
