"""Routes for resumable uploads by tus 1.0.0, each of which ends in a reference to a stored file."""

from __future__ import annotations

import asyncio
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import quote

from litestar import Request, Response, delete, head, patch, post, route
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import ClientException, HTTPException, NotFoundException, PermissionDeniedException
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.rule import Candidate
from litestar_filestore.core.sources import LiveSource
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import (
    ConfigurationError,
    FileTypeNotAllowedError,
    ObjectChangedError,
    ObjectNotFoundError,
    TusError,
)
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.ledger.uploads import Upload, UploadLedger, UploadName
from litestar_filestore.sansio import tus
from litestar_filestore.sansio.conditional import joined_headers
from litestar_filestore.sansio.disposition import safe_filename
from litestar_filestore.uploads.arrivals import Arrivals
from litestar_filestore.uploads.intake import owned_by
from litestar_filestore.uploads.limits import client_address, file_limit
from litestar_filestore.uploads.plan import PlannedFile
from litestar_filestore.uploads.receiving import Destination, Receiver, give_up, part_memory_of, take_hold
from litestar_filestore.uploads.storing import LedgerStorer
from litestar_filestore.validation.media_types import UNKNOWN
from litestar_filestore.validation.rules import ContentTypes, Extensions, effective_rules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from litestar_filestore.core.file_object import LinkMaker
    from litestar_filestore.core.types import Block, PartBuffers
    from litestar_filestore.sansio.tus import Append, Checksum, Creation
    from litestar_filestore.uploads.intake import RequestFiles
    from litestar_filestore.uploads.receiving import Hold

__all__ = (
    "DIRECT",
    "NO_STORE",
    "AuthorizeUpload",
    "Body",
    "Exchange",
    "OwnerOf",
    "Refusing",
    "ResumableRoutes",
    "StreamedExchange",
    "TusMiddleware",
    "answer_with",
    "refusing",
    "unexpired",
    "unknown_upload",
)

OwnerOf: TypeAlias = Callable[[ASGIConnection[Any, Any, Any, Any]], str | Awaitable[str]]
"""Returns the owner of what a connection uploads; the uploads of others do not exist for it."""
AuthorizeUpload: TypeAlias = Callable[
    [ASGIConnection[Any, Any, Any, Any], "Mapping[str, str]", Literal["read", "write", "delete"]],
    bool | Awaitable[bool],
]
"""Decides by an upload's metadata whether a connection may do something with it. Only a true value permits it."""

_Request = Request[Any, Any, Any]
_Answer = Response[Any]
_ONE = "/{upload_id:str}"
_PATIENCE_SECONDS = 10.0
"""How long a request waits for another one to let go of its upload."""
_LOOK_SECONDS = 3.0
"""How long a HEAD waits for that; then it tells what is committed, because the other request may not answer at all."""
NO_STORE = {"Cache-Control": "no-store"}
DIRECT = "filestore_direct_upload"
"""Option of the routes of the same router that do not speak tus."""


class TusMiddleware(ASGIMiddleware):
    """Adds what every answer of the protocol carries, the refusals of guards and of Litestar itself included."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = DIRECT
    exposed: ClassVar[str] = tus.EXPOSED_HEADERS
    """Headers that scripts of pages from other origins have to see."""

    def headers_of(self, scope: Mapping[str, Any], _status: int) -> list[tuple[bytes, bytes]]:
        """Return what an answer with a status carries, besides the exposed headers."""
        return [] if scope["method"] == "OPTIONS" else [(b"tus-resumable", tus.VERSION.encode())]

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Answer the request."""
        exposed = (b"access-control-expose-headers", self.exposed.encode())

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], exposed, *self.headers_of(scope, message["status"])]
            await send(message)

        await next_app(scope, receive, sending)


@dataclass(frozen=True)
class ResumableRoutes:
    """The routes of one router."""

    path: str
    planned: PlannedFile
    owner: OwnerOf | None
    authorize: AuthorizeUpload | None
    expires_in: int
    max_open_per_owner: int | None
    form_page: str | None
    description: ClassVar[str | None] = None
    """What the OpenAPI document says of the routes."""
    exception_handlers: ClassVar[dict[type[Exception], Any] | None] = None
    """How errors of the protocol are answered, if not as the application answers others."""

    def handlers(self, guards: Sequence[Callable[..., Any]] | None) -> list[Any]:
        """Return the handlers.

        Args:
            guards: Their guards. OPTIONS has none: it says only what the server can do.
        """
        of_all: dict[str, Any] = {"guards": guards, "description": self.description}
        of_all["exception_handlers"] = self.exception_handlers
        with_body: dict[str, Any] = {**of_all, "request_max_body_size": None}

        @route(["/", _ONE], http_method="OPTIONS", status_code=200, description=self.description)
        async def capabilities(request: _Request) -> _Answer:
            """Tell what the server can do."""
            return answer_with(200, self.capabilities(owned_by(request.scope)))

        @post("/", status_code=201, **with_body)
        async def create(request: _Request) -> _Answer:
            """Create an upload."""
            with self.refusing(request):
                return await self.exchange(request).create()

        @head(_ONE, **of_all)
        async def look(request: _Request, upload_id: FromPath[str]) -> Response[None]:
            """Tell how much of an upload has come."""
            with self.refusing(request):
                return await self.exchange(request).look(upload_id)

        @patch(_ONE, status_code=204, **with_body)
        async def append(request: _Request, upload_id: FromPath[str]) -> Response[None]:
            """Take the next bytes of an upload."""
            with self.refusing(request):
                return await self.exchange(request).append(upload_id)

        @delete(_ONE, **of_all)
        async def terminate(request: _Request, upload_id: FromPath[str]) -> Response[None]:
            """Remove an upload."""
            with self.refusing(request):
                return await self.exchange(request).terminate(upload_id)

        @post(_ONE, status_code=204, **with_body)
        async def overridden(request: _Request, upload_id: FromPath[str]) -> Response[None]:
            """Do what the request would do with the method that its header names."""
            with self.refusing(request):
                return await self.exchange(request).overridden(upload_id)

        return [capabilities, create, look, append, terminate, overridden]

    def capabilities(self, files: RequestFiles) -> dict[str, str]:
        """Return the headers that tell what the server can do."""
        return tus.capabilities(self.max_bytes(files))

    def refusing(self, _request: _Request) -> Refusing:
        """Return the context that answers errors of the protocol that a request speaks."""
        return _REFUSING

    def exchange(self, request: _Request) -> StreamedExchange:
        """Return the request, read by the protocol that it speaks."""
        return _TusExchange(self, request)

    def max_bytes(self, files: RequestFiles) -> int:
        """Return the size of the largest file."""
        limits = files.settings.limits
        most = file_limit(effective_rules(self.planned.rules, files.settings.rules), limits, self.planned.max_bytes)
        of_backend = files.backend_for(self.planned).max_bytes
        return most if of_backend is None else min(most, of_backend)

    def destination(self, files: RequestFiles) -> Destination:
        """Return where uploads go.

        Raises:
            ConfigurationError: If there is no ledger, or references cannot be made.
        """
        settings, backend = files.settings, files.backend_for(self.planned)
        storer = files.storer.storer_for(self.planned.model, backend.key)
        if not isinstance(storer, LedgerStorer):
            raise ConfigurationError(
                "Resumable uploads need a ledger in a database that is not in memory: they are continued by other "
                "requests, in other processes",
                backend=backend.key,
            )
        if settings.registry.link_maker is None:
            raise ConfigurationError("Resumable uploads end in a reference: set FilestoreConfig(secret=...)")
        return Destination(
            book=UploadLedger(storer.place.database, storer.place.table),
            backend=backend,
            planned=self.planned,
            rules=effective_rules(self.planned.rules, settings.rules),
            detector=settings.detector,
            max_bytes=self.max_bytes(files),
            # A store may forget unfinished objects on its own.
            life_seconds=float(min(self.expires_in, backend.part_limits.keeps_seconds or self.expires_in)),
        )


def answer_with(status_code: int, headers: Mapping[str, str]) -> _Answer:
    """Return an answer without content."""
    return Response(None if status_code == 204 else b"", status_code=status_code, headers=headers)  # noqa: PLR2004


class Refusing:
    """A context that answers errors of tus; the others are the application's."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        """Turn an error of the protocol into one of HTTP."""
        if isinstance(error, TusError):
            raise self.refusal_for(error) from error

    def refusal_for(self, error: TusError) -> HTTPException:
        """Return the answer to an error of the protocol."""
        headers = {"Tus-Version": tus.VERSION} if error.status_code == 412 else {}  # noqa: PLR2004  # as HTTP names it
        return ClientException(detail=error.detail, status_code=error.status_code, headers={**NO_STORE, **headers})


_REFUSING = Refusing()


def refusing() -> Refusing:
    """Return the context that answers errors of tus."""
    return _REFUSING


def _elsewhere(upload: Upload) -> HTTPException:
    # With the offset: clients go on from there without asking first.
    return ClientException(
        detail=f"The upload is at {upload.offset}: send the bytes from there on",
        status_code=409,
        headers={**NO_STORE, "Upload-Offset": str(upload.offset)},
    )


def unknown_upload() -> HTTPException:
    """Return the answer to who asks for an upload that does not exist, or is not for them."""
    return NotFoundException("There is no such upload: begin again", headers=NO_STORE)


def unexpired(upload: Upload) -> Upload:
    """Return an upload, or refuse it with 410 if it has expired."""
    if upload.is_expired:
        raise _gone("This upload has expired: begin again")
    return upload


def _gone(detail: str) -> HTTPException:
    return ClientException(detail=detail, status_code=410, headers=NO_STORE)


class Body(NamedTuple):
    """What a request says of the bytes that it brings."""

    length: int | None
    """Length of the whole content, as it is known with the request."""
    checksum: Checksum | None
    """Checksum of the bytes."""
    ends: bool | None = None
    """Whether the content ends with them; ``None`` if it ends when its length has come."""


class Exchange:
    """One request about an upload, and its answer."""

    def __init__(self, routes: ResumableRoutes, request: Request[Any, Any, Any]) -> None:
        """Find out where uploads of the routes go."""
        self._routes = routes
        self._request = request
        self._files = owned_by(request.scope)
        self._to = routes.destination(self._files)
        self._book = self._to.book
        self._home = routes.path
        """Names the uploads of these routes among others."""

    # -- who asks

    async def _owner(self) -> str | None:
        if self._routes.owner is None:
            return owner_of_new_objects.get()
        owner = self._routes.owner(self._request)
        return await owner if isawaitable(owner) else owner

    async def _name(self, upload_id: str) -> UploadName:
        return UploadName(upload_id, self._home, await self._owner())

    async def _allow(self, metadata: str | None, action: Literal["read", "write", "delete"]) -> None:
        if self._routes.authorize is None:
            return
        texts = {name: value.decode("utf-8", "replace") for name, value in tus.parse_metadata(metadata).items()}
        answer = self._routes.authorize(self._request, texts, action)
        if not (await answer if isawaitable(answer) else answer):
            raise PermissionDeniedException("This upload is not yours: sign in as somebody who may use it")

    async def _find(self, name: UploadName) -> Upload:
        upload = await self._book.run(lambda c: self._book.uploads.find(c, name))
        if upload is None:
            raise unknown_upload()
        return unexpired(upload)

    async def _hold(self, name: UploadName) -> Hold:
        hold = await take_hold(self._book, name, patience_seconds=_PATIENCE_SECONDS)
        if hold is None:
            raise unknown_upload()
        return hold

    async def _hold_to_write(self, name: UploadName) -> Hold:
        """Hold an upload to which this request may write; one that may not does not take it from another."""
        if self._routes.authorize is not None:
            await self._allow((await self._find(name)).metadata, "write")
        return await self._hold(name)

    def _check_names(self, metadata: str | None, size: int | None) -> None:
        """Refuse what has a wrong type by its name and by what the client says, before its bytes are sent for nothing.

        Browsers guess types, so one of the two is enough to go on; the content decides later.

        Raises:
            FileTypeNotAllowedError: If a rule refuses both.
        """
        filename, declared = tus.upload_names(tus.parse_metadata(metadata))
        name = safe_filename(filename)
        types = {each for each in (declared, guess_type(name)[0]) if each is not None and each != UNKNOWN}
        rules = [each for each in self._to.rules if isinstance(each, (ContentTypes, Extensions))]
        refusals: list[FileTypeNotAllowedError] = []
        for each in types:
            candidate = Candidate(filename=name, content_type=each, declared_type=declared, size=size)
            try:
                for rule in rules:
                    rule.at_head(candidate)
            except FileTypeNotAllowedError as error:
                refusals.append(error)
        if refusals and len(refusals) == len(types):
            raise refusals[0]

    def _opener(self, owner: str | None) -> str:
        client = self._request.client
        return owner or client_address(client.host if client is not None else None) or ""

    async def _insert(self, upload: Upload) -> Upload:
        # Clients without owner and address, behind a proxy on this host, cannot be told apart.
        life, most = self._to.life_seconds, self._routes.max_open_per_owner if upload.opener else None
        uploads = self._book.uploads
        return await self._book.run(lambda c: uploads.insert(c, upload, life_seconds=life, max_open=most))

    async def _require_free(self, upload: Upload) -> None:
        # tus-js-client keeps the URL of what it has uploaded. For the same file again it only asks with HEAD: if that
        # said that all is there, the new form would get the reference of a file that another row has.
        if not await self._book.run(lambda c: self._book.uploads.is_free(c, upload)):
            raise _gone("The file of this upload was taken, or is gone: begin again")

    def _reference(self, upload: Upload) -> str:
        return self._files.settings.registry.reference_for(self._file(upload))

    def _file(self, upload: Upload) -> FileObject:
        """Return the file of a complete upload."""
        return FileObject.from_dict(json.loads(cast("str", upload.result)), self._to.backend)

    @property
    def _links(self) -> LinkMaker:
        return cast("LinkMaker", self._files.settings.registry.link_maker)  # `destination` has refused to work without

    @property
    def _here(self) -> str:
        """The URL of the request, as clients see it."""
        url = self._request.url
        outside = self._links.outside
        before = outside if "://" in outside else f"{url.scheme}://{url.netloc}{outside}"
        return before + quote(self._request.scope["path"]).rstrip("/")


class StreamedExchange(Exchange, ABC):
    """A request about an upload whose bytes come through the application, whatever protocol it speaks."""

    ends_by_length: ClassVar[bool]
    """Whether an upload is complete once all its bytes are there, without a word of its client."""
    headers: Mapping[str, str]
    """The headers of the request by name in lower case."""

    @abstractmethod
    async def create(self) -> _Answer:
        """Answer POST."""

    @abstractmethod
    async def append(self, upload_id: str) -> _Answer:
        """Answer PATCH."""

    @abstractmethod
    def _state(self, upload: Upload) -> _Answer:
        """Answer how far an upload is."""

    async def overridden(self, upload_id: str) -> _Answer:
        """Answer POST to an upload."""
        ways = {"HEAD": self.look, "PATCH": self.append, "DELETE": self.terminate}
        return await ways[tus.overridden_method(self.headers)](upload_id)

    # -- creation

    def _open(
        self, owner: str | None, *, length: int | None, metadata: str | None, concat: str | None = None
    ) -> Awaitable[Upload]:
        """Enter an upload."""
        return self._insert(
            Upload(
                id=secrets.token_hex(16),
                place=self._home,
                owner=owner,
                opener=self._opener(owner),
                backend=self._to.backend.key,
                length=length,
                metadata=metadata,
                concat=concat,
            )
        )

    async def _take_first(self, upload: Upload, body: Body | None) -> Upload:
        """Take the body of the request that has created an upload."""
        async with await self._hold(UploadName(upload.id, upload.place, upload.owner)) as hold:
            try:
                return await self._take(hold, body)
            except (TusError, HTTPException):
                if not hold.is_over:
                    await give_up(hold, self._to)  # the client does not know its URL
                raise

    # -- what comes

    async def _take(self, hold: Hold, body: Body | None) -> Upload:
        """Take the body of the request, if it has one."""
        try:
            receiver = Receiver(hold, self._to)
            await receiver.load()
            return await (receiver.complete() if body is None else self._receive(hold, receiver, body))
        except (ObjectNotFoundError, ObjectChangedError) as error:
            # The store has removed the unfinished object, as a rule of a bucket may want it. Or a part came late, of a
            # request that was taken for dead, and replaced the one that counts: then the store refuses to finish.
            await give_up(hold, self._to)
            raise _gone("What had come of this upload is lost: begin again") from error

    async def _receive(self, hold: Hold, receiver: Receiver, body: Body) -> Upload:
        receiver.declare(body.length, ends=body.ends)
        left = (self._to.max_bytes if body.length is None else body.length) - hold.upload.offset
        limits = self._files.settings.limits
        # At the end of the body it would be too late for a digest: what has come may be committed by then. And of the
        # whole content no single request tells.
        arrivals = Arrivals(self._request, limits, max_bytes=left, checks_digests=False)
        try:
            arrivals.start()
            arrivals.go_to(self._to.backend.key)
            async with arrivals.part_memory(part_memory_of(self._to), left):
                return await receiver.receive(arrivals, body.checksum)
        finally:
            await arrivals.aclose()

    # -- how far it is

    async def look(self, upload_id: str) -> _Answer:
        """Answer HEAD."""
        name = await self._name(upload_id)
        upload = await self._find(name)
        await self._allow(upload.metadata, "read")
        upload = await self._settled(name, upload)
        if upload.is_complete:
            await self._require_free(upload)
        elif self.ends_by_length and upload.offset == upload.length:
            async with await self._hold(name) as hold:  # the request that had its last bytes was killed
                upload = hold.upload
                upload = upload if upload.is_complete else await self._take(hold, None)
        return self._state(upload)

    async def _settled(self, name: UploadName, upload: Upload) -> Upload:
        """Ask the request that is sending to an upload to let go, and return the upload as it is then.

        Its connection may be dead, without the server knowing: the client comes back on a new one.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + _LOOK_SECONDS
        while upload.is_held and not upload.is_complete and loop.time() < end:
            found = await self._book.run(lambda c: self._book.uploads.want(c, name))
            if found is None:
                raise unknown_upload()
            upload = found
            if upload.is_held:
                await asyncio.sleep(0.1)
        return upload

    def _progress(self, upload: Upload) -> dict[str, str]:
        """Return the headers that tell how far an upload is, with the reference if it is complete."""
        headers = {**NO_STORE, "Upload-Offset": str(upload.offset)}
        if upload.is_complete and not upload.is_partial:
            headers[tus.RESULT_HEADER] = self._reference(upload)
        return headers

    # -- the end

    async def terminate(self, upload_id: str) -> _Answer:
        """Answer DELETE."""
        name = await self._name(upload_id)
        upload = await self._find(name)
        await self._allow(upload.metadata, "delete")
        async with await self._hold(name) as hold:
            if hold.upload.is_complete:
                await self._require_free(hold.upload)
            await give_up(hold, self._to)
        return answer_with(204, {})


class _TusExchange(StreamedExchange):
    """A request by tus 1.0.0."""

    ends_by_length = True

    def __init__(self, routes: ResumableRoutes, request: _Request) -> None:
        self.headers = joined_headers(request.scope["headers"])
        tus.check_version(self.headers)
        super().__init__(routes, request)

    # -- creation

    async def create(self) -> _Answer:
        asked = tus.read_creation(self.headers, max_bytes=self._to.max_bytes)
        await self._allow(asked.metadata, "write")
        owner = await self._owner()
        if asked.concat != "partial":
            self._check_names(asked.metadata, asked.length)
        if asked.is_final:
            return self._created(await self._join(asked, owner))
        upload = await self._open(owner, length=asked.length, metadata=asked.metadata, concat=asked.concat)
        if not asked.has_body and asked.length != 0:
            return self._created(upload)
        body = Body(asked.length, asked.checksum) if asked.has_body else None
        return self._created(await self._take_first(upload, body), offset=True)

    def _created(self, upload: Upload, *, offset: bool = False) -> _Answer:
        headers = self._progress(upload)
        if not (offset or upload.is_complete):
            del headers["Upload-Offset"]
        return answer_with(201, {"Location": f"{self._here}/{upload.id}", **headers})

    # -- what comes

    async def append(self, upload_id: str) -> _Answer:
        asked = tus.read_append(self.headers)
        async with await self._hold_to_write(await self._name(upload_id)) as hold:
            upload = unexpired(hold.upload)
            if upload.is_complete:
                return await self._append_nothing(upload, asked)
            if upload.offset != asked.offset:
                raise _elsewhere(upload)
            length = tus.new_length(upload.length, asked, max_bytes=self._to.max_bytes)
            return answer_with(204, self._progress(await self._take(hold, Body(length, asked.checksum))))

    async def _append_nothing(self, upload: Upload, asked: Append) -> _Answer:
        """Answer a PATCH to a complete upload: whose answer was lost may ask once more."""
        if upload.concat is not None and not upload.is_partial:
            raise PermissionDeniedException("A final upload takes no bytes: it has those of its parts")
        await self._require_free(upload)
        if asked.offset != upload.offset or asked.announced != 0:
            raise _elsewhere(upload)
        return answer_with(204, self._progress(upload))

    # -- how far it is

    def _state(self, upload: Upload) -> _Answer:
        headers = tus.state_headers(
            offset=upload.offset, length=upload.length, metadata=upload.metadata, concat=upload.concat
        )
        return answer_with(200, {**headers, **self._progress(upload)})

    def _progress(self, upload: Upload) -> dict[str, str]:
        headers = super()._progress(upload)
        if not upload.is_complete:
            headers["Upload-Expires"] = tus.http_date(upload.expires_at)
        return headers

    # -- the end

    async def _join(self, asked: Creation, owner: str | None) -> Upload:
        """Store the contents of partial uploads as one file, and return its upload."""
        ids = tus.partial_ids(cast("str", asked.concat), self._routes.path)
        by_id = {each: await self._partial(UploadName(each, self._routes.path, owner)) for each in dict.fromkeys(ids)}
        partials = [by_id[each] for each in ids]
        length = sum(each.offset for each in partials)
        if length > self._to.max_bytes:
            raise tus.too_long(self._to.max_bytes)
        filename, declared = tus.upload_names(tus.parse_metadata(asked.metadata))
        source = _Joined(partials, self._to, self._files)
        body = cast("Arrivals", source)
        token = owner_of_new_objects.set(owner)
        try:
            async with aclosing(source):
                file = await self._files.store(
                    source, self._to.planned, filename=safe_filename(filename), declared_type=declared, arrivals=body
                )
        finally:
            owner_of_new_objects.reset(token)
        upload = await self._insert(
            Upload(
                id=secrets.token_hex(16),
                place=self._routes.path,
                owner=owner,
                opener=owner or "",
                backend=self._to.backend.key,
                length=length,
                metadata=asked.metadata,
                concat=asked.concat,
                offset=length,
                key=file.path,
                result=json.dumps(file.to_dict()),
            )
        )
        await self._files.hand_over(file)
        return upload

    async def _partial(self, name: UploadName) -> Upload:
        upload = await self._book.run(lambda c: self._book.uploads.find(c, name))
        is_usable = upload is not None and upload.is_partial and upload.is_complete and not upload.is_expired
        if upload is None or not is_usable or not await self._book.run(lambda c: self._book.uploads.is_free(c, upload)):
            raise TusError("Upload-Concat may only name partial uploads that are complete")
        return upload


class _Joined(LiveSource):
    """The contents of several uploads, one after the other. To what stores it, it is also the body of a request."""

    has_ended = False
    deadline = None

    def __init__(self, partials: Sequence[Upload], to: Destination, files: RequestFiles) -> None:
        self._blocks = _contents(partials, to)
        self._length = sum(each.offset for each in partials)
        self._backend = to.backend.key
        self._limits = files.settings.limits

    async def __anext__(self) -> Block:
        return await anext(self._blocks)

    def go_to(self, store: str) -> None:
        """Do nothing: no client sends anything that could take a slot."""

    @asynccontextmanager
    async def part_memory(self, buffers: PartBuffers | None, max_bytes: int) -> AsyncGenerator[int | None]:
        """Reserve the memory of a put; see `Arrivals.part_memory`."""
        if buffers is None:
            yield None
            return
        wanted = buffers.bytes_of(min(max_bytes, self._length), max_concurrency=1) + BLOCK_BYTES
        taken = await self._limits.part_budget.take(wanted, least=wanted, store=self._backend)
        try:
            yield 1
        finally:
            self._limits.part_budget.give(taken, store=self._backend)

    async def aclose(self) -> None:
        """Stop reading."""
        await self._blocks.aclose()


async def _contents(partials: Sequence[Upload], to: Destination) -> AsyncGenerator[Block]:
    for each in partials:
        if each.offset:
            async with aclosing(to.backend.get_async(cast("str", each.key))) as blocks:
                async for block in blocks:
                    yield block
