"""A backend as data, to be built in another process."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar_filestore.core.backend import StorageBackend

__all__ = ("BackendSpec",)


@dataclass(frozen=True)
class BackendSpec:
    """A backend as data. Everything in it can be written as JSON."""

    factory: str
    """Import path of the class or function, as ``"package.module:name"``."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Its keyword arguments, credentials among them; ``prefix`` is added."""

    def build(self, prefix: str | None) -> StorageBackend:
        """Build the backend.

        Args:
            prefix: Folder inside the store, or ``None``.
        """
        module, _, name = self.factory.partition(":")
        backend: StorageBackend = getattr(import_module(module), name)(prefix=prefix, **self.options)
        return backend
