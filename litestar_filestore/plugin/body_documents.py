"""Bodies in OpenAPI documents that Litestar does not read, and so does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar.openapi.spec import OpenAPIMediaType, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from litestar_filestore.http.form_schema import PART_NAME
from litestar_filestore.http.limits import form_limits
from litestar_filestore.http.operations import adjusted_operation, document_refusals
from litestar_filestore.http.parts import MultipartStream
from litestar_filestore.http.plan import ANY_FORM
from litestar_filestore.http.raw import RawUpload
from litestar_filestore.http.refusals import RAISED_BY_UPLOADS
from litestar_filestore.http.upload_routes import admit_body

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler
    from litestar.openapi.spec import Operation

    from litestar_filestore.http.limits import UploadLimits

__all__ = ("document_body",)

_OPT = "filestore_body"
_FILE = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
# What a form holds is the handler's own business; that it is a form is known.
_CONTENT = {
    MultipartStream: {
        "multipart/form-data": OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.OBJECT, property_names=Schema(pattern=PART_NAME))
        )
    },
    RawUpload: {"application/octet-stream": OpenAPIMediaType(schema=_FILE)},
}


def document_body(handler: HTTPRouteHandler, limits: UploadLimits) -> None:
    """Say in the document that a handler takes a body, if it reads one by `MultipartStream` or `RawUpload`.

    An operation class that says what is in the body is left as it is. Those who read the body before the handler may
    have as much of it as `limits` allow.
    """
    if _OPT in handler.opt:
        return  # a handler that has several paths comes once for each
    for field in handler.parsed_fn_signature.parameters.values():
        content = _CONTENT.get(field.annotation)
        if content is not None:
            handler.opt[_OPT] = True
            handler.operation_class = _operation(handler.operation_class, content)
            document_refusals(handler, RAISED_BY_UPLOADS)
            of_form = form_limits(ANY_FORM, limits).total_bytes
            admit_body(handler, of_form if field.annotation is MultipartStream else limits.max_file_bytes)


def _operation(base: type[Operation], content: dict[str, OpenAPIMediaType]) -> type[Operation]:
    def adjust(operation: Operation) -> None:
        if operation.request_body is None:
            operation.request_body = RequestBody(content=dict(content), required=True)

    return adjusted_operation(base, adjust)
