"""Prepares the handlers that take uploads: reads their forms before they run, within limits, and documents them."""

from __future__ import annotations

import inspect
import logging
import re
import traceback
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
from litestar.datastructures import UploadFile
from litestar.dto import AbstractDTO
from litestar.enums import RequestEncodingType
from litestar.exceptions import ClientException
from litestar.params import BodyKwarg
from litestar.status_codes import HTTP_415_UNSUPPORTED_MEDIA_TYPE
from litestar.types import Empty
from litestar.typing import FieldDefinition
from litestar.utils.scope.state import ScopeState

from litestar_filestore.uploads.arrivals import form_values
from litestar_filestore.uploads.form_reader import form_reader, invalid_form
from litestar_filestore.uploads.forms import form_of, reads_files_as_json
from litestar_filestore.uploads.layers import (
    admit_body,
    body_limit,
    exception_handlers,
    form_body,
    nearest_before_request,
)
from litestar_filestore.uploads.limits import form_limits
from litestar_filestore.uploads.openapi import (
    document_body,
    document_refusals,
    form_schema,
    text_schema,
    upload_operation,
)
from litestar_filestore.uploads.parts import MultipartStream
from litestar_filestore.uploads.plan import ANY_FORM
from litestar_filestore.uploads.raw import RawUpload
from litestar_filestore.uploads.refusals import RAISED_BY_UPLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar import Request, Response
    from litestar._openapi.schema_generation import SchemaCreator
    from litestar.handlers import HTTPRouteHandler
    from litestar.openapi.spec import Schema
    from litestar.plugins import OpenAPISchemaPluginProtocol

    from litestar_filestore.uploads.form_reader import ReadForm
    from litestar_filestore.uploads.intake import UploadSettings
    from litestar_filestore.uploads.plan import UploadForm

__all__ = ("UploadHandlers",)

logger = logging.getLogger("litestar_filestore")

_FORM = "filestore_upload"
_BODY = "filestore_body"
_JSON = "filestore_json"


class UploadHandlers:
    """Knows the upload forms of an application, and prepares the handlers that take them."""

    def __init__(self, settings: UploadSettings, answer: Callable[..., Response[Any]]) -> None:
        """Prepare handlers.

        Args:
            settings: The application's settings for uploads.
            answer: Answers an error as the application does: ``answer(request, error, instead_of=handler)``.
        """
        self._settings = settings
        self._answer_dto_error = _dto_error_handler(answer)
        self._forms: dict[str, tuple[Any, UploadForm]] = {}
        self._texts: dict[str, Schema] = {}

    def prepare(self, handler: HTTPRouteHandler) -> bool:
        """Prepare a handler, if it takes uploads.

        Args:
            handler: A registered handler. One with several paths comes once for each path, and is prepared once.

        Returns:
            Whether it takes a form.

        Raises:
            ImproperlyConfiguredException: If its form cannot be read, or it is not clear where its files go.
        """
        if _FORM not in handler.opt and (form := form_of(handler, self._settings)) is not None:
            handler.opt[_FORM] = form
            self._prepare_form(handler, form)
        elif _JSON not in handler.opt and reads_files_as_json(handler):
            handler.opt[_JSON] = True
            _refuse_forms(handler)
        if _BODY not in handler.opt:
            self._prepare_body(handler)
        return _FORM in handler.opt

    def _prepare_form(self, handler: HTTPRouteHandler, form: UploadForm) -> None:
        limits = self._settings.limits
        admit_body(handler, form_limits(form, limits).total_bytes)
        _read_before(handler, form_reader(form, limits, body_limit(handler)))
        if form.uses_dto and msgspec.ValidationError not in exception_handlers(handler):
            # Litestar 2.25 answers 500: it expects `SerializationException`, and ``AbstractDTO.decode_builtins`` raises
            # msgspec's own error.
            untyped: Any = handler
            untyped.exception_handlers = {
                **(untyped.exception_handlers or {}),
                msgspec.ValidationError: self._answer_dto_error,
            }
        self._document(handler, form)

    def _prepare_body(self, handler: HTTPRouteHandler) -> None:
        """Prepare a handler that reads its body with `MultipartStream` or `RawUpload`."""
        limits = self._settings.limits
        for field in handler.parsed_fn_signature.parameters.values():
            if field.annotation in {MultipartStream, RawUpload}:
                handler.opt[_BODY] = True
                document_body(handler, field.annotation)
                is_form = field.annotation is MultipartStream
                admit_body(handler, form_limits(ANY_FORM, limits).total_bytes if is_form else limits.max_file_bytes)

    def _document(self, handler: HTTPRouteHandler, form: UploadForm) -> None:
        document_refusals(handler, RAISED_BY_UPLOADS)
        field: Any = form_body(handler)
        body = cast("BodyKwarg", field.kwarg_definition)
        # A separate component: the form's class may be used in responses too, where its files look different.
        key = body.schema_component_key or self._free_name(handler, form)
        self._forms[key] = (_identity(handler, form), form)
        handler.operation_class = upload_operation(handler.operation_class, form, lambda: self._texts.get(key))
        # Litestar lets fields share a component only if their annotations are the same; ``None`` makes a difference.
        raw = field.raw if form.uses_dto else form.class_
        values = {each.name: getattr(field, each.name) for each in fields(field)}
        values |= {"raw": raw, "kwarg_definition": replace(body, schema_component_key=key)}
        handler.parsed_fn_signature.parameters[field.name] = (
            FieldDefinition(**values) if _is_left_to_litestar(form) else _ShapedForm(**values)
        )

    def _free_name(self, handler: HTTPRouteHandler, form: UploadForm) -> str:
        """Return the name of the form's component: that of its class, unless another class uses it."""
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
            plugin: The plugin that Litestar asks for it.
        """
        key = cast("Any", field.kwarg_definition).schema_component_key
        _, form = self._forms[key]
        schema = form_schema(form, field, creator, plugin, self._settings.limits)
        if form.needs_no_file:
            self._texts[key] = text_schema(form, schema)
        return schema


class _ShapedForm(FieldDefinition):
    """A body that `form_reader` has brought into shape: Litestar would look at its type hints again for each request.

    It does so without their extras; what documents the body asks for those.
    """

    __slots__ = ()

    @property
    def is_non_string_sequence(self) -> bool:
        """Whether Litestar has to make a list of the form."""
        return False

    @property
    def is_simple_type(self) -> bool:
        """Whether Litestar has to take one value out of the form."""
        return False

    def get_type_hints(self, *, include_extras: bool = False, resolve_generics: bool = False) -> dict[str, Any]:
        """Return none for requests, and all for documents."""
        if not include_extras:
            return {}
        return super().get_type_hints(include_extras=True, resolve_generics=resolve_generics)


def _is_left_to_litestar(form: UploadForm) -> bool:
    """Return whether Litestar has more to do than to convert the form: a list, a DTO, or an empty ``UploadFile``."""
    return form.whole or form.uses_dto or bool(form.spooled)


def _identity(handler: HTTPRouteHandler, form: UploadForm) -> Any:
    """Return a value that is equal for handlers whose forms look the same: the class, unless each has a DTO."""
    return handler.handler_id if form.uses_dto or form.class_ is None else form.class_


def _names(handler: HTTPRouteHandler, form: UploadForm) -> tuple[str, str]:
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
    """Return a name in the form that OpenAPI allows for components."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "_", name).strip("_")


# -- reading before the handler


def _read_before(handler: HTTPRouteHandler, read: ReadForm) -> None:
    """Call `read` before the handler: after its guards and its own ``before_request``, before its arguments.

    The result of `read` replaces the form that Litestar would have read.
    """
    previous = nearest_before_request(handler)

    async def before_request(request: Request[Any, Any, Any]) -> Any:
        if previous is not None and (answer := await _call(previous, request)):
            return answer  # the application has answered; the body stays unread
        state: Any = ScopeState.from_scope(request.scope)
        before = None if state.form is Empty else state.form
        try:
            state.form = await read(request)
        finally:
            if before is not None:
                await _close_files(before)  # stored by now; Litestar closes only those of the new form
        return None

    handler.before_request = before_request


def _refuse_forms(handler: HTTPRouteHandler) -> None:
    """Answer a form by saying that the handler reads JSON: Litestar would say that the JSON is malformed."""
    previous = nearest_before_request(handler)

    async def before_request(request: Request[Any, Any, Any]) -> Any:
        if previous is not None and (answer := await _call(previous, request)):
            return answer
        if request.content_type[0] == RequestEncodingType.MULTI_PART:
            logger.warning(
                "%s was sent a form, but reads JSON: to take uploads, declare data: MultipartBody[...]", handler
            )
            raise ClientException(
                "A form was sent, and JSON is expected here. A handler takes uploads if it declares its argument as "
                "data: MultipartBody[...]",
                status_code=HTTP_415_UNSUPPORTED_MEDIA_TYPE,
            )
        return None

    handler.before_request = before_request


async def _close_files(form: Mapping[str, Any]) -> None:
    for _, each in form_values(form):
        if isinstance(each, UploadFile):
            await each.close()


async def _call(hook: Callable[[Any], Any], request: Request[Any, Any, Any]) -> Any:
    # Litestar has wrapped the sync ones.
    answer = hook(request)
    return await answer if inspect.isawaitable(answer) else answer


# -- forms that a DTO refuses

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.+?)`")


def _dto_error_handler(answer: Callable[..., Response[Any]]) -> Callable[..., Response[Any]]:
    """Return an exception handler that answers 400 if a form does not fit the handler's DTO, as for other forms."""

    def handle(request: Request[Any, Any, Any], error: msgspec.ValidationError) -> Response[Any]:
        if not _is_of_the_form(error):
            return answer(request, error, instead_of=handle)
        exception = invalid_form(request, [_text_and_key(str(error))])
        exception.__cause__ = error
        return answer(request, exception)

    return handle


def _is_of_the_form(error: Exception) -> bool:
    """Return whether a DTO raised the error; an error of the handler is not the client's fault."""
    dto: Any = AbstractDTO
    return any(frame.f_code is dto.decode_builtins.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _text_and_key(message: str) -> tuple[str, str]:
    place = _PLACE.search(message)
    text = message[: place.start()] if place else message
    missing = _MISSING.search(text)
    return text, missing.group(1) if missing else place.group(1) if place else ""
