"""What an annotation says about files: whether it takes any, how many, and under which conditions."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from litestar_filestore.core.file_object import FileObject

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("FileType", "file_type", "is_sequence", "takes")


class FileType(NamedTuple):
    """What a type that takes files says about them."""

    many: bool
    """Whether it is a collection of files."""
    nullable: bool
    """Whether ``None`` is a value."""
    metadata: tuple[Any, ...]
    """What ``Annotated`` says, the outermost last."""


def file_type(annotation: Any) -> FileType | None:
    """Return how `annotation` takes files, ``None`` if it takes none."""
    if not takes(annotation, FileObject):
        return None
    return FileType(
        many=is_sequence(annotation),
        nullable=type(None) in _members(annotation),
        metadata=tuple(_metadata(annotation)),
    )


def takes(annotation: Any, wanted: type) -> bool:
    """Return whether `annotation` is `wanted`, or a union or collection of it; fields of classes do not count."""
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, wanted):
            return True
        if _is_collection(member) and any(takes(each, wanted) for each in _items(member)):
            return True
    return False


def is_sequence(annotation: Any) -> bool:
    """Return whether a value of `annotation` is a list, set or tuple of something."""
    return any(_is_collection(member) for member in _members(annotation))


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value may have, without whatever is wrapped around them."""
    origin = get_origin(annotation)
    if origin is Annotated or _is_qualifier(origin):
        yield from _members(get_args(annotation)[0])
    elif origin is Union or origin is types.UnionType:
        for each in get_args(annotation):
            yield from _members(each)
    elif (meant := getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)) is not None:
        yield from _members(meant)  # a NewType or a type alias
    else:
        yield annotation


def _is_qualifier(origin: Any) -> bool:
    """Return whether it is ``Required``, ``NotRequired``, ``ReadOnly`` or ``Final``, of whichever `typing`."""
    return getattr(origin, "_name", None) in {"Required", "NotRequired", "ReadOnly", "Final"}


def _is_collection(type_: Any) -> bool:
    class_ = get_origin(type_) or type_
    return isinstance(class_, type) and issubclass(class_, Collection) and not issubclass(class_, (str, bytes, Mapping))


def _items(type_: Any) -> Iterator[Any]:
    """Yield the types of a collection's items, also of a class derived from such a collection."""
    yield from get_args(type_)
    for base in getattr(type_, "__orig_bases__", ()):
        yield from get_args(base)


def _metadata(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _metadata(get_args(annotation)[0])
        yield from annotation.__metadata__
    elif isinstance(annotation, type) or origin is None:
        meant = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)
        if meant is not None:
            yield from _metadata(meant)
    else:
        for each in get_args(annotation):
            yield from _metadata(each)
