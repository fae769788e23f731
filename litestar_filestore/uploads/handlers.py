"""Forms that a DTO refuses, answered as any other form that does not fit."""

from __future__ import annotations

import re
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
from litestar.dto import AbstractDTO
from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg

from litestar_filestore.plugin.answers import answer_exception
from litestar_filestore.uploads.documents import document_refusals, form_schema, text_schema, upload_operation
from litestar_filestore.uploads.form_reader import upload_reader
from litestar_filestore.uploads.forms import FormDefaults, invalid_form, plan_for
from litestar_filestore.uploads.hooks import admit_body, body_limit, exception_handlers, form_body, read_before
from litestar_filestore.uploads.limits import form_limits
from litestar_filestore.uploads.refusals import RAISED_BY_UPLOADS

if TYPE_CHECKING:
    from litestar import Request, Response
    from litestar._openapi.schema_generation import SchemaCreator
    from litestar.openapi.spec import Schema
    from litestar.plugins import OpenAPISchemaPluginProtocol
    from litestar.typing import FieldDefinition

    from litestar_filestore.plugin.config import FilestoreConfig
    from litestar_filestore.uploads.forms import PlannedForm

__all__ = (
    "UploadHandlers",
    "answer_dto_errors",
)

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.+?)`")


def answer_dto_errors(handler: HTTPRouteHandler) -> None:
    """Have forms that do not fit the handler's DTO answered with 400.

    Litestar 2.25 answers 500: it expects `SerializationException`, and ``AbstractDTO.decode_builtins`` raises msgspec's
    own error. An application that has a handler for that one keeps it.
    """
    if msgspec.ValidationError not in exception_handlers(handler):
        untyped: Any = handler
        untyped.exception_handlers = {**(untyped.exception_handlers or {}), msgspec.ValidationError: _answer}


def _answer(request: Request[Any, Any, Any], error: msgspec.ValidationError) -> Response[Any]:
    if not _is_of_the_form(error):
        return answer_exception(request, error, instead_of=_answer)
    message = str(error)
    place = _PLACE.search(message)
    text = message[: place.start()] if place else message
    missing = _MISSING.search(text)
    key = missing.group(1) if missing else place.group(1) if place else ""
    exception = invalid_form(request, [(text, key)])
    exception.__cause__ = error
    return answer_exception(request, exception)


def _is_of_the_form(error: Exception) -> bool:
    """Return whether a DTO raised it, not the handler: what is wrong there is no fault of the client."""
    dto: Any = AbstractDTO
    return any(frame.f_code is dto.decode_builtins.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


_OPT = "filestore_upload"


class UploadHandlers:
    """Knows the upload forms of an application, and prepares the handlers that take them."""

    def __init__(self, config: FilestoreConfig) -> None:
        """Prepare handlers as `config` says."""
        self._config = config
        self._forms: dict[str, tuple[Any, PlannedForm]] = {}
        self._texts: dict[str, Schema] = {}

    def prepare(self, handler: HTTPRouteHandler) -> None:
        """Prepare a handler, if it takes uploads.

        Args:
            handler: Registered. One that has several paths comes once for each, and is prepared once.

        Raises:
            ImproperlyConfiguredException: If its form cannot be read, or it is not clear where its files go.
        """
        if _OPT in handler.opt:
            return
        form = plan_for(handler, FormDefaults(self._config.backends, self._config.rules))
        if form is None:
            return
        handler.opt[_OPT] = form.plan
        admit_body(handler, form_limits(form.plan, self._config.limits).total_bytes)
        read_before(handler, upload_reader(form, self._config, max_body_bytes=body_limit(handler)))
        if form.uses_dto:
            answer_dto_errors(handler)
        self._document(handler, form)

    def _document(self, handler: HTTPRouteHandler, form: PlannedForm) -> None:
        document_refusals(handler, RAISED_BY_UPLOADS)
        field = cast("FieldDefinition", form_body(handler))
        body = cast("BodyKwarg", field.kwarg_definition)
        # A component of its own: the class of the form may stand in responses too, where its files look different.
        key = body.schema_component_key or self._free_name(handler, form)
        self._forms[key] = (_identity(handler, form), form)
        handler.operation_class = upload_operation(
            handler.operation_class, form.documented, lambda: self._texts.get(key)
        )
        # Litestar lets fields share a component only if they are written alike: with and without None, for instance.
        raw = field.raw if form.uses_dto else form.class_
        named = replace(field, raw=raw, kwarg_definition=replace(body, schema_component_key=key))
        handler.parsed_fn_signature.parameters[field.name] = named

    def _free_name(self, handler: HTTPRouteHandler, form: PlannedForm) -> str:
        """Return the name of the form's component: that of its class, unless another class has it."""
        short, long = _names(handler, form)
        taken = self._forms.get(short)
        return short if taken is None or taken[0] == _identity(handler, form) else long

    def takes(self, field: FieldDefinition) -> bool:
        """Return whether a field is the body of a prepared handler."""
        body = field.kwarg_definition
        return isinstance(body, BodyKwarg) and body.schema_component_key in self._forms

    def schema(self, field: FieldDefinition, creator: SchemaCreator, plugin: OpenAPISchemaPluginProtocol) -> Schema:
        """Return the schema of a prepared handler's body.

        Args:
            field: The body.
            creator: Of the document.
            plugin: The plugin that is asked for it.
        """
        key = cast("Any", field.kwarg_definition).schema_component_key
        _, form = self._forms[key]
        schema = form_schema(form.documented, field, creator, plugin, self._config.limits)
        if form.shape.needs_no_file:
            self._texts[key] = text_schema(form.documented, schema)
        return schema


def _identity(handler: HTTPRouteHandler, form: PlannedForm) -> Any:
    """Return what two handlers have in common whose forms look the same: the class, unless each has a DTO."""
    return handler.handler_id if form.uses_dto or form.class_ is None else form.class_


def _names(handler: HTTPRouteHandler, form: PlannedForm) -> tuple[str, str]:
    class_ = form.class_
    if form.uses_dto or class_ is None:
        name = handler.handler_name.replace("_", " ").title().replace(" ", "") + "Form"
        return name, _component(f"{handler.handler_id.partition('::')[0]}.{name}")
    module = getattr(class_, "__module__", "")
    short = (
        getattr(class_, "__name__", str(class_)) if isinstance(class_, type) else str(class_).removeprefix(f"{module}.")
    )
    return _component(short), _component(f"{module}.{short}")


def _component(name: str) -> str:
    """Return a name as OpenAPI allows it for a component."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "_", name).strip("_")
