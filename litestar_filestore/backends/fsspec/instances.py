"""Makes instances of fsspec's file systems, and finds the store that fits each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from litestar_filestore.backends.fsspec.azure import AzureStore
from litestar_filestore.backends.fsspec.folders import FileStore
from litestar_filestore.backends.fsspec.ftp import FtpStore
from litestar_filestore.backends.fsspec.gcs import GCSStore
from litestar_filestore.backends.fsspec.running import Inline, InLoop, InThread, InTurn
from litestar_filestore.backends.fsspec.s3 import S3Store
from litestar_filestore.backends.fsspec.sftp import AsyncsshStore, ParamikoStore
from litestar_filestore.backends.fsspec.shared_memory import MemoryStore
from litestar_filestore.backends.fsspec.webdav import WebdavStore
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar_filestore.backends.fsspec.running import Runner
    from litestar_filestore.backends.fsspec.stores import Place, Store
    from litestar_filestore.core.types import PartBuffers

__all__ = (
    "Recipe",
    "kind_of",
)

_SIGNING = Capability.SIGN_GET | Capability.SIGN_PUT


class Kind(NamedTuple):
    """How one class of file systems is used."""

    store: type[Store]
    runner: type[Runner]
    defaults: Callable[[dict[str, Any]], dict[str, Any]]
    """Adds to the options what makes the file system fit for a server that must answer soon."""
    lacks: Callable[[dict[str, Any]], Capability] | None = None
    """Which of the store's capabilities these options take away."""
    adopts: Callable[[dict[str, Any]], bool] | None = None
    """Whether an instance that was made with these options is right; else another one is made of them."""
    protocol: str | None = None
    """Name of the service where the class does not say it."""


class Recipe:
    """A class of file systems and what to make it with."""

    def __init__(
        self, cls: type, args: tuple[Any, ...], options: dict[str, Any], place: Place, given: Any = None
    ) -> None:
        """Prepare to make ``cls(*args, **options)``, or to use `given`, which was made like that."""
        self.cls = cls
        """The class of the file system."""
        self._args = args
        self._kind = kind_of(cls)
        self._options = self._kind.defaults(options)
        self._given = given if self._kind.adopts is None or self._kind.adopts(options) else None
        self._place = place
        self._pid = os.getpid()

    @property
    def protocol(self) -> str:
        """Name of the service, the first one if there are several."""
        protocol: Any = self._kind.protocol or getattr(self.cls, "protocol", "unknown")
        return str(protocol if isinstance(protocol, str) else next(iter(protocol)))

    @property
    def capabilities(self) -> Capability:
        """What the store can do with these options."""
        lacks = self._kind.lacks(self._options) if self._kind.lacks is not None else Capability.NONE
        return self._kind.store.capabilities & ~lacks

    @property
    def part_buffers(self) -> PartBuffers | None:
        """What the store holds of a put."""
        return self._kind.store.part_buffers

    def owns(self, fs: Any) -> bool:
        """Return whether `fs` was made here, not by the caller."""
        return fs is not self._given

    def make(self) -> tuple[Store, Runner]:
        """Make the store, and what runs its methods. May connect; blocks.

        Raises:
            ConfigurationError: If the class does not accept the options.
        """
        if self._given is not None and self._may_use(self._given):
            made = self._wrap(self._given)
            if made[0].is_usable:
                return made
        return self._wrap(self._build())

    def _wrap(self, fs: Any) -> tuple[Store, Runner]:
        runner = InLoop(fs.loop) if self._kind.runner is InLoop else self._kind.runner()
        return self._kind.store(fs, self._place), runner

    def _may_use(self, fs: Any) -> bool:
        """Return whether the caller's instance can be used here: its connections are not a forked process's to use."""
        if self._kind.runner is Inline:
            return True
        if os.getpid() != self._pid:
            return False
        return not getattr(fs, "async_impl", False) or (not fs.asynchronous and fs.loop.is_running())

    def _build(self) -> Any:
        # Without these an asynchronous file system lives in fsspec's own loop.
        options = {name: value for name, value in self._options.items() if name not in {"asynchronous", "loop"}}
        options["skip_instance_cache"] = True
        try:
            return self.cls(*self._args, **options)
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigurationError(f"{self.cls.__name__} cannot be made of these options: {error}") from error


def kind_of(cls: type) -> Kind:
    """Return how instances of `cls` are used. Subclasses count as their parents, known ones are known by name."""
    for parent in cls.__mro__:
        found = _KINDS.get(f"{parent.__module__.partition('.')[0]}.{parent.__name__}")
        if found is not None:
            return found
    return Kind(FileStore, InThread, _unchanged)


def _unchanged(options: dict[str, Any]) -> dict[str, Any]:
    return options


def _s3_defaults(options: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "signature_version": "s3v4",  # s3fs signs links with version 2, which Amazon gave up
        "connect_timeout": 5,
        "read_timeout": 30,
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "max_pool_connections": 50,
        # Digests in the new trailer form are what other servers than Amazon's know least about.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        **(options.get("config_kwargs") or {}),
    }
    return {**options, "config_kwargs": config}


def _asyncssh_defaults(options: dict[str, Any]) -> dict[str, Any]:
    return {"connect_timeout": 10, "login_timeout": 20, "keepalive_interval": 15, **options}


def _paramiko_defaults(options: dict[str, Any]) -> dict[str, Any]:
    return {"timeout": 10, "banner_timeout": 20, "auth_timeout": 20, **options}


def _ftp_defaults(options: dict[str, Any]) -> dict[str, Any]:
    return {"timeout": 15, "use_listings_cache": False, **options}


def _webdav_defaults(options: dict[str, Any]) -> dict[str, Any]:
    auth = options.get("auth")
    # A pair that comes from a file of JSON or TOML is a list, which httpx does not take.
    return {"timeout": 30, **options, "auth": tuple(cast("list[str]", auth)) if isinstance(auth, list) else auth}


def _s3_lacks(options: dict[str, Any]) -> Capability:
    return _SIGNING if options.get("anon") else Capability.NONE


def _s3_is_right(options: dict[str, Any]) -> bool:
    return "signature_version" in (options.get("config_kwargs") or {})


def _gcs_lacks(options: dict[str, Any]) -> Capability:
    lacks = _SIGNING if options.get("token") == "anon" else Capability.NONE
    server = options.get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST")
    # Emulators take the condition of a put for decoration.
    return lacks if not server or "googleapis.com" in server else lacks | Capability.PUT_IF_ABSENT


def _azure_lacks(options: dict[str, Any]) -> Capability:
    connection_string = options.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if connection_string:
        has_key = "AccountKey=" in connection_string
    else:
        has_key = bool(options.get("account_key") or os.environ.get("AZURE_STORAGE_ACCOUNT_KEY"))
    return Capability.NONE if has_key else _SIGNING


_KINDS = {
    "s3fs.S3FileSystem": Kind(S3Store, InLoop, _s3_defaults, _s3_lacks, _s3_is_right),
    "adlfs.AzureBlobFileSystem": Kind(AzureStore, InLoop, _unchanged, _azure_lacks),
    "gcsfs.GCSFileSystem": Kind(GCSStore, InLoop, _unchanged, _gcs_lacks),
    "sshfs.SSHFileSystem": Kind(AsyncsshStore, InThread, _asyncssh_defaults, protocol="sftp"),
    "fsspec.SFTPFileSystem": Kind(ParamikoStore, InTurn, _paramiko_defaults),
    "fsspec.FTPFileSystem": Kind(FtpStore, InThread, _ftp_defaults),
    "webdav4.WebdavFileSystem": Kind(WebdavStore, InThread, _webdav_defaults),
    "fsspec.MemoryFileSystem": Kind(MemoryStore, Inline, _unchanged),
}
