"""What an annotation says about files: whether it takes any, how many, and under which conditions."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
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
from litestar.exceptions import ImproperlyConfiguredException, ValidationException
from litestar.types import Empty
from litestar.typing import FieldDefinition
from sqlalchemy.orm import QueryableAttribute

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.orm.columns import file_columns
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.uploads.documents import DocumentedForm
from litestar_filestore.uploads.hooks import data_dto, form_body
from litestar_filestore.uploads.plan import PlannedFile, UploadPlan
from litestar_filestore.validation.field import file_field
from litestar_filestore.validation.rules import effective_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from litestar import Request
    from litestar.dto import AbstractDTO, DTOConfig
    from litestar.dto.data_structures import DTOFieldDefinition
    from litestar.handlers import HTTPRouteHandler
    from sqlalchemy.orm import Mapper

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.rule import Rule
    from litestar_filestore.validation.field import FileField

__all__ = (
    "REMOVE",
    "ColumnFiles",
    "FileType",
    "FormDefaults",
    "FormField",
    "FormShape",
    "PlannedForm",
    "ShapedField",
    "WholeBody",
    "column_in",
    "columns_of",
    "dto_fields",
    "dto_model",
    "file_type",
    "form_fields",
    "invalid_form",
    "is_sequence",
    "plan_file",
    "plan_for",
    "takes",
)


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
    for name, declared in models.items():
        aliases = tuple(_alias_names(declared.validation_alias or declared.alias))
        names = (*aliases, name) if by_name or not aliases else aliases
        yield _Declared(name, tuple(dict.fromkeys(names)), declared.is_required())


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


REMOVE = "remove"
"""The text that stands for no file on purpose. No reference looks like it."""


class WholeBody(dict[str, Any]):
    """A form that is nothing but one file, for handlers whose body is a `FileObject`.

    Litestar hands such a form to the decoder of the body's type as it is. A class of its own, so that the decoder can
    tell it from a mapping that a client has written.
    """

    @property
    def file(self) -> FileObject:
        """The file."""
        file: FileObject = next(iter(self.values()))
        return file


@dataclass(frozen=True)
class ShapedField:
    """One file field of a form."""

    wire_names: tuple[str, ...]
    """What the parts may be called; the first is the one to tell people."""
    required: bool
    """Whether the form is refused without it."""
    nullable: bool = False
    """Whether ``None`` is a value."""
    many: bool = False
    """Whether it takes several files."""

    def settle(self, form: dict[str, Any]) -> None:
        """Have `form` say what its parts of this field mean.

        What a browser sends for an input without a file (HTML, "constructing the entry list") is nothing that somebody
        wanted, and so are empty texts: scripts write ``file ?? ""``. A field that may be missing is missing then, and
        its default holds: in a partial form, that the row keeps its file. Only `REMOVE` takes a file away.
        """
        for name in self.wire_names:
            if name in form:
                self._settle(name, form)

    def _settle(self, name: str, form: dict[str, Any]) -> None:
        given = [each for each in _flat([form[name]]) if each != ""]
        files = [each for each in given if each != REMOVE]
        if given and not files and (self.nullable or self.many):
            form[name] = None if self.nullable else []
        elif given:
            kept = files or given
            form[name] = kept[0] if len(kept) == 1 else kept
        elif self.required and self.nullable:
            form[name] = None
        else:
            del form[name]


@dataclass(frozen=True)
class FormShape:
    """What Litestar expects of a form for one handler."""

    files: tuple[ShapedField, ...] = ()
    """The file fields."""
    lists: frozenset[str] = frozenset()
    """Names whose values are lists, also of one part. Litestar looks for them by attribute, not by name."""
    whole: bool = False
    """Whether the body is a file, or a list of files, without a form around."""
    many: bool = False
    """Whether that is a list."""
    optional: bool = False
    """Whether there may be no form at all."""
    names: tuple[str, ...] = field(default=("file",))
    """What a body without a form around is called in messages."""

    @property
    def needs_no_file(self) -> bool:
        """Whether a form without a file is a whole one, so that it may be written as text alone."""
        return not self.whole and all(each.nullable or not each.required for each in self.files)

    def shape(self, form: dict[str, Any], request: Request[Any, Any, Any]) -> dict[str, Any]:
        """Return `form` as Litestar expects it.

        Raises:
            ValidationException: If a file is missing. Litestar would say so too, but not which.
        """
        if self.whole:
            return self._shape_whole(form, request)
        if not form and self.optional:
            return form
        for each in self.files:
            each.settle(form)
        missing = [each.wire_names[0] for each in self.files if each.required and not _any_of(each.wire_names, form)]
        if missing:
            raise invalid_form(request, [("This file is required", each) for each in missing])
        for name in self.lists & form.keys():
            if form[name] is not None and not isinstance(form[name], list):
                form[name] = [form[name]]
        return form

    def _shape_whole(self, form: dict[str, Any], request: Request[Any, Any, Any]) -> dict[str, Any]:
        files = [each for each in _flat(form.values()) if isinstance(each, FileObject)]
        if not files and not self.optional:
            raise invalid_form(request, [("This file is required", self.names[0])])
        if self.many:
            # Litestar takes the values of the form for the list, and of no values it fails to take the first.
            return {str(number): each for number, each in enumerate(files)} or {"": []}
        return WholeBody(file=files[0]) if files else {}


def invalid_form(request: Request[Any, Any, Any], errors: Iterable[tuple[str, str]]) -> ValidationException:
    """Return the error with which Litestar refuses a body, for pairs of a message and the name of a field."""
    return ValidationException(
        f"Validation failed for {request.method} {request.url.path}",
        extra=[{"message": message, "key": key, "source": "body"} for message, key in errors],
    )


def _any_of(names: Iterable[str], form: dict[str, Any]) -> bool:
    return any(name in form for name in names)


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for each in values:
        if isinstance(each, list):
            items: list[Any] = each  # pyright: ignore[reportUnknownVariableType]  # of anything
            yield from items
        else:
            yield each


class ColumnFiles(NamedTuple):
    """A file column, as far as uploads are concerned."""

    stored: StoredObject
    """Its type, which says where files go and what they have to be."""
    model: type | None
    """The mapped class, where known."""


def columns_of(model: type) -> dict[str, ColumnFiles]:
    """Return the file columns of a mapped class by attribute, none for any other class."""
    mapper: Mapper[Any] | None = sa.inspect(model, raiseerr=False)
    return {} if mapper is None else {each.key: ColumnFiles(each.type, model) for each in file_columns(mapper)}


def column_in(metadata: Iterable[Any]) -> ColumnFiles | None:
    """Return the column that an annotation names: ``Annotated[FileObject, Document.file]``, or a column's type."""
    for each in metadata:
        if isinstance(each, StoredObject):
            return ColumnFiles(each, None)
        if isinstance(each, QueryableAttribute):
            columns = columns_of(cast("type", each.class_))
            if each.key in columns:
                return columns[each.key]
    return None


def plan_file(name: str, said: FileField, column: ColumnFiles | None, rules: Iterable[Rule] = ()) -> PlannedFile:
    """Return where a file goes and what it has to be: what is said itself stands in for the same of its column.

    Args:
        name: Of its parts on the wire.
        said: What the form field or the route says.
        column: Whose row is going to hold it; ``None`` where that is not known.
        rules: What files have to be where neither says anything.
    """
    if column is None:
        return PlannedFile(
            name, backend=said.backend, rules=effective_rules(said.rules, rules), key_template=said.key_template
        )
    return PlannedFile(
        name,
        backend=said.backend or column.stored.storage_key,
        rules=effective_rules(said.rules, column.stored.rules, rules),
        key_template=said.key_template or column.stored.key_template,
        key_maker=column.stored.key_template_for if said.key_template is None else None,
        model=column.model,
    )


_WHOLE_BODY = {False: "file", True: "files"}
"""What the part of a body without a form is called in documents, as Litestar has it for its own files."""


@dataclass(frozen=True)
class PlannedForm:
    """One handler's form, for each of those who deal with it."""

    plan: UploadPlan
    """For reading it."""
    shape: FormShape
    """For handing it on to Litestar."""
    documented: DocumentedForm
    """For OpenAPI."""
    class_: Any
    """The class it becomes."""
    uses_dto: bool
    """Whether a DTO makes it."""


class _File(NamedTuple):
    """A file field of a form class, and what is planned for its parts."""

    field: FormField
    type: FileType
    planned: PlannedFile


class FormDefaults(NamedTuple):
    """What holds where neither field nor column says anything."""

    backends: Sequence[StorageBackend]
    """The application's; a field that names none takes the only one."""
    rules: Sequence[Rule] = ()
    """What files have to be."""


def plan_for(handler: HTTPRouteHandler, defaults: FormDefaults) -> PlannedForm | None:
    """Return what a handler's form holds, ``None`` if it takes no files of this package.

    Args:
        handler: Registered.
        defaults: What the application says.

    Raises:
        ImproperlyConfiguredException: If the class of the form cannot be resolved, or it is not clear where a file
            goes.
    """
    body = form_body(handler)
    if body is None:
        return None
    dto = data_dto(handler)
    if dto is None and (whole := file_type(_annotated(body))) is not None:
        return _whole_body(whole, handler, defaults)
    class_ = dto_model(dto, body) if dto is not None else _without_none(body)
    if class_ is None:
        return None
    fields = dto_fields(dto, class_) if dto is not None else form_fields(class_)
    columns = columns_of(class_) if dto is not None else {}
    files = [
        _File(each, found, _planned(each, found, columns.get(each.name), handler, defaults))
        for each in fields
        if (found := file_type(each.annotation)) is not None
    ]
    if not files:
        return None
    return _planned_form(files, fields, class_, optional=body.is_optional, uses_dto=dto is not None)


def _whole_body(type_: FileType, handler: HTTPRouteHandler, defaults: FormDefaults) -> PlannedForm:
    field = FormField("data", (_WHOLE_BODY[type_.many],), None, not type_.nullable)
    planned = _planned(field, type_, None, handler, defaults)
    return PlannedForm(
        plan=UploadPlan(files={planned.name: planned}, any_name=planned),
        shape=FormShape(whole=True, many=type_.many, optional=type_.nullable, names=field.wire_names),
        documented=DocumentedForm({planned.name: planned}, whole=True, optional=type_.nullable),
        class_=None,
        uses_dto=False,
    )


def _planned_form(
    files: Sequence[_File], fields: Iterable[FormField], class_: Any, *, optional: bool, uses_dto: bool
) -> PlannedForm:
    others = [each for each in fields if file_type(each.annotation) is None]
    uploads = [each for each in others if takes(each.annotation, UploadFile)]
    texts = [each for each in others if not takes(each.annotation, UploadFile)]
    lists = [each for each in fields if is_sequence(each.annotation)]
    return PlannedForm(
        plan=UploadPlan(
            files={name: each.planned for each in files for name in each.field.wire_names},
            spooled=_names(uploads),
            texts=_names(texts),
        ),
        shape=FormShape(
            files=tuple(ShapedField(e.field.wire_names, e.field.required, e.type.nullable, e.type.many) for e in files),
            lists=_names(lists),
            optional=optional,
        ),
        documented=DocumentedForm(
            files={each.planned.name: each.planned for each in files},
            aliases=_names(each.field for each in files) | {each.field.name for each in files},
            optional=optional,
        ),
        class_=class_,
        uses_dto=uses_dto,
    )


def _planned(
    field: FormField,
    type_: FileType,
    column: ColumnFiles | None,
    handler: HTTPRouteHandler,
    defaults: FormDefaults,
) -> PlannedFile:
    column = column_in(type_.metadata) or column
    planned = plan_file(field.wire_names[0], file_field(type_.metadata), column, defaults.rules)
    keys = [each.key for each in defaults.backends]
    if planned.backend is None and len(keys) > 1:
        raise ImproperlyConfiguredException(
            f"It is not clear where the file {field.name!r} in the form of {handler} goes, of {', '.join(keys)}: say "
            "Annotated[FileObject, FileField(backend=...)], or name a column as in Annotated[FileObject, Document.file]"
        )
    backend = planned.backend or next(iter(keys), None)
    return replace(planned, many=type_.many, required=field.required, backend=backend)


def _annotated(body: FieldDefinition) -> Any:
    return Annotated[body.annotation, *body.metadata] if body.metadata else body.annotation


def _without_none(body: FieldDefinition) -> Any:
    if not body.is_optional:
        return body.annotation
    return next(each.annotation for each in body.inner_types if not each.is_none_type)


def _names(fields: Iterable[FormField]) -> frozenset[str]:
    return frozenset(name for each in fields for name in each.wire_names)
