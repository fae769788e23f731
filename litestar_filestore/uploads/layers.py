"""Reads the settings of a handler and of the layers above it, in Litestar 2 and in Litestar 3."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, cast

from litestar import Litestar
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg
from litestar.types import Empty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar.dto import AbstractDTO
    from litestar.handlers import HTTPRouteHandler
    from litestar.typing import FieldDefinition

__all__ = (
    "admit_body",
    "body_limit",
    "data_dto",
    "exception_handlers",
    "form_body",
    "nearest_before_request",
)

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
    """Return the longest body in bytes that the application has set for a handler, ``None`` if it has set none.

    If the application has set ``None``, for bodies of any length, this is the largest number that can be counted.
    Litestar's default of 10 MB is not a decision about uploads, so it is ignored, even if the application has set the
    same value.
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


def admit_body(handler: HTTPRouteHandler, max_bytes: int) -> None:
    """Let code that reads the body before the handler read as much as the handler takes.

    By default, Litestar stops it at 10 MB. `body_limit` still returns what the application has set.
    """
    said = body_limit(handler)
    handler.opt[_SAID] = said
    if said is None:
        handler.request_max_body_size = max_bytes


def nearest_before_request(handler: HTTPRouteHandler) -> Callable[[Any], Any] | None:
    """Return the hook nearest to the handler, which is the only one that Litestar calls."""
    # Litestar 2 merges the layers when it is first asked for them, and never again; so it is not asked here.
    untyped: Any = handler
    layers: list[Any] = untyped.ownership_layers if _has_layers(handler) else [untyped]
    hooks: list[Callable[[Any], Any]] = [layer.before_request for layer in layers if layer.before_request]
    return hooks[-1] if hooks else None


def _has_layers(handler: HTTPRouteHandler) -> bool:
    """Return whether this is Litestar 2, where a handler merges its layers when asked; Litestar 3 has merged them."""
    return hasattr(handler, "ownership_layers")
