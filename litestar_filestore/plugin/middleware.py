"""The middleware: owns the files of each request, provides their URLs to encoders, and guards answers with files."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType

from litestar_filestore.core.file_object import Answering, answering
from litestar_filestore.core.threads import finish
from litestar_filestore.downloads.answer import AnswerHeaders, download_context
from litestar_filestore.downloads.handling import guard_answer
from litestar_filestore.errors import BackendNotRegisteredError, ConfigurationError
from litestar_filestore.ledger.intents import leases_renewed
from litestar_filestore.links.urls import signer_here
from litestar_filestore.uploads.arrivals import LEFT_BODY
from litestar_filestore.uploads.intake import RequestFiles
from litestar_filestore.uploads.plan import UploadForm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from litestar import Litestar
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.downloads.download_config import DownloadConfig
    from litestar_filestore.links.signer import LinkSigner
    from litestar_filestore.plugin.config import URLBuilder
    from litestar_filestore.uploads.intake import UploadSettings
    from litestar_filestore.uploads.plan import PlannedFile
    from litestar_filestore.uploads.storing import ApplicationStorer

__all__ = (
    "FilestoreMiddleware",
    "check_backends",
    "check_uploads",
)


logger = logging.getLogger("litestar_filestore")

_STUCK_SECONDS = 0.1
"""After this time an answer to a body that was not read counts as stuck."""
_RELEASE_SECONDS = 10.0
"""How long the end of a request waits for a store or a database that does not answer."""


class FilestoreMiddleware:
    """Wraps all other middleware, in one frame: every step of a request passes it again.

    Owns the files of each request until rows take them or the handler keeps them. This is a middleware because nothing
    else sees the end of every request: the hooks of handlers and responses are not called if an error reaches the
    server or the client has gone.

    Makes the application's links and its URL builder known while a connection is being answered. Encoders get only a
    value, so they are passed in a context variable. It is set even without a builder: an application mounted in another
    one must not show the other's URLs.

    Guards answers that turn out to be files; see `guard_answer`.
    """

    def __init__(
        self,
        storer: ApplicationStorer,
        settings: UploadSettings,
        downloads: DownloadConfig,
        *,
        build: URLBuilder | None = None,
        links: LinkSigner | None = None,
        expected: Sequence[StorageBackend] = (),
        new_files: type[RequestFiles] = RequestFiles,
    ) -> None:
        """Prepare for all connections.

        Args:
            storer: Stores files, and gives them up.
            settings: The application's settings for uploads.
            downloads: The application's settings for downloads.
            build: Makes the `url` of files in answers; ``None`` lets `links` make it.
            links: Makes everything else that is a link; ``None`` for no links.
            expected: The backends that the start of the application registers.
            new_files: What owns the files of a request.
        """
        self._storer = storer
        self._settings = settings
        self._headers = AnswerHeaders(downloads)
        self._build = build
        self._links = links
        self._expected = expected
        self._new_files = new_files

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app`."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await self._answer_other(app, scope, receive, send)
                return
            if not self._storer.has_started:
                self._check_start()
            files = self._new_files(self._storer, self._settings)
            files.attach(scope)
            context = download_context(scope, self._headers)
            status = 0

            async def sending(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    if context.is_download:
                        guard_answer(message)
                if LEFT_BODY in scope:
                    await _send_past_body(receive, send, message)
                else:
                    await send(message)

            token = answering.set(Answering(files, *self._links_in(scope)))
            try:
                async with leases_renewed():
                    await app(scope, receive, sending)
            finally:
                answering.reset(token)
                if count := len(files):
                    await _give_up(files, count, scope, status)

        return answer

    def _check_start(self) -> None:
        """Make sure that the backends are registered although nobody has started the application.

        Raises:
            ConfigurationError: If one is not.
        """
        registry = self._settings.registry
        if any(each.key not in registry for each in self._expected):
            raise ConfigurationError(
                "The application was not started, so its backends are not open. Daphne sends no ASGI lifespan events: "
                "use another server, such as uvicorn, granian or hypercorn. In a test, write "
                "'with TestClient(app) as client'"
            )
        self._storer.has_started = True

    async def _answer_other(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        here = answering.get()
        token = answering.set(Answering(None if here is None else here.keeper, *self._links_in(scope)))
        try:
            await app(scope, receive, send)
        finally:
            answering.reset(token)

    def _links_in(self, scope: Scope) -> tuple[LinkSigner | None, Callable[[FileObject], str | None] | None]:
        if self._links is not None:
            # That of the last request is kept: all requests have the same prefix, unless the application is mounted
            # twice.
            self._links = signer_here(self._links, scope)
        if self._build is not None:
            made: list[ASGIConnection[Any, Any, Any, Any]] = []
            return self._links, partial(_url_of, self._build, scope, made)
        return self._links, None if self._links is None else self._links.link_of


def _url_of(
    build: URLBuilder, scope: Scope, made: list[ASGIConnection[Any, Any, Any, Any]], file: FileObject
) -> str | None:
    """Return the URL of a file for one connection, which is wrapped when the first file needs it."""
    if not made:
        made.append(ASGIConnection(scope))
    return build(file, made[0])


async def _send_past_body(receive: Receive, send: Send, message: Message) -> None:
    """Send, and drop what comes of a body that nobody reads any more if the server does not get on without that.

    Hypercorn (0.18) puts what it reads into a queue of ten. When the answer ends it puts one thing more there, and if
    the queue is full waits for the application to take something out, from within `send`: the client would hang.
    """
    sending = asyncio.ensure_future(send(message))
    try:
        await asyncio.wait({sending}, timeout=_STUCK_SECONDS)
        while not sending.done():
            taking = asyncio.ensure_future(receive())
            try:
                await asyncio.wait({sending, taking}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                taking.cancel()
    finally:
        sending.cancel()
    await sending


async def _give_up(files: RequestFiles, count: int, scope: Scope, status: int) -> None:
    try:
        # The usual request ends here: its rows are committed, so there is nothing to ask the ledger about.
        if files.let_go_of_taken():
            await finish(_release(files, count, scope, status), seconds=_RELEASE_SECONDS)
    except TimeoutError:
        # The answer is sent, but servers wait for this to end before they shut down.
        logger.warning(
            "%d uploaded files could not be given up within %g s; what no row has taken is left to its lease",
            len(files),
            _RELEASE_SECONDS,
        )


async def _release(files: RequestFiles, count: int, scope: Scope, status: int) -> None:
    given_up = await files.release()
    if given_up and 200 <= status < 300:  # noqa: PLR2004  # RFC 9110 §15.3: successful
        logger.warning(
            "%s answered %d, but %d of %d uploaded files went into no row and are deleted: assign them to a row, "
            "add it to the session, flush and commit, or call 'await storages.keep(file)'",
            cast("dict[str, Any]", scope).get("route_handler"),
            status,
            given_up,
            count,
        )


def check_uploads(app: Litestar, storer: ApplicationStorer, backends: Sequence[StorageBackend]) -> None:
    """Make sure that, for every form of an application, only one ledger can take its files.

    Raises:
        ConfigurationError: If several can.
    """
    for _, planned in _planned_files(app):
        backend = planned.backend or next((each.key for each in backends), None)
        if backend is not None:
            storer.storer_for(planned.model, backend)


def check_backends(app: Litestar, registry: StorageRegistry) -> None:
    """Make sure that every form of an application stores in a backend that there is.

    Raises:
        BackendNotRegisteredError: If one does not; uploads would find it otherwise.
    """
    for handler, planned in _planned_files(app):
        if planned.backend is not None and planned.backend not in registry:
            raise BackendNotRegisteredError(
                f"The field {planned.name!r} of {handler} stores in a backend that is not configured: add it to "
                "FilestoreConfig(backends=[...]), or correct the name in StoredObject(backend=...) or FileField. "
                f"Configured are: {', '.join(map(repr, registry)) or 'none'}",
                operation="start",
                backend=planned.backend,
            )


def _planned_files(app: Litestar) -> Iterator[tuple[Any, PlannedFile]]:
    for route in app.routes:
        for handler in cast("Sequence[Any]", getattr(route, "route_handlers", ())):
            for form in handler.opt.values():
                if isinstance(form, UploadForm):
                    yield from ((handler, planned) for planned in form.files)
