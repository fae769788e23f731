"""Links to files and references to them: what the registry and files offer, and who makes them.

Making links takes a secret and an application that serves them, and both are above this layer. The application gives
the registry a `LinkMaker` while it runs, and for the time of each request one of its own to the context: of several
applications in one process none makes links of another.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from litestar_filestore.errors import ConfigurationError, InvalidTokenError

if TYPE_CHECKING:
    from collections.abc import Generator

    from litestar_filestore.core.file_object import FileObject

__all__ = ("Disposition", "LinkMaker", "LinkWish", "Linking", "answering_links", "referred_file")

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

    def reference_for(self, file: FileObject, expires_in: int | None) -> str:
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
            file = links.file_for(reference)
            file.named_by_client = True
            return file
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

    def reference_for(self, file: FileObject, *, expires_in: int | None = None) -> str:
        """Return a reference to a stored file: text that a client may send back where a file is expected.

        It is the only way in which JSON can name a file. Give it to whom you would let put this file into a row. It
        can be read by who has it, and does not carry the user metadata.

        Args:
            file: A stored file, usually one that no row holds yet.
            expires_in: Life in seconds; ``None`` takes the application's default.

        Raises:
            ConfigurationError: If no application with a secret runs.
            InvalidArgumentError: If `expires_in` is out of bounds, or the file was not saved yet.
        """
        return self._needed().reference_for(file, expires_in)

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
