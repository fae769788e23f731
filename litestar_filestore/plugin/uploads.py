"""Which handlers take uploads, and what their forms hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from litestar.datastructures import UploadFile
from litestar.exceptions import ImproperlyConfiguredException

from litestar_filestore.http.dto_fields import dto_fields, dto_model
from litestar_filestore.http.file_types import FileType, file_type, is_sequence, takes
from litestar_filestore.http.form_fields import FormField, form_fields
from litestar_filestore.http.form_schema import DocumentedForm
from litestar_filestore.http.form_shape import FormShape, ShapedField
from litestar_filestore.http.plan import UploadPlan
from litestar_filestore.http.upload_routes import data_dto, form_body
from litestar_filestore.plugin.upload_columns import column_in, columns_of, plan_file
from litestar_filestore.validation.field import file_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from litestar.handlers import HTTPRouteHandler
    from litestar.typing import FieldDefinition

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.rules import Rule
    from litestar_filestore.http.plan import PlannedFile
    from litestar_filestore.plugin.upload_columns import ColumnFiles

__all__ = ("FormDefaults", "PlannedForm", "plan_for")

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
