"""Encodes and decodes files in the JSON of Litestar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin

import msgspec
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.typing import FieldDefinition
from msgspec import UnsetType
from sqlalchemy.ext.mutable import MutableList
from typing_extensions import TypeIs

from litestar_filestore.core.file_object import FileObject, PublicFile, sent_file
from litestar_filestore.orm.stored_object import TrackedFiles
from litestar_filestore.uploads.form_reader import WholeBody

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator

__all__ = (
    "TYPE_DECODERS",
    "TYPE_ENCODERS",
    "file_schema",
    "is_file_list_type",
    "is_file_type",
)


def is_file_type(type_: Any) -> TypeIs[type[FileObject]]:
    """Return whether `type_` is `FileObject` or a subclass."""
    return isinstance(type_, type) and issubclass(type_, FileObject)


def is_file_list_type(type_: Any) -> bool:
    """Return whether `type_` is a tracked list of files: `TrackedFiles` or `FileObjectList`.

    Plain lists need no help.
    """
    if isinstance(type_, type) and get_origin(type_) is None:
        return issubclass(type_, TrackedFiles)
    return get_origin(type_) is MutableList and is_file_type(get_args(type_)[0])


def _is_decoded_list_type(type_: Any) -> bool:
    """Return whether `type_` is a class of tracked lists.

    Not the alias ``FileObjectList``: Litestar 2.25 sets an attribute on what this accepts, which aliases do not have.
    It asks again without the item type. Nothing else handles such lists: Litestar refuses all of them.
    """
    is_class = isinstance(type_, type) and get_origin(type_) is None
    return type_ is MutableList or (is_class and issubclass(type_, TrackedFiles))


def _decode_file(type_: type[FileObject], value: Any) -> FileObject:
    """Accept `FileObject` instances, and what `sent_file` accepts from clients."""
    file = sent_file(value.file if isinstance(value, WholeBody) else value)
    if not isinstance(file, type_):
        raise ValueError("expected an uploaded file")  # noqa: TRY004  # becomes a validation error
    return file


def _decode_file_list(_type: Any, value: Any) -> TrackedFiles:
    if not isinstance(value, list):
        raise ValueError("expected a list of uploaded files")  # noqa: TRY004  # becomes a validation error
    return TrackedFiles(_decode_file(FileObject, each) for each in value)  # pyright: ignore[reportUnknownVariableType]


TYPE_ENCODERS: Mapping[Any, Callable[[Any], Any]] = {FileObject: FileObject.shown, TrackedFiles: list}
"""Encoders of files, by type."""
TYPE_DECODERS = (
    (is_file_type, _decode_file),
    (_is_decoded_list_type, _decode_file_list),
)
"""Decoders of files: pairs of a predicate on the type and a function."""


def file_schema(field: FieldDefinition, creator: SchemaCreator) -> Schema:
    """Describe a file, or a list of files, as responses show it.

    The component is named after the type that the handler returns; clients need not know how it is encoded. Every
    response has every member, so all are required; but only files of lists have an id.
    """
    if is_file_list_type(field.annotation):
        items = creator.for_field_definition(FieldDefinition.from_annotation(FileObject))
        return Schema(type=OpenAPIType.ARRAY, items=items)
    fields = msgspec.structs.fields(PublicFile)
    members = {
        each.encode_name: FieldDefinition.from_annotation(_without_unset(each.type), name=each.encode_name)
        for each in fields
    }
    required = sorted(each.encode_name for each in fields if each.default is not msgspec.UNSET)
    return creator.create_component_schema(field, required=required, property_fields=members)


def _without_unset(type_: Any) -> Any:
    return next(iter(set(get_args(type_)) - {UnsetType})) if UnsetType in get_args(type_) else type_
