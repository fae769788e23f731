"""How a backend is set up, and what all of its operations share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from litestar_filestore.core.guard import Guard
from litestar_filestore.core.keys import (
    DEFAULT_KEY_TEMPLATE,
    check_key,
    check_key_template,
    check_prefix,
    join_prefix,
    make_key,
)
from litestar_filestore.core.meter import check_digest
from litestar_filestore.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.driver import Driver
    from litestar_filestore.core.sources import AsyncFeed, Feed
    from litestar_filestore.core.types import Capability

__all__ = ("BackendSetup",)


class BackendSetup:
    """The part of `StorageBackend` that the other parts stand on: options, driver, keys, errors."""

    key: str
    """Name of the backend in the registry, in columns and in stored rows."""
    fs: Any = None
    """The store or file system of the library underneath, where there is one."""
    driver: str = "custom"
    """Name of the library underneath, for example ``"obstore"``."""
    protocol: str = "unknown"
    """Name of the service, for example ``"s3"`` or ``"file"``."""
    options: Mapping[str, Any] = {}
    """What the library was given on construction."""
    prefix: str | None = None
    """Folder inside the store below which all keys lie."""
    key_template: str = DEFAULT_KEY_TEMPLATE
    """Where new objects go."""
    digest: str | None = "sha256"
    """Digest computed for new objects."""
    max_bytes: int | None = None
    """Largest object in bytes that a put accepts."""
    base_url: str | None = None
    """Public URL below which the store serves its objects."""
    _storage_driver: Driver | None = None

    def __init__(
        self,
        key: str,
        fs: Any = None,
        *,
        driver: Driver | None = None,
        prefix: str | None = None,
        key_template: str = DEFAULT_KEY_TEMPLATE,
        digest: str | None = "sha256",
        max_bytes: int | None = None,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        """Set up a backend; nothing is opened or contacted.

        Args:
            key: Name of the backend in the registry, in columns and in stored rows.
            fs: The library's own store or file system, kept for callers that need it.
            driver: What does the work; may be left out by subclasses of Advanced Alchemy's form.
            prefix: Folder inside the store below which all keys lie.
            key_template: Where new objects go; see `check_key_template`.
            digest: Digest of new objects: ``sha256``, ``sha512``, ``sha1``, ``md5``, ``blake2b`` or ``None``.
            max_bytes: Largest object in bytes that `put` accepts (inclusive); ``None`` for no limit.
            base_url: Public URL below which the store serves its objects without signature, for `public_url`.
            **options: What the subclass was given beside; kept as `options`.

        Raises:
            ConfigurationError: If an argument cannot work.
        """
        if not key:
            raise ConfigurationError("The key of a backend is its name, for example 'documents'")
        self.key = key
        self.fs = fs
        self.options = options
        self.prefix = check_prefix(prefix) if prefix else None
        self.key_template = check_key_template(key_template)
        self.digest = check_digest(digest)
        self.max_bytes = max_bytes
        self.base_url = base_url.rstrip("/") if base_url else None
        if driver is not None:
            self._storage_driver = driver
            self.driver = driver.name
            self.protocol = driver.protocol

    def __repr__(self) -> str:
        """Return class, key, protocol and prefix; options may hold secrets and are left out."""
        protocol = getattr(self, "protocol", None)
        return f"{type(self).__name__}(key={self.key!r}, protocol={protocol!r}, prefix={self.prefix!r})"

    @property
    def storage_driver(self) -> Driver:
        """The driver underneath; for subclasses of the old form, one that calls their methods."""
        if self._storage_driver is None:
            from litestar_filestore.core.legacy import LegacyDriver

            self._storage_driver = LegacyDriver(cast("StorageBackend", self))
        return self._storage_driver

    @property
    def capabilities(self) -> Capability:
        """What this backend can do beyond the contract."""
        return self.storage_driver.capabilities

    def make_key(self, template: str | None = None, *, ext: str = "") -> str:
        """Make a new, unguessable key; see `litestar_filestore.core.keys.make_key`."""
        return make_key(template or self.key_template, ext=ext)

    def _path(self, key: str) -> str:
        try:
            return join_prefix(self.prefix or "", check_key(key))
        except StorageError as error:
            error.backend = self.key
            raise

    def _guard(self, operation: str, key: str | None, feed: Feed | AsyncFeed | None = None) -> Guard:
        return Guard(self.storage_driver, self.key, operation, key, feed)
