"""The backend for all file systems of fsspec: S3, GCS, Azure, SFTP, WebDAV, FTP, memory, local folders and more."""

from __future__ import annotations

import contextlib
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from litestar_filestore.backends.fsspec.fsspec_driver import FSSpecDriver, Recipe
from litestar_filestore.backends.fsspec.store import Place
from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.backends.web_addresses import check_web_address
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.keys import DEFAULT_KEY_TEMPLATE
from litestar_filestore.errors import ConfigurationError, MissingDependencyError

if TYPE_CHECKING:
    from litestar_filestore.core.driver import Driver

__all__ = ("FSSpecBackend",)

_LOCAL = ("file", "local")
_BUCKETED = ("s3", "s3a", "gs", "gcs", "abfs", "az", "abfss", "adl", "oss", "oci")
_WEBDAV = ("webdav", "dav")
_SFTP = ("sftp", "ssh")
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "az", "abfss"), "azure"),
    **dict.fromkeys(_SFTP, "sftp"),
    **dict.fromkeys(_WEBDAV, "webdav"),
}


class FSSpecBackend(StorageBackend):
    """Stores objects in an fsspec file system.

    Local folders do not go through fsspec, which shows half-written files and follows symbolic links. They use this
    package's local driver, which does not need fsspec.

    File systems without atomic uploads of their own (SFTP, WebDAV, FTP ...) write into a hidden folder ``.filestore``
    below the prefix and move the complete file.
    """

    def __init__(
        self,
        key: str,
        fs: Any,
        prefix: str | None = None,
        *,
        key_template: str = DEFAULT_KEY_TEMPLATE,
        digest: str | None = "sha256",
        max_bytes: int | None = None,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        """Set up a backend; nothing is opened or contacted.

        Args:
            key: Name of the backend in the registry, in columns and in stored rows.
            fs: Name of a protocol (``"s3"``), a URL (``"s3://bucket/folder"``) or an instance of a file system, in
                sync or asynchronous mode. An asynchronous one serves as the pattern for an instance in fsspec's own
                event loop, so the backend works from every loop and from sync code.
            prefix: Folder that holds all keys; for object stores it starts with the bucket unless `fs` names it.
                With ``fs="file"`` it is the local folder.
            key_template: Template of the keys of new objects; see `StorageBackend`.
            digest: Digest of new objects; see `StorageBackend`.
            max_bytes: Largest object in bytes that a put accepts; ``None`` for no limit.
            base_url: Public base URL under which the store serves its objects. With ``fs="webdav"`` it is the URL of
                the server, as in that file system.
            **options: For the file system, as ``fsspec.filesystem`` takes them. The access key and secret of S3 are
                ``username`` and ``password`` here, because ``key`` is the name of the backend.

        Raises:
            ConfigurationError: If the arguments cannot work.
            MissingDependencyError: If the file system needs a package that is not installed.
        """
        library_options = dict(options)
        if base_url is not None and isinstance(fs, str) and fs.partition(":")[0] in _WEBDAV:
            library_options["base_url"], base_url = base_url, None
        found = _find(fs, prefix, library_options)
        super().__init__(
            key,
            None if isinstance(fs, str) else fs,
            driver=found.driver,
            prefix=found.prefix,
            key_template=key_template,
            digest=digest,
            max_bytes=max_bytes,
            base_url=base_url,
            **options,
        )
        self.driver = "fsspec"
        self.is_async = found.is_async
        """Whether the file system underneath is asynchronous; all methods work either way."""

    _fs: Any = None

    @property
    def fs(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]  # an attribute that is made when needed
        """The given instance, or the one in use; ``None`` for a local folder if fsspec is not installed.

        If the file system was given by name, the first access makes the instance, which may connect.
        """
        if self._fs is None:
            driver = self._storage_driver
            self._fs = driver.fs if isinstance(driver, FSSpecDriver) else _local_instance()
        return self._fs

    @fs.setter
    def fs(self, value: Any) -> None:
        self._fs = value


class _Found(NamedTuple):
    driver: Driver
    prefix: str | None
    is_async: bool


class _Target(NamedTuple):
    """A file system, and the folder in it that the caller named in addition to the prefix."""

    cls: type
    args: tuple[Any, ...]
    options: dict[str, Any]
    given: Any
    folder: str


def _find(fs: Any, prefix: str | None, options: dict[str, Any]) -> _Found:
    if isinstance(fs, str) and fs.partition(":")[0] in _LOCAL:
        return _local(_local_folder(fs), prefix, options)
    target = _by_name(fs, options) if isinstance(fs, str) else _by_instance(fs)
    if target.cls.__module__ == "fsspec.implementations.local" and target.cls.__name__ == "LocalFileSystem":
        return _local(target.folder or None, prefix, options)
    return _remote(target, prefix)


def _local(folder: str | None, prefix: str | None, options: dict[str, Any]) -> _Found:
    if folder is None:
        folder, prefix = prefix, None
    if not folder:
        raise ConfigurationError('A local backend needs its folder: fs="file", prefix="/var/app/uploads"')
    return _Found(LocalDriver(Path(folder), fsync=bool(options.get("fsync", True))), prefix, is_async=False)


def _local_folder(url: str) -> str | None:
    protocol, separator, rest = url.partition("://")
    if not separator:
        if protocol not in _LOCAL:
            raise ConfigurationError(f'{url!r} is not a URL: write "file:///folder", or fs="file", prefix="/folder"')
        return None
    if not rest.startswith("/"):
        raise ConfigurationError(
            f'{url!r} names a host, not a folder: write "file:///{rest}", or fs="file", prefix="/{rest}"'
        )
    return rest


def _local_instance() -> Any:
    try:
        fsspec: Any = import_module("fsspec")
    except ImportError:
        return None
    return fsspec.filesystem("file")


def _remote(target: _Target, prefix: str | None) -> _Found:
    protocol = getattr(target.cls, "protocol", ())
    has_buckets = bool({protocol} & set(_BUCKETED) if isinstance(protocol, str) else set(protocol) & set(_BUCKETED))
    folder = target.folder
    if not folder and prefix and prefix.startswith("/") and not has_buckets:
        folder = "/"  # an absolute path; without the slash it is relative to the user's home on SFTP servers
    if has_buckets:
        folder = folder.strip("/")
    inner = prefix.strip("/") if prefix else ""
    if has_buckets and not folder and not inner:
        raise ConfigurationError('Name the bucket: prefix="bucket/folder", or fs="s3://bucket/folder"')
    root = folder if not folder or folder.endswith("/") else f"{folder}/"
    recipe = Recipe(target.cls, target.args, target.options, Place(root, inner), target.given)
    return _Found(FSSpecDriver(recipe), inner or None, is_async=bool(getattr(target.cls, "async_impl", False)))


def _by_instance(fs: Any) -> _Target:
    given, folder = fs, ""
    while True:
        if type(given).__name__ == "DirFileSystem":
            folder = "/".join(part for part in (given.path.rstrip("/"), folder) if part)
            given = given.fs
        elif type(given).__name__ == "AsyncFileSystemWrapper":
            given = given.sync_fs  # runs it in threads, as we do
        else:
            break
    if not hasattr(given, "storage_options") or not hasattr(given, "_strip_protocol"):
        raise ConfigurationError(
            f"{type(fs).__name__} is not a file system of fsspec: give a protocol such as 's3', a URL or an instance"
        )
    return _Target(type(given), given.storage_args, dict(given.storage_options), given, folder)


def _by_name(fs: str, options: dict[str, Any]) -> _Target:
    if "::" in fs:
        raise ConfigurationError(f"{fs!r} chains file systems, which cannot store atomically: name the last one only")
    if "?" in fs or "#" in fs:
        raise ConfigurationError(f"{fs.partition('?')[0]!r}: give options as arguments, not in the URL")
    check_web_address(fs)
    protocol, separator, _ = fs.partition("://")
    if not separator and re.search(r"[/\\.:]", fs):
        raise ConfigurationError(
            f"fs={fs!r} is neither a URL nor a protocol: write a URL such as 's3://bucket/folder/' or "
            "'file:///folder/'. LocalBackend takes a folder as it is"
        )
    cls: Any = _class_of(protocol)
    folder = ""
    if separator:
        options = {**cls._get_kwargs_from_urls(fs), **options}  # fsspec's own way, there is no other
        folder = str(cls._strip_protocol(fs))
    try:
        inspect.signature(cls.__init__).bind(None, **options)
    except TypeError as error:
        raise ConfigurationError(f"The file system {protocol!r} needs other options: {error}") from error
    return _Target(cls, (), options, None, folder)


def _class_of(protocol: str) -> Any:
    try:
        fsspec: Any = import_module("fsspec")
    except ImportError as error:
        extra = _EXTRAS.get(protocol, "fsspec")
        raise MissingDependencyError(_install("fsspec", f"litestar-filestore[{extra}]")) from error
    if protocol in _SFTP:
        with contextlib.suppress(ImportError):  # fsspec has a slower one of its own, for paramiko
            return import_module("sshfs").SSHFileSystem
    try:
        return fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise ConfigurationError(
            f"fsspec knows no protocol {protocol!r}; fsspec.available_protocols() lists those it knows. "
            "Give one of them, a URL that begins with one, or an instance of a file system"
        ) from error
    except ImportError as error:
        raise MissingDependencyError(_missing(protocol, error)) from error


def _missing(protocol: str, error: ImportError) -> str:
    extra = _EXTRAS.get(protocol)
    if extra is not None:
        return _install(f"The file system {protocol!r}", f"litestar-filestore[{extra}]")
    return f"The file system {protocol!r} needs a package that is not installed. fsspec says: {error}"


def _install(what: str, requirement: str) -> str:
    return f"{what} needs a package that is not installed. Run:\npip install '{requirement}'"
