"""Backends by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from litestar_filestore.backends.local.local_backend import LocalBackend
from litestar_filestore.backends.memory import MemoryBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.registry import StorageRegistry
from litestar_filestore.errors import BackendNotRegisteredError, ConfigurationError


class FolderBackend(LocalBackend):
    """A class of the application's that is built for URLs."""

    def __init__(self, key: str, fs: str) -> None:
        super().__init__(key, fs.removeprefix("file://"))


@pytest.fixture
def registry() -> StorageRegistry:
    """Make an empty registry."""
    return StorageRegistry()


def test_registered_backend_is_found(registry: StorageRegistry) -> None:
    """A backend is found under its own key, by every spelling of a look-up."""
    backend = MemoryBackend("documents")
    registry.register_backend(backend)
    assert registry.get_backend("documents") is registry.get("documents") is registry["documents"] is backend
    assert registry.is_registered("documents")
    assert "documents" in registry


def test_unknown_key_lists_the_known_ones(registry: StorageRegistry) -> None:
    """A look-up that fails says what there is, and is a ``LookupError`` too."""
    registry.register_backend(MemoryBackend("documents"))
    with pytest.raises(BackendNotRegisteredError, match="'documents'") as caught:
        registry.get_backend("images")
    assert caught.value.backend == "images"
    assert isinstance(caught.value, LookupError)


def test_order_is_kept(registry: StorageRegistry) -> None:
    """Backends are listed in the order of their registration."""
    for key in "cab":
        registry.register_backend(MemoryBackend(key))
    assert registry.registered_backends() == list(registry) == ["c", "a", "b"]
    assert [backend.key for backend in registry.all()] == ["c", "a", "b"]
    assert len(registry) == 3


def test_later_backend_replaces_the_earlier(registry: StorageRegistry) -> None:
    """A key has one backend, the last one."""
    first, second = MemoryBackend("a"), MemoryBackend("a")
    registry.register_backend(first)
    registry.register_backend(second)
    assert registry.all() == [second]


def test_unregister(registry: StorageRegistry) -> None:
    """A forgotten backend is not found any more; forgetting twice is fine."""
    registry.register_backend(MemoryBackend("a"))
    for _ in range(2):
        registry.unregister_backend("a")
    assert not registry.is_registered("a")


def test_clear(registry: StorageRegistry) -> None:
    """All backends can be forgotten at once."""
    registry.register_backend(MemoryBackend("a"))
    registry.clear_backends()
    assert len(registry) == 0


def test_registry_may_change_while_it_is_iterated(registry: StorageRegistry) -> None:
    """Iterating works on the keys of its beginning."""
    for key in "ab":
        registry.register_backend(MemoryBackend(key))
    for key in registry:
        registry.unregister_backend(key)
    assert len(registry) == 0


def test_key_beside_a_backend_is_refused(registry: StorageRegistry) -> None:
    """A backend has its own key; a second one could only contradict."""
    register: Any = registry.register_backend
    with pytest.raises(ConfigurationError):
        register(MemoryBackend("a"), key="b")


def test_url_needs_a_key(registry: StorageRegistry) -> None:
    """A URL alone names no backend."""
    register: Any = registry.register_backend
    with pytest.raises(ConfigurationError):
        register("memory:///")


def test_url_makes_the_default_backend(registry: StorageRegistry, tmp_path: Path) -> None:
    """A URL is handed to the default class, which works at once."""
    registry.register_backend(tmp_path.as_uri(), key="files")
    backend = registry["files"]
    backend.put(b"abc", key="a")
    assert (tmp_path / "a").read_bytes() == b"abc"


@pytest.mark.parametrize("default", [FolderBackend, f"{__name__}.FolderBackend"], ids=["class", "path"])
def test_default_backend_is_chosen(tmp_path: Path, default: str | type[StorageBackend]) -> None:
    """The default may be a class or its dotted path, on construction or later."""
    later = StorageRegistry()
    later.set_default_backend(default)
    for registry in (StorageRegistry(default_backend=default), later):
        registry.register_backend(tmp_path.as_uri(), key="files")
        assert type(registry["files"]).__name__ == "FolderBackend"


@pytest.mark.parametrize("path", ["no.such.module.Class", "litestar_filestore.NoSuchClass", "nonsense", ""])
def test_default_that_cannot_be_imported(registry: StorageRegistry, path: str) -> None:
    """A wrong path is a wrong set-up, told when it is needed."""
    registry.set_default_backend(path)
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        registry.register_backend("memory:///", key="files")
