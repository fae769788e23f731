"""Files for polyfactory, which makes models with random values."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import storages
from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from random import Random

__all__ = ("provide_files",)

_BYTES = 8


def provide_files(factory: Any, *, backend: str | None = None, filename: str = "file.txt") -> None:
    """Let a factory of polyfactory make files: small texts, which the flush of their row stores.

    Fields whose rules want something else name it themselves, with
    ``Use(FileObject, "pictures", "a.png", content=...)``.

    Args:
        factory: A factory class, for example ``BaseFactory`` for all of them. Its seed decides what the files hold.
        backend: Key of their backend; ``None`` for the only one that is registered when a file is made.
        filename: What they are called.
    """
    factory.add_provider(FileObject, partial(_make, factory, backend, filename))


def _make(factory: Any, backend: str | None, filename: str) -> FileObject:
    chance: Random = factory.__random__  # a new one after each `seed_random`
    return FileObject(backend or _only_backend(), filename, content=chance.randbytes(_BYTES).hex().encode())


def _only_backend() -> str:
    keys = storages.registered_backends()
    if len(keys) != 1:
        raise ConfigurationError(
            f"Random files need to know their backend, and {keys or 'none'} is registered: provide_files(backend=...), "
            "or Use(FileObject, ...) for the field"
        )
    return keys[0]
