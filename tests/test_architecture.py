"""The package keeps the shape that `tests/architecture.py` draws, and the drawing's rules notice when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.architecture import (
    HOUSE,
    PACKAGE,
    ROOT,
    Module,
    asynchronous_code,
    exported_names,
    modules_below,
    private_imports,
    wrong_exports,
    wrong_imports,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODULES = modules_below(ROOT / PACKAGE)
EXAMPLE = modules_below(ROOT / "example_app")
RULES: tuple[Callable[[Module], Iterator[str]], ...] = (wrong_imports, wrong_exports, asynchronous_code)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("module", MODULES, ids=str)
def test_module_keeps_the_rules(module: Module, rule: Callable[[Module], Iterator[str]]) -> None:
    """Every module of the package stays within its layer, explicit and, where it has to be, pure."""
    assert list(rule(module)) == []


@pytest.mark.parametrize("module", EXAMPLE, ids=str)
def test_example_app_uses_public_names_only(module: Module) -> None:
    """The example app shows what users can write: it imports nothing that the package does not export."""
    public = exported_names(Module("", ROOT / PACKAGE / "__init__.py"))
    assert list(private_imports(module, public)) == []


def test_the_rules_are_applied_to_the_package() -> None:
    """The rules above looked at real modules, the root module among them."""
    assert {"", "errors", "core.types"} <= {module.name for module in MODULES}


def test_layers_form_no_circle() -> None:
    """Following the arrows from any layer never leads back to it."""
    below = {name: set(layer.layers) for name, layer in HOUSE.items()}
    for _ in HOUSE:
        below = {name: seen.union(*(below[other] for other in seen)) for name, seen in below.items()}
    assert [name for name, seen in below.items() if name in seen] == []


def test_nothing_imports_images_or_testing() -> None:
    """No layer sees `images` or `testing`, so neither is loaded unless an application asks for it."""
    assert [name for name, layer in HOUSE.items() if {"images", "testing"} & set(layer.layers)] == []


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, str], Module]:
    """Write a source file of a package that does not exist otherwise and return it as a module."""

    def write(name: str, source: str) -> Module:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        return Module.at(path, tmp_path)

    return write


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("errors", "import msgspec"),
        ("core.types", "import sqlalchemy.orm"),
        ("core.types", "import anyio"),
        ("core.types", "from litestar_filestore.orm.ledger import Ledger"),
        ("core.types", "from litestar_filestore import FileObject"),
        ("core.types", "from litestar_filestore import orm"),
        ("core.types", "from .keys import check_key"),
        ("core.types", "from . import keys"),
        ("core.types", "def load():\n    import obstore"),
        ("core.types", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import litestar"),
        ("core.types", "from importlib import import_module\nimport_module('litestar_filestore.backends.obstore')"),
        ("core.types", "import importlib\nimportlib.import_module('obstore')"),
        ("sansio.ranges", "from litestar_filestore.core.types import Info"),
        ("backends.memory", "import fsspec"),
        ("validation.rules", "from litestar_filestore.backends.memory import MemoryBackend"),
        ("orm.ledger", "from advanced_alchemy.base import UUIDBase"),
        ("http.download", "from litestar_filestore.orm.ledger import Ledger"),
        ("plugin.config", "import click"),
        ("plugin.plugin", "from litestar_filestore.testing.faults import FaultyDriver"),
        ("plugin.plugin", "import litestar_filestore.images"),
        ("extras.thing", "import json"),
    ],
)
def test_wrong_import_is_reported(written: Callable[[str, str], Module], name: str, source: str) -> None:
    """The checker sees an import without an arrow, whatever its form and place."""
    assert len(list(wrong_imports(written(name, source)))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("errors", "from typing_extensions import override"),
        ("core.types", "import json, msgspec\nfrom litestar_filestore.errors import StorageError"),
        ("core.file_object", "from litestar_filestore.core.keys import check_key"),
        ("core.sources", "import anyio.to_thread"),
        ("backends.obstore", "import obstore.store"),
        ("plugin.plugin", "import sqlalchemy, litestar\nfrom litestar_filestore.orm.ledger import Ledger"),
        ("plugin.cli", "import rich_click as click"),
        ("testing.fixtures", "import pytest\nfrom litestar_filestore import storages"),
    ],
)
def test_right_import_is_not_reported(written: Callable[[str, str], Module], name: str, source: str) -> None:
    """The checker lets an import pass that follows an arrow or uses a library of its layer."""
    assert list(wrong_imports(written(name, source))) == []


@pytest.mark.parametrize("source", ["x = 1", "__all__ = ['x']\nx = 1", "__all__: list[str] = []", "import json"])
def test_missing_tuple_of_exports_is_reported(written: Callable[[str, str], Module], source: str) -> None:
    """The checker wants a tuple, neither a list nor nothing."""
    assert len(list(wrong_exports(written("errors", source)))) == 1


@pytest.mark.parametrize("source", ["__all__ = ('x',)", "__all__: tuple[str, ...] = ()", '"""Only words."""', ""])
def test_tuple_of_exports_is_not_reported(written: Callable[[str, str], Module], source: str) -> None:
    """The checker is content with a tuple, and with a module that has nothing to export."""
    assert list(wrong_exports(written("errors", source))) == []


@pytest.mark.parametrize("name", ["sansio.ranges", "core.keys", "core.meter"])
@pytest.mark.parametrize(
    "statement",
    ["async def f(): pass", "async def f(): await g()", "async def f(): return [x async for x in g()]"],
)
def test_asynchronous_code_is_reported_where_it_is_pure(
    written: Callable[[str, str], Module], name: str, statement: str
) -> None:
    """The checker reports anything asynchronous in a pure module."""
    assert list(asynchronous_code(written(name, statement)))


def test_asynchronous_code_is_not_reported_elsewhere(written: Callable[[str, str], Module]) -> None:
    """The checker lets the other modules await."""
    assert list(asynchronous_code(written("core.backend", "async def f(): await g()"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import litestar_filestore",
        "import litestar_filestore.core.keys",
        "from litestar_filestore import hidden",
        "from litestar_filestore.core.file_object import FileObject",
    ],
)
def test_private_import_of_an_application_is_reported(written: Callable[[str, str], Module], source: str) -> None:
    """The checker reports an application that reaches behind the public names."""
    assert len(list(private_imports(written("app", source), frozenset({"FileObject"})))) == 1
