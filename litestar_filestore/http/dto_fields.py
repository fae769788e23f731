"""The fields of a form that a DTO reads into a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar.dto import Mark
from litestar.types import Empty

from litestar_filestore.http.form_fields import FormField

if TYPE_CHECKING:
    from litestar.dto import AbstractDTO, DTOConfig
    from litestar.dto.data_structures import DTOFieldDefinition
    from litestar.typing import FieldDefinition

__all__ = ("dto_fields", "dto_model")


def dto_model(dto: type[AbstractDTO[Any]], body: FieldDefinition) -> type | None:
    """Return the class that the DTO makes of a body, ``None`` if the body only wraps it."""
    untyped: Any = dto
    model = dto.resolve_model_type(body)
    return model.annotation if model.is_subclass_of(untyped.model_type) else None


def dto_fields(dto: type[AbstractDTO[Any]], model: type) -> tuple[FormField, ...]:
    """Return the fields that a client may send for `model`, under the names that the DTO gives them."""
    config = dto.config
    taken = [each for each in dto.generate_field_definitions(model) if _is_taken(each, config)]
    names = _wire_names([each.name for each in taken], config)
    return tuple(
        FormField(each.name, (names[each.name],), _annotation(each), not config.partial and _has_no_default(each))
        for each in taken
    )


def _is_taken(field: DTOFieldDefinition, config: DTOConfig) -> bool:
    """Return whether the DTO reads a field, by the rules of its configuration."""
    if field.name in config.exclude:
        return False
    if config.include and field.name not in config.include:
        return False
    mark = field.dto_field.mark
    is_private = mark is None and config.underscore_fields_private and field.name.startswith("_")
    return not is_private and mark not in {Mark.PRIVATE, Mark.READ_ONLY}


def _wire_names(names: list[str], config: DTOConfig) -> dict[str, str]:
    """Return how fields are called on the wire; msgspec knows what each strategy does with a name."""
    fields = [(each, Any, msgspec.field(default=None, name=config.rename_fields.get(each))) for each in names]
    struct = msgspec.defstruct("Names", fields, rename=config.rename_strategy, kw_only=True)
    return {each.name: each.encode_name for each in msgspec.structs.fields(struct)}


def _annotation(field: DTOFieldDefinition) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _has_no_default(field: DTOFieldDefinition) -> bool:
    return field.default is Empty and field.default_factory is None
