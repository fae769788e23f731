"""Public packages that load their names late: where these come from, and what loading them brings along."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import litestar_filestore
from litestar_filestore import testing

if TYPE_CHECKING:
    from types import ModuleType

PACKAGES = (litestar_filestore, testing)
NAMES = [(package, name) for package in PACKAGES for name in package.__all__]


def _tree(package: ModuleType) -> ast.Module:
    return ast.parse(Path(str(package.__file__)).read_text("utf-8"))


def _typing_imports(package: ModuleType) -> dict[str, str]:
    """Return the module of each name as type checkers read it."""
    guarded = next(node for node in _tree(package).body if isinstance(node, ast.If))
    assert ast.unparse(guarded.test) == "TYPE_CHECKING"
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(guarded.body)
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def _table(package: ModuleType) -> dict[str, str]:
    """Return the module of each name as the interpreter reads it."""
    assigned = (node for node in _tree(package).body if isinstance(node, ast.Assign))
    table = next(node for node in assigned if ast.unparse(node.targets[0]) == "_HOMES")
    homes: dict[str, str] = ast.literal_eval(table.value)
    return {name: f"{package.__name__}.{module}" for name, module in homes.items()}


def _loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_table_exports_and_typing_imports_agree(package: ModuleType) -> None:
    """A name is public, can be loaded and has a type, or none of these."""
    assert _table(package) == _typing_imports(package)
    assert sorted(_table(package)) == sorted(package.__all__)


@pytest.mark.parametrize(("package", "name"), NAMES, ids=str)
def test_name_is_the_one_of_its_module(package: ModuleType, name: str) -> None:
    """A public name is the same object as in the module that defines it."""
    assert getattr(package, name) is getattr(import_module(_table(package)[name]), name)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_dir_lists_every_name(package: ModuleType) -> None:
    """Names that were not used yet are listed too."""
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    """A name that the package does not have is refused as by any module."""
    with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'FileObjekt'"):
        _ = package.FileObjekt


@pytest.mark.parametrize(
    "statement",
    [
        "import litestar_filestore.orm",
        "import litestar_filestore.ledger",
        "import litestar_filestore.core.file_object",
        "from litestar_filestore import StoredObject, FileObject, FileObjectList, storages",
        "from litestar_filestore import FSSpecBackend, LocalBackend, MemoryBackend, ObstoreBackend",
        "from litestar_filestore import ContentTypes, ImageSize, MaxSize",
    ],
)
def test_litestar_is_not_loaded(statement: str) -> None:
    """Columns, backends and rules do without Litestar."""
    assert "litestar" not in _loaded_by(statement)


def test_backends_load_without_sqlalchemy() -> None:
    """A program that stores files and has no database loads none."""
    assert "sqlalchemy" not in _loaded_by("from litestar_filestore import FileObject, LocalBackend")


def test_column_is_tracked() -> None:
    """A column brings along what follows its files; the name of its type alone does not."""
    named = "from litestar_filestore import StoredObject"
    assert "litestar_filestore.tracking" not in _loaded_by(named)
    assert "litestar_filestore.tracking.flush" in _loaded_by(f"{named}\nStoredObject(backend='documents')")


def test_faults_load_without_pytest() -> None:
    """A program that makes its store fail need not have pytest."""
    assert "pytest" not in _loaded_by("from litestar_filestore.testing import Fault, FaultyDriver")
