"""File storage for Litestar applications: model columns that hold files, bytes in object storage, metadata in SQL."""

from __future__ import annotations

from litestar_filestore.backends.fsspec import FSSpecBackend
from litestar_filestore.backends.local import LocalBackend
from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.backends.obstore import ObstoreBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import StorageRegistry, storages
from litestar_filestore.core.types import AsyncDataLike, Capability, DataLike, ObjectInfo, PathLike
from litestar_filestore.errors import StorageError

# Its import starts the tracking of sessions.
from litestar_filestore.orm import tracking as _tracking  # noqa: F401  # pyright: ignore[reportUnusedImport]
from litestar_filestore.orm.file_list import FileObjectList
from litestar_filestore.orm.stored_object import StoredObject
from litestar_filestore.plugin.config import FilestoreConfig
from litestar_filestore.plugin.dependencies import Storages
from litestar_filestore.plugin.plugin import FilestorePlugin

__all__ = (
    "AsyncDataLike",
    "Capability",
    "DataLike",
    "Driver",
    "FSSpecBackend",
    "FileObject",
    "FileObjectList",
    "FilestoreConfig",
    "FilestorePlugin",
    "LocalBackend",
    "MemoryBackend",
    "ObjectInfo",
    "ObstoreBackend",
    "PathLike",
    "StorageBackend",
    "StorageError",
    "StorageRegistry",
    "Storages",
    "StoredObject",
    "storages",
)
