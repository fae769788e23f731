"""Configures the plugin, and keeps the backends registered and open while the application runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from weakref import WeakKeyDictionary

from litestar import Litestar
from litestar.connection import ASGIConnection

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import StorageRegistry, storages
from litestar_filestore.core.rule import Rule, checked_rules
from litestar_filestore.core.threads import within
from litestar_filestore.core.watching import Watcher
from litestar_filestore.downloads.download_config import DownloadConfig
from litestar_filestore.errors import BackendUnavailableError, ConfigurationError, StorageError, StorageFullError
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.links.link_config import LinkConfig
from litestar_filestore.links.signer import LinkSigner
from litestar_filestore.plugin.look_again import LONGEST_PAUSE_SECONDS, look_again
from litestar_filestore.sansio.tokens import KeyRing, Secret
from litestar_filestore.tracking.deletes import retry_deletes, retry_deletes_async
from litestar_filestore.uploads.limits import UploadLimits
from litestar_filestore.validation.detect import Detector

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = (
    "FilestoreConfig",
    "Opened",
    "URLBuilder",
    "open_backends",
)

logger = logging.getLogger("litestar_filestore")

URLBuilder: TypeAlias = Callable[[FileObject, ASGIConnection[Any, Any, Any, Any]], str | None]
"""Returns the URL at which a client downloads a file, ``None`` for no URL."""

# Names that Litestar itself passes to handlers; a dependency of that name would never arrive.
_RESERVED = frozenset({"body", "cookies", "data", "headers", "query", "request", "scope", "socket", "state"})


@dataclass
class FilestoreConfig:
    """Configuration of `FilestorePlugin`.

    Nothing is registered, opened or contacted before the application starts: an application that is only built never
    ends, so this could not be undone, and a second application, for instance in a test, would take over the first one's
    files. Scripts and commands have no lifespan; they use `opened`.
    """

    backends: Sequence[StorageBackend] = ()
    """Backends that are registered while the application runs; started in this order, closed in reverse."""
    registry: StorageRegistry = storages
    """The registry in which they are registered. Columns, and files that name their backend by key, use only
    `storages`."""
    registry_dependency_key: str = "storages"
    """Name of the dependency that provides the registry."""
    parts_dependency_key: str = "parts"
    """Name of the dependency that provides the parts of a form while it arrives."""
    raw_upload_dependency_key: str = "raw_upload"
    """Name of the dependency that provides a body that consists of one file."""
    registry_state_key: str = "filestore_registry"
    """Name of the registry in ``app.state``."""
    url_builder: URLBuilder | None = None
    """Makes the `url` of a file in responses, from the file and the current connection. It is called on the event loop
    for every file, so it must not block. With ``None``, responses show the application's own links if there is a
    `secret`, and an empty `url` otherwise."""
    secret: Secret | Sequence[Secret] | None = field(default=None, repr=False)
    """Signs links and references: at least 32 random bytes that nobody else knows, the same in all processes. If there
    are several, the first one signs and all are accepted; leave one out to retire it. ``None`` for an application
    without links. Do not use a secret that serves another purpose as well."""
    links: LinkConfig | None = None
    """Form and lifetime of links. Needs a `secret`; with one, ``None`` means `LinkConfig()`."""
    downloads: DownloadConfig = field(default_factory=DownloadConfig)
    """Defaults of `FileDownload`, and the server in front that sends bytes."""
    limits: UploadLimits = field(default_factory=UploadLimits)
    """Limits of uploads: size, speed and number."""
    rules: Sequence[Rule] = ()
    """Rules for every uploaded file. A rule of the form field or column replaces a rule of the same class here."""
    detector: Detector | None = None
    """Detects the types of uploaded files; ``None`` for `SignatureDetector`."""
    ledger: LedgerConfig | None = field(default_factory=LedgerConfig)
    """The ledger, which looks after the objects of rows. With ``None``, no sweeper starts and no table is checked; the
    transactions of rows still use the ledger if the models' metadata has its table."""
    upload_element_path: str | None = "/filestore-upload"
    """Path below which the script of ``<filestore-upload>`` is served; nothing else may be there. ``None`` for an
    application that serves no such pages."""
    watchers: Sequence[Watcher] = ()
    """Called with every event of `litestar_filestore.events`, for metrics and logs; must not block. With none, nothing
    is measured. Listeners of Litestar for ``filestore.linked`` and ``filestore.doomed`` need no watcher."""
    set_default_exception_handlers: bool = True
    """Whether errors of this package become HTTP errors; see `litestar_filestore.plugin.statuses`. Exception handlers
    of the application always come first."""
    signer: LinkSigner | None = field(init=False, repr=False, default=None)
    """Makes the application's links; ``None`` without a secret."""

    def __post_init__(self) -> None:
        """Check the values that can be checked without contacting anything.

        Raises:
            ConfigurationError: If a field cannot work. It is a ``ValueError`` as well.
        """
        self.backends = _check_backends(self.backends)
        self.rules = checked_rules(self.rules, "FilestoreConfig")
        for name in ("registry_dependency_key", "parts_dependency_key", "raw_upload_dependency_key"):
            key: str = getattr(self, name)
            if not key.isidentifier() or key in _RESERVED:
                raise ConfigurationError(f"{name} must be a name that an argument of a handler can have, not {key!r}")
        if not self.registry_state_key:
            raise ConfigurationError("registry_state_key must not be empty: give it a name, or leave it out")
        self.signer = self._make_signer()

    def _make_signer(self) -> LinkSigner | None:
        if self.secret is None:
            if self.links is not None:
                raise ConfigurationError("links=... needs secret=..., which signs the links: give both")
            return None
        ring = KeyRing(self.secret)
        self.links = self.links or LinkConfig()
        return LinkSigner(ring, self.links, self.registry, downloads=self.downloads)

    @property
    def known_backends(self) -> tuple[StorageBackend, ...]:
        """The `backends`, and after them those that the program has registered by hand, as with Advanced Alchemy."""
        known: dict[str, StorageBackend] = {}
        for backend in (*self.backends, *self.registry.all()):
            known.setdefault(backend.key, backend)
        return tuple(known.values())

    def provide_registry(self) -> StorageRegistry:
        """Return the registry; the dependency under `registry_dependency_key`."""
        return self.registry

    def opened(self) -> Opened:
        """Return a context in which the backends are registered and open, for scripts, commands and tests.

        Enter it with ``async with``, or with ``with`` where no event loop runs. You can make links in it as well. The
        lifespan enters and leaves the same context. Several may be open at the same time, also while the application
        runs.

        Raises:
            ConfigurationError: If another running application has a different backend under one of the keys.
            StorageError: If a backend cannot be started; the backends that were started are closed again.
        """
        return Opened(self._opened_here(), self._opened(self.signer, serves=False))

    @contextmanager
    def _opened_here(self) -> Generator[None]:
        with ExitStack() as stack:
            for backend in self.backends:
                _hold(self.registry, backend)
                stack.callback(_release, self.registry, backend)
                backend.start()
                stack.callback(backend.close)
            stack.callback(retry_deletes)
            if self.signer is not None:
                stack.enter_context(self.registry.linking(self.signer))
            yield

    @asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncGenerator[None]:
        """Like `opened`, as a lifespan for Litestar: a store that is away does not keep the application from starting.

        The outage is logged, and the store is tried again. Meanwhile, requests that need it are answered 503. Links
        that are made lead to the application.
        """
        async with self._opened(self.signer and self.signer.placed("", app.path), serves=True):
            yield

    @asynccontextmanager
    async def _opened(self, links: LinkSigner | None, *, serves: bool) -> AsyncGenerator[None]:
        async with open_backends(self.registry, self.backends, serves=serves):
            with self.registry.linking(links) if links is not None else nullcontext():
                yield


class Opened:
    """What `FilestoreConfig.opened` returns: a context for ``with`` or for ``async with``, to be entered once."""

    def __init__(
        self, synchronous: AbstractContextManager[None], asynchronous: AbstractAsyncContextManager[None]
    ) -> None:
        """Join the two forms of one context."""
        self._synchronous = synchronous
        self._asynchronous = asynchronous

    def __enter__(self) -> None:
        """Open the backends."""
        self._synchronous.__enter__()

    def __exit__(self, *error: object) -> bool | None:
        """Close them."""
        return self._synchronous.__exit__(*cast("Any", error))

    async def __aenter__(self) -> None:
        """Open the backends without blocking the event loop."""
        await self._asynchronous.__aenter__()

    async def __aexit__(self, *error: object) -> bool | None:
        """Close them without blocking the event loop."""
        return await self._asynchronous.__aexit__(*cast("Any", error))


def _check_backends(backends: object) -> tuple[StorageBackend, ...]:
    if isinstance(backends, (StorageBackend, str)) or not isinstance(backends, Sequence):
        raise ConfigurationError("backends must be a list of backends, even for one: write backends=[...]")
    checked: dict[str, StorageBackend] = {}
    for backend in cast("Sequence[object]", backends):
        if not isinstance(backend, StorageBackend):
            raise ConfigurationError(
                f"backends holds {type(backend).__name__}, which is not a StorageBackend: give one such as "
                "MemoryBackend(...)"
            )
        if checked.setdefault(backend.key, backend) is not backend:
            raise ConfigurationError("Two backends have this key: give one of them another", backend=backend.key)
    return tuple(checked.values())


_START_SECONDS = 5.0
"""How long the start of an application waits for a store that does not answer."""
_END_SECONDS = 5.0
"""How long the end of an application waits for all stores together."""
_LEAST_SECONDS = 0.5
"""The part of that time that is always left for a store whose turn comes late."""
_OUTAGES = (BackendUnavailableError, StorageFullError)


@dataclass
class _Holding:
    """One key of a registry while running applications use it."""

    backend: StorageBackend
    previous: StorageBackend | None
    holders: int = 0


_holdings: WeakKeyDictionary[StorageRegistry, dict[str, _Holding]] = WeakKeyDictionary()


@asynccontextmanager
async def open_backends(
    registry: StorageRegistry, backends: Sequence[StorageBackend], *, serves: bool = False
) -> AsyncGenerator[None]:
    """Register and start backends in order; on exit, close them in reverse and restore the registry.

    Several applications of one process may use the same backend object at the same time. Two different backends under
    one key are refused: columns look up a backend by its key, so the files of one application would go to the other's
    backend.

    Args:
        registry: The registry to register them in.
        backends: The backends.
        serves: Whether an application runs meanwhile, which can do without a store for a while. Then a store that is
            away, or does not answer within some seconds, is logged and tried again. A mistake in the set-up is an error
            in any case.

    Raises:
        ConfigurationError: If another running application has registered a different backend under one of the keys.
        StorageError: If a backend cannot be started; the backends that were started are closed again.
        ExceptionGroup: If closing fails more than once, or in addition to an error of the body. Every backend is
            closed.
    """
    failures: list[Exception] = []
    end = _End()
    # A stack, so that a cancelled close does not keep the others from being closed.
    async with AsyncExitStack() as stack:
        try:
            for backend in backends:
                _hold(registry, backend)
                stack.callback(_release, registry, backend)
                looking = await _start(backend, serves=serves)
                stack.push_async_callback(_close, backend, failures, end)
                if looking is not None:
                    stack.push_async_callback(_stop, looking, end)
            stack.push_async_callback(_retry_deletes, end)
            yield
        except Exception as error:  # noqa: BLE001  # raised below, together with what closing adds
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("Storage backends failed", failures)


async def _start(backend: StorageBackend, *, serves: bool) -> asyncio.Task[None] | None:
    """Start a backend. If its store is away and an application runs, return the object that tries it again."""
    if not serves:
        await backend.start_async()
        return None
    try:
        await _start_soon(backend)
    except _OUTAGES as error:
        logger.warning(
            "The store of %r is away. The application starts without it and looks again; until then requests that need "
            "it are answered 503: %s",
            backend.key,
            error,
        )
        return asyncio.create_task(look_again(_Look(backend), asyncio.Event()), name="litestar-filestore store")
    return None


async def _start_soon(backend: StorageBackend) -> None:
    try:
        await within(_START_SECONDS, backend.start_async())
    except TimeoutError as error:
        raise BackendUnavailableError(
            f"The store did not answer within {_START_SECONDS:g} s; try again later",
            operation="start",
            backend=backend.key,
        ) from error


class _Look:
    """Checks whether a store that was away is back."""

    def __init__(self, backend: StorageBackend) -> None:
        self._backend = backend
        self._said = ""

    async def __call__(self) -> float:
        """Check once, and return the longest pause before the next check; 0 if the store is back."""
        try:
            await _start_soon(self._backend)
        except _OUTAGES as error:
            logger.debug("The store of %r is still away: %s", self._backend.key, error)
            return LONGEST_PAUSE_SECONDS
        except StorageError as error:
            # The store answers now, with an error that would have kept the application from starting.
            if str(error) != self._said:
                self._said = str(error)
                logger.error("The store of %r is back, but cannot be used: %s", self._backend.key, error)  # noqa: TRY400
            return LONGEST_PAUSE_SECONDS
        logger.warning("The store of %r is back", self._backend.key)  # readers of the outage's warning want to know
        return 0.0


class _End:
    """The time that is left for closing the backends."""

    def __init__(self) -> None:
        self._ends_at: float | None = None

    async def wait(self, awaitable: Awaitable[object], what: str) -> None:
        """Await a step, and go on without it if it does not end in time."""
        now = asyncio.get_running_loop().time()
        if self._ends_at is None:
            self._ends_at = now + _END_SECONDS
        try:
            await within(max(_LEAST_SECONDS, self._ends_at - now), awaitable)
        except TimeoutError:
            logger.warning("%s has not ended in time; the application ends without it", what)


async def _stop(looking: asyncio.Task[None], end: _End) -> None:
    looking.cancel()
    await end.wait(asyncio.wait({looking}), "Looking for a store")


async def _retry_deletes(end: _End) -> None:
    await end.wait(retry_deletes_async(), "Deleting what could not be deleted before")


async def _close(backend: StorageBackend, failures: list[Exception], end: _End) -> None:
    try:
        await end.wait(backend.close_async(), f"Closing {backend.key!r}")
    except Exception as error:  # noqa: BLE001  # raised when the other backends are closed as well
        failures.append(error)


def _hold(registry: StorageRegistry, backend: StorageBackend) -> None:
    holdings = _holdings.setdefault(registry, {})
    holding = holdings.get(backend.key)
    if holding is None:
        previous = registry.get_backend(backend.key) if backend.key in registry else None
        holding = holdings[backend.key] = _Holding(backend, previous)
        registry.register_backend(backend)
    elif holding.backend is not backend:
        raise ConfigurationError(
            "Another running application of this process uses this key for a different backend in the same registry: "
            "rename one of them, or share the backend",
            operation="start",
            backend=backend.key,
        )
    holding.holders += 1


def _release(registry: StorageRegistry, backend: StorageBackend) -> None:
    holdings = _holdings[registry]
    holding = holdings[backend.key]
    holding.holders -= 1
    if holding.holders:
        return
    del holdings[backend.key]
    if backend.key not in registry or registry.get_backend(backend.key) is not backend:
        return  # another backend has been registered on purpose meanwhile
    if holding.previous is None:
        registry.unregister_backend(backend.key)
    else:
        registry.register_backend(holding.previous)
