"""Describes uploads in OpenAPI, and lets other features adjust operations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from litestar.enums import RequestEncodingType
from litestar.openapi.spec import Encoding, OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.typing import FieldDefinition

from litestar_filestore.core.rule import max_bytes, max_files
from litestar_filestore.uploads.limits import file_limit
from litestar_filestore.uploads.parts import MultipartStream
from litestar_filestore.uploads.raw import RawUpload
from litestar_filestore.uploads.refusals import RAISED_BY_UPLOADS
from litestar_filestore.validation.rules import ContentTypes, MinSize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from litestar._openapi.schema_generation import SchemaCreator
    from litestar.exceptions import HTTPException
    from litestar.handlers import HTTPRouteHandler
    from litestar.plugins import OpenAPISchemaPluginProtocol

    from litestar_filestore.core.rule import Rule
    from litestar_filestore.uploads.limits import UploadLimits
    from litestar_filestore.uploads.plan import PlannedFile, UploadForm

__all__ = (
    "PART_NAME",
    "adjusted_operation",
    "binary_operation",
    "document_body",
    "document_refusals",
    "form_schema",
    "text_schema",
    "upload_operation",
)


def adjusted_operation(base: type[Operation], adjust: Callable[[Operation], None]) -> type[Operation]:
    """Return an operation class for a handler's `operation_class`.

    Args:
        base: The previous class; its own ``__post_init__`` runs first.
        adjust: Changes each operation in place after Litestar has filled it in.
    """

    # Without the decorator, the inherited constructor would not call the hook.
    @dataclass
    class AdjustedOperation(base):  # type: ignore[valid-type,misc]  # the class is known only at run time
        def __post_init__(self) -> None:
            if callable(inherited := getattr(super(), "__post_init__", None)):
                inherited()
            adjust(self)

    return AdjustedOperation


def document_refusals(handler: HTTPRouteHandler, refusals: Iterable[type[HTTPException]]) -> None:
    """Document how a handler may refuse a request, in addition to what it documents itself."""
    raises = list(handler.raises or ())
    handler.raises = [*raises, *(each for each in refusals if each not in raises)]


PART_NAME = r"^[^\x00-\x1f\x7f]+$"
"""Parts of other names are discarded; parts without a name or with control characters in it are refused."""


def form_schema(
    form: UploadForm,
    field: FieldDefinition,
    creator: SchemaCreator,
    plugin: OpenAPISchemaPluginProtocol,
    limits: UploadLimits,
) -> Schema:
    """Describe a form as the plugin for its class does, with binary parts for files.

    Args:
        form: What is known about its files.
        field: The handler's parameter.
        creator: Creates the schemas of the document.
        plugin: The caller, which must not be called again.
        limits: Limits that apply where no rule does.
    """
    properties = {each.name: _part_schema(each, limits) for each in form.files}
    if form.whole:
        required = [each.name for each in form.files if each.required]
        names = Schema(pattern=PART_NAME)
        return Schema(
            type=OpenAPIType.OBJECT, properties={**properties}, required=required or None, property_names=names
        )
    if field.is_optional:
        inner = next(each for each in field.inner_types if not each.is_none_type)
        field = replace(inner, kwarg_definition=field.kwarg_definition, name=field.name)
    untyped: Any = creator  # the type of its plugins is incomplete in Litestar
    plugins: list[OpenAPISchemaPluginProtocol] = untyped.plugins
    others = (each for each in plugins if each is not plugin and creator.plugin_supports_field(each, field))
    schema = next(others).to_openapi_schema(field, creator)
    known = {name: value for name, value in (schema.properties or {}).items() if name not in form.undocumented}
    schema.properties = {**known, **properties}
    schema.property_names = Schema(pattern=PART_NAME)
    if schema.required is not None:
        given = {name for name in schema.required if name in known and name not in properties}
        schema.required = sorted(given | {each.name for each in form.files if each.required})
    return schema


def text_schema(form: UploadForm, schema: Schema) -> Schema:
    """Describe a form that is sent without files, as text only.

    Args:
        form: What is known about its files.
        schema: The schema with files, from `form_schema`.
    """
    files = {each.name for each in form.files}
    texts = {name: each for name, each in (schema.properties or {}).items() if name not in files}
    required = [name for name in schema.required or () if name in texts]
    names = schema.property_names
    return Schema(type=OpenAPIType.OBJECT, properties=texts, required=required or None, property_names=names)


def upload_operation(base: type[Operation], form: UploadForm, as_text: Callable[[], Schema | None]) -> type[Operation]:
    """Return an operation class that lists the types of a form's parts and the other encoding of the form.

    Args:
        base: The previous class.
        form: What is known about its files.
        as_text: Returns the `text_schema` of the form, if it may be sent without files; called when its body is
            described.
    """
    encoding = {
        each.name: Encoding(content_type=", ".join(types))
        for each in form.files
        if (types := list(_content_types(each.rules)))
    }

    def adjust(operation: Operation) -> None:
        body = operation.request_body
        if not isinstance(body, RequestBody):
            return
        body.required = not form.optional
        if (texts := as_text()) is not None:
            body.content = {**body.content, RequestEncodingType.URL_ENCODED: OpenAPIMediaType(schema=texts)}
        if encoding and (content := body.content.get(RequestEncodingType.MULTI_PART)) is not None:
            content.encoding = {**(content.encoding or {}), **encoding}

    return adjusted_operation(base, adjust)


def _part_schema(planned: PlannedFile, limits: UploadLimits) -> Schema:
    rules = planned.rules
    part = Schema(
        type=OpenAPIType.STRING,
        format=OpenAPIFormat.BINARY,
        content_media_type=_media_type(rules),
        max_length=file_limit(rules, limits),
        min_length=max((each.min_bytes for each in rules if isinstance(each, MinSize)), default=None),
    )
    if not planned.many:
        return part
    # A form cannot express an empty list: its parts are missing, and if they are required that is an error.
    allowed = max_files(rules)
    return Schema(
        type=OpenAPIType.ARRAY,
        description=_LIST,
        items=part,
        min_items=1 if planned.required else None,
        max_items=limits.max_files if allowed is None else allowed,
    )


_LIST = (
    "Each part is a file, the reference of an upload, or the id of a file that stays in the list. A part whose name "
    "ends with an id in brackets replaces the file of that id; without content it keeps the file."
)


def _media_type(rules: Iterable[Rule]) -> str:
    """Return the type if only one is allowed, else that of any bytes: a schema cannot name alternatives."""
    types = list(_content_types(rules))
    return types[0] if len(types) == 1 and "*" not in types[0] else "application/octet-stream"


def _content_types(rules: Iterable[Rule]) -> Iterable[str]:
    for each in rules:
        if isinstance(each, ContentTypes):
            yield from each.patterns


_FILE = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
# Only the handler knows what the form holds; that it is a form is certain.
_CONTENT: Mapping[type, Mapping[str, OpenAPIMediaType]] = {
    MultipartStream: {
        "multipart/form-data": OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.OBJECT, property_names=Schema(pattern=PART_NAME))
        )
    },
    RawUpload: {"application/octet-stream": OpenAPIMediaType(schema=_FILE)},
}


def document_body(handler: HTTPRouteHandler, reader: type[MultipartStream | RawUpload]) -> None:
    """Document that a handler reads its body with `reader`, unless its operation class describes the body."""

    def adjust(operation: Operation) -> None:
        if operation.request_body is None:
            operation.request_body = RequestBody(content=dict(_CONTENT[reader]), required=True)

    handler.operation_class = adjusted_operation(handler.operation_class, adjust)
    document_refusals(handler, RAISED_BY_UPLOADS)


def binary_operation(planned: PlannedFile) -> type[Operation]:
    """Return an operation class whose body is a file: Litestar documents only bodies that it reads itself."""
    said = [each for each in (max_bytes(planned.rules), planned.max_bytes) if each is not None]
    schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, max_length=min(said, default=None))
    body = RequestBody(content={"application/octet-stream": OpenAPIMediaType(schema=schema)}, required=True)

    def adjust(operation: Operation) -> None:
        operation.request_body = body

    return adjusted_operation(Operation, adjust)
