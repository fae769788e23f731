"""How an application stores files."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from litestar import Litestar
from litestar.connection import ASGIConnection

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import StorageRegistry, storages
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.plugin.ledger import LedgerConfig
from litestar_filestore.plugin.opening import open_backends

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
    registry_state_key: str = "filestore_registry"
    """Name of the registry in ``app.state``."""
    url_builder: URLBuilder | None = None
    """Makes the `url` of a file in responses, from the file and the connection that is being answered. Called on the
    event loop for every file, so it must not wait for anything. ``None`` leaves every `url` empty."""
    ledger: LedgerConfig | None = field(default_factory=LedgerConfig)
    """How the objects of rows are looked after. ``None`` starts no sweeper and checks no table; the rows' transactions
    keep the ledger all the same, wherever the models' metadata has its table."""
    set_default_exception_handlers: bool = True
    """Whether errors of this package become HTTP errors; see `litestar_filestore.plugin.exceptions`. Handlers of the
    application win in any case."""

    def __post_init__(self) -> None:
        """Check what can be checked without contacting anything.

        Raises:
            ConfigurationError: If a field cannot work. It is a ``ValueError`` as well.
        """
        self.backends = _check_backends(self.backends)
        key = self.registry_dependency_key
        if not key.isidentifier() or key in _RESERVED:
            raise ConfigurationError(f"registry_dependency_key is the name of a handler's argument, not {key!r}")
        if not self.registry_state_key:
            raise ConfigurationError("registry_state_key is empty")

    def provide_registry(self) -> StorageRegistry:
        """Return the registry; the dependency under `registry_dependency_key`."""
        return self.registry

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which the backends are registered and open, for scripts, commands and tests.

        Entering and leaving it is what the lifespan does. It may be entered several times, also while the application
        runs.

        Raises:
            ConfigurationError: If another running application has a different backend under one of the keys.
            StorageError: If a backend cannot be started; those that were started are closed again.
        """
        return open_backends(self.registry, self.backends)

    @asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncGenerator[None]:  # noqa: ARG002  # Litestar passes it
        """`opened`, in the form that Litestar takes."""
        async with self.opened():
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
