"""A user's module in which the blocks of the storage page run, and a registry that is given back as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from litestar_filestore import storages

__all__ = ("UserModule",)


class UserModule:
    """The module of an application, to which blocks of code are added."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self.names: dict[str, Any] = vars(module)
        """What the module holds."""

    def run(self, block: str, changes: Mapping[str, str] | None = None) -> None:
        """Run `block` in the module, with the text of places and credentials changed.

        Raises:
            AssertionError: If a text to be changed is not in the block.
        """
        for old, new in (changes or {}).items():
            assert old in block
            block = block.replace(old, new)
        exec(compile(block, "block", "exec", dont_inherit=True), self.names)  # noqa: S102 - the user's code


@pytest.fixture
def user_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[UserModule]:
    """A module of an application that has imported `storages`; the registry is empty."""
    module = ModuleType("user_module")
    module.__dict__["storages"] = storages
    monkeypatch.setitem(sys.modules, "user_module", module)  # SQLAlchemy looks names of annotations up there
    before = storages.all()
    storages.clear_backends()
    yield UserModule(module)
    storages.clear_backends()
    for backend in before:
        storages.register_backend(backend)
