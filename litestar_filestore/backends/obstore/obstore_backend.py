"""`ObstoreBackend`, and the URLs that name its store.

obstore corrects or ignores many mistakes in a URL; here they are errors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.backends.web_addresses import check_web_address
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.keys import DEFAULT_KEY_TEMPLATE, check_key, check_prefix
from litestar_filestore.errors import ConfigurationError, InvalidKeyError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import ObjectStore

    from litestar_filestore.core.driver import Driver

__all__ = ("ObstoreBackend", "folder_of")

_BUCKET_SCHEMES = {
    "s3": "s3://bucket/folder/",
    "s3a": "s3a://bucket/folder/",
    "gs": "gs://bucket/folder/",
    "az": "az://container/folder/",
    "adl": "adl://container/folder/",
    "azure": "azure://container/folder/",
    "abfs": "abfs://container@account.dfs.core.windows.net/folder/",
    "abfss": "abfss://container@account.dfs.core.windows.net/folder/",
    "http": "http://host/folder/",
    "https": "https://host/folder/",
}
_WITH_ACCOUNT = frozenset({"abfs", "abfss"})
_FORMS = (
    "s3://bucket/folder/, gs://bucket/folder/, az://container/folder/, https://host/folder/, file:///folder/ "
    "or memory:///"
)


def folder_of(url: str) -> Path | None:
    """Check a URL, and return the folder that it names if it starts with ``file://``, else ``None``.

    Raises:
        ConfigurationError: If the URL is wrong; the message shows the right form.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"fs is malformed; it is a URL of the form {_FORMS}") from error
    if not parts.scheme or "://" not in url:
        raise ConfigurationError(
            f"fs={_shown(url)!r} is not a URL: write one of {_FORMS}. LocalBackend takes a folder as it is"
        )
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ConfigurationError("fs must not hold '?' or '#': settings are options of the backend, not of the URL")
    if parts.scheme == "file":
        return _root(url, parts)
    if parts.scheme == "memory":
        _check_memory(parts)
    else:
        check_web_address(url)
        _check_remote(url, parts)
    return None


_USER = re.compile(r"(?<=[:/])[^/:@][^/@]*@")


def _shown(url: str) -> str:
    """Return a URL, as it was given, without the parts that may be secret."""
    return _USER.sub("", re.split("[?#]", url, maxsplit=1)[0])


def _root(url: str, parts: SplitResult) -> Path:
    right = "write file:///absolute/folder/, with three slashes"
    if parts.netloc not in {"", "localhost"}:
        raise ConfigurationError(f"fs={_shown(url)!r} names a host instead of a folder: {right}")
    path = unquote(parts.path)
    if path.split("/")[1:2] == ["~"]:
        raise ConfigurationError(f"'~' means nothing in a URL: {right}, for example f'file://{{Path.home()}}/uploads/'")
    if not path.strip("/"):
        raise ConfigurationError(f"fs={_shown(url)!r} is the root of the whole file system: {right}")
    _check_folder(url, parts)
    return Path(path)


def _check_memory(parts: SplitResult) -> None:
    if parts.netloc or parts.path.strip("/"):
        raise ConfigurationError("A store in memory has no name and no folders: write memory:/// and use prefix=")


def _check_remote(url: str, parts: SplitResult) -> None:
    form = _BUCKET_SCHEMES.get(parts.scheme)
    if form is None:
        raise ConfigurationError(f"obstore knows no {parts.scheme}:// stores; write one of {_FORMS}")
    account, at, host = parts.netloc.rpartition("@")
    if at and (parts.scheme not in _WITH_ACCOUNT or ":" in account or not account):
        raise ConfigurationError(f"Credentials do not belong in a URL, they are options of the backend: write {form}")
    if not host:
        raise ConfigurationError(f"fs={_shown(url)!r} names no bucket, container or host: write {form}")
    _check_folder(url, parts)


def _check_folder(url: str, parts: SplitResult) -> None:
    folder = unquote(parts.path).removeprefix("/").removesuffix("/")
    try:
        check_key(folder or "folder")
    except InvalidKeyError as error:
        raise ConfigurationError(f"The folder of fs={_shown(url)!r} cannot be used: {error.detail}") from error


_LOCAL_OPTIONS = frozenset({"fsync", "file_mode", "directory_mode"})
_NEEDLESS_OPTIONS = frozenset({"mkdir", "automatic_cleanup", "client_options", "retry_config"})


class ObstoreBackend(StorageBackend):
    """Objects in a bucket, a container, a folder, on an HTTP server or in memory.

    Folders (``file://``) use this package's own driver and need no obstore, whose local store neither syncs to the disk
    nor stays inside its root. Everything else goes through obstore; see `ObstoreDriver` for its guarantees.

    Unless the options say otherwise, connecting may take 5 seconds and a request 30 seconds, and a failed request is
    repeated up to three times within 10 seconds, so an unreachable store soon raises an error. A store that the caller
    made keeps its own settings.
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
                ``memory:///``; folders in buckets and the trailing slash are optional.
            prefix: Folder below that of the URL that holds all keys.
            key_template: See `StorageBackend`.
            digest: See `StorageBackend`.
            max_bytes: See `StorageBackend`.
            base_url: See `StorageBackend`.
            part_bytes: Size of the parts of large uploads in bytes, at least 5 MiB; ``None`` for 8 MiB. Content up to
                this size is put in one request.
            max_concurrency: Parts of one upload in flight; ``None`` for 4. Each holds its bytes in memory.
            **options: obstore's own for the kind of store (``aws_region``, ``google_service_account``,
                ``azure_storage_account_name`` ...), with ``client_options``, ``retry_config`` and
                ``credential_provider``. An option that is ``None`` counts as omitted: the environment then decides.
                Folders take ``fsync``, ``file_mode`` and ``directory_mode``; see `LocalDriver`.

        Raises:
            ConfigurationError: If URL or options cannot work. Unreadable credentials do not count: their file may be
                mounted later, so `start` or the first use reports them.
            MissingDependencyError: If obstore is needed and not installed.
        """
        settings = {"prefix": check_prefix(prefix or ""), "part_bytes": part_bytes, "max_concurrency": max_concurrency}
        driver: Driver
        if not isinstance(fs, str):
            if options:
                raise ConfigurationError(
                    f"The option {min(options)!r} belongs to the store that was given as fs: give it when you make that"
                )
            driver = _obstore().driver_of_store(fs, **settings)
        elif (root := folder_of(fs)) is not None:
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
        """Obstore's store, for callers that use it directly; it does not check keys and contents.

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
        from litestar_filestore.backends.obstore import opening as obstore_open
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise MissingDependencyError("obstore is not installed: pip install 'litestar-filestore[obstore]'") from error
    return obstore_open


def _local_options(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None and name not in _NEEDLESS_OPTIONS}
    if unknown := given.keys() - _LOCAL_OPTIONS:
        raise ConfigurationError(f"file storage has no option {min(unknown)!r}: leave it out")
    return given
