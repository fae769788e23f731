"""Answers a request with a file, and lets nothing change the answer on its way out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from litestar.response import File, Response
from litestar.response.base import ASGIResponse
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.downloads.answer import (
    DownloadAnswer,
    ObjectFacts,
    PreconditionFailedException,
    RangeNotSatisfiableException,
    answer_request,
    download_context,
    known_facts,
)
from litestar_filestore.downloads.delivery import (
    Transfer,
    Wire,
    deliver,
    first_byte_within,
    is_sent_from_here,
    redirect_url,
)
from litestar_filestore.errors import (
    ConfigurationError,
    InvalidArgumentError,
    InvalidKeyError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
)
from litestar_filestore.sansio.active_types import DEFAULT_CONTENT_TYPE
from litestar_filestore.sansio.conditional import joined_headers
from litestar_filestore.sansio.disposition import safe_filename
from litestar_filestore.tracking.idle import has_only_read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from litestar import Request
    from litestar.background_tasks import BackgroundTask, BackgroundTasks
    from litestar.types import Receive, Scope, Send

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.driver import ObjectVersion
    from litestar_filestore.core.file_object import Disposition
    from litestar_filestore.core.types import ObjectInfo
    from litestar_filestore.downloads.answer import AnswerHeaders
    from litestar_filestore.downloads.download_config import Delivery

__all__ = (
    "FileDownload",
    "refuse_cache",
)


class FileDownload(File):
    """A stored file as a response, for ``@get`` and ``@head``.

    Answers 200, 206, 304, 412 and 416 according to RFC 9110. The content is read when the response is sent, only the
    requested parts, and never held as a whole. Browsers save active content and do not show it, whatever `disposition`
    says. The answer never carries cookies.
    """

    def __init__(
        self,
        file: FileObject,
        *,
        disposition: Disposition = "attachment",
        filename: str | None = None,
        content_type: str | None = None,
        delivery: Delivery | None = None,
        cache_control: str | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> None:
        """Answer with `file`; nothing is read or looked up yet.

        Args:
            file: A stored file.
            disposition: ``"inline"`` to show it in the browser, if its type may be shown.
            filename: Name to save it under; ``None`` takes the file's own.
            content_type: A verified type instead of the file's. Never pass one that a client chose.
            delivery: How the bytes reach the client; ``None`` for the application's configuration.
            cache_control: Value of ``Cache-Control``; ``None`` for the application's configuration.
            headers: Further headers. They replace protective headers of the same name, but none that describe the
                content.
            background: Runs after the response has been sent.

        Raises:
            InvalidArgumentError: If the file was not saved yet.
        """
        if file.key is None:
            raise InvalidArgumentError(
                "This file is not stored yet: save() it before it is downloaded", backend=file.backend_key
            )
        # Not the constructor of `File`: it takes a path and a file system, and differs between versions of Litestar.
        cast("Any", Response).__init__(self, None, background=background, headers=dict(headers or {}))
        self.wish = _DownloadWish(
            file=file,
            disposition=disposition,
            filename=filename if filename is not None else file.filename,
            content_type=content_type,
            delivery=delivery,
            cache_control=cache_control,
        )

    @classmethod
    def of(
        cls,
        backend: StorageBackend | str,
        key: str,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        **options: Any,
    ) -> Self:
        """Answer with an object that no row knows. It is looked up once for each response.

        Args:
            backend: A backend or its key.
            key: Key of the object.
            filename: Name to save it under; ``None`` takes the last segment of the key.
            content_type: Its verified type; ``None`` is ``application/octet-stream``, because neither the key nor the
                type in the store proves what the bytes are.
            options: The other options of `FileDownload`.
        """
        name = safe_filename(filename if filename is not None else key)
        file = FileObject(backend, name, key, content_type=content_type or DEFAULT_CONTENT_TYPE)
        return cls(file, **options)

    def to_asgi_response(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # Litestar 3 has no `app`
        self,
        app: Any = None,
        request: Request[Any, Any, Any] | None = None,
        *,
        background: BackgroundTask | BackgroundTasks | None = None,
        headers: dict[str, str] | None = None,
        **_: Any,
    ) -> _ASGIFileDownload:
        """Return the ASGI application that sends the file. It ignores the handler's status and cookies."""
        del app, request
        return _ASGIFileDownload(self.wish, {**(headers or {}), **self.headers}, self.background or background)


class _DownloadWish(NamedTuple):
    """The download that a handler asks for."""

    file: FileObject
    """A stored file."""
    disposition: Disposition
    """Whether to save or to show it."""
    filename: str
    """Name to save it under."""
    content_type: str | None
    """Verified type; ``None`` takes the file's."""
    delivery: Delivery | None
    """How the bytes reach the client; ``None`` takes the configuration's."""
    cache_control: str | None
    """Value of Cache-Control; ``None`` takes the configuration's."""


class _Plan(NamedTuple):
    """The answer to a request, as far as it is known before the object is read."""

    answer: DownloadAnswer
    """Status and parts."""
    facts: ObjectFacts
    """What it was made from."""
    headers: dict[str, str]
    """All headers."""
    has_body: bool
    """Whether bytes of the object follow."""


class _ASGIFileDownload(ASGIResponse):
    """Sends what a `_DownloadWish` describes."""

    __slots__ = ("extra_headers", "wish")

    def __init__(
        self,
        wish: _DownloadWish,
        extra_headers: Mapping[str, str],
        background: BackgroundTask | BackgroundTasks | None,
    ) -> None:
        """Answer according to the wish, with further headers of the application."""
        super().__init__(background=background, is_head_response=True)  # so that it works out no headers of its own
        self.wish = wish
        self.extra_headers = extra_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            ObjectNotFoundError: If the object is missing, or behind a symbolic link; nothing has been sent then.
            ObjectChangedError: If it is too short; the connection breaks if something was sent.
            ConfigurationError: If a middleware of the application would change the answer.
            BackendUnavailableError: If the store takes longer than `DownloadConfig.first_byte_seconds`.
        """
        context = download_context(scope)
        context.is_download = True
        slots: dict[str, Any] = scope  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        wire = Wire(slots, receive, send)
        try:
            _refuse_alterations(slots)
            if not await self._answer_at_once(wire, context.headers):
                await self._answer_from_store(wire, context.headers)
        except RangeNotSatisfiableError as error:
            context.is_download = False
            raise _unsatisfiable(error) from error
        except InvalidKeyError as error:
            # A symbolic link in the store, or a key in the row that no object can have: not the client's mistake.
            context.is_download = False
            raise ObjectNotFoundError(
                error.detail, operation="get", backend=self.wish.file.backend_key, key=self.wish.file.key
            ) from error
        except BaseException:
            context.is_download = False  # what is sent now, if anything, is the answer to an error
            raise
        if self.background is not None:
            await self.after_response()

    async def _answer_at_once(self, wire: Wire, table: AnswerHeaders) -> bool:
        """Answer with what the row and the memory of this machine hold, and return whether that was possible.

        Such an answer takes no thread, no timer, and no session away from the request: nothing is waited for.
        """
        file = self.wish.file
        version: ObjectVersion | None = None
        try:
            if (facts := known_facts(file, self.wish.content_type)) is None:
                if (version := file.backend.version_at_hand(file.path)) is None:
                    return False
                facts = self._described(version.info)
            plan = self._plan(wire.scope, facts, table)
            answer = plan.answer
            if not plan.has_body:
                await wire.send_nothing(answer.status_code, plan.headers)
                return True
            delivery = self.wish.delivery or table.config.delivery
            if answer.frame is not None or not is_sent_from_here(
                delivery, table.config, has_pathsend=wire.has_pathsend
            ):
                return False
            if version is None and (version := file.backend.version_at_hand(file.path)) is None:
                return False
            part = answer.ranges[0]
            if not (body := version.read_at_hand(part.start, part.end)):
                return False
            await wire.send_whole(answer.status_code, plan.headers, body)
            return True
        finally:
            if version is not None:
                version.close()

    async def _answer_from_store(self, wire: Wire, table: AnswerHeaders) -> None:
        await _let_sessions_go(wire.scope)
        wish, file = self.wish, self.wish.file
        version: ObjectVersion | None = None
        try:
            async with first_byte_within(file, table.config.first_byte_seconds) as wire.limit:
                if (facts := known_facts(file, wish.content_type)) is None:
                    version = await file.backend.open_version_async(file.path, 0, _end_wanted(wire.scope))
                    facts = self._described(await file.head_async() if version is None else version.info)
                plan = self._plan(wire.scope, facts, table)
                delivery = wish.delivery or table.config.delivery
                if not plan.has_body:
                    await wire.send_nothing(plan.answer.status_code, plan.headers)
                elif delivery == "redirect":
                    await wire.send_nothing(302, await self._redirect_headers(facts, table))
                else:
                    transfer = Transfer(file, facts, plan.answer, delivery, table.config, version)
                    await deliver(transfer, plan.headers, wire)
        finally:
            if version is not None:
                version.close()

    def _described(self, info: ObjectInfo) -> ObjectFacts:
        return cast("ObjectFacts", known_facts(self.wish.file, self.wish.content_type, info))

    def _plan(self, scope: dict[str, Any], facts: ObjectFacts, table: AnswerHeaders) -> _Plan:
        """Decide the answer.

        Raises:
            PreconditionFailedException: If the file does not meet the conditions of the request.
            RangeNotSatisfiableError: If no range begins within it.
        """
        wish, method = self.wish, scope["method"]
        described = facts.content_type, wish.filename, wish.disposition
        answer = answer_request(
            method,
            joined_headers(scope["headers"]),
            facts,
            part_type=table.content(*described)["content-type"],
            max_ranges=table.config.max_ranges,
        )
        if answer.status_code == 412:  # noqa: PLR2004  # the status itself says it best
            raise PreconditionFailedException(
                detail="The file does not meet the conditions of the request: ask for it without them"
            )
        kept = table.kept(wish.cache_control, self.extra_headers)
        if answer.status_code == 304:  # noqa: PLR2004
            return _Plan(answer, facts, {**kept, **answer.headers}, has_body=False)
        headers = {**table.whole(*described, kept), **answer.headers}
        return _Plan(answer, facts, headers, has_body=method != "HEAD" and bool(answer.ranges))

    async def _redirect_headers(self, facts: ObjectFacts, table: AnswerHeaders) -> dict[str, str]:
        wish, config = self.wish, table.config
        content = table.content(facts.content_type, wish.filename, wish.disposition)
        return {
            **table.kept(wish.cache_control, self.extra_headers),
            "location": await redirect_url(wish.file, content, config),
            # Half its life, so that a client that follows a cached redirect still has time to read.
            "cache-control": f"private, max-age={config.redirect_seconds // 2}",
            "referrer-policy": "no-referrer",
            "content-length": "0",
        }


# Requests with one of these may end without a body, or in the middle of the object.
_ASKING = frozenset({b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})


def _end_wanted(scope: dict[str, Any]) -> int | None:
    """Return ``None`` if a request surely wants the whole object, 0 if its answer depends on what the object is."""
    is_whole = scope["method"] == "GET" and _ASKING.isdisjoint([name.lower() for name, _ in scope["headers"]])
    return None if is_whole else 0


def _unsatisfiable(error: RangeNotSatisfiableError) -> RangeNotSatisfiableException:
    headers = {"Content-Range": f"bytes */{error.size}", "Accept-Ranges": "bytes"}  # RFC 9110 section 14.4
    return RangeNotSatisfiableException(
        detail="The range lies outside the file: ask for bytes within it", headers=headers
    )


def refuse_cache(handler: Any) -> None:
    """Refuse the response cache on a handler of files.

    Its key ignores ranges: after one client has asked for two bytes, the next one would get these two instead of the
    whole file.

    Raises:
        ConfigurationError: If the handler is cached.
    """
    if handler.cache is not False:
        raise ConfigurationError(
            f"{handler}: remove cache= from this handler. Litestar would answer every request with the range that was "
            "asked for first; caching by clients is set with FileDownload(cache_control=)"
        )


def _refuse_alterations(scope: dict[str, Any]) -> None:
    """Refuse a download that Litestar's middleware would change.

    At start-up, every handler whose annotation shows that it returns files is excluded. The annotation ``Response``
    does not show it.

    Raises:
        ConfigurationError: If the handler is cached, or the compression middleware wraps it.
    """
    handler, app = scope.get("route_handler"), scope.get("litestar_app") or scope.get("app")
    if handler is None:  # not called by Litestar's router
        return
    if hasattr(handler, "cache"):
        refuse_cache(handler)
    compression = getattr(app, "compression_config", None)
    if compression is not None and not _is_excluded(compression, handler, scope):
        raise ConfigurationError(
            f"{handler}: annotate the handler with FileDownload, so that compression leaves it alone: ranges "
            "cannot be compressed"
        )


def _is_excluded(compression: Any, handler: Any, scope: dict[str, Any]) -> bool:
    if compression.exclude_opt_key and handler.opt.get(compression.exclude_opt_key):
        return True
    patterns = [compression.exclude] if isinstance(compression.exclude, str) else (compression.exclude or [])
    return bool(patterns) and re.search("|".join(patterns), scope["path"]) is not None


_ADVANCED_ALCHEMY = "_aa_connection_state"
"""Where Advanced Alchemy keeps the sessions of a connection, under names from its configuration."""


async def _let_sessions_go(scope: dict[str, Any]) -> None:
    """Close the sessions of a request that have only read, so that other requests need not wait for their connections.

    Advanced Alchemy does the same when the answer begins. A file's answer begins only with the first block from the
    store. A session that has written something stays: Advanced Alchemy may commit it, depending on the status of the
    answer.
    """
    kept = scope.get(_ADVANCED_ALCHEMY)
    for session in tuple(cast("dict[str, Any]", kept).values()) if isinstance(kept, dict) else ():
        if isinstance(session, AsyncSession) and has_only_read(session.sync_session):
            await session.close()
        elif isinstance(session, Session) and has_only_read(session):
            await run_blocking(session.close)
