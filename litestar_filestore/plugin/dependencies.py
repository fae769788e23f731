"""What handlers can ask for."""

from __future__ import annotations

from typing import TypeAlias

from litestar.di import NamedDependency

from litestar_filestore.core.registry import StorageRegistry

__all__ = ("Storages",)

Storages: TypeAlias = NamedDependency[StorageRegistry]
"""Type of a handler's argument ``storages``: the application's registry."""
