"""The registry: finds backends by key, makes links, and keeps files that no row holds."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from litestar_filestore.core.backend import find_backend
from litestar_filestore.core.file_object import LinkWish, Surroundings, surroundings
from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import Disposition, FileObject, Keeper, LinkMaker

__all__ = ("StorageRegistry", "storages")

T = TypeVar("T")

_OBSTORE_BACKEND = "litestar_filestore.backends.obstore.obstore_backend.ObstoreBackend"
_FSSPEC_BACKEND = "litestar_filestore.backends.fsspec.fsspec_backend.FSSpecBackend"


def _encode_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class StorageRegistry:
    """Holds backends by their keys. Look-ups are lazy: the key that a row or column names is looked up on use."""

    def __init__(
        self,
        json_serializer: Callable[[Any], str] = _encode_json,
        json_deserializer: Callable[[str | bytes], Any] = msgspec.json.decode,
        default_backend: str | type[StorageBackend] | None = None,
        *,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Start empty.

        Args:
            json_serializer: Kept for Advanced Alchemy's signature; columns use the engine's serializer.
            json_deserializer: Likewise.
            default_backend: Class, or its dotted path, that `register_backend` builds for a bare URL. ``None`` takes
                `ObstoreBackend` where obstore is installed, else `FSSpecBackend`.
            surroundings: What to fill; ``None`` for surroundings of its own, in which files do not look.
        """
        self.json_serializer = json_serializer
        self.json_deserializer = json_deserializer
        self._default_backend = default_backend
        self._surroundings = Surroundings() if surroundings is None else surroundings
        self._backends = self._surroundings.backends  # Advanced Alchemy's documentation uses this name

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
        """Register a backend under its key; it replaces one with the same key.

        Args:
            value: A backend, or a URL for the default backend class.
            key: Needed with a URL, refused with a backend, which has its own key.

        Raises:
            ConfigurationError: If `key` is missing or superfluous.
        """
        if not isinstance(value, str):
            if key is not None:
                raise ConfigurationError(
                    "key is not allowed when registering a StorageBackend: it has its own, so leave key= out"
                )
            self._backends[value.key] = value
            return
        if key is None:
            raise ConfigurationError(
                "key is required when registering a string value: pass key='documents' or the like"
            )
        self._backends[key] = self._default_class()(key=key, fs=value)

    def _default_class(self) -> type[StorageBackend]:
        default = self.default_backend
        if not isinstance(default, str):
            return default
        module, _, name = default.rpartition(".")
        try:
            found: type[StorageBackend] = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                f"The default backend {default!r} cannot be imported: write 'package.module.ClassName', and check "
                "that the package is installed"
            ) from error
        return found

    def unregister_backend(self, key: str) -> None:
        """Forget a backend; an unknown key is not an error. The backend is not closed."""
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
        return self._backends.get(key) or find_backend(key, self._backends)

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

    def kept_by(self, keeper: Keeper) -> AbstractContextManager[None]:
        """Let `keeper` look after files that are stored outside of requests, until the context ends."""
        return _listed(self._surroundings.keepers, keeper)

    def linking(self, maker: LinkMaker) -> AbstractContextManager[None]:
        """Let `maker` make the links outside of requests, until the context ends."""
        return _listed(self._surroundings.link_makers, maker)

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds, for instance one whose key the application notes elsewhere.

        A file that a request has stored and no row has taken is deleted when the request ends, unless it is kept. It is
        kept once this returns, whatever happens to the request.

        The program can put it into a row later. A client can do so only with a reference made by
        ``storages.reference_for(file, kept=True)``: from now on, the reference from the upload's answer is refused.

        Args:
            file: A stored file.

        Raises:
            LinkLostError: If the file was given up already.
            ConfigurationError: If no application with the plugin runs.
        """
        await self._keeper(file).keep(file)

    async def discard(self, file: FileObject) -> None:
        """Give up a kept file; its object is deleted soon. A file that a row holds belongs to the row, and stays.

        Raises:
            ConfigurationError: If no application with the plugin runs.
        """
        await self._keeper(file).discard(file)

    def _keeper(self, file: FileObject) -> Keeper:
        found = self._surroundings.keeper_of(file)
        if found is None:
            raise ConfigurationError(
                "keep() and discard() need an application with FilestorePlugin: call them in its requests, or while "
                "it runs"
            )
        return found

    @property
    def link_maker(self) -> LinkMaker | None:
        """The application that answers the request, else the one that started last; ``None`` where none makes links."""
        return self._surroundings.link_maker

    def url_for(
        self,
        file: FileObject,
        *,
        expires_in: int | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
        for_upload: bool = False,
        max_bytes: int | None = None,
    ) -> str:
        """Return a URL with which anybody can download a file, or upload one, for a while.

        A download link is below the backend's public `base_url` if it has one and nothing else is requested; it is the
        store's own if the store signs the key and the headers of the answer; otherwise it leads to a route of the
        application, which works for every backend. An upload always goes through the application, which bounds it and
        accepts it once.

        Args:
            file: A stored file; for an upload, a file with backend and filename.
            expires_in: Longest life in seconds, up to the application's `max_expires_in`. Links that are made within
                one window are the same, so the life may be up to a window shorter. ``None`` takes the default.
            disposition: ``"inline"`` for files that a browser should show; files that could run a script are saved
                anyway.
            filename: Name to save under; ``None`` takes the file's.
            for_upload: A link to PUT instead of one to GET.
            max_bytes: Largest upload in bytes; ``None`` takes the limit of the backend or of the application.

        Raises:
            ConfigurationError: If no application with a secret runs.
            BackendNotRegisteredError: If the file's backend is not registered.
            InvalidArgumentError: If `expires_in` is out of bounds, or the file was not saved yet.
        """
        wish = LinkWish(
            expires_in=expires_in,
            disposition=disposition,
            filename=filename,
            for_upload=for_upload,
            max_bytes=max_bytes,
        )
        return self._surroundings.needed_link_maker().url_for(file, wish)

    async def url_for_async(
        self,
        file: FileObject,
        *,
        expires_in: int | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
        for_upload: bool = False,
        max_bytes: int | None = None,
    ) -> str:
        """`url_for` without blocking the event loop: a store may have to fetch its credentials to sign."""
        wish = LinkWish(
            expires_in=expires_in,
            disposition=disposition,
            filename=filename,
            for_upload=for_upload,
            max_bytes=max_bytes,
        )
        return await self._surroundings.needed_link_maker().url_for_async(file, wish)

    def reference_for(self, file: FileObject, *, expires_in: int | None = None, kept: bool = False) -> str:
        """Return a reference to a stored file: text that a client may send back where a file is expected.

        It is the only way in which JSON can name a file. Give it only to clients that may put this file into a row. Its
        holder can read it; it does not contain the user metadata.

        A file can be in only one row, however many references there are: the second row is refused with
        `ConflictError`.

        Args:
            file: A stored file, usually one that no row holds yet.
            expires_in: Life in seconds; ``None`` takes the application's default.
            kept: Whether the reference also works for a file that the application keeps (`keep`). Deleting the row will
                delete the file, so other references are refused: an uploader still has the one of the upload.

        Raises:
            ConfigurationError: If no application with a secret runs.
            InvalidArgumentError: If `expires_in` is out of bounds, or the file was not saved yet.
        """
        return self._surroundings.needed_link_maker().reference_for(file, expires_in, kept=kept)

    def file_for(self, reference: str) -> FileObject:
        """Return the file that a reference of this application names.

        Raises:
            InvalidTokenError: For any other text, and for an expired reference.
            ConfigurationError: If no application with a secret runs.
        """
        return self._surroundings.needed_link_maker().file_for(reference)


@contextmanager
def _listed(items: list[T], item: T) -> Generator[None]:
    items.append(item)
    try:
        yield
    finally:
        items.remove(item)


storages = StorageRegistry(surroundings=surroundings)
"""The registry of this process, in which columns and file objects look up backends."""
