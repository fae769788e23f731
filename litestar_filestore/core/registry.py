"""Backends by key: how columns, rows and handlers find the one they name."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, overload

import msgspec

from litestar_filestore.core.keeping import Keeping
from litestar_filestore.core.linking import Linking
from litestar_filestore.errors import BackendNotRegisteredError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from litestar_filestore.core.backend import StorageBackend

__all__ = ("StorageRegistry", "storages")

_OBSTORE_BACKEND = "litestar_filestore.backends.obstore.ObstoreBackend"
_FSSPEC_BACKEND = "litestar_filestore.backends.fsspec.FSSpecBackend"


def _encode_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class StorageRegistry(Linking, Keeping):
    """Holds backends by their keys. Look-ups are lazy: a row or column names a key, and asks here when it is used."""

    def __init__(
        self,
        json_serializer: Callable[[Any], str] = _encode_json,
        json_deserializer: Callable[[str | bytes], Any] = msgspec.json.decode,
        default_backend: str | type[StorageBackend] | None = None,
    ) -> None:
        """Start empty.

        Args:
            json_serializer: Kept for Advanced Alchemy's signature; columns use the engine's serializer.
            json_deserializer: Likewise.
            default_backend: Class, or its dotted path, that `register_backend` builds for a bare URL. ``None`` takes
                `ObstoreBackend` where obstore is installed, else `FSSpecBackend`.
        """
        self.json_serializer = json_serializer
        self.json_deserializer = json_deserializer
        self._default_backend = default_backend
        self._backends: dict[str, StorageBackend] = {}

    @property
    def default_backend(self) -> str | type[StorageBackend]:
        """Class, or its dotted path, that is built for a bare URL."""
        if self._default_backend is not None:
            return self._default_backend
        return _OBSTORE_BACKEND if find_spec("obstore") else _FSSPEC_BACKEND

    def set_default_backend(self, default_backend: str | type[StorageBackend]) -> None:
        """Set the class, or its dotted path, that is built for a bare URL."""
        self._default_backend = default_backend

    @overload
    def register_backend(self, value: str, key: str) -> None: ...
    @overload
    def register_backend(self, value: StorageBackend, key: None = None) -> None: ...
    def register_backend(self, value: StorageBackend | str, key: str | None = None) -> None:
        """Register a backend under its key, in place of one that had it.

        Args:
            value: A backend, or a URL for the default backend class.
            key: Needed with a URL, refused with a backend, which has its own.

        Raises:
            ConfigurationError: If `key` is missing or one too many.
        """
        if not isinstance(value, str):
            if key is not None:
                raise ConfigurationError("key is not allowed when registering a StorageBackend: it has its own")
            self._backends[value.key] = value
            return
        if key is None:
            raise ConfigurationError("key is required when registering a string value")
        self._backends[key] = self._default_class()(key=key, fs=value)

    def _default_class(self) -> type[StorageBackend]:
        default = self.default_backend
        if not isinstance(default, str):
            return default
        module, _, name = default.rpartition(".")
        try:
            found: type[StorageBackend] = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"The default backend {default!r} cannot be imported") from error
        return found

    def unregister_backend(self, key: str) -> None:
        """Forget a backend; an unknown key is fine. The backend is not closed."""
        self._backends.pop(key, None)

    def clear_backends(self) -> None:
        """Forget all backends. None is closed."""
        self._backends.clear()

    def is_registered(self, key: str) -> bool:
        """Return whether a backend of that key is registered."""
        return key in self._backends

    def get_backend(self, key: str) -> StorageBackend:
        """Return the backend of that key.

        Raises:
            BackendNotRegisteredError: If there is none.
        """
        try:
            return self._backends[key]
        except KeyError:
            known = ", ".join(map(repr, self._backends)) or "none"
            raise BackendNotRegisteredError(
                f'No storage backend registered with key "{key}"; registered: {known}', backend=key
            ) from None

    def get(self, key: str) -> StorageBackend:
        """Return the backend of that key; short for `get_backend`.

        Raises:
            BackendNotRegisteredError: If there is none.
        """
        return self.get_backend(key)

    def all(self) -> list[StorageBackend]:
        """Return all backends in the order of their registration."""
        return list(self._backends.values())

    def registered_backends(self) -> list[str]:
        """Return the keys of all backends in the order of their registration."""
        return list(self._backends)

    def __contains__(self, key: object) -> bool:
        """Return whether a backend of that key is registered."""
        return key in self._backends

    def __getitem__(self, key: str) -> StorageBackend:
        """Return the backend of that key, as `get_backend` does."""
        return self.get_backend(key)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(list(self._backends))

    def __len__(self) -> int:
        """Return the number of backends."""
        return len(self._backends)


storages = StorageRegistry()
"""The registry of this process: what columns and file objects look in."""
