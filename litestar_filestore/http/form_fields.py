"""The fields of the classes that Litestar takes for a form: dataclass, Struct, TypedDict, attrs and pydantic."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_origin, get_type_hints, is_typeddict

import msgspec
from litestar.exceptions import ImproperlyConfiguredException
from litestar.typing import FieldDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("FormField", "form_fields")


class FormField(NamedTuple):
    """One field of a form class."""

    name: str
    """The attribute or key."""
    wire_names: tuple[str, ...]
    """What clients may call it; the first is the one to tell them."""
    annotation: Any
    """Its type, resolved, with what ``Annotated`` says."""
    required: bool
    """Whether a form without it is refused."""


class _Declared(NamedTuple):
    """What a class says about a field besides its type."""

    name: str
    wire_names: tuple[str, ...]
    required: bool


def form_fields(annotation: Any) -> tuple[FormField, ...]:
    """Return the fields of a form class, inherited ones included; none for any other type.

    Raises:
        ImproperlyConfiguredException: If an annotation names what does not exist when the program runs, for instance
            what is imported for type checkers only. No form could be read into such a class.
    """
    class_ = get_origin(annotation) or annotation
    if not isinstance(class_, type):
        return ()
    try:
        declared = list(_declared(class_))
        hints = _hints(annotation) if declared else {}
    except NameError as error:
        raise ImproperlyConfiguredException(
            f"The form {class_.__module__}.{class_.__qualname__} cannot be read: the annotation of its field "
            f"{_unresolved(class_)!r} names {error.name!r}, which does not exist at run time. Import it outside of "
            "TYPE_CHECKING, at the top of the module"
        ) from error
    return tuple(FormField(each.name, each.wire_names, hints[each.name], each.required) for each in declared)


def _declared(class_: Any) -> Iterator[_Declared]:
    if issubclass(class_, msgspec.Struct):
        for each in msgspec.structs.fields(class_):
            yield _Declared(each.name, (each.encode_name,), each.required)
    elif is_typeddict(class_):
        for name in (*class_.__required_keys__, *class_.__optional_keys__):
            yield _Declared(name, (name,), name in class_.__required_keys__)
    elif dataclasses.is_dataclass(class_):
        yield from _arguments(class_, {each.name: each.name for each in dataclasses.fields(class_) if each.init})
    elif (attributes := getattr(class_, "__attrs_attrs__", None)) is not None:
        yield from _arguments(class_, {each.name: each.alias for each in attributes if each.init})
    elif isinstance(models := getattr(class_, "model_fields", None), dict):
        yield from _pydantic(class_, cast("dict[str, Any]", models))


def _arguments(class_: Any, names: dict[str, str]) -> Iterator[_Declared]:
    """Yield fields by attribute and argument; those whose argument has no default are required."""
    parameters = inspect.signature(class_).parameters
    for name, argument in names.items():
        yield _Declared(name, (name,), parameters[argument].default is inspect.Parameter.empty)


def _pydantic(class_: Any, models: dict[str, Any]) -> Iterator[_Declared]:
    config = cast("dict[str, Any]", getattr(class_, "model_config", {}))
    by_name = bool(config.get("populate_by_name") or config.get("validate_by_name"))
    for name, field in models.items():
        aliases = tuple(_alias_names(field.validation_alias or field.alias))
        names = (*aliases, name) if by_name or not aliases else aliases
        yield _Declared(name, tuple(dict.fromkeys(names)), field.is_required())


def _alias_names(alias: Any) -> Iterator[str]:
    """Yield the names on the wire: of a plain alias, of an ``AliasChoices``, of an ``AliasPath`` its first step."""
    if isinstance(alias, str):
        yield alias
    for choice in getattr(alias, "choices", ()):
        yield from _alias_names(choice)
    if path := getattr(alias, "path", ()):
        yield str(path[0])


def _hints(annotation: Any) -> dict[str, Any]:
    return FieldDefinition.from_annotation(annotation).get_type_hints(include_extras=True, resolve_generics=True)


def _unresolved(class_: type) -> str:
    """Return the field whose annotation cannot be resolved."""
    for owner in class_.__mro__:
        for name, annotation in inspect.get_annotations(owner).items():
            alone = type(owner.__name__, (), {"__annotations__": {name: annotation}, "__module__": owner.__module__})
            try:
                get_type_hints(alone)
            except NameError:
                return name
    return "?"
