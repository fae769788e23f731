"""Keeping files that no row holds."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

import msgspec

from litestar_filestore.errors import BackendNotRegisteredError, ConfigurationError, InvalidTokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject

__all__ = (
    "Disposition",
    "Keeper",
    "Keeping",
    "LinkMaker",
    "LinkWish",
    "Linking",
    "Saver",
    "StorageRegistry",
    "answering_links",
    "keeper",
    "referred_file",
    "storages",
)


class Saver(Protocol):
    """Knows of files that the program stores by itself."""

    def knows(self, backend: str) -> bool:
        """Return whether objects in the backend of a key can be known."""
        ...

    def saving(self, file: FileObject) -> AbstractContextManager[None]:
        """Return a context in which a file that has its key is stored by hand: it is known before its first byte."""
        ...

    def saving_async(self, file: FileObject) -> AbstractAsyncContextManager[None]:
        """`saving` without blocking the event loop."""
        ...


class Keeper(Saver, Protocol):
    """Looks after files that no row holds: those of a request, or those of an application outside of its requests."""

    async def keep(self, file: FileObject) -> None:
        """Keep a file beyond the request."""
        ...

    async def discard(self, file: FileObject) -> object:
        """Give up a file that was kept."""
        ...


keeper: ContextVar[Keeper | None] = ContextVar("litestar_filestore_keeper", default=None)
"""Of the request that is being answered."""


class Keeping:
    """The part of `StorageRegistry` that looks after files without a row."""

    _keepers: tuple[Keeper, ...] = ()

    @contextmanager
    def kept_by(self, other: Keeper) -> Generator[None]:
        """Let `other` look after what is stored outside of requests, for the time of the context."""
        self._keepers = (*self._keepers, other)
        try:
            yield
        finally:
            kept = list(self._keepers)
            kept.remove(other)
            self._keepers = tuple(kept)

    def saving(self, file: FileObject) -> AbstractContextManager[None]:
        """Return a context in which a file is stored by hand; one that does nothing where no application runs."""
        found = self._keeper(file)
        return nullcontext() if found is None else found.saving(file)

    def saving_async(self, file: FileObject) -> AbstractAsyncContextManager[None]:
        """`saving` without blocking the event loop."""
        found = self._keeper(file)
        return nullcontext() if found is None else found.saving_async(file)

    def _keeper(self, file: FileObject) -> Keeper | None:
        """Return who looks after a file: the request that is answered, else the application that started last."""
        found = keeper.get()
        if found is not None:
            return found
        return next((each for each in reversed(self._keepers) if each.knows(file.backend_key)), None)

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds, for instance one whose key the application notes elsewhere.

        What a request has stored and no row has taken is deleted when the request ends, unless it is kept. It is kept
        when this returns, whatever becomes of the request.

        The program can put it into a row later. A client can do so only with a reference that was made for it,
        ``storages.reference_for(file, kept=True)``: the one that the upload was answered with is refused from now on.

        Args:
            file: A stored file.

        Raises:
            LinkLostError: If the file was given up already.
            ConfigurationError: If no application with the plugin runs.
        """
        await self._needed_keeper(file).keep(file)

    async def discard(self, file: FileObject) -> None:
        """Give up a file that was kept; its object is deleted soon. One that a row holds is the row's, and stays.

        Raises:
            ConfigurationError: If no application with the plugin runs.
        """
        await self._needed_keeper(file).discard(file)

    def _needed_keeper(self, file: FileObject) -> Keeper:
        found = self._keeper(file)
        if found is None:
            raise ConfigurationError(
                "Files are kept and discarded in requests to an application with FilestorePlugin, and elsewhere while "
                "one runs"
            )
        return found


Disposition: TypeAlias = Literal["attachment", "inline"]
"""Whether a browser saves a file or shows it; files that could run a script are saved in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWish:
    """What a link is to be like."""

    expires_in: int | None = None
    """Longest life in seconds; ``None`` takes the application's default."""
    disposition: Disposition | None = None
    """``None`` is ``"attachment"``."""
    filename: str | None = None
    """Name to save under; ``None`` takes the file's."""
    for_upload: bool = False
    """A link to PUT instead of one to GET."""
    key: str | None = None
    """Key of an upload; ``None`` takes the one that the file pins, or makes a new one."""
    max_bytes: int | None = None
    """Largest upload in bytes; ``None`` takes the limit of the backend or of the application."""
    native: bool = True
    """Whether the store's own link will do where it can carry the rest."""


class LinkMaker(Protocol):
    """Makes links and references, and reads references."""

    def url_for(self, file: FileObject, wish: LinkWish) -> str:
        """Return a link; see `Linking.url_for`."""
        ...

    async def url_for_async(self, file: FileObject, wish: LinkWish) -> str:
        """`url_for` without blocking the event loop."""
        ...

    def reference_for(self, file: FileObject, expires_in: int | None, *, kept: bool = False) -> str:
        """Return a reference; see `Linking.reference_for`."""
        ...

    def file_for(self, reference: str) -> FileObject:
        """Return the file of a reference; see `Linking.file_for`."""
        ...


answering_links: ContextVar[LinkMaker | None] = ContextVar("litestar_filestore_links")
"""Who makes links in the request that is being answered; ``None`` in an application without links."""


def referred_file(reference: str) -> FileObject:
    """Return the file that a reference in a request names; for decoders, which know the text and nothing else.

    Only while a request is answered, and by the application that answers it.

    Raises:
        ValueError: If the text is no reference of this application that is still good. Its message is for clients.
    """
    links = answering_links.get(None)
    try:
        if links is not None:
            return links.file_for(reference)
    except InvalidTokenError:
        pass
    raise ValueError("expected an uploaded file, or the reference of one")


class Linking:
    """The part of a registry that has to do with links."""

    _makers: tuple[LinkMaker, ...] = ()

    @property
    def link_maker(self) -> LinkMaker | None:
        """Who makes links here and now: the application that answers the request, else the one that started last."""
        return answering_links.get(self._makers[-1] if self._makers else None)

    @contextmanager
    def linking(self, maker: LinkMaker) -> Generator[None]:
        """Let `maker` make the links outside of requests, for the time of the context."""
        self._makers = (*self._makers, maker)
        try:
            yield
        finally:
            kept = list(self._makers)
            kept.remove(maker)
            self._makers = tuple(kept)

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
        """Return a URL that lets whoever holds it download a file, or upload one, for a while.

        A download is linked below the backend's public `base_url` if it has one and nothing else is asked for; by the
        store itself where it signs the key and the headers of the answer; else by a route of the application, which
        works for every backend. An upload always goes through the application: it is bounded there, and accepted once.

        Args:
            file: A stored file; for an upload one that names backend and filename.
            expires_in: Longest life in seconds, up to the application's `max_expires_in`. Links that are made within
                one window are the same, so the life may be up to a window shorter. ``None`` takes the default.
            disposition: ``"inline"`` for what a browser should show; files that could run a script are saved anyway.
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
        return self._needed().url_for(file, wish)

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
        return await self._needed().url_for_async(file, wish)

    def reference_for(self, file: FileObject, *, expires_in: int | None = None, kept: bool = False) -> str:
        """Return a reference to a stored file: text that a client may send back where a file is expected.

        It is the only way in which JSON can name a file. Give it to whom you would let put this file into a row. It
        can be read by who has it, and does not carry the user metadata.

        One file goes into one row, however many references there are: the second row is refused with `ConflictError`.

        Args:
            file: A stored file, usually one that no row holds yet.
            expires_in: Life in seconds; ``None`` takes the application's default.
            kept: Whether the reference puts into a row also a file that the application keeps (`keep`). Whoever deletes
                that row deletes the file, so others are refused: an uploader still has the reference of the upload.

        Raises:
            ConfigurationError: If no application with a secret runs.
            InvalidArgumentError: If `expires_in` is out of bounds, or the file was not saved yet.
        """
        return self._needed().reference_for(file, expires_in, kept=kept)

    def file_for(self, reference: str) -> FileObject:
        """Return the file that a reference of this application names.

        Raises:
            InvalidTokenError: For any other text, and for a reference that has ended.
            ConfigurationError: If no application with a secret runs.
        """
        return self._needed().file_for(reference)

    def _needed(self) -> LinkMaker:
        maker = self.link_maker
        if maker is None:
            raise ConfigurationError(
                "Links need a running application with a secret: FilestoreConfig(secret=...)", operation="sign"
            )
        return maker


_OBSTORE_BACKEND = "litestar_filestore.backends.obstore.obstore_backend.ObstoreBackend"
_FSSPEC_BACKEND = "litestar_filestore.backends.fsspec.fsspec_backend.FSSpecBackend"


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
