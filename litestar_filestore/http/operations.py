"""What OpenAPI documents are told about handlers whose bodies or answers Litestar does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from litestar.exceptions import HTTPException
    from litestar.handlers import HTTPRouteHandler
    from litestar.openapi.spec import Operation

__all__ = ("adjusted_operation", "document_refusals")


def adjusted_operation(base: type[Operation], adjust: Callable[[Operation], None]) -> type[Operation]:
    """Return a kind of operation for `operation_class` of a handler.

    Args:
        base: What it was before; its own ``__post_init__`` comes first.
        adjust: Changes every operation in place, when Litestar has told it all that it knows.
    """

    # Without the decorator, the constructor that is inherited would not call the hook.
    @dataclass
    class AdjustedOperation(base):  # type: ignore[valid-type,misc]  # a class that is known at run time
        def __post_init__(self) -> None:
            if callable(inherited := getattr(super(), "__post_init__", None)):
                inherited()
            adjust(self)

    return AdjustedOperation


def document_refusals(handler: HTTPRouteHandler, refusals: Iterable[type[HTTPException]]) -> None:
    """Say in the document how a handler may refuse, beside what it says itself."""
    raises = list(handler.raises or ())
    handler.raises = [*raises, *(each for each in refusals if each not in raises)]
