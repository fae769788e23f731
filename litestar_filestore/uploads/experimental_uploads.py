"""Lets the routes for resumable uploads speak "Resumable Uploads for HTTP" too, a draft of the IETF.

A request names its protocol by its version header. Both protocols have the same core. An upload belongs to the protocol
that has begun it, because they differ in what makes it complete: to the other one it is unknown.

ASGI has no message for the interim response 104, with which the draft tells the URL of an upload before its first bytes
come. So only a client that creates its upload first, and then sends the bytes, can go on after a lost connection.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.plugins.problem_details import ProblemDetailsException
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from litestar_filestore.sansio import http_uploads, tus
from litestar_filestore.sansio.conditional import joined_headers
from litestar_filestore.uploads.intake import owned_by
from litestar_filestore.uploads.receiving import give_up
from litestar_filestore.uploads.resumable import (
    NO_STORE,
    Body,
    Refusing,
    ResumableRoutes,
    StreamedExchange,
    TusMiddleware,
    answer_with,
    unexpired,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar import Request, Response
    from litestar.exceptions import HTTPException

    from litestar_filestore.errors import TusError
    from litestar_filestore.ledger.uploads import Upload, UploadName
    from litestar_filestore.sansio.http_uploads import Append
    from litestar_filestore.uploads.intake import RequestFiles
    from litestar_filestore.uploads.receiving import Hold

__all__ = ("ExperimentalMiddleware", "ExperimentalRoutes")

_NAME = http_uploads.VERSION_HEADER.lower().encode()
_STATUSES = {460: 400, 423: 503}
"""Statuses of tus that the draft does not know. After a 5xx its clients ask for the offset, and go on."""


class _ProblemRefusing(Refusing):
    """A context that answers errors of the draft."""

    def refusal_for(self, error: TusError) -> HTTPException:
        return _problem(_STATUSES.get(error.status_code, error.status_code), error.detail, error.problem)


_REFUSING = _ProblemRefusing()


def _problem(
    status_code: int, detail: str, problem: str | None, headers: dict[str, str] | None = None, **members: int
) -> ProblemDetailsException:
    more = {503: {"Retry-After": "1"}, 415: {"Accept-Patch": http_uploads.MEDIA_TYPE}}.get(status_code, {})
    type_, title = http_uploads.type_and_title(problem)
    return ProblemDetailsException(
        detail=detail,
        status_code=status_code,
        type_=type_,
        title=title,
        headers={**NO_STORE, **more, **(headers or {})},
        extra={name.replace("_", "-"): value for name, value in members.items()},
    )


def _answer_problem(request: Request[Any, Any, Any], error: ProblemDetailsException) -> Response[Any]:
    return error.to_response(request)


def _is_meant(scope: Mapping[str, Any]) -> bool:
    names = {name for name, _ in scope["headers"]}
    return _NAME in names and b"tus-resumable" not in names


class ExperimentalRoutes(ResumableRoutes):
    """The routes of one router that speaks both protocols."""

    description = "Resumable uploads by tus 1.0.0, and by the draft of the IETF (interop version 8)."
    exception_handlers: ClassVar[dict[type[Exception], Any]] = {ProblemDetailsException: _answer_problem}

    def capabilities(self, files: RequestFiles) -> dict[str, str]:
        """Return the headers that tell what the server can do by either protocol."""
        return {**super().capabilities(files), "Accept-Patch": http_uploads.MEDIA_TYPE, **self.limit(files)}

    def limit(self, files: RequestFiles) -> dict[str, str]:
        """Return the header with the limits of an upload that is new."""
        to = self.destination(files)
        return http_uploads.upload_limit(to.max_bytes, to.life_seconds)

    def refusing(self, request: Request[Any, Any, Any]) -> Refusing:
        """Return the context that answers errors of the protocol that a request speaks."""
        return _REFUSING if _is_meant(request.scope) else super().refusing(request)

    def exchange(self, request: Request[Any, Any, Any]) -> StreamedExchange:
        """Return the request, read by the protocol that it speaks."""
        return _HttpExchange(self, request) if _is_meant(request.scope) else super().exchange(request)


class ExperimentalMiddleware(TusMiddleware):
    """Adds what every answer of either protocol carries."""

    exposed = f"{tus.EXPOSED_HEADERS},{http_uploads.EXPOSED_HEADERS}"

    def __init__(self, routes: ExperimentalRoutes) -> None:
        """Add to the answers of these routes."""
        self._routes = routes

    def headers_of(self, scope: Mapping[str, Any], status: int) -> list[tuple[bytes, bytes]]:
        """Return what an answer with a status carries, besides the exposed headers."""
        if not _is_meant(scope):
            return super().headers_of(scope, status)
        # Whoever has refused it: the client may do better if it knows the limits.
        limit = self._routes.limit(owned_by(scope)) if status == HTTP_413_REQUEST_ENTITY_TOO_LARGE else {}
        of_all = {http_uploads.VERSION_HEADER: http_uploads.VERSION, **limit}
        return [(name.lower().encode(), value.encode()) for name, value in of_all.items()]


class _HttpExchange(StreamedExchange):
    """A request by the draft."""

    # Only its client says when an upload is complete, even if all bytes are there.
    ends_by_length = False

    def __init__(self, routes: ResumableRoutes, request: Request[Any, Any, Any]) -> None:
        self.headers = joined_headers(request.scope["headers"])
        http_uploads.check_version(self.headers)
        super().__init__(routes, request)
        # A path has no number sign, so an upload of one protocol is not found by the other.
        self._home = f"{routes.path}#{http_uploads.VERSION}"

    async def create(self) -> Response[Any]:
        asked = http_uploads.read_creation(self.headers)
        first = asked.first
        length = http_uploads.new_length(None, first, max_bytes=self._to.max_bytes)
        await self._allow(asked.metadata, "write")
        owner = await self._owner()
        self._check_names(asked.metadata, length)
        upload = await self._open(owner, length=length, metadata=asked.metadata)
        if first.ends or first.announced != 0:
            upload = await self._take_first(upload, Body(length, first.checksum, first.ends))
        return self._created(upload, f"{self._here}/{upload.id}")

    def _created(self, upload: Upload, url: str) -> Response[Any]:
        return answer_with(201, {"Location": url, **self._progress(upload)})

    async def append(self, upload_id: str) -> Response[Any]:
        asked, name = http_uploads.read_append(self.headers), await self._name(upload_id)
        async with await self._hold_to_write(name) as hold:
            upload = unexpired(hold.upload)
            if upload.is_complete:
                await self._require_free(upload)
                raise http_uploads.refuse_more(asked)
            if upload.offset != asked.offset:
                raise self._elsewhere(upload, asked)
            length = http_uploads.new_length(upload.length, asked, max_bytes=self._to.max_bytes)
            try:
                upload = await self._take(hold, Body(length, asked.checksum, asked.ends))
            except RequestEntityTooLarge:
                await self._invalidate(hold, name)
                raise
            return self._created(upload, self._here) if upload.is_complete else answer_with(204, self._progress(upload))

    def _elsewhere(self, upload: Upload, asked: Append) -> HTTPException:
        return _problem(
            409,
            f"The upload is at {upload.offset}: send the bytes from there on",
            "mismatching-upload-offset",
            self._progress(upload),
            expected_offset=upload.offset,
            provided_offset=asked.offset,
        )

    async def _invalidate(self, hold: Hold, name: UploadName) -> None:
        """Remove an upload to which more has come than its length: the draft wants nobody to go on with it."""
        if not hold.is_over:
            return await give_up(hold, self._to)
        async with await self._hold(name) as again:  # what came before was kept, and the upload let go
            return await give_up(again, self._to)

    def _state(self, upload: Upload) -> Response[Any]:
        return answer_with(204, self._progress(upload))

    def _progress(self, upload: Upload) -> dict[str, str]:
        state = http_uploads.state_headers(offset=upload.offset, length=upload.length, is_complete=upload.is_complete)
        limit = http_uploads.upload_limit(self._to.max_bytes, upload.expires_at - time.time())
        return {**super()._progress(upload), **state, **limit}
