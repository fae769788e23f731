"""Makes and reads the links and references of an application."""

from __future__ import annotations

import hashlib
import time
from copy import copy
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from litestar_filestore.core.file_object import FileObject, LinkWish, Referred
from litestar_filestore.core.new_file import UsedLink
from litestar_filestore.core.types import SignedAnswer
from litestar_filestore.downloads.answer import content_headers
from litestar_filestore.downloads.download_config import DownloadConfig
from litestar_filestore.errors import (
    BackendNotRegisteredError,
    InvalidArgumentError,
    InvalidTokenError,
    UnsupportedOperationError,
)
from litestar_filestore.ledger.quota import owner_of_new_objects
from litestar_filestore.sansio.disposition import safe_filename

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import Disposition
    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.links.link_config import LinkConfig
    from litestar_filestore.sansio.tokens import KeyRing, Purpose

__all__ = (
    "DownloadClaims",
    "LinkSigner",
    "UploadClaims",
)

_REMEMBERED_TOKENS = 2048

_PLAIN = LinkWish()

C = TypeVar("C", bound=msgspec.Struct)


class DownloadClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One object to GET, with all that the headers of the answer need, so that the store is not asked for it again."""

    backend: str = msgspec.field(name="st")
    key: str = msgspec.field(name="ky")
    filename: str = msgspec.field(name="fn")
    content_type: str = msgspec.field(name="ct")
    disposition: Literal["attachment", "inline"] = msgspec.field(default="attachment", name="cd")
    size: int | None = msgspec.field(default=None, name="sz")
    etag: str | None = msgspec.field(default=None, name="et")
    last_modified: int | None = msgspec.field(default=None, name="lm")
    """POSIX time in seconds: HTTP dates have no fractions."""


class UploadClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One object to PUT, once."""

    backend: str = msgspec.field(name="st")
    key: str = msgspec.field(name="ky")
    filename: str = msgspec.field(name="fn")
    max_bytes: int = msgspec.field(name="mx")
    owner: str | None = msgspec.field(default=None, name="ow")
    """The owner whose quota it counts towards."""


class _ReferenceClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One stored file, with the values for its row; without metadata, because its holder can read a token."""

    backend: str = msgspec.field(name="st")
    key: str = msgspec.field(name="ky")
    filename: str = msgspec.field(name="fn")
    content_type: str = msgspec.field(name="ct")
    size: int | None = msgspec.field(default=None, name="sz")
    etag: str | None = msgspec.field(default=None, name="et")
    last_modified: float | None = msgspec.field(default=None, name="lm")
    checksum: str | None = msgspec.field(default=None, name="cs")
    version_id: str | None = msgspec.field(default=None, name="vi")
    referred: Referred = msgspec.field(default=Referred.FREE, name="rf")


class _TicketClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One upload that has begun."""

    upload: str = msgspec.field(name="id")
    metadata: str | None = msgspec.field(default=None, name="md")
    """What its client says of it, if nothing of the upload is kept yet."""


_TICKET_SECONDS = 30 * 24 * 3600
"""How long a ticket can be read. Whether its upload is still there is decided by the row of the upload."""

_URL = "/:@%[]!$&'()*+,;=~"
"""Characters that stay unescaped in the beginning of a URL."""


class _StoreLink(NamedTuple):
    """A link that comes from the store, which may have to request credentials first."""

    backend: StorageBackend
    key: str
    answer: SignedAnswer
    otherwise: Callable[[], str]
    """Makes the application's own link, if the store cannot sign, or cannot sign this key or these headers."""


class LinkSigner:
    """Makes and reads the links of one application; a `LinkMaker` of the core."""

    def __init__(
        self,
        ring: KeyRing,
        config: LinkConfig,
        registry: StorageRegistry,
        *,
        downloads: DownloadConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make links.

        Args:
            ring: The secrets that sign.
            config: Form and lifetime of links.
            registry: The registry in which backends are looked up.
            downloads: The application's configuration of downloads; the stores' links follow it as far as they can.
            clock: Returns POSIX seconds (UTC).
        """
        self._ring = ring
        self._config = config
        self._registry = registry
        self._downloads = downloads or DownloadConfig()
        self.clock = clock
        """Returns POSIX seconds (UTC); tests set it before the application starts."""
        # Within a window, links to one file are the same: a list that is shown again need not sign them again.
        self._download_token = lru_cache(maxsize=_REMEMBERED_TOKENS)(self._make_download_token)
        self._place_seen: tuple[str, str] = "", ""
        self.outside = quote(config.public_url or "", safe=_URL)
        """What URLs of the application begin with: its public URL, else the path at which it is mounted, escaped."""
        self._base = config.base

    def placed(self, mounted_at: str, path: str) -> LinkSigner:
        """Return a signer of the same links for the path at which the application is mounted.

        Args:
            mounted_at: The prefix of the paths that the application sees: a ``root_path``, or the path at which another
                application has mounted it. A `public_url` replaces it.
            path: The application's own path, the prefix of all of its routes.
        """
        if (mounted_at, path) == self._place_seen:
            return self
        placed = copy(self)
        placed._place_seen = mounted_at, path  # noqa: SLF001  # of this class
        placed.outside = quote(mounted_at if self._config.public_url is None else self._config.public_url, safe=_URL)
        placed._base = f"{placed.outside}{path.rstrip('/')}{self._config.path}"  # noqa: SLF001
        return placed

    @property
    def config(self) -> LinkConfig:
        """The form and the lifetime of links."""
        return self._config

    # -- making

    def url_for(self, file: FileObject, wish: LinkWish) -> str:
        """Return a link; see `StorageRegistry.url_for`."""
        made = self._made(file, wish)
        if isinstance(made, str):
            return made
        try:
            return made.backend.sign_answer(made.key, made.answer)
        except UnsupportedOperationError:
            return made.otherwise()

    def link_of(self, file: FileObject) -> str | None:
        """Return the `url` of a file in responses: a link of the application that sends them, or of a public store.

        Never one that the store signs, which may need a request for credentials.
        """
        if (key := file.key) is None:
            return None
        backend = self._registry.get_backend(file.backend_key)
        if backend.base_url is not None:
            return backend.public_url(key)
        return self._download_url(file, backend, key, _PLAIN, self._config.expires_in)

    async def url_for_async(self, file: FileObject, wish: LinkWish) -> str:
        """`url_for` without blocking the event loop."""
        made = self._made(file, wish)
        if isinstance(made, str):
            return made
        try:
            return await made.backend.sign_answer_async(made.key, made.answer)
        except UnsupportedOperationError:
            return made.otherwise()

    def _made(self, file: FileObject, wish: LinkWish) -> str | _StoreLink:
        """Return a link, or a request for one to the store."""
        if wish.for_upload:
            return self._upload_url(file, wish)
        backend, key = self._where(file)
        life = self._config.expires_in if wish.expires_in is None else self._life(wish.expires_in, 0)
        if (public := _public_url(backend, key, wish)) is not None:
            return public
        if self._config.native and wish.native:
            otherwise = partial(self._download_url, file, backend, key, wish, life)
            return _StoreLink(backend, key, self._answer(file, wish, life), otherwise)
        return self._download_url(file, backend, key, wish, life)

    def reference_for(self, file: FileObject, expires_in: int | None, *, kept: bool = False) -> str:
        """Return a reference; see `StorageRegistry.reference_for`."""
        backend, key = self._where(file)
        life = self._life(expires_in, self._config.reference_expires_in)
        claims = _ReferenceClaims(
            backend=backend.key,
            key=key,
            filename=safe_filename(file.filename),
            content_type=file.content_type,
            size=file.size,
            etag=file.etag,
            last_modified=file.last_modified,
            checksum=file.checksum,
            version_id=file.version_id,
            referred=Referred.HELD if file.in_row else Referred.KEPT if kept else Referred.FREE,
        )
        return self._token("reference", claims, int(self.clock()) + life)

    def ticket_for(self, upload_id: str, metadata: str | None = None) -> str:
        """Return a ticket; see `LinkMaker.ticket_for`."""
        claims = _TicketClaims(upload=upload_id, metadata=metadata)
        return self._token("ticket", claims, int(self.clock()) + _TICKET_SECONDS)

    def _upload_url(self, file: FileObject, wish: LinkWish) -> str:
        backend = self._registry.get_backend(file.backend_key)
        life = self._life(wish.expires_in, self._config.upload_expires_in)
        limits = (wish.max_bytes, backend.max_bytes)
        max_bytes = min((each for each in limits if each is not None), default=self._config.max_upload_bytes)
        if max_bytes < 0:
            raise InvalidArgumentError(f"max_bytes must be 0 or more, not {max_bytes}", backend=backend.key)
        claims = UploadClaims(
            backend=backend.key,
            key=wish.key or file.pinned_key or backend.make_key(file.key_template),
            filename=safe_filename(wish.filename or file.filename),
            max_bytes=max_bytes,
            owner=owner_of_new_objects.get(),
        )
        return f"{self._base}/{self._token('upload', claims, int(self.clock()) + life)}"

    def _download_url(self, file: FileObject, backend: StorageBackend, key: str, wish: LinkWish, life: int) -> str:
        window = min(self._config.window_seconds, life // 2) or 1
        end = (int(self.clock()) + life) // window * window
        token = self._download_token(end, backend.key, key, wish.filename, wish.disposition, *file.linked_facts())
        return f"{self._base}/{token}"

    def _make_download_token(  # noqa: PLR0917  # as the key of a cache
        self,
        end: int,
        backend: str,
        key: str,
        asked_filename: str | None,
        disposition: Disposition | None,
        filename: str,
        content_type: str,
        size: int | None,
        etag: str | None,
        last_modified: float | None,
    ) -> str:
        claims = DownloadClaims(
            backend=backend,
            key=key,
            filename=safe_filename(asked_filename or filename),
            content_type=content_type,
            disposition=disposition or "attachment",
            size=size,
            etag=etag,
            last_modified=int(last_modified) if last_modified is not None else None,
        )
        return self._token("download", claims, end)

    def _answer(self, file: FileObject, wish: LinkWish, life: int) -> SignedAnswer:
        window = min(self._config.window_seconds, life // 2) or 1
        name = safe_filename(wish.filename or file.filename)
        headers = content_headers(file.content_type, name, wish.disposition or "attachment", self._downloads)
        return SignedAnswer(
            content_type=headers["content-type"],
            content_disposition=headers["content-disposition"],
            signed_at=int(self.clock()) // window * window,
            expires_in=life,
        )

    def _token(self, purpose: Purpose, claims: msgspec.Struct, expires_at: int) -> str:
        return self._ring.sign(purpose, msgspec.to_builtins(claims), expires_at=expires_at)

    def _life(self, asked: int | None, default: int) -> int:
        if asked is None:
            return default
        if not 1 <= asked <= self._config.max_expires_in:
            raise InvalidArgumentError(
                f"expires_in must be 1 to {self._config.max_expires_in} seconds, not {asked}", operation="sign"
            )
        return asked

    def _where(self, file: FileObject) -> tuple[StorageBackend, str]:
        if file.key is None:
            raise InvalidArgumentError(
                "This file was not saved yet, so there is nothing to link: save() it first",
                operation="sign",
                backend=file.backend_key,
            )
        return self._registry.get_backend(file.backend_key), file.key

    # -- reading

    def read_download(self, token: str) -> tuple[FileObject, DownloadClaims, int]:
        """Return the file of a link, the link's claims, and the seconds until it expires, at least 1.

        Raises:
            InvalidTokenError: If the token is not a valid download link.
        """
        claims, end = self._claims("download", token, DownloadClaims)
        return self._stored_file(claims), claims, max(1, end - int(self.clock()))

    def read_upload(self, token: str) -> tuple[UploadClaims, UsedLink]:
        """Return the claims of an upload link, and the record that it was used.

        Raises:
            InvalidTokenError: If the token is not a valid upload link.
        """
        claims, end = self._claims("upload", token, UploadClaims)
        # A token has only one spelling. The record does not hold the token itself: that would put a valid link into the
        # store.
        link = UsedLink(digest=hashlib.sha256(token.encode()).hexdigest(), expires_at=end)
        return claims, link

    def file_for(self, reference: str) -> FileObject:
        """Return the file of a reference; see `StorageRegistry.file_for`."""
        claims, _ = self._claims("reference", reference, _ReferenceClaims)
        file = self._stored_file(claims)
        file.referred = claims.referred
        return file

    def read_ticket(self, ticket: str) -> tuple[str, str | None]:
        """Return what a ticket was made for; see `LinkMaker.read_ticket`."""
        claims, _ = self._claims("ticket", ticket, _TicketClaims)
        return claims.upload, claims.metadata

    def _claims(self, purpose: Purpose, token: str, type_: type[C]) -> tuple[C, int]:
        written, end = self._ring.read(purpose, token, now=self.clock())
        try:
            return msgspec.convert(written, type_), end
        except msgspec.ValidationError as error:
            raise InvalidTokenError from error  # signed by a release with other claims

    def _stored_file(self, claims: DownloadClaims | _ReferenceClaims) -> FileObject:
        try:
            backend = self._registry.get_backend(claims.backend)
        except BackendNotRegisteredError as error:
            raise InvalidTokenError from error  # a link may outlive the configuration that it was made with
        return FileObject.from_dict({**msgspec.structs.asdict(claims), "to_filename": claims.key, "backend": backend})


def _public_url(backend: StorageBackend, key: str, wish: LinkWish) -> str | None:
    """Return the unsigned URL of a public store, unless the wish needs a signature."""
    if backend.base_url is None or wish.disposition or wish.filename or wish.expires_in is not None:
        return None
    return backend.public_url(key)
