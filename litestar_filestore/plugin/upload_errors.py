"""Forms that a DTO refuses, answered as any other form that does not fit."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.dto import AbstractDTO
from litestar.handlers import HTTPRouteHandler

from litestar_filestore.http.form_shape import invalid_form
from litestar_filestore.http.upload_routes import exception_handlers
from litestar_filestore.plugin.exceptions import answer_exception

if TYPE_CHECKING:
    from litestar import Request, Response

__all__ = ("answer_dto_errors",)

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.+?)`")


def answer_dto_errors(handler: HTTPRouteHandler) -> None:
    """Have forms that do not fit the handler's DTO answered with 400.

    Litestar 2.25 answers 500: it expects `SerializationException`, and ``AbstractDTO.decode_builtins`` raises msgspec's
    own error. An application that has a handler for that one keeps it.
    """
    if msgspec.ValidationError not in exception_handlers(handler):
        untyped: Any = handler
        untyped.exception_handlers = {**(untyped.exception_handlers or {}), msgspec.ValidationError: _answer}


def _answer(request: Request[Any, Any, Any], error: msgspec.ValidationError) -> Response[Any]:
    if not _is_of_the_form(error):
        return answer_exception(request, error, instead_of=_answer)
    message = str(error)
    place = _PLACE.search(message)
    text = message[: place.start()] if place else message
    missing = _MISSING.search(text)
    key = missing.group(1) if missing else place.group(1) if place else ""
    exception = invalid_form(request, [(text, key)])
    exception.__cause__ = error
    return answer_exception(request, exception)


def _is_of_the_form(error: Exception) -> bool:
    """Return whether a DTO raised it, not the handler: what is wrong there is no fault of the client."""
    dto: Any = AbstractDTO
    return any(frame.f_code is dto.decode_builtins.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))
