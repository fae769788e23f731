"""Prepares the handlers that take uploads: reading, answers, documents."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from litestar.params import BodyKwarg

from litestar_filestore.http.form_schema import form_schema, text_schema, upload_operation
from litestar_filestore.http.limits import form_limits
from litestar_filestore.http.operations import document_refusals
from litestar_filestore.http.refusals import RAISED_BY_UPLOADS
from litestar_filestore.http.upload_routes import admit_body, body_limit, form_body, read_before
from litestar_filestore.plugin.upload_errors import answer_dto_errors
from litestar_filestore.plugin.upload_reading import upload_reader
from litestar_filestore.plugin.uploads import FormDefaults, plan_for

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator  # what Litestar passes to every schema plugin
    from litestar.handlers import HTTPRouteHandler
    from litestar.openapi.spec import Schema
    from litestar.plugins import OpenAPISchemaPluginProtocol
    from litestar.typing import FieldDefinition

    from litestar_filestore.plugin.config import FilestoreConfig
    from litestar_filestore.plugin.uploads import PlannedForm

__all__ = ("UploadHandlers",)

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
