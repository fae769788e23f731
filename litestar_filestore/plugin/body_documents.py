"""Bodies in OpenAPI documents that Litestar does not read, and so does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from litestar_filestore.http.parts import MultipartStream
from litestar_filestore.http.raw import RawUpload
from litestar_filestore.http.refusals import RAISED_BY_UPLOADS

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

__all__ = ("document_body", "document_refusals")

_OPT = "filestore_body"
_FILE = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
# What a form holds is the handler's own business; that it is a form is known.
_CONTENT = {
    MultipartStream: {"multipart/form-data": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))},
    RawUpload: {"application/octet-stream": OpenAPIMediaType(schema=_FILE)},
}


def document_body(handler: HTTPRouteHandler) -> None:
    """Say in the document that a handler takes a body, if it reads one by `MultipartStream` or `RawUpload`.

    An operation class that says what is in the body is left as it is.
    """
    if _OPT in handler.opt:
        return  # a handler that has several paths comes once for each
    for field in handler.parsed_fn_signature.parameters.values():
        content = _CONTENT.get(field.annotation)
        if content is not None:
            handler.opt[_OPT] = True
            handler.operation_class = _operation(handler.operation_class, content)
            document_refusals(handler)


def document_refusals(handler: HTTPRouteHandler) -> None:
    """Say in the document how a handler that takes uploads may answer."""
    raises = list(handler.raises or ())
    handler.raises = [*raises, *(each for each in RAISED_BY_UPLOADS if each not in raises)]


def _operation(base: type[Operation], content: dict[str, OpenAPIMediaType]) -> type[Operation]:
    # Without the decorator, the constructor that is inherited would not call the hook.
    @dataclass
    class BodyOperation(base):  # type: ignore[valid-type,misc]  # a class that is known at run time
        def __post_init__(self) -> None:
            if callable(inherited := getattr(super(), "__post_init__", None)):
                inherited()
            if getattr(self, "request_body", None) is None:
                self.request_body = RequestBody(content=dict(content), required=True)

    return BodyOperation
