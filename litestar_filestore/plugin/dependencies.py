"""Types of the arguments that the plugin passes to handlers."""

from __future__ import annotations

from typing import TypeAlias

from litestar.di import NamedDependency

from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.uploads.parts import MultipartStream
from litestar_filestore.uploads.raw import RawUpload

__all__ = ("Parts", "RawBody", "Storages")

Parts: TypeAlias = NamedDependency[MultipartStream]
"""Type of a handler's argument ``parts``: the parts of the form that the client is sending."""

RawBody: TypeAlias = NamedDependency[RawUpload]
"""Type of a handler's argument ``raw_upload``: the body that the client is sending, as one file."""

Storages: TypeAlias = NamedDependency[StorageRegistry]
"""Type of a handler's argument ``storages``: the application's registry."""
