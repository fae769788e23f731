"""Reads a handler's annotations: which form fields take files, how many, where these go, and which rules apply."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Collection, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    NamedTuple,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec
import sqlalchemy as sa
from litestar.datastructures import UploadFile
from litestar.dto import Mark
from litestar.exceptions import ImproperlyConfiguredException
from litestar.types import Empty
from litestar.typing import FieldDefinition
from sqlalchemy.orm import QueryableAttribute

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.keys import check_key_template
from litestar_filestore.core.rule import FileRule, Rule, checked_rules
from litestar_filestore.orm.columns import file_columns
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.uploads.layers import data_dto, form_body
from litestar_filestore.uploads.plan import PlannedFile, UploadForm
from litestar_filestore.validation.rules import effective_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from litestar.dto import AbstractDTO, DTOConfig
    from litestar.dto.data_structures import DTOFieldDefinition
    from litestar.handlers import HTTPRouteHandler
    from sqlalchemy.orm import Mapper

    from litestar_filestore.uploads.intake import UploadSettings

__all__ = ("FileField", "file_field", "form_of", "plan_file", "reads_files_as_json")

_COLLECTIONS = frozenset({list, set, frozenset, tuple, Sequence, Collection})
_WHOLE_BODY = {False: "file", True: "files"}
"""Names of the parts in the document, for a body that is a file or a list of files; the same as Litestar's."""


@dataclasses.dataclass(frozen=True)
class FileField:
    """Says where the files of a form field go and which rules apply: ``Annotated[FileObject, FileField(...)]``."""

    backend: str | None = None
    """Key of the backend; ``None`` for the column's, or the application's only one."""
    rules: Sequence[Rule] = ()
    """Rules for the files; see `litestar_filestore.validation.rules`."""
    key_template: str | None = None
    """Key template for new content, instead of the backend's."""

    def __post_init__(self) -> None:
        """Check the values that can be checked without an application.

        Raises:
            ConfigurationError: If the template cannot work, or `rules` is no list of rules.
        """
        object.__setattr__(self, "rules", checked_rules(self.rules, "FileField"))
        if self.key_template is not None:
            check_key_template(self.key_template)


class _Field(NamedTuple):
    """One field of a form class."""

    name: str
    """The attribute or key."""
    wire_names: tuple[str, ...]
    """Its names for clients; the first is the one that messages use."""
    required: bool
    """Whether a form without it is refused."""
    annotation: Any = None
    """Its resolved type, including the metadata of ``Annotated``."""


def form_of(handler: HTTPRouteHandler, settings: UploadSettings) -> UploadForm | None:
    """Return the plan of a handler's form, ``None`` if it takes no files of this package.

    Args:
        handler: A registered handler.
        settings: The application's settings for uploads.

    Raises:
        ImproperlyConfiguredException: If the class of the form cannot be resolved, or it is not clear where a file
            goes.
    """
    body = form_body(handler)
    if body is None:
        return None
    dto = data_dto(handler)
    if dto is None:
        _check_form(body, handler)
    if dto is None and _takes(annotation := _annotated(body), FileObject):
        many, nullable = _is_sequence(annotation), _is_nullable(annotation)
        field = _Field("data", (_WHOLE_BODY[many],), not nullable, annotation)
        return UploadForm(files=(_plan(field, None, None, handler, settings),), whole=True, optional=nullable)
    class_ = _without_none(body) if dto is None else _dto_model(dto, body)
    if class_ is None:
        return None
    fields = _class_fields(class_) if dto is None else _dto_fields(dto, class_)
    columns = {} if dto is None else _columns_of(class_)
    takers = [each for each in fields if _takes(each.annotation, FileObject)]
    if not takers:
        return None
    others = [each for each in fields if not _takes(each.annotation, FileObject)]
    return UploadForm(
        files=tuple(_plan(each, columns.get(each.name), class_, handler, settings) for each in takers),
        spooled=_names(each for each in others if _takes(each.annotation, UploadFile)),
        texts=_names(each for each in others if not _takes(each.annotation, UploadFile)),
        lists=_names(each for each in fields if _is_sequence(each.annotation)),
        undocumented=_names(takers) | {each.name for each in takers},
        optional=body.is_optional,
        class_=class_,
        uses_dto=dto is not None,
    )


def reads_files_as_json(handler: HTTPRouteHandler) -> bool:
    """Return whether a handler reads a body with file fields, but not as a form.

    Raises:
        ImproperlyConfiguredException: If it does not say so, and needs a file: then ``MultipartBody`` was forgotten.
    """
    body = handler.parsed_fn_signature.parameters.get("data")
    if body is None or form_body(handler) is not None:
        return False
    if (dto := data_dto(handler)) is not None:
        model = _dto_model(dto, body)
        return model is not None and any(_takes(each.annotation, FileObject) for each in _dto_fields(dto, model))
    try:
        fields = _class_fields(_without_none(body))
    except ImproperlyConfiguredException:
        return False  # Litestar has its own words for a body of which it cannot resolve the names
    files = [each for each in fields or _whole(body) if _takes(each.annotation, FileObject)]
    if body.kwarg_definition is None and any(each.required for each in files):
        raise ImproperlyConfiguredException(
            f"The argument data of {handler} has the file {files[0].name!r}, but does not say how it arrives: write "
            "data: MultipartBody[...] for uploads, or data: JSONBody[...] for references to stored files"
        )
    return bool(files)


def _whole(body: FieldDefinition) -> tuple[_Field, ...]:
    """Return a body as one field."""
    return (_Field("data", ("data",), not body.is_optional, _annotated(body)),)


def _check_form(body: FieldDefinition, handler: HTTPRouteHandler) -> None:
    """Make sure that Litestar does not take over files, or refuse every request, because of how a form is written.

    Raises:
        ImproperlyConfiguredException: If a form without a DTO is a class whose fields nobody knows, or a field is a
            collection of something unknown, or files by name.
    """
    class_ = _without_none(body)
    fields = _class_fields(class_)
    if not fields and isinstance(class_, type) and (name := _file_attribute(class_)) is not None:
        raise ImproperlyConfiguredException(
            f"{class_.__name__}, the form of {handler}, has a file {name!r}, but is no dataclass, so no form can be "
            "read into it: write @dataclass above it, or make it a msgspec.Struct, an attrs or a pydantic class. For a "
            "mapped class, use a DTO: @post(dto=SQLAlchemyDTO[...])"
        )
    for each in fields or _whole(body):
        for member in _members(each.annotation):
            _check_member(each.name, member, handler)


def _check_member(name: str, type_: Any, handler: HTTPRouteHandler) -> None:
    class_ = get_origin(type_) or type_
    if class_ in _COLLECTIONS and not get_args(type_):
        shown = class_.__name__
        raise ImproperlyConfiguredException(
            f"{name!r} in the form of {handler} is a {shown}, and nobody knows of what: write {shown}[FileObject] for "
            f"files that are stored, {shown}[UploadFile] for Litestar's own, {shown}[str] for texts"
        )
    if (
        isinstance(class_, type)
        and issubclass(class_, Mapping)
        and any(_takes(each, FileObject) for each in _items(type_))
    ):
        raise ImproperlyConfiguredException(
            f"{name!r} in the form of {handler} is a mapping of files, which no form can hold: declare a field for "
            "each file, or one for all of them, list[FileObject]"
        )


def _file_attribute(class_: type) -> str | None:
    """Return the first file among the annotations of a class, an attribute of a row included."""
    try:
        hints = get_type_hints(class_, include_extras=True)
    except NameError:
        return None
    found = (name for name, hint in hints.items() if any(_takes(each, FileObject) for each in (hint, *get_args(hint))))
    return next(found, None)


def plan_file(
    name: str,
    said: FileField,
    stored: StoredObject | None = None,
    model: type | None = None,
    rules: Iterable[Rule] = (),
) -> PlannedFile:
    """Return where a file goes and which rules apply; what the field says replaces the same setting of its column.

    Args:
        name: Name of its parts on the wire.
        said: The settings of the form field or the route.
        stored: Type of the column that is going to hold the file; ``None`` if that is not known.
        model: The mapped class of that column, if known.
        rules: Rules that apply if neither has any.
    """
    if stored is None:
        return PlannedFile(
            name, backend=said.backend, rules=effective_rules(said.rules, rules), key_template=said.key_template
        )
    return PlannedFile(
        name,
        backend=said.backend or stored.storage_key,
        rules=effective_rules(said.rules, stored.rules, rules),
        key_template=said.key_template or stored.key_template or stored.key_template_for,
        model=model,
    )


def _plan(
    field: _Field, stored: StoredObject | None, model: type | None, handler: HTTPRouteHandler, settings: UploadSettings
) -> PlannedFile:
    metadata = tuple(_metadata(field.annotation))
    named, class_ = _column_in(metadata)
    if named is None:
        named, class_ = stored, model if stored is not None else None
    planned = plan_file(field.wire_names[0], file_field(metadata), named, class_, settings.rules)
    keys = [each.key for each in settings.backends]
    if planned.backend is None and len(keys) > 1:
        raise ImproperlyConfiguredException(
            f"The file {field.name!r} in the form of {handler} could go to {', '.join(keys)}: write "
            "Annotated[FileObject, FileField(backend=...)], or name a column as in Annotated[FileObject, Document.file]"
        )
    return dataclasses.replace(
        planned,
        aliases=field.wire_names[1:],
        many=_is_sequence(field.annotation),
        required=field.required,
        nullable=_is_nullable(field.annotation),
        backend=planned.backend or next(iter(keys), None),
    )


def _column_in(metadata: Iterable[Any]) -> tuple[StoredObject | None, type | None]:
    """Return the column that an annotation names: ``Annotated[FileObject, Document.file]``, or a column's type."""
    for each in metadata:
        if isinstance(each, StoredObject):
            return each, None
        if isinstance(each, QueryableAttribute):
            model = cast("type", each.class_)
            if (stored := _columns_of(model).get(each.key)) is not None:
                return stored, model
    return None, None


def _columns_of(model: type) -> dict[str, StoredObject]:
    """Return the file columns of a mapped class by attribute; empty for any other class."""
    mapper: Mapper[Any] | None = sa.inspect(model, raiseerr=False)
    return {} if mapper is None else {each.key: each.type for each in file_columns(mapper)}


def file_field(metadata: Iterable[object]) -> FileField:
    """Return the `FileField` in the metadata of an ``Annotated``, together with the bare rules there.

    If there are several, the last one wins; what it leaves open comes from the one before it.
    """
    backend: str | None = None
    key_template: str | None = None
    rules: list[Rule] = []
    for each in metadata:
        if isinstance(each, FileField):
            backend, key_template = each.backend or backend, each.key_template or key_template
            rules += each.rules
        elif isinstance(each, FileRule):
            rules.append(each)
    return FileField(backend, tuple(rules), key_template)


def _names(fields: Iterable[_Field]) -> frozenset[str]:
    return frozenset(name for each in fields for name in each.wire_names)


def _annotated(field: FieldDefinition | DTOFieldDefinition) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _without_none(body: FieldDefinition) -> Any:
    if not body.is_optional:
        return body.annotation
    return next(each.annotation for each in body.inner_types if not each.is_none_type)


# -- fields of classes


def _class_fields(annotation: Any) -> tuple[_Field, ...]:
    """Return the fields of a form class, including inherited ones; empty for any other type.

    Raises:
        ImproperlyConfiguredException: If an annotation uses a name that does not exist at run time, for instance one
            that is imported for type checkers only. No form could be read into such a class.
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
    return tuple(each._replace(annotation=hints[each.name]) for each in declared)


def _declared(class_: Any) -> Iterator[_Field]:
    """Yield the fields of a class, without their types."""
    if issubclass(class_, msgspec.Struct):
        for each in msgspec.structs.fields(class_):
            yield _Field(each.name, (each.encode_name,), each.required)
    elif is_typeddict(class_):
        for name in (*class_.__required_keys__, *class_.__optional_keys__):
            yield _Field(name, (name,), name in class_.__required_keys__)
    elif dataclasses.is_dataclass(class_):
        yield from _arguments(class_, {each.name: each.name for each in dataclasses.fields(class_) if each.init})
    elif (attributes := getattr(class_, "__attrs_attrs__", None)) is not None:
        yield from _arguments(class_, {each.name: each.alias for each in attributes if each.init})
    elif isinstance(models := getattr(class_, "model_fields", None), dict):
        yield from _pydantic(class_, cast("dict[str, Any]", models))


def _arguments(class_: Any, names: dict[str, str]) -> Iterator[_Field]:
    """Yield fields by attribute and argument; a field is required if its argument has no default."""
    parameters = inspect.signature(class_).parameters
    for name, argument in names.items():
        yield _Field(name, (name,), parameters[argument].default is inspect.Parameter.empty)


def _pydantic(class_: Any, models: dict[str, Any]) -> Iterator[_Field]:
    config = cast("dict[str, Any]", getattr(class_, "model_config", {}))
    by_name = bool(config.get("populate_by_name") or config.get("validate_by_name"))
    for name, declared in models.items():
        aliases = tuple(_alias_names(declared.validation_alias or declared.alias))
        names = (*aliases, name) if by_name or not aliases else aliases
        yield _Field(name, tuple(dict.fromkeys(names)), declared.is_required())


def _alias_names(alias: Any) -> Iterator[str]:
    """Yield the names on the wire from an alias or an ``AliasChoices``; of an ``AliasPath``, the first step."""
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


def _dto_model(dto: type[AbstractDTO[Any]], body: FieldDefinition) -> type | None:
    """Return the class that the DTO makes from a body, ``None`` if the body only wraps it."""
    untyped: Any = dto
    model = dto.resolve_model_type(body)
    return model.annotation if model.is_subclass_of(untyped.model_type) else None


def _dto_fields(dto: type[AbstractDTO[Any]], model: type) -> tuple[_Field, ...]:
    """Return the fields that a client may send for `model`, under the names that the DTO gives them."""
    config = dto.config
    taken = [each for each in dto.generate_field_definitions(model) if _is_taken(each, config)]
    names = _wire_names([each.name for each in taken], config)
    return tuple(
        _Field(each.name, (names[each.name],), not config.partial and _has_no_default(each), _annotated(each))
        for each in taken
    )


def _is_taken(field: DTOFieldDefinition, config: DTOConfig) -> bool:
    """Return whether the DTO reads a field, according to its configuration."""
    if field.name in config.exclude:
        return False
    if config.include and field.name not in config.include:
        return False
    mark = field.dto_field.mark
    is_private = mark is None and config.underscore_fields_private and field.name.startswith("_")
    return not is_private and mark not in {Mark.PRIVATE, Mark.READ_ONLY}


def _wire_names(names: list[str], config: DTOConfig) -> dict[str, str]:
    """Return the names of fields on the wire; msgspec applies the rename strategy."""
    fields = [(each, Any, msgspec.field(default=None, name=config.rename_fields.get(each))) for each in names]
    struct = msgspec.defstruct("Names", fields, rename=config.rename_strategy, kw_only=True)
    return {each.name: each.encode_name for each in msgspec.structs.fields(struct)}


def _has_no_default(field: DTOFieldDefinition) -> bool:
    return field.default is Empty and field.default_factory is None


# -- annotations


def _takes(annotation: Any, wanted: type) -> bool:
    """Return whether `annotation` is `wanted`, or a union or collection of it; fields inside classes do not count."""
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, wanted):
            return True
        if _is_collection(member) and any(_takes(each, wanted) for each in _items(member)):
            return True
    return False


def _is_sequence(annotation: Any) -> bool:
    """Return whether a value of `annotation` is a list, set or tuple of something."""
    return any(_is_collection(member) for member in _members(annotation))


def _is_nullable(annotation: Any) -> bool:
    return type(None) in _members(annotation)


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value may have, unwrapped."""
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
    """Return whether it is ``Required``, ``NotRequired``, ``ReadOnly`` or ``Final``, from `typing` or its backport."""
    return getattr(origin, "_name", None) in {"Required", "NotRequired", "ReadOnly", "Final"}


def _is_collection(type_: Any) -> bool:
    class_ = get_origin(type_) or type_
    return isinstance(class_, type) and issubclass(class_, Collection) and not issubclass(class_, (str, bytes, Mapping))


def _items(type_: Any) -> Iterator[Any]:
    """Yield the types of a collection's items, also for a class derived from a collection."""
    yield from get_args(type_)
    for base in getattr(type_, "__orig_bases__", ()):
        yield from get_args(base)


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield the metadata of ``Annotated``, the outermost last."""
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
