"""Puts the reading of uploads before handlers, where Litestar's own reading of forms will find it done."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from litestar import Litestar
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg
from litestar.types import Empty
from litestar.utils.scope.state import ScopeState  # the one private name that reading a form takes

from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from litestar import Request
    from litestar.dto import AbstractDTO
    from litestar.handlers import HTTPRouteHandler
    from litestar.typing import FieldDefinition

__all__ = (
    "ReadForm",
    "admit_body",
    "body_before",
    "body_limit",
    "data_dto",
    "exception_handlers",
    "form_before",
    "form_body",
    "form_values",
    "read_before",
)

ReadForm: TypeAlias = "Callable[[Request[Any, Any, Any]], Awaitable[dict[str, Any]]]"
"""Reads the form of a request."""

_SAID = "filestore_body_limit"


def form_body(handler: HTTPRouteHandler) -> FieldDefinition | None:
    """Return the parameter of a handler that takes a multipart form, ``None`` if there is none."""
    for field in handler.parsed_fn_signature.parameters.values():
        body = field.kwarg_definition
        if isinstance(body, BodyKwarg) and body.media_type == RequestEncodingType.MULTI_PART:
            return field
    return None


def data_dto(handler: HTTPRouteHandler) -> type[AbstractDTO[Any]] | None:
    """Return the DTO that reads a handler's body: its own, that of a layer above it, or that of a plugin."""
    untyped: Any = handler
    return cast(
        "type[AbstractDTO[Any]] | None", untyped.resolve_data_dto() if _has_layers(handler) else untyped.data_dto
    )


def exception_handlers(handler: HTTPRouteHandler) -> Mapping[Any, Any]:
    """Return the exception handlers of a handler and of all layers above it."""
    untyped: Any = handler
    return cast(
        "Mapping[Any, Any]",
        untyped.resolve_exception_handlers() if _has_layers(handler) else untyped.exception_handlers,
    )


def body_limit(handler: HTTPRouteHandler) -> int | None:
    """Return the longest body in bytes that the application has set for a handler, ``None`` if it has set nothing.

    ``None`` that is set, for bodies of any length, is the longest that can be counted. Litestar's own default of 10 MB
    is nobody's decision about uploads, and so is a value of the application that is the same.
    """
    if _SAID in handler.opt:
        return cast("int | None", handler.opt[_SAID])
    application: Any = Litestar
    default = inspect.signature(application).parameters["request_max_body_size"].default
    untyped: Any = handler
    layers: list[Any] = untyped.ownership_layers if _has_layers(handler) else [untyped]
    said = next((each for layer in reversed(layers) if (each := layer.request_max_body_size) is not Empty), default)
    if said == default:
        return None
    return sys.maxsize if said is None else int(said)


def body_before(request: Request[Any, Any, Any]) -> bytes | None:
    """Return the body of a request if somebody has read it already, ``None`` if it is still to come.

    A middleware, a guard or a hook may have, whose request is another object: what all of them share is the scope.

    Raises:
        ConfigurationError: If somebody has, and nobody knows where it is.
    """
    state: Any = ScopeState.from_scope(request.scope)
    if state.body is not Empty:
        return cast("bytes", state.body)
    if not request.is_connected:
        raise ConfigurationError(
            "The body of the request was read before it could be stored, and is gone: read it with request.body() or "
            "request.form(), which keep it, not with request.stream(), and store it once"
        )
    return None


def form_before(request: Request[Any, Any, Any]) -> Mapping[str, Any] | None:
    """Return the form of a request if Litestar has read it already, and has nothing else of the body any more."""
    state: Any = ScopeState.from_scope(request.scope)
    # It makes an empty form of a body that is none, and does not read it then.
    if state.form is Empty or state.body is not Empty or request.content_type[0] != RequestEncodingType.MULTI_PART:
        return None
    return cast("Mapping[str, Any]", state.form)


def form_values(form: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of a form that Litestar has read: it keeps a list where a name came several times."""
    for name, value in form.items():
        if isinstance(value, list):
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]  # of anything
            for each in items:
                yield name, each
        else:
            yield name, value


def admit_body(handler: HTTPRouteHandler, max_bytes: int) -> None:
    """Let those who read the body before the handler have as much as the handler takes.

    Litestar stops them at 10 MB, where nobody has said anything else. `body_limit` still returns what was said.
    """
    said = body_limit(handler)
    handler.opt[_SAID] = said
    if said is None:
        handler.request_max_body_size = max_bytes


def read_before(handler: HTTPRouteHandler, read: ReadForm) -> None:
    """Have `read` called before the handler: after its guards and its own ``before_request``, before its arguments.

    What `read` returns takes the place of the form that Litestar would have read.
    """
    previous = _before_request(handler)

    async def before_request(request: Request[Any, Any, Any]) -> Any:
        if previous is not None and (answer := await _call(previous, request)):
            return answer  # the application has answered; the body stays unread
        state: Any = ScopeState.from_scope(request.scope)
        before = None if state.form is Empty else state.form
        try:
            state.form = await read(request)
        finally:
            if before is not None:
                await _close_files(before)  # stored by now, and Litestar closes those of the new form only
        return None

    handler.before_request = before_request


async def _close_files(form: Mapping[str, Any]) -> None:
    for _, each in form_values(form):
        if isinstance(each, UploadFile):
            await each.close()


async def _call(hook: Callable[[Any], Any], request: Request[Any, Any, Any]) -> Any:
    # Litestar has wrapped those that are not asynchronous.
    answer = hook(request)
    return await answer if inspect.isawaitable(answer) else answer


def _before_request(handler: HTTPRouteHandler) -> Callable[[Any], Any] | None:
    """Return the hook nearest to the handler, which is the only one that Litestar calls."""
    # Litestar 2 keeps the layers apart until they are asked for, and then does not look again: they are not asked.
    untyped: Any = handler
    layers: list[Any] = untyped.ownership_layers if _has_layers(handler) else [untyped]
    hooks: list[Callable[[Any], Any]] = [layer.before_request for layer in layers if layer.before_request]
    return hooks[-1] if hooks else None


def _has_layers(handler: HTTPRouteHandler) -> bool:
    """Return whether this is Litestar 2, where a handler is asked to merge its layers; 3 has merged them."""
    return hasattr(handler, "ownership_layers")
