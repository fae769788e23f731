"""How an application stores files."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from litestar import Litestar
from litestar.connection import ASGIConnection

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import StorageRegistry, storages
from litestar_filestore.core.rules import Rule
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.http.download_config import DownloadConfig
from litestar_filestore.http.limits import UploadLimits
from litestar_filestore.http.link_config import LinkConfig
from litestar_filestore.http.links import LinkSigner
from litestar_filestore.plugin.ledger import LedgerConfig
from litestar_filestore.plugin.opening import open_backends
from litestar_filestore.sansio.tokens import KeyRing, Secret
from litestar_filestore.validation.detect import Detector

__all__ = ("FilestoreConfig", "URLBuilder")

URLBuilder: TypeAlias = Callable[[FileObject, ASGIConnection[Any, Any, Any, Any]], str | None]
"""Returns where a client downloads a file, ``None`` for nowhere."""

# Names that Litestar itself passes to handlers; a dependency of that name would never arrive.
_RESERVED = frozenset({"body", "cookies", "data", "headers", "query", "request", "scope", "socket", "state"})


@dataclass
class FilestoreConfig:
    """Configuration of `FilestorePlugin`.

    Nothing is registered, opened or contacted before the application starts: building an application has no end at
    which that could be undone, and a second one, in a test for instance, would take over the first one's files. Scripts
    and commands, which have no lifespan, use `opened`.
    """

    backends: Sequence[StorageBackend] = ()
    """Backends that are registered while the application runs; started in this order, closed in reverse."""
    registry: StorageRegistry = storages
    """Where they are registered. Columns, and files that name their backend by key, look in `storages` only."""
    registry_dependency_key: str = "storages"
    """Name under which handlers and dependencies are given the registry."""
    parts_dependency_key: str = "parts"
    """Name under which handlers are given the parts of a form while it arrives."""
    raw_upload_dependency_key: str = "raw_upload"
    """Name under which handlers are given a body that is nothing but a file."""
    registry_state_key: str = "filestore_registry"
    """Name of the registry in ``app.state``."""
    url_builder: URLBuilder | None = None
    """Makes the `url` of a file in responses, from the file and the connection that is being answered. Called on the
    event loop for every file, so it must not wait for anything. ``None`` shows the application's own links where there
    is a `secret`, and leaves every `url` empty where there is none."""
    secret: Secret | Sequence[Secret] | None = field(default=None, repr=False)
    """What signs links and references: at least 32 random bytes that nobody else knows, the same in all processes.
    Several are a ring: the first one signs, all are accepted; leave one out to retire it. ``None`` for an application
    without links. Not a secret that serves something else as well."""
    links: LinkConfig | None = None
    """How links look and how long they live. Needs a `secret`; with one, ``None`` means `LinkConfig()`."""
    downloads: DownloadConfig = field(default_factory=DownloadConfig)
    """How `FileDownload` answers, and who sends the bytes."""
    limits: UploadLimits = field(default_factory=UploadLimits)
    """How much a request may upload, how slowly, and how many may at a time."""
    rules: Sequence[Rule] = ()
    """What every uploaded file has to be. A rule of its form field or column stands in for one of its class here."""
    detector: Detector | None = None
    """Tells the types of uploaded files; ``None`` for `SignatureDetector`."""
    ledger: LedgerConfig | None = field(default_factory=LedgerConfig)
    """How the objects of rows are looked after. ``None`` starts no sweeper and checks no table; the rows' transactions
    keep the ledger all the same, wherever the models' metadata has its table."""
    set_default_exception_handlers: bool = True
    """Whether errors of this package become HTTP errors; see `litestar_filestore.plugin.exceptions`. Handlers of the
    application win in any case."""
    signer: LinkSigner | None = field(init=False, repr=False, default=None)
    """Makes the application's links; ``None`` without a secret."""

    def __post_init__(self) -> None:
        """Check what can be checked without contacting anything.

        Raises:
            ConfigurationError: If a field cannot work. It is a ``ValueError`` as well.
        """
        self.backends = _check_backends(self.backends)
        for name in ("registry_dependency_key", "parts_dependency_key", "raw_upload_dependency_key"):
            key: str = getattr(self, name)
            if not key.isidentifier() or key in _RESERVED:
                raise ConfigurationError(f"{name} is the name of a handler's argument, not {key!r}")
        if not self.registry_state_key:
            raise ConfigurationError("registry_state_key is empty")
        self.signer = self._make_signer()

    def _make_signer(self) -> LinkSigner | None:
        if self.secret is None:
            if self.links is not None:
                raise ConfigurationError("Links are signed: links=... needs secret=...")
            return None
        ring = KeyRing(self.secret)
        self.links = self.links or LinkConfig()
        return LinkSigner(ring, self.links, self.registry, downloads=self.downloads)

    def provide_registry(self) -> StorageRegistry:
        """Return the registry; the dependency under `registry_dependency_key`."""
        return self.registry

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Return a context in which the backends are registered and open, for scripts, commands and tests.

        Links can be made in it as well. Entering and leaving one is what the lifespan does. There may be several at a
        time, also while the application runs.

        Raises:
            ConfigurationError: If another running application has a different backend under one of the keys.
            StorageError: If a backend cannot be started; those that were started are closed again.
        """
        async with self._opened(self.signer, serves=False):
            yield

    @asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncGenerator[None]:
        """`opened`, in the form that Litestar takes, and for an application: a store that is away does not stop it.

        It is logged and looked for again. Requests that need it are answered 503 meanwhile. Links that are made lead to
        the application.
        """
        async with self._opened(self.signer and self.signer.placed("", app.path), serves=True):
            yield

    @asynccontextmanager
    async def _opened(self, links: LinkSigner | None, *, serves: bool) -> AsyncGenerator[None]:
        async with open_backends(self.registry, self.backends, serves=serves):
            with self.registry.linking(links) if links is not None else nullcontext():
                yield


def _check_backends(backends: object) -> tuple[StorageBackend, ...]:
    if isinstance(backends, (StorageBackend, str)) or not isinstance(backends, Sequence):
        raise ConfigurationError("backends is a list of backends, even for one")
    checked: dict[str, StorageBackend] = {}
    for backend in cast("Sequence[object]", backends):
        if not isinstance(backend, StorageBackend):
            raise ConfigurationError(f"backends holds {type(backend).__name__}, which is no StorageBackend")
        if checked.setdefault(backend.key, backend) is not backend:
            raise ConfigurationError("Two backends have this key", backend=backend.key)
    return tuple(checked.values())
