"""The backend for object storage: S3, Google Cloud Storage, Azure Blob Storage, and what speaks their protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar_filestore.backends.local import LocalDriver
from litestar_filestore.backends.obstore_url import parse_url
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.keys import DEFAULT_KEY_TEMPLATE, check_prefix
from litestar_filestore.errors import ConfigurationError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import ObjectStore

    from litestar_filestore.core.driver import Driver

__all__ = ("ObstoreBackend",)

_LOCAL_OPTIONS = frozenset({"fsync", "file_mode", "directory_mode"})
_NEEDLESS_OPTIONS = frozenset({"mkdir", "automatic_cleanup", "client_options", "retry_config"})


class ObstoreBackend(StorageBackend):
    """Objects in a bucket, a container, a folder, on an HTTP server or in memory.

    Folders (``file://``) are served by this package's own driver and need no obstore, whose local store neither syncs
    to the disk nor stays inside its root. Everything else goes through obstore; `ObstoreDriver` says what it promises.

    Unless the options say otherwise, connecting may take 5 seconds, a request 30, and a failed one is repeated up to
    three times within 10 seconds: an unreachable store is an error soon. A store that the caller made keeps its own
    settings.
    """

    def __init__(
        self,
        key: str,
        fs: ObjectStore | str,
        *,
        prefix: str | None = None,
        key_template: str = DEFAULT_KEY_TEMPLATE,
        digest: str | None = "sha256",
        max_bytes: int | None = None,
        base_url: str | None = None,
        part_bytes: int | None = None,
        max_concurrency: int | None = None,
        **options: Any,
    ) -> None:
        """Set up a backend; nothing is contacted.

        Args:
            key: Name of the backend in the registry, in columns and in stored rows.
            fs: A URL or a store made with ``obstore.store``. The URL is one of ``s3://bucket/folder/``,
                ``gs://bucket/folder/``, ``az://container/folder/``, ``https://host/folder/``, ``file:///folder/`` and
                ``memory:///``; folders in buckets, and the slash at the end, may be left out.
            prefix: Folder below that of the URL in which all keys lie.
            key_template: See `StorageBackend`.
            digest: See `StorageBackend`.
            max_bytes: See `StorageBackend`.
            base_url: See `StorageBackend`.
            part_bytes: Size of the parts of large uploads in bytes, and up to it that of a put in one request;
                ``None`` for 8 MiB, at least 5 MiB.
            max_concurrency: Parts of one upload in flight; ``None`` for 4. Each holds its bytes in memory.
            **options: obstore's own for the kind of store (``aws_region``, ``google_service_account``,
                ``azure_storage_account_name`` ...), with ``client_options``, ``retry_config`` and
                ``credential_provider``. ``None`` is as good as left out: the environment decides then. Folders take
                ``fsync``, ``file_mode`` and ``directory_mode``; see `LocalDriver`.

        Raises:
            ConfigurationError: If URL or options cannot work. Unreadable credentials are no reason: the file that
                holds them may be mounted later, so `start` or the first use complains about them.
            MissingDependencyError: If obstore is needed and not installed.
        """
        settings = {"prefix": check_prefix(prefix or ""), "part_bytes": part_bytes, "max_concurrency": max_concurrency}
        driver: Driver
        if not isinstance(fs, str):
            if options:
                raise ConfigurationError(f"The option {min(options)!r} belongs to the store that was given as fs")
            driver = _obstore().driver_of_store(fs, **settings)
        elif (root := parse_url(fs).root) is not None:
            driver = LocalDriver(root, **_local_options(options))
        else:
            driver = _obstore().driver_of_url(fs, options, **settings)
        self._fs: Any = None
        super().__init__(
            key,
            None if isinstance(fs, str) else fs,
            driver=driver,
            prefix=prefix,
            key_template=key_template,
            digest=digest,
            max_bytes=max_bytes,
            base_url=base_url,
            **options,
        )

    @property
    def fs(self) -> Any:
        """Obstore's store, for callers that want to use it directly; keys and contents are not checked there.

        Raises:
            MissingDependencyError: For a folder, if obstore is not installed.
            AuthenticationError: If the credentials cannot be read.
        """
        return self._fs if self._fs is not None else _obstore().open_store(self.storage_driver)

    @fs.setter
    def fs(self, value: Any) -> None:
        self._fs = value


def _obstore() -> Any:
    """Import the modules that need obstore."""
    try:
        from litestar_filestore.backends import obstore_open
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise MissingDependencyError("obstore is not installed: pip install 'litestar-filestore[obstore]'") from error
    return obstore_open


def _local_options(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None and name not in _NEEDLESS_OPTIONS}
    if unknown := given.keys() - _LOCAL_OPTIONS:
        raise ConfigurationError(f"file storage has no option {min(unknown)!r}")
    return given
