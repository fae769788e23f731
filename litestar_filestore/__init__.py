"""File storage for Litestar applications: model columns that hold files, bytes in object storage, metadata in SQL.

A name is loaded when it is first used (PEP 562), so a script that needs a column does not load Litestar.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from litestar_filestore.orm.first_column import at_first_column

if TYPE_CHECKING:
    from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
    from litestar_filestore.backends.local.local_backend import LocalBackend
    from litestar_filestore.backends.memory import MemoryBackend
    from litestar_filestore.backends.moving.moving_backend import MovingBackend
    from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.driver import Driver
    from litestar_filestore.core.file_object import FileObject, public_file
    from litestar_filestore.core.registry import StorageRegistry, storages
    from litestar_filestore.core.rule import Candidate, FileRule, Piece, Reading, Wanted
    from litestar_filestore.core.types import AsyncDataLike, Capability, DataLike, ObjectInfo, PathLike
    from litestar_filestore.downloads.download_config import DownloadConfig, Nginx, XSendfile
    from litestar_filestore.downloads.redirect import FileRedirect
    from litestar_filestore.downloads.response import FileDownload
    from litestar_filestore.errors import StorageError
    from litestar_filestore.links.link_config import LinkConfig
    from litestar_filestore.links.log_filter import HideTokens
    from litestar_filestore.orm.stored_object import FileObjectList, StoredObject
    from litestar_filestore.plugin.config import FilestoreConfig
    from litestar_filestore.plugin.dependencies import Parts, RawBody, Storages
    from litestar_filestore.plugin.page import filestore_upload_script
    from litestar_filestore.plugin.plugin import FilestorePlugin
    from litestar_filestore.plugin.statuses import to_http_exception
    from litestar_filestore.router.router import create_file_router
    from litestar_filestore.router.upload_router import create_upload_router
    from litestar_filestore.sansio.active_types import INLINE_TYPES, SERVED_TYPES
    from litestar_filestore.sansio.tokens import hide_tokens
    from litestar_filestore.uploads.forms import FileField
    from litestar_filestore.uploads.limits import UploadLimits
    from litestar_filestore.uploads.parts import MultipartStream, Part
    from litestar_filestore.uploads.raw import RawUpload
    from litestar_filestore.validation.detect import Detector, SignatureDetector
    from litestar_filestore.validation.images import ImageSize
    from litestar_filestore.validation.rules import ContentTypes, Extensions, MaxFiles, MaxSize, MinSize

__all__ = (
    "INLINE_TYPES",
    "SERVED_TYPES",
    "AsyncDataLike",
    "Candidate",
    "Capability",
    "ContentTypes",
    "DataLike",
    "Detector",
    "DownloadConfig",
    "Driver",
    "Extensions",
    "FSSpecBackend",
    "FileDownload",
    "FileField",
    "FileObject",
    "FileObjectList",
    "FileRedirect",
    "FileRule",
    "FilestoreConfig",
    "FilestorePlugin",
    "HideTokens",
    "ImageSize",
    "LinkConfig",
    "LocalBackend",
    "MaxFiles",
    "MaxSize",
    "MemoryBackend",
    "MinSize",
    "MovingBackend",
    "MultipartStream",
    "Nginx",
    "ObjectInfo",
    "ObstoreBackend",
    "Part",
    "Parts",
    "PathLike",
    "Piece",
    "RawBody",
    "RawUpload",
    "Reading",
    "SignatureDetector",
    "StorageBackend",
    "StorageError",
    "StorageRegistry",
    "Storages",
    "StoredObject",
    "UploadLimits",
    "Wanted",
    "XSendfile",
    "create_file_router",
    "create_upload_router",
    "filestore_upload_script",
    "hide_tokens",
    "public_file",
    "storages",
    "to_http_exception",
)

_HOMES = {
    "AsyncDataLike": "core.types",
    "Candidate": "core.rule",
    "Capability": "core.types",
    "ContentTypes": "validation.rules",
    "DataLike": "core.types",
    "Detector": "validation.detect",
    "DownloadConfig": "downloads.download_config",
    "Driver": "core.driver",
    "Extensions": "validation.rules",
    "FSSpecBackend": "backends.fsspec.fsspec_backend",
    "FileDownload": "downloads.response",
    "FileField": "uploads.forms",
    "FileObject": "core.file_object",
    "FileObjectList": "orm.stored_object",
    "FileRedirect": "downloads.redirect",
    "FileRule": "core.rule",
    "FilestoreConfig": "plugin.config",
    "FilestorePlugin": "plugin.plugin",
    "HideTokens": "links.log_filter",
    "INLINE_TYPES": "sansio.active_types",
    "ImageSize": "validation.images",
    "LinkConfig": "links.link_config",
    "LocalBackend": "backends.local.local_backend",
    "MaxFiles": "validation.rules",
    "MaxSize": "validation.rules",
    "MemoryBackend": "backends.memory",
    "MinSize": "validation.rules",
    "MovingBackend": "backends.moving.moving_backend",
    "MultipartStream": "uploads.parts",
    "Nginx": "downloads.download_config",
    "ObjectInfo": "core.types",
    "ObstoreBackend": "backends.obstore.obstore_backend",
    "Part": "uploads.parts",
    "Parts": "plugin.dependencies",
    "PathLike": "core.types",
    "Piece": "core.rule",
    "RawBody": "plugin.dependencies",
    "RawUpload": "uploads.raw",
    "Reading": "core.rule",
    "SERVED_TYPES": "sansio.active_types",
    "SignatureDetector": "validation.detect",
    "StorageBackend": "core.backend",
    "StorageError": "errors",
    "StorageRegistry": "core.registry",
    "Storages": "plugin.dependencies",
    "StoredObject": "orm.stored_object",
    "UploadLimits": "uploads.limits",
    "Wanted": "core.rule",
    "XSendfile": "downloads.download_config",
    "create_file_router": "router.router",
    "create_upload_router": "router.upload_router",
    "filestore_upload_script": "plugin.page",
    "hide_tokens": "sansio.tokens",
    "public_file": "core.file_object",
    "storages": "core.registry",
    "to_http_exception": "plugin.statuses",
}
"""The module of each name, for the interpreter; the imports above say the same to type checkers."""


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _follow_sessions() -> None:
    """Load what follows the files of rows, which nobody below it may know; see `at_first_column`."""
    from litestar_filestore.tracking.listeners import start  # not before there is a file column

    start()


at_first_column(_follow_sessions)
