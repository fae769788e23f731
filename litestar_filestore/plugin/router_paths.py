"""How the path of a router names a row: its parameters are the primary key."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from sqlalchemy.orm import InstrumentedAttribute

from litestar_filestore.errors import ConfigurationError
from litestar_filestore.orm.stored_object import StoredObject

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("ColumnPlace", "aliased", "find_column", "identity_of")

_PARAMETER = re.compile(r"\{([^{}:]+):([^{}:]+)\}")


@dataclass(frozen=True)
class ColumnPlace:
    """One file column, and how a path names a row of its table."""

    model: type[Any]
    """The mapped class."""
    name: str
    """The attribute that holds the file or files."""
    column_type: StoredObject
    """What the column holds, and where."""
    nullable: bool
    """Whether a row may have no file."""
    key_types: Mapping[str, type[Any]]
    """Types of the path's parameters, in the order of the primary key."""


def find_column(column: Any, path: str) -> ColumnPlace:
    """Return what a router has to know about a mapped column.

    Raises:
        ConfigurationError: If it is no file column, or the path does not name the primary key.
    """
    if not isinstance(column, InstrumentedAttribute) or not isinstance(column.type, StoredObject):
        raise ConfigurationError(f"column= is an attribute of a mapped class that holds files, not {column!r}")
    mapper = column.parent
    keys = {mapper.get_property_by_column(each).key: each.type.python_type for each in mapper.primary_key}
    named = [name for name, _ in _PARAMETER.findall(path)]
    if sorted(named) != sorted(keys):
        example = "/".join(f"{{{name}:{type_.__name__.lower()}}}" for name, type_ in keys.items())
        raise ConfigurationError(
            f"The path of the files of {mapper.class_.__name__} names its primary key, for example /files/{example}"
        )
    nullable = bool(mapper.columns[column.key].nullable)
    return ColumnPlace(mapper.class_, column.key, column.type, nullable, keys)


def identity_of(place: ColumnPlace) -> Provide:
    """Return a dependency that is the primary key in the path, as ``Session.get`` takes it."""

    def provide(**values: Any) -> tuple[Any, ...]:
        return tuple(values[name] for name in place.key_types)

    annotations: dict[str, Any] = {name: _of(FromPath, type_) for name, type_ in place.key_types.items()}
    return _provide(provide, annotations, tuple[Any, ...])


def aliased(key: str) -> Provide:
    """Return a dependency that is another one, of a name that is known only now."""

    def provide(**values: Any) -> Any:
        return values[key]

    return _provide(provide, {key: _of(NamedDependency, Any)}, Any)


def _of(marker: Any, type_: Any) -> Any:
    """Return a marker of Litestar's for a type that is known only now."""
    return marker[type_]


def _provide(function: Any, annotations: dict[str, Any], returned: Any) -> Provide:
    """Return a provider whose arguments have names and types that are known only now: Litestar reads signatures."""
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in annotations.items()
    ]
    function.__signature__ = inspect.Signature(parameters, return_annotation=returned)
    function.__annotations__ = {**annotations, "return": returned}
    return Provide(function, sync_to_thread=False)
