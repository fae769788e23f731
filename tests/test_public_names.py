"""The root package: its names, where they come from, and what loading them brings along."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import litestar_filestore

_TREE = ast.parse(Path(litestar_filestore.__file__).read_text("utf-8"))


def _typing_imports() -> dict[str, str]:
    """Return the module of each name as type checkers read it."""
    guarded = next(node for node in _TREE.body if isinstance(node, ast.If))
    assert ast.unparse(guarded.test) == "TYPE_CHECKING"
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(guarded.body)
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def _table() -> dict[str, str]:
    """Return the module of each name as the interpreter reads it."""
    table = next(
        node for node in _TREE.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    )
    homes: dict[str, str] = ast.literal_eval(table.value)
    return {name: f"litestar_filestore.{module}" for name, module in homes.items()}


def _loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_table_exports_and_typing_imports_agree() -> None:
    """A name is public, can be loaded and has a type, or none of these."""
    assert _table() == _typing_imports()
    assert sorted(_table()) == sorted(litestar_filestore.__all__)


@pytest.mark.parametrize("name", litestar_filestore.__all__)
def test_name_is_the_one_of_its_module(name: str) -> None:
    """A public name is the same object as in the module that defines it."""
    assert getattr(litestar_filestore, name) is getattr(import_module(_table()[name]), name)


def test_dir_lists_every_name() -> None:
    """Names that were not used yet are listed too."""
    assert set(litestar_filestore.__all__) <= set(dir(litestar_filestore))


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that the package does not have is refused as by any module."""
    with pytest.raises(AttributeError, match="'litestar_filestore' has no attribute 'FileObjekt'"):
        _ = litestar_filestore.FileObjekt  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "statement",
    [
        "import litestar_filestore.orm",
        "import litestar_filestore.ledger",
        "import litestar_filestore.core.file_object",
        "from litestar_filestore import StoredObject, FileObject, FileObjectList, storages",
        "from litestar_filestore import FSSpecBackend, LocalBackend, MemoryBackend, ObstoreBackend",
        "from litestar_filestore import ContentTypes, FileField, ImageSize, MaxSize",
    ],
)
def test_litestar_is_not_loaded(statement: str) -> None:
    """Columns, backends and rules do without Litestar."""
    assert "litestar" not in _loaded_by(statement)


def test_backends_load_without_sqlalchemy() -> None:
    """A program that stores files and has no database loads none."""
    assert "sqlalchemy" not in _loaded_by("from litestar_filestore import FileObject, LocalBackend")


def test_column_is_tracked() -> None:
    """A column brings along what follows its files, and what checks their rules."""
    loaded = _loaded_by("from litestar_filestore import StoredObject")
    assert {"litestar_filestore.tracking.flush", "litestar_filestore.validation.checking"} <= loaded
