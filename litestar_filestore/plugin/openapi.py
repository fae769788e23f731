"""Files in OpenAPI documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.typing import FieldDefinition

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.public import PublicFile
from litestar_filestore.plugin.serialization import is_file_list_type

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator  # what Litestar passes to every schema plugin

__all__ = ("file_schema",)


def file_schema(field: FieldDefinition, creator: SchemaCreator) -> Schema:
    """Describe a file, or a list of files, as responses show it.

    The component is named after the type that the handler returns; clients need not know how it is encoded. Every
    member is in every response, so all are required.
    """
    if is_file_list_type(field.annotation):
        items = creator.for_field_definition(FieldDefinition.from_annotation(FileObject))
        return Schema(type=OpenAPIType.ARRAY, items=items)
    members = {
        each.encode_name: FieldDefinition.from_annotation(each.type, name=each.encode_name)
        for each in msgspec.structs.fields(PublicFile)
    }
    return creator.create_component_schema(field, required=sorted(members), property_fields=members)
