"""`FileDownload`: from the request to the answer. Nothing on its way out may change it."""

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
    PreconditionFailedException,
    RangeNotSatisfiableException,
    answer_request,
    content_headers,
    object_facts,
    protective_headers,
)
from litestar_filestore.downloads.delivery import Transfer, Wire, deliver, first_byte_within, redirect_url
from litestar_filestore.downloads.download_config import download_context
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
    from litestar_filestore.core.file_object import Disposition
    from litestar_filestore.downloads.download_config import Delivery, DownloadConfig

__all__ = (
    "FileDownload",
    "refuse_cache",
)


class FileDownload(File):
    """A stored file as a response, for ``@get`` and ``@head``.

    Answers 200, 206, 304, 412 and 416 as RFC 9110 says. The content is read when the response is sent, only as far as
    it was asked for, and never held as a whole. Active content is saved by browsers, not shown, whatever `disposition`
    says. Cookies are never part of it.
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
            disposition: ``"inline"`` to show it in place, if its type is among those that may be.
            filename: Name to save it under; ``None`` takes the file's.
            content_type: A verified type instead of the file's. Never one that a client chose.
            delivery: How the bytes travel; ``None`` as the application is configured.
            cache_control: Value of ``Cache-Control``; ``None`` as configured.
            headers: Further headers. They replace protective ones of the same name, and none that describe the content.
            background: Run after the response was sent.

        Raises:
            InvalidArgumentError: If the file was not saved yet.
        """
        if file.key is None:
            raise InvalidArgumentError(
                "This file is not stored yet: save() it before it is downloaded", backend=file.backend_key
            )
        # Not File's: its arguments are a path and a file system, and differ between versions of Litestar.
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
            key: Of the object.
            filename: Name to save it under; ``None`` takes the last segment of the key.
            content_type: Its verified type; ``None`` is ``application/octet-stream``: neither a key nor what a store
                was told says what the bytes are.
            options: As `FileDownload` takes them.
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
        """Return the ASGI application that sends the file. Status and cookies of the handler have no say."""
        del app, request
        return _ASGIFileDownload(self.wish, {**(headers or {}), **self.headers}, self.background or background)


# What only the answer itself can know. Cookies belong to a session, of which a copy of the file must not be a part.
_OURS = frozenset({"set-cookie", "content-encoding", "transfer-encoding", "content-length", "content-range"})


class _DownloadWish(NamedTuple):
    """A download as a handler wants it."""

    file: FileObject
    """A stored file."""
    disposition: Disposition
    """Whether to save or to show it."""
    filename: str
    """Name to save it under."""
    content_type: str | None
    """Verified type; ``None`` takes the file's."""
    delivery: Delivery | None
    """The way of the bytes; ``None`` takes the configuration's."""
    cache_control: str | None
    """Value of Cache-Control; ``None`` takes the configuration's."""


class _ASGIFileDownload(ASGIResponse):
    """Sends what a `_DownloadWish` describes."""

    __slots__ = ("extra_headers", "wish")

    def __init__(
        self,
        wish: _DownloadWish,
        extra_headers: Mapping[str, str],
        background: BackgroundTask | BackgroundTasks | None,
    ) -> None:
        """Answer as wished, with further headers of the application."""
        super().__init__(background=background, media_type=DEFAULT_CONTENT_TYPE)
        self.wish = wish
        self.extra_headers = {name.lower(): str(value) for name, value in extra_headers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            ObjectNotFoundError: If the object is missing, or behind a symbolic link; nothing was sent then.
            ObjectChangedError: If it is too short; the connection breaks if something was sent.
            ConfigurationError: If a middleware of the application would change the answer.
            BackendUnavailableError: If the store takes longer than `DownloadConfig.first_byte_seconds`.
        """
        context = download_context(scope)
        context.is_download = True
        try:
            await _let_sessions_go(scope)
            async with first_byte_within(self.wish.file, context.config.first_byte_seconds) as limit:
                await self._answer(Wire(scope, receive, send, limit), context.config)
        except RangeNotSatisfiableError as error:
            context.is_download = False
            raise _unsatisfiable(error) from error
        except InvalidKeyError as error:
            # A symbolic link in the store, or a key of a row that no object can have: not a mistake of the client's.
            context.is_download = False
            raise ObjectNotFoundError(
                error.detail, operation="get", backend=self.wish.file.backend_key, key=self.wish.file.key
            ) from error
        except BaseException:
            context.is_download = False  # what is sent now, if anything, is an error's answer
            raise
        await self.after_response()

    async def _answer(self, wire: Wire, config: DownloadConfig) -> None:
        _refuse_alterations(wire.scope)
        wish, method = self.wish, cast("str", wire.scope["method"])
        facts = await object_facts(wish.file, wish.content_type)
        content = content_headers(facts.content_type, wish.filename, wish.disposition, config)
        answer = answer_request(
            method,
            joined_headers(wire.scope["headers"]),
            facts,
            part_type=content["content-type"],
            max_ranges=config.max_ranges,
        )
        if answer.status_code == 412:  # noqa: PLR2004  # the status itself says it best
            raise PreconditionFailedException(
                detail="The file does not meet the conditions of the request: ask for it without them"
            )
        if answer.status_code == 304:  # noqa: PLR2004
            await wire.send_nothing(304, {**self._kept(config), **answer.headers})
            return
        headers = {
            **protective_headers(facts.content_type, wish.disposition, config),
            **self._kept(config),
            **content,
            **answer.headers,
        }
        if method == "HEAD" or not answer.ranges:
            await wire.send_nothing(answer.status_code, headers)
            return
        delivery = wish.delivery or config.delivery
        if delivery == "redirect":
            await wire.send_nothing(302, await self._redirect_headers(content, config))
            return
        await deliver(Transfer(wish.file, facts, answer, delivery, config), headers, wire)

    def _kept(self, config: DownloadConfig) -> dict[str, str]:
        """Return the headers that the application has a say in."""
        own = {**{name.lower(): value for name, value in config.headers.items()}, **self.extra_headers}
        return {
            "cache-control": self.wish.cache_control or config.cache_control,
            **{name: value for name, value in own.items() if name not in _OURS},
        }

    async def _redirect_headers(self, content: dict[str, str], config: DownloadConfig) -> dict[str, str]:
        url = await redirect_url(self.wish.file, content, config)
        return {
            **self._kept(config),
            "location": url,
            # Half its life: who follows a remembered redirect still has time to read.
            "cache-control": f"private, max-age={config.redirect_seconds // 2}",
            "referrer-policy": "no-referrer",
            "content-length": "0",
        }


def _unsatisfiable(error: RangeNotSatisfiableError) -> RangeNotSatisfiableException:
    headers = {"Content-Range": f"bytes */{error.size}", "Accept-Ranges": "bytes"}  # RFC 9110 section 14.4
    return RangeNotSatisfiableException(
        detail="The range lies outside the file: ask for bytes within it", headers=headers
    )


def refuse_cache(handler: Any) -> None:
    """Refuse the response cache on a handler of files.

    Its key knows nothing of ranges: it would give the two bytes that one client asked for to the next, who wants all.

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

    Start-up excludes every handler whose annotation shows that it returns files. One annotated ``Response`` does not.

    Raises:
        ConfigurationError: If the handler is cached, or the compression middleware is around it.
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
"""Where Advanced Alchemy keeps the sessions of a connection, by names that its configuration chooses."""


async def _let_sessions_go(scope: Scope) -> None:
    """Close the sessions of a request that have only read, so that nobody waits for their connections meanwhile.

    Advanced Alchemy does the same when the answer begins. An answer that is a file begins with the first block that the
    store gives. A session that has written something stays: its extension may commit it, by the status of the answer.
    """
    kept = cast("dict[str, Any]", scope).get(_ADVANCED_ALCHEMY)
    for session in tuple(cast("dict[str, Any]", kept).values()) if isinstance(kept, dict) else ():
        if isinstance(session, AsyncSession) and has_only_read(session.sync_session):
            await session.close()
        elif isinstance(session, Session) and has_only_read(session):
            await run_blocking(session.close)
