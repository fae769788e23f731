"""File storage for Litestar applications: model columns that hold files, bytes in object storage, metadata in SQL."""

from __future__ import annotations

from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.local.local_backend import LocalBackend
from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import StorageRegistry, storages
from litestar_filestore.core.rule import Candidate, FileRule, Piece, Reading, Wanted
from litestar_filestore.core.types import AsyncDataLike, Capability, DataLike, ObjectInfo, PathLike
from litestar_filestore.downloads.download_config import DownloadConfig, Nginx, XSendfile
from litestar_filestore.downloads.redirect import FileRedirect
from litestar_filestore.downloads.response import FileDownload
from litestar_filestore.errors import StorageError
from litestar_filestore.links.link_config import LinkConfig
from litestar_filestore.orm.first_column import at_first_column
from litestar_filestore.orm.stored_object import FileObjectList, StoredObject
from litestar_filestore.plugin.config import FilestoreConfig
from litestar_filestore.plugin.dependencies import Parts, RawBody, Storages
from litestar_filestore.plugin.plugin import FilestorePlugin
from litestar_filestore.router.router import create_file_router
from litestar_filestore.uploads.limits import UploadLimits
from litestar_filestore.uploads.parts import MultipartStream, Part
from litestar_filestore.uploads.raw import RawUpload
from litestar_filestore.validation.detect import Detector, SignatureDetector
from litestar_filestore.validation.field import FileField
from litestar_filestore.validation.images import ImageSize
from litestar_filestore.validation.rules import ContentTypes, Extensions, MaxFiles, MaxSize, MinSize

__all__ = (
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
    "ImageSize",
    "LinkConfig",
    "LocalBackend",
    "MaxFiles",
    "MaxSize",
    "MemoryBackend",
    "MinSize",
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
    "storages",
)


def _follow_sessions() -> None:
    """Load what follows the files of rows, which nobody below it may know; see `at_first_column`."""
    from litestar_filestore.tracking.listeners import start  # not before there is a file column

    start()


at_first_column(_follow_sessions)
