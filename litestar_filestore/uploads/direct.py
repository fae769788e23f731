"""Routes for uploads that a client puts into the store itself, each of which ends in a reference to a stored file.

One contract serves every store: an object in parts. A store that signs gets the parts from the client; for any other
one they come to a route of the application, with the same requests and answers. The names of the routes and of their
values are those of Uppy's Companion, which only sends what it was given: `uploadId` and `key` are tickets of ours.

Nothing here needs a CSRF token, which Uppy does not send. To begin an upload needs a body of type JSON, which no page
of another origin can send without the leave of CORS; everything else needs a ticket, which such a page never sees.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.exceptions import NotFoundException
from litestar.exceptions.http_exceptions import ClientException
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from litestar_filestore.core.types import Capability, FormPolicy, PartBuffers
from litestar_filestore.errors import (
    FileTooLargeError,
    InvalidArgumentError,
    InvalidTokenError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageError,
)
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.uploads import Upload, UploadName
from litestar_filestore.sansio.declared import declared_type
from litestar_filestore.sansio.tus import parse_metadata, write_metadata
from litestar_filestore.uploads.arrivals import Arrivals
from litestar_filestore.uploads.form_reader import form_reader
from litestar_filestore.uploads.plan import UploadForm
from litestar_filestore.uploads.receiving import Receiver, give_up, new_file_of, part_bytes_of
from litestar_filestore.uploads.refusals import Conflict, UnsupportedMediaType, too_large
from litestar_filestore.uploads.resumable import DIRECT, NO_STORE, Exchange, refusing, unknown_upload
from litestar_filestore.validation.media_types import UNKNOWN
from litestar_filestore.validation.rules import too_large_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.types import Part
    from litestar_filestore.uploads.receiving import Hold
    from litestar_filestore.uploads.resumable import ResumableRoutes

__all__ = (
    "BegunUpload",
    "DirectRoutes",
    "FinishedUpload",
    "NewForm",
    "NewUpload",
    "PartUrl",
    "TicketOfUpload",
    "UploadFormFields",
    "UppyFinished",
    "UppyForm",
    "UppyListedPart",
    "UppyNewUpload",
    "UppyPart",
    "UppyUpload",
)

_Request = Request[Any, Any, Any]

_URL_SECONDS = 3600
"""How long a URL for a part can be used. A PUT that has begun by then may take longer."""
_FIRST_PARTS = 16
"""How many URLs come with the beginning; a client asks for the others when it gets there."""
_MOST_PARTS = 10_000
"""Most parts of an upload through the application; what S3 takes as well."""
_LARGEST_PART_BYTES = 64 * 1024 * 1024
"""Largest part that comes through the application: some drivers hold it in memory."""
_MOST_JSON_BYTES = 64 * 1024


class NewUpload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a page is going to upload."""

    filename: str
    """Its name."""
    size: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    """Its length in bytes."""
    type: str = ""
    """Its media type, as the browser guesses it."""
    metadata: dict[str, str] = {}
    """What else the application wants to know; `authorize` sees it."""


class PartUrl(msgspec.Struct, frozen=True, kw_only=True):
    """Where one part goes."""

    number: int
    """Number of the part, from 1."""
    size: int
    """Its length in bytes."""
    url: str
    """PUT the bytes here."""


class BegunUpload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that has begun."""

    ticket: str
    """Names it; keep it to finish the upload."""
    part_bytes: int
    """Size of its parts in bytes; the last one is shorter."""
    parts: list[PartUrl]
    """The first parts. The URLs of others, and new ones, are at ``s3/multipart/{ticket}/{number}``."""


class NewForm(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a plain HTML form is going to upload, in one request."""

    filename: str
    """Its name."""
    type: str = ""
    """Its media type, as the browser guesses it."""
    metadata: dict[str, str] = {}
    """What else the application wants to know; `authorize` sees it."""


class UploadFormFields(msgspec.Struct, frozen=True, kw_only=True):
    """A form that uploads one file."""

    ticket: str
    """Names the upload; keep it to finish it."""
    url: str
    """The ``action``; the method is POST and the ``enctype`` is ``multipart/form-data``."""
    fields: dict[str, str]
    """The hidden fields, before the field ``file``."""


class TicketOfUpload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that is to be finished."""

    ticket: str
    """What named it: ``ticket``, or the ``key`` that Uppy reports."""


class FinishedUpload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that has been stored."""

    reference: str
    """Names the file in a form or in JSON."""
    filename: str
    """Its name."""
    content_type: str
    """Its media type by its content."""
    size: int | None
    """Its length in bytes."""


class UppyNewUpload(msgspec.Struct, frozen=True, kw_only=True):
    """What Uppy says of a file before it sends it in parts."""

    filename: str | None = None
    """Its name."""
    type: str | None = None
    """Its media type, as the browser guesses it."""
    metadata: dict[str, Any] = {}
    """The metadata of the file in Uppy."""


class UppyUpload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An upload in parts that has begun."""

    upload_id: str
    """A ticket."""
    key: str
    """The same ticket."""


class UppyForm(msgspec.Struct, frozen=True, kw_only=True):
    """Where Uppy posts a small file."""

    method: str = "POST"
    """The method."""
    url: str
    """The URL."""
    fields: dict[str, str]
    """Fields before the file; ``key`` is a ticket, which is reported with the success."""


class UppyPart(msgspec.Struct, frozen=True, kw_only=True):
    """Where one part goes."""

    url: str
    """PUT the bytes here; the answer has an ``ETag``."""


class UppyListedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part that has come."""

    number: int = msgspec.field(name="PartNumber")
    """Its number, from 1."""
    size: int = msgspec.field(name="Size")
    """Its length in bytes."""
    etag: str = msgspec.field(name="ETag")
    """What the PUT has answered."""


class UppyFinished(msgspec.Struct, frozen=True, kw_only=True):
    """A file that has been stored."""

    location: str
    """The URL of the upload."""
    key: str
    """A reference, which names the file in a form or in JSON."""


@dataclass(frozen=True)
class DirectRoutes:
    """The routes of one router that do not speak tus."""

    routes: ResumableRoutes
    """Its other routes, with the same owner, rules and limits."""

    def handlers(self, guards: Sequence[Callable[..., Any]] | None) -> list[Any]:
        """Return the handlers.

        Args:
            guards: Their guards.
        """
        of_all: dict[str, Any] = {"guards": guards, "opt": {DIRECT: True, "exclude_from_csrf": True}}
        small = {**of_all, "request_max_body_size": _MOST_JSON_BYTES}
        large = {**of_all, "request_max_body_size": None}
        return [*self._whole(of_all, small, large), *self._in_parts(of_all, small, large)]

    def _whole(self, of_all: dict[str, Any], small: dict[str, Any], large: dict[str, Any]) -> list[Any]:
        """Return the handlers for pages of one's own, and for files that come in one request."""

        @post("/begin", **small)
        async def begin(request: _Request, data: JSONBody[NewUpload]) -> Response[BegunUpload]:
            """Begin an upload to the store: answers where its parts go."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).begin(data))

        @post("/form", **small)
        async def form(request: _Request, data: JSONBody[NewForm]) -> Response[UploadFormFields]:
            """Answer a form that uploads one file to the store, or to the application if the store takes no forms."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).form(data))

        @post("/finish", status_code=200, **small)
        async def finish(request: _Request, data: JSONBody[TicketOfUpload]) -> Response[FinishedUpload]:
            """Finish an upload: checks the file, and answers the reference to it."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).finish(data.ticket))

        @get("/s3/params", **of_all)
        async def uppy_form(
            request: _Request,
            filename: FromQuery[str] = "",
            file_type: Annotated[str, QueryParameter(name="type")] = "",
        ) -> Response[UppyForm]:
            """Answer where a small file is posted."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).uppy_form(filename, file_type))

        @post("/s3/form/{ticket:str}", status_code=204, **large)
        async def take_form(request: _Request, ticket: FromPath[str]) -> Response[None]:
            """Take a file from a form."""
            with refusing():
                return await _DirectExchange(self.routes, request).take_form(ticket)

        @get("/s3/form/{ticket:str}/sent", **of_all)
        async def form_sent(request: _Request, ticket: FromPath[str]) -> Response[None]:
            """Finish an upload whose form was sent, and send the browser to the page that takes the reference."""
            with refusing():
                return await _DirectExchange(self.routes, request).form_sent(ticket)

        sent = [] if self.routes.form_page is None else [form_sent]
        return [begin, form, finish, uppy_form, take_form, *sent]

    def _in_parts(self, of_all: dict[str, Any], small: dict[str, Any], large: dict[str, Any]) -> list[Any]:
        """Return the handlers for files that come in parts, by the names that Uppy gives them."""
        upload, part = "/s3/multipart/{ticket:str}", "/s3/multipart/{ticket:str}/{number:int}"

        @post("/s3/multipart", status_code=200, **small)
        async def uppy_begin(request: _Request, data: JSONBody[UppyNewUpload]) -> Response[UppyUpload]:
            """Begin an upload in parts."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).uppy_begin(data))

        @get(upload, **of_all)
        async def list_parts(request: _Request, ticket: FromPath[str]) -> Response[list[UppyListedPart]]:
            """List the parts that have come."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).list_parts(ticket))

        @delete(upload, **of_all)
        async def abort(request: _Request, ticket: FromPath[str]) -> None:
            """Remove an upload with its parts."""
            with refusing():
                await _DirectExchange(self.routes, request).abort(ticket)

        @post(upload + "/complete", status_code=200, **of_all)
        async def uppy_finish(request: _Request, ticket: FromPath[str]) -> Response[UppyFinished]:
            """Finish an upload in parts. What has come counts, not the list of parts in the body."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).uppy_finish(ticket))

        @get(part, **of_all)
        async def part_url(request: _Request, ticket: FromPath[str], number: FromPath[int]) -> Response[UppyPart]:
            """Answer where a part goes."""
            with refusing():
                return _fresh(await _DirectExchange(self.routes, request).part_url(ticket, number))

        @put(part, status_code=200, **large)
        async def put_part(request: _Request, ticket: FromPath[str], number: FromPath[int]) -> Response[None]:
            """Take a part, for a store that takes none from clients."""
            with refusing():
                return await _DirectExchange(self.routes, request).put_part(ticket, number)

        return [uppy_begin, list_parts, abort, uppy_finish, part_url, put_part]


def _fresh(content: Any) -> Response[Any]:
    return Response(content, headers=NO_STORE)


class _DirectExchange(Exchange):
    """A request about an upload that the client puts into the store itself."""

    @property
    def _signs(self) -> bool:
        """Whether the store takes parts from clients."""
        return Capability.SIGN_PARTS in self._to.backend.capabilities

    # -- who asks

    def _read(self, ticket: str) -> tuple[str, str | None]:
        try:
            return self._links.read_ticket(ticket)
        except InvalidTokenError as error:
            raise unknown_upload() from error

    async def _open(self, ticket: str, action: Any) -> tuple[UploadName, Upload]:
        """Return the upload of a ticket; that of another owner or router does not exist."""
        name = await self._name(self._read(ticket)[0])
        upload = await self._find(name)
        await self._allow(upload.metadata, action)
        return name, upload

    # -- the beginning

    async def begin(self, new: NewUpload) -> BegunUpload:
        """Answer where the parts of a file go."""
        self._check_size(new.size)
        metadata = _metadata({**new.metadata, "filename": new.filename, "filetype": new.type})
        ticket, upload = await self._begin(metadata, new.size)
        part_bytes, base = cast("int", upload.part_bytes), self._base("/begin")
        count = min(_FIRST_PARTS, -(-new.size // part_bytes))
        parts = [
            PartUrl(number=n, size=_size(upload, n) or 0, url=await self._part_url(upload, ticket, n, base))
            for n in range(1, count + 1)
        ]
        return BegunUpload(ticket=ticket, part_bytes=part_bytes, parts=parts)

    async def uppy_begin(self, new: UppyNewUpload) -> UppyUpload:
        """Begin an upload in parts whose number and size Uppy decides."""
        said = {name: str(value) for name, value in new.metadata.items()}
        metadata = _metadata({**said, "filename": new.filename or "", "filetype": new.type or ""})
        ticket, _ = await self._begin(metadata, None)
        return UppyUpload(upload_id=ticket, key=ticket)

    async def _begin(self, metadata: str, size: int | None) -> tuple[str, Upload]:
        self._require_json()
        upload = await self._new(metadata, size)
        await self._open_row(upload)
        reach("direct.staged")
        backend, key = self._to.backend, cast("str", upload.key)
        name = await backend.begin_parts_async(key, content_type=UNKNOWN)
        reach("direct.begun")
        await self._book.run(lambda c: self._book.uploads.name(c, upload.id, name))
        return self._links.ticket_for(upload.id), replace(upload, store_upload=name)

    async def form(self, new: NewForm) -> UploadFormFields:
        """Answer a form that uploads one file."""
        self._require_json()
        metadata = _metadata({**new.metadata, "filename": new.filename, "filetype": new.type})
        upload, backend = await self._new(metadata, None), self._to.backend
        if Capability.SIGN_FORM not in backend.capabilities:
            ticket = self._links.ticket_for(secrets.token_hex(16), metadata)
            return UploadFormFields(ticket=ticket, url=f"{self._base('/form')}/s3/form/{ticket}", fields={})
        # Until its policy expires, a form can be sent again. So it writes an object of its own, which is copied at the
        # end, and whose entry in the ledger outlives the policy: what comes late is swept.
        upload = replace(upload, tail_key=f"{upload.key}.form-{secrets.token_hex(8)}")
        await self._open_row(upload)
        reach("direct.staged")
        seconds = int(min(_URL_SECONDS, self._to.life_seconds))
        ticket = self._links.ticket_for(upload.id)
        # The browser comes to this application first: what the store has taken is not a file before it is checked.
        after = None if self._routes.form_page is None else f"{self._base('/form')}/s3/form/{ticket}/sent"
        policy = FormPolicy(content_type=UNKNOWN, max_bytes=self._to.max_bytes, expires_in=seconds, redirect=after)
        signed = await backend.sign_form_async(cast("str", upload.tail_key), policy)
        return UploadFormFields(ticket=ticket, url=signed.url, fields=dict(signed.fields))

    def _require_json(self) -> None:
        if declared_type(self._request.headers.get("content-type")) != "application/json":
            # A page of another origin may send forms or text with the user's cookies, and JSON only if CORS permits it.
            raise UnsupportedMediaType("The Content-Type must be application/json")

    async def _new(self, metadata: str, size: int | None) -> Upload:
        """Return the upload that a client asks for, if it may have it."""
        parse_metadata(metadata)
        await self._allow(metadata, "write")
        self._check_names(metadata, size)
        owner = await self._owner()
        upload = Upload(
            id=secrets.token_hex(16),
            place=self._routes.path,
            owner=owner,
            opener=self._opener(owner),
            backend=self._to.backend.key,
            length=size,
            metadata=metadata,
            # Nobody has seen the content: the store must not serve it as a page of its own, whatever the client says.
            content_type=UNKNOWN,
            part_bytes=None if size is None else part_bytes_of(self._to, size),
        )
        file = new_file_of(upload, self._to, None).with_content(self._to.backend, b"")
        return replace(upload, key=file.prepare_key())

    async def _open_row(self, upload: Upload) -> None:
        uploads, life = self._book.uploads, self._to.life_seconds
        most = self._routes.max_open_per_owner if upload.opener else None
        await self._book.run(lambda c: uploads.open(c, upload, life_seconds=life, max_open=most))

    def _base(self, suffix: str) -> str:
        """Return the URL of the router as the client sees it."""
        return self._here.removesuffix(suffix)

    # -- parts

    async def part_url(self, ticket: str, number: int) -> UppyPart:
        """Answer where a part goes, and keep the upload for longer."""
        name, upload = await self._open(ticket, "write")
        self._check_number(number)
        await self._touch(name)
        base = self._base(f"/s3/multipart/{ticket}/{number}")
        return UppyPart(url=await self._part_url(upload, ticket, number, base))

    def _check_number(self, number: int) -> None:
        if not 1 <= number <= min(_MOST_PARTS, self._to.backend.part_limits.max_parts or _MOST_PARTS):
            raise NotFoundException(f"There is no part {number}: number them from 1, and use larger ones")

    async def _part_url(self, upload: Upload, ticket: str, number: int, base: str) -> str:
        if not self._signs:
            return f"{base}/s3/multipart/{ticket}/{number}"
        key, name, size = cast("str", upload.key), cast("str", upload.store_upload), _size(upload, number)
        return await self._to.backend.sign_part_async(key, name, number, expires_in=_URL_SECONDS, size=size)

    async def _touch(self, name: UploadName, part: Part | None = None, part_bytes: int | None = None) -> None:
        uploads, life = self._book.uploads, self._to.life_seconds
        open_ = await self._book.run(
            lambda c: uploads.touch(c, name, life_seconds=life, part=part, part_bytes=part_bytes)
        )
        if open_ is None:
            raise Conflict("This upload is finished, or just being finished: begin another one", headers=NO_STORE)

    async def list_parts(self, ticket: str) -> list[UppyListedPart]:
        """Answer which parts have come."""
        _, upload = await self._open(ticket, "read")
        parts = await self._parts(upload)
        return [UppyListedPart(number=each.number, size=each.size, etag=each.receipt) for each in parts]

    async def _parts(self, upload: Upload) -> Sequence[Part]:
        if upload.store_upload is None or upload.is_complete:
            return []
        if not self._signs:
            return await self._book.run(lambda c: self._book.uploads.parts(c, upload.id))
        return await self._to.backend.list_parts_async(cast("str", upload.key), upload.store_upload)

    async def put_part(self, ticket: str, number: int) -> Response[None]:
        """Take a part for a store that takes none from clients."""
        name, upload = await self._open(ticket, "write")
        if self._signs or upload.is_complete or upload.store_upload is None:
            raise Conflict("No part of this upload is taken here: ask for its URL", headers=NO_STORE)
        size = self._announced()
        offset = self._place(upload, number, size)
        part_bytes = size if upload.part_bytes is None else None
        try:
            part = await self._take(upload, number, offset, size)
        except ObjectNotFoundError as error:
            raise unknown_upload() from error
        reach("direct.part")
        await self._touch(name, part, part_bytes)
        headers = {**NO_STORE, "ETag": f'"{part.receipt or secrets.token_hex(8)}"'}
        return Response(None, headers={**headers, "Access-Control-Expose-Headers": "ETag"})

    def _announced(self) -> int:
        length = self._request.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or len(length) > 18 or not int(length):  # noqa: PLR2004  # as BIGINT
            raise ClientException("A part needs a Content-Length of 1 or more", status_code=411)
        return int(length)

    def _place(self, upload: Upload, number: int, size: int) -> int:
        """Return the offset of a part: its number tells it, because all parts but the last have one size.

        Raises:
            HTTPException: If it cannot be a part of this upload.
        """
        part_bytes = size if upload.part_bytes is None and number == 1 else upload.part_bytes
        self._check_number(number)
        if part_bytes is None:
            raise Conflict("Send part 1 first: its size tells where the others belong")
        if size > part_bytes:
            raise Conflict(f"The parts of this upload have {part_bytes} bytes, not {size}: cut the file evenly")
        most = self._to.max_bytes if upload.length is None else upload.length
        if size > _LARGEST_PART_BYTES or (number - 1) * part_bytes + size > most:
            raise too_large(f"The part is longer than {_LARGEST_PART_BYTES} bytes, or ends behind byte {most}")
        return (number - 1) * part_bytes

    async def _take(self, upload: Upload, number: int, offset: int, size: int) -> Part:
        backend, limits = self._to.backend, self._files.settings.limits
        arrivals = Arrivals(self._request, limits, max_bytes=size)
        holds_part = backend.storage_driver.part_buffers is not None
        memory = PartBuffers(part_bytes=size, max_concurrency=1) if holds_part else None
        try:
            arrivals.start()
            arrivals.go_to(backend.key)
            async with arrivals.part_memory(memory, size):
                key, name = cast("str", upload.key), cast("str", upload.store_upload)
                return await backend.put_part_async(key, name, number, offset, arrivals, size=size)
        finally:
            await arrivals.aclose()

    # -- a file in one piece

    async def uppy_form(self, filename: str, file_type: str) -> UppyForm:
        """Answer where a small file is posted. Nothing is kept: a page of any origin can make a browser ask this."""
        query = self._request.query_params
        said = {name[9:-1]: str(query[name]) for name in query if name.startswith("metadata[") and name.endswith("]")}
        metadata = _metadata({**said, "filename": filename, "filetype": file_type})
        await self._new(metadata, None)
        ticket = self._links.ticket_for(secrets.token_hex(16), metadata)
        # Uppy reports ``url`` and ``key``, one after the other, as the location of the file.
        return UppyForm(url=f"{self._base('/params')}/form/{ticket}?key=", fields={"key": ticket})

    async def take_form(self, ticket: str) -> Response[None]:
        """Take the file of a form, as other forms are taken: checked while it comes, and stored once."""
        # Before anything is read: a page of another origin can send forms with the user's cookies, but has no ticket.
        id_, metadata = self._read(ticket)
        await self._allow(metadata, "write")
        name = await self._name(id_)
        if await self._book.run(lambda c: self._book.uploads.find(c, name)):
            raise Conflict("This form has been sent before: begin another upload", headers=NO_STORE)
        planned = replace(self._to.planned, name="file", backend=self._to.backend.key)
        form = UploadForm(files=(planned,), texts=frozenset({"key"}))
        token = owner_of_new_objects.set(name.owner)
        try:
            values = await form_reader(form, self._files.settings.limits, None)(self._request)
        finally:
            owner_of_new_objects.reset(token)
        file: FileObject = values["file"]
        await self._insert(
            Upload(
                id=id_,
                place=name.place,
                owner=name.owner,
                opener=name.owner or "",
                backend=self._to.backend.key,
                length=file.size,
                offset=file.size or 0,
                metadata=metadata,
                key=file.path,
                result=json.dumps(file.to_dict()),
            )
        )
        await self._files.hand_over(file)
        is_of_uppy = "key" in self._request.query_params  # no browser follows where its script is sent
        return Response(None) if is_of_uppy or self._routes.form_page is None else await self.form_sent(ticket)

    # -- the end

    async def form_sent(self, ticket: str) -> Response[None]:
        """Send the browser to the page that takes the reference: one that the application has named, no other."""
        done = await self.finish(ticket)
        to = f"{self._routes.form_page}?{urlencode({'reference': done.reference})}"
        return Response(None, status_code=303, headers={**NO_STORE, "Location": to, "Referrer-Policy": "no-referrer"})

    async def finish(self, ticket: str) -> FinishedUpload:
        """Make the file of what has come, and answer the reference to it."""
        with suppress(InvalidTokenError):
            return _finished(ticket, self._links.file_for(ticket))  # Uppy reports the reference of what it has finished
        name, upload = await self._open(ticket, "write")
        if not upload.is_complete:
            async with await self._hold(name) as hold:
                upload = hold.upload if hold.upload.is_complete else await self._complete(hold)
        await self._require_free(upload)
        return _finished(self._reference(upload), self._file(upload))

    async def uppy_finish(self, ticket: str) -> UppyFinished:
        """Finish an upload in parts."""
        return UppyFinished(location=self._base("/complete"), key=(await self.finish(ticket)).reference)

    async def _complete(self, hold: Hold) -> Upload:
        try:
            if hold.upload.tail_key is not None:
                return await self._complete_form(hold, hold.upload.tail_key)
            await self._add_up(hold)
            return await self._receiver(hold, reads_all=not self._signs).complete()
        except ObjectChangedError as error:
            raise Conflict("The file has changed meanwhile: finish again") from error
        except InvalidArgumentError as error:
            raise Conflict(error.detail) from error

    def _receiver(self, hold: Hold, *, reads_all: bool) -> Receiver:
        return Receiver(hold, self._to, reads_all=reads_all, transport="direct")

    async def _add_up(self, hold: Hold) -> None:
        """Commit which parts make up the file, before the store makes it: what is too large never exists."""
        upload = hold.upload
        try:
            parts = await self._parts(upload)
        except ObjectNotFoundError as error:
            if upload.offset == upload.length:
                return  # the store has made it, for a request that was killed then
            await give_up(hold, self._to)
            raise unknown_upload() from error
        size = sum(each.size for each in parts)
        await self._give_up_if_too_large(hold, size)
        gap = next((n for n, each in enumerate(parts, 1) if each.number != n), None)
        if gap is not None:
            raise Conflict(f"Part {gap} has not come: send it, and finish again")
        if upload.length not in {None, size}:
            raise Conflict(f"{size} of {upload.length} bytes have come: send the rest, and finish again")
        await hold.commit(
            replace(upload, length=size, offset=size), list(parts), life_seconds=self._to.life_seconds, all_parts=True
        )
        reach("direct.added")

    def _check_size(self, size: int) -> None:
        if size > self._to.max_bytes:
            raise FileTooLargeError(too_large_message(self._to.max_bytes), max_bytes=self._to.max_bytes)

    async def _give_up_if_too_large(self, hold: Hold, size: int) -> None:
        try:
            self._check_size(size)
        except FileTooLargeError:
            await give_up(hold, self._to)
            raise

    async def _complete_form(self, hold: Hold, posted: str) -> Upload:
        """Make the file of what a form has sent to the store."""
        upload, backend, life = hold.upload, self._to.backend, self._to.life_seconds
        try:
            size = (await backend.head_async(posted)).size
        except ObjectNotFoundError as error:
            raise Conflict("The form has not been sent: send it, and finish again") from error
        await self._give_up_if_too_large(hold, size)
        await hold.commit(replace(upload, length=size, offset=size), [], life_seconds=life)
        reach("direct.added")
        key = await backend.copy_async(posted, cast("str", upload.key), overwrite=True)
        reach("direct.copied")
        made = await backend.head_async(key)
        if made.size != size:
            raise ObjectChangedError("The form was sent again while it was copied")
        done = await self._receiver(hold, reads_all=False).complete(made)
        with suppress(StorageError):  # then its lease runs out
            await backend.delete_async(posted)
        return done

    async def abort(self, ticket: str) -> None:
        """Remove an upload with all that has come of it."""
        name, _ = await self._open(ticket, "delete")
        async with await self._hold(name) as hold:
            if hold.upload.is_complete:
                await self._require_free(hold.upload)
            await give_up(hold, self._to)


def _finished(reference: str, file: FileObject) -> FinishedUpload:
    return FinishedUpload(reference=reference, filename=file.filename, content_type=file.content_type, size=file.size)


def _size(upload: Upload, number: int) -> int | None:
    """Return the length of a part; ``None`` if the client decides."""
    if upload.part_bytes is None or upload.length is None:
        return None
    return min(upload.part_bytes, upload.length - (number - 1) * upload.part_bytes)


def _metadata(values: Mapping[str, str]) -> str:
    return write_metadata({name: value for name, value in values.items() if value})
