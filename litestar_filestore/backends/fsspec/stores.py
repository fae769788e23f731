"""The table of stores that send their own requests, by the fsspec file system classes that they drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar_filestore.backends.fsspec.azure import AzureStore
from litestar_filestore.backends.fsspec.folders import FileStore
from litestar_filestore.backends.fsspec.ftp import FtpStore
from litestar_filestore.backends.fsspec.gcs import GCSStore
from litestar_filestore.backends.fsspec.s3 import S3Store
from litestar_filestore.backends.fsspec.sftp import AsyncsshStore, ParamikoStore
from litestar_filestore.backends.fsspec.shared_memory import MemoryStore
from litestar_filestore.backends.fsspec.webdav import WebdavStore

if TYPE_CHECKING:
    from litestar_filestore.backends.fsspec.store import Store

__all__ = ("store_class_of",)

_STORES: dict[str, type[Store]] = {
    "s3fs.S3FileSystem": S3Store,
    "adlfs.AzureBlobFileSystem": AzureStore,
    "gcsfs.GCSFileSystem": GCSStore,
    "sshfs.SSHFileSystem": AsyncsshStore,
    "fsspec.SFTPFileSystem": ParamikoStore,
    "fsspec.FTPFileSystem": FtpStore,
    "webdav4.WebdavFileSystem": WebdavStore,
    "fsspec.MemoryFileSystem": MemoryStore,
}
"""Keyed by name, because none of these libraries is imported before it is used."""


def store_class_of(cls: type) -> type[Store]:
    """Return the store for instances of `cls`. Subclasses count as their parents, which are recognised by name."""
    for parent in cls.__mro__:
        found = _STORES.get(f"{parent.__module__.partition('.')[0]}.{parent.__name__}")
        if found is not None:
            return found
    return FileStore
