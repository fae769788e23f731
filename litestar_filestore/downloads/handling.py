"""Finds the handlers that send files, documents them, and keeps away middleware that would change their answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from litestar.exceptions import ImproperlyConfiguredException, NotFoundException
from litestar.exceptions.http_exceptions import ServiceUnavailableException
from litestar.openapi.spec import OpenAPIFormat, OpenAPIHeader, OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Schema
from litestar.utils.predicates import is_class_and_subclass

from litestar_filestore.downloads.answer import (
    PreconditionFailedException,
    RangeNotSatisfiableException,
)
from litestar_filestore.downloads.redirect import FileRedirect
from litestar_filestore.downloads.response import FileDownload, refuse_cache
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.uploads.openapi import adjusted_operation, document_refusals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.config.app import AppConfig
    from litestar.handlers import HTTPRouteHandler
    from litestar.openapi.spec import Operation
    from litestar.types import Message
    from litestar.typing import FieldDefinition


__all__ = (
    "DownloadHandlers",
    "guard_answer",
)

_SKIP_COMPRESSION = "filestore_skip_compression"
_PREPARED = "filestore_download"
_FOUND = 302
_REDIRECTS = range(300, 400)
_BINARY = "application/octet-stream"
_RAISED = (
    NotFoundException,
    PreconditionFailedException,
    RangeNotSatisfiableException,
    ServiceUnavailableException,
)


class DownloadHandlers:
    """The handlers of an application whose annotations show that they send files."""

    def __init__(self) -> None:
        """Start with no handlers."""
        self._opt_key = _SKIP_COMPRESSION

    def configure(self, app_config: AppConfig) -> None:
        """Give the compression middleware a key for handlers to exclude, unless it has one."""
        compression = app_config.compression_config
        if compression is None:
            return
        if compression.exclude_opt_key is None:
            app_config.compression_config = replace(compression, exclude_opt_key=_SKIP_COMPRESSION)
        else:
            self._opt_key = compression.exclude_opt_key

    def prepare(self, handler: HTTPRouteHandler) -> None:
        """Keep compression away from a handler that sends files, and document its answers, redirects included.

        Raises:
            ImproperlyConfiguredException: If Litestar would cache its answers.
        """
        if handler.parsed_return_field.is_subclass_of(FileRedirect) and handler.status_code not in _REDIRECTS:
            handler.status_code = _FOUND  # otherwise Litestar documents 200, and sends the response's own status
        if not _sends_files(handler.parsed_return_field) or handler.opt.get(_PREPARED) is self:
            return  # a handler comes once for each of its paths
        try:
            refuse_cache(handler)
        except ConfigurationError as error:
            raise ImproperlyConfiguredException(error.detail) from error
        handler.opt[self._opt_key] = True
        handler.opt[_PREPARED] = self
        document_refusals(handler, _RAISED)
        handler.operation_class = _download_operation(handler.operation_class, str(handler.status_code))


def _sends_files(field: FieldDefinition) -> bool:
    types = field.inner_types if field.is_union else (field,)
    return any(is_class_and_subclass(each.annotation, FileDownload) for each in types)


def _download_operation(base: type[Operation], status_code: str) -> type[Operation]:
    """Return an operation class that documents the answers to a download."""

    def adjust(operation: Operation) -> None:
        responses = operation.responses or {}
        description = getattr(responses.get(status_code), "description", None) or "File Download"
        operation.responses = {**_answers(description), **{k: v for k, v in responses.items() if k != status_code}}

    return adjusted_operation(base, adjust)


def _answers(description: str) -> dict[str, OpenAPIResponse]:
    binary = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
    content = {_BINARY: binary, "*/*": binary}  # a file is sent with its own type, if that type may be served
    validators = {
        "etag": _header("Strong entity tag, made from the content"),
        "last-modified": _header("Time of the upload (RFC 9110 section 5.6.7)"),
    }
    sent = {
        **validators,
        "accept-ranges": _header("``bytes``"),
        "content-disposition": _header("How to treat the file, and its name (RFC 6266)"),
        "content-length": _header("Length of the body in bytes"),
    }
    ranges = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
    return {
        "200": OpenAPIResponse(description=description, content={**content}, headers={**sent}),
        "206": OpenAPIResponse(
            description="The ranges that were asked for",
            content={**content, "multipart/byteranges": ranges},
            headers={**sent, "content-range": _header("Which bytes these are, of how many, where there is one range")},
        ),
        "304": OpenAPIResponse(description="The client has this version", headers={**validators}),
    }


def _header(description: str) -> OpenAPIHeader:
    return OpenAPIHeader(schema=Schema(type=OpenAPIType.STRING), description=description)


def guard_answer(start: Message) -> None:
    """Keep cookies and encodings off the beginning of an answer that is a file.

    A cached copy of a file must not hold anybody's session (CVE-2024-26144), and ranges of encoded content do not fit
    together.

    Raises:
        ConfigurationError: If a middleware encodes it.
    """
    if start["type"] == "http.response.start":
        start["headers"] = _without_cookies(start.get("headers", ()))


def _without_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept = [*headers]
    names = {name.lower() for name, _ in kept}
    if b"content-encoding" in names:
        raise ConfigurationError("A middleware encodes the files that are sent: exclude their handlers from it")
    return [each for each in kept if each[0].lower() != b"set-cookie"] if b"set-cookie" in names else kept
