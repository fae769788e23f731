"""What pydantic is told about files; pydantic itself is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from litestar_filestore.core.linking import referred_file
from litestar_filestore.core.public import PublicFile, public_file

if TYPE_CHECKING:
    from litestar_filestore.core.file_object import FileObject

__all__ = ("pydantic_core_schema", "pydantic_json_schema")


def pydantic_core_schema(cls: type[FileObject]) -> Any:
    """Return a schema that accepts instances of `cls` and writes JSON as clients may see it.

    References that the application has signed are accepted as well. A mapping is refused: it would let a client name
    any object of any backend, have it read, and later deleted with the row.
    """
    from pydantic_core import PydanticCustomError, core_schema

    def validate(value: Any) -> Any:
        try:
            file = referred_file(value) if isinstance(value, str) else value
        except ValueError:
            file = None
        if not isinstance(file, cls):
            raise PydanticCustomError("file_expected", "Input should be an uploaded file, or the reference of one")
        return file

    return core_schema.no_info_plain_validator_function(
        validate,
        serialization=core_schema.plain_serializer_function_ser_schema(
            lambda file: msgspec.to_builtins(public_file(file)), when_used="json"
        ),
    )


def pydantic_json_schema() -> dict[str, Any]:
    """Return the JSON schema of the public form."""
    (schema,), components = msgspec.json.schema_components([PublicFile])
    return components["PublicFile"] if "$ref" in schema else schema
