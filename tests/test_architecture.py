"""The package keeps the shape that `tests/architecture.py` draws, and the drawing's rules notice when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.architecture import (
    BY_NAME,
    HOUSE,
    MORE_LIBRARIES,
    PACKAGE,
    PUBLIC_HOMES,
    ROOT,
    Module,
    asynchronous_code,
    circles,
    doubled_names,
    graph_of,
    hidden_imports,
    imports_of,
    libraries_of,
    lonely,
    modules_below,
    private_imports,
    private_reads,
    public_names,
    wrong_exports,
    wrong_imports,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[str, str], Module]

MODULES = modules_below(ROOT / PACKAGE)
EXAMPLE = modules_below(ROOT / "example_app")
NAMES = {module.name for module in MODULES}
RULES: tuple[Callable[[Module], Iterator[str]], ...] = (
    wrong_imports,
    wrong_exports,
    asynchronous_code,
    private_imports,
)

# A module that one other module imports is half of that one, unless a reader wants only this half: here is why.
LONELY = {
    "backends.fsspec.azure": "a store: what adlfs is told and what its errors mean",
    "backends.fsspec.ftp": "a store: what FTP servers cannot do, and how it is done all the same",
    "backends.fsspec.gcs": "a store: what gcsfs is told and what its errors mean",
    "backends.fsspec.sftp": "a store: SFTP by sshfs or paramiko",
    "backends.fsspec.shared_memory": "a store: the one memory that fsspec has for a process",
    "backends.fsspec.stores": "the table of stores: a new one is entered here",
    "backends.fsspec.webdav": "a store: what webdav4 is told and what its errors mean",
    "backends.local.reads": "reading from disks, with and without threads",
    "backends.local.unfinished": "objects put in parts, apart from those put at once",
    "backends.obstore.gets": "reading ahead within a memory that readers share",
    "backends.obstore.opening": "from URL and options to a store of obstore's, before there is a driver",
    "backends.obstore.s3_beside_obstore": "requests to S3 that obstore does not make: signed answers, pending uploads",
    "backends.obstore.webdav_servers": "a store: what obstore gets wrong on WebDAV",
    "cli.cors": "asks and tells a bucket what pages may do, apart from the other commands",
    "cli.commands": "loaded by name, when a command is run",
    "cli.probes": "proves what a store can do: without a command line",
    "cli.row_facts": "what rows know of objects, for stores that know less",
    "cli.policies": "what each service calls the permissions: a service is changed here",
    "core.reader": "a file that can be sought in, for libraries: nothing of it is needed to stream",
    "downloads.delivery": "who sends the bytes: a mode of delivery is changed here",
    "ledger.reserves": "which keys are reserved, and for how long, apart from how they are entered",
    "links.routes": "the routes that serve links",
    "plugin.middleware": "what a request leaves is given up here, in a `finally`",
    "plugin.telling": "who is told of events: watchers, and the listeners of Litestar",
    "plugin.serialization": "how a file looks in JSON and in OpenAPI",
    "router.backend_routes": "the routes of a backend, half of the router",
    "router.column_routes": "the routes of a column, half of the router",
    "sansio.http_uploads": "the grammar of a draft, tested without I/O",
    "sansio.multipart": "a parser without I/O, tested byte by byte",
    "testing.conformance_concurrency": "a chapter of the definition of a driver",
    "testing.conformance_copy": "a chapter of the definition of a driver",
    "testing.conformance_direct": "a chapter of the definition of a driver",
    "testing.conformance_get": "a chapter of the definition of a driver",
    "testing.conformance_head": "a chapter of the definition of a driver",
    "testing.conformance_keys": "a chapter of the definition of a driver",
    "testing.conformance_list": "a chapter of the definition of a driver",
    "testing.conformance_put": "a chapter of the definition of a driver",
    "testing.pytest_plugin": "loaded by pytest, so it imports nothing",
    "testing.slow_put": "a program: the process that a conformance test kills",
    "tracking.flush": "what a flush does to files, apart from who listens",
    "uploads.experimental_uploads": "what a draft wants: it comes and goes with the draft",
    "uploads.direct": "the routes of direct uploads, apart from where they are mounted",
    "uploads.watched_files": "what it costs to watch uploads, apart from what nobody watches",
    "uploads.handlers": "what the application start does to handlers that take uploads",
    "validation.containers": "looking into archives and office documents",
    "validation.signatures": "the table of signatures",
    "validation.sound": "looking at frames of sound",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_modules_keep_the_rules(rule: Callable[[Module], Iterator[str]]) -> None:
    """Every module of the package stays within its room, explicit and, where it has to be, pure."""
    assert [violation for module in MODULES for violation in rule(module)] == []


def test_modules_import_in_no_circle() -> None:
    """Following imports from any module never leads back to it, wherever the imports stand."""
    assert list(circles(graph_of(MODULES))) == []


def test_names_of_modules_are_unique() -> None:
    """The name of a module says which one is meant."""
    assert list(doubled_names(MODULES)) == []


def test_private_names_stay_in_their_modules() -> None:
    """No module reads off an object what only another module knows."""
    assert list(private_reads(MODULES)) == []


def test_modules_that_one_other_imports_have_a_reason() -> None:
    """A module of its own is worth opening by itself: the table names all those with one user, and no others."""
    assert {name: reason for name, reason in LONELY.items() if not reason.strip()} == {}
    found = lonely(MODULES)
    assert {name: f"only {found[name]}" for name in set(found) - set(LONELY)} == {}
    assert set(LONELY) - set(found) == set(), "others use it as well, or nobody has it any more"


def test_example_app_uses_public_names_only() -> None:
    """The example app shows what users can write: it imports nothing that the package does not export."""
    public = public_names()
    assert [violation for module in EXAMPLE for violation in hidden_imports(module, public)] == []


def test_the_rules_are_applied_to_the_package() -> None:
    """The rules above looked at real modules, the root module among them."""
    assert {"", "errors", "core.types"} <= NAMES
    assert len(EXAMPLE) > 1


def test_rooms_form_no_circle() -> None:
    """Following the arrows from any room never leads back to it."""
    assert list(circles({name: room.rooms for name, room in HOUSE.items()})) == []


def test_nothing_imports_testing_or_the_commands() -> None:
    """No room sees `testing` or `cli`, so neither is loaded unless it is asked for."""
    assert [name for name, room in HOUSE.items() if {"testing", "cli"} & {*room.rooms}] == []


def test_litestar_is_not_seen_below_the_features() -> None:
    """What a script needs that has columns and no application is usable without Litestar."""
    below = [name for name, room in HOUSE.items() if "litestar" not in room.libraries and name]
    assert [name for name in below for seen in HOUSE[name].rooms if "litestar" in HOUSE[seen].libraries] == []


def test_tables_name_what_there_is() -> None:
    """No entry outlives what it is about: rooms, modules with more libraries, and imports by name."""
    assert {name.partition(".")[0] for name in NAMES} == set(HOUSE)
    assert {*MORE_LIBRARIES, *(name for pair in BY_NAME for name in pair), *PUBLIC_HOMES} - NAMES == set()
    used = {(module.name, found.root) for module in MODULES for found in imports_of(module)}
    for name, libraries in MORE_LIBRARIES.items():
        inside = {library for user, library in used if user == name or user.startswith(f"{name}.")}
        assert set(libraries) <= inside, name
    for room, rules in HOUSE.items():
        assert set(rules.libraries) <= {library for user, library in used if user.partition(".")[0] == room}, room


@pytest.fixture
def written(tmp_path: Path) -> Write:
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
        ("core.types", "from litestar_filestore.ledger.table import State"),
        ("core.types", "from litestar_filestore import FileObject"),
        ("core.types", "from litestar_filestore import orm"),
        ("core.types", "from .keys import check_key"),
        ("core.types", "from . import keys"),
        ("core.types", "def load():\n    import obstore"),
        ("core.types", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import litestar"),
        ("core.types", "from importlib import import_module\nimport_module('litestar_filestore.backends.memory')"),
        ("core.types", "from importlib import import_module\nHOME = 'obstore'\ndef f():\n    import_module(HOME)"),
        ("core.types", "import importlib\nimportlib.import_module('obstore')"),
        ("core.file_object_extras", "import pydantic_core"),
        ("sansio.ranges", "from litestar_filestore.core.types import Info"),
        ("backends.memory", "import fsspec"),
        ("backends.obstore_extras", "import obstore"),
        ("backends.memory", "from litestar_filestore.sansio.tokens import Token"),
        ("validation.rules", "from litestar_filestore.backends.memory import MemoryBackend"),
        ("orm.columns", "from litestar_filestore.ledger.table import State"),
        ("ledger.table", "from litestar_filestore.tracking.flush import flush"),
        ("tracking.flush", "import litestar"),
        ("ledger.table", "from advanced_alchemy.base import UUIDBase"),
        ("uploads.limits", "from litestar_filestore.plugin.config import FilestoreConfig"),
        ("uploads.limits", "from litestar_filestore.links.signer import Signer"),
        ("uploads.limits", "from litestar_filestore.downloads.response import FileDownload"),
        ("router.router", "from litestar_filestore.plugin.plugin import FilestorePlugin"),
        ("plugin.config", "import click"),
        ("plugin.config", "from importlib import import_module\nimport_module('litestar_filestore.cli.commands')"),
        ("plugin.plugin", "from litestar_filestore.testing.faults import FaultyDriver"),
        ("extras.thing", "import json"),
    ],
)
def test_wrong_import_is_reported(written: Write, name: str, source: str) -> None:
    """The checker sees an import without an arrow, whatever its form and place."""
    assert len(list(wrong_imports(written(name, source)))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("errors", "from typing_extensions import override"),
        ("core.types", "import json, msgspec\nfrom litestar_filestore.errors import StorageError"),
        ("core.file_object", "from litestar_filestore.core.keys import check_key"),
        ("core.file_object", "import pydantic_core.core_schema"),
        ("backends.obstore.puts", "import obstore.store"),
        ("ledger.ledger", "import sqlalchemy\nfrom litestar_filestore.orm.columns import columns"),
        ("links.routes", "from litestar_filestore.uploads.limits import UploadLimits"),
        ("plugin.plugin", "import sqlalchemy, litestar\nfrom litestar_filestore.ledger.ledger import Ledger"),
        ("plugin.plugin", "from importlib import import_module\nimport_module('litestar_filestore.cli.commands')"),
        ("cli.commands", "import click, rich"),
        ("testing.fixtures", "import pytest\nfrom litestar_filestore.core.registry import storages"),
    ],
)
def test_right_import_is_not_reported(written: Write, name: str, source: str) -> None:
    """The checker lets an import pass that follows an arrow or uses a library of its room."""
    assert list(wrong_imports(written(name, source))) == []


def test_libraries_are_let_in_by_whole_names() -> None:
    """A package lets a library into all its modules; a module whose name only begins alike has none of it."""
    assert "obstore" in libraries_of("backends.obstore.puts")
    assert "obstore" not in libraries_of("backends.obstore_puts")


@pytest.mark.parametrize("source", ["x = 1", "__all__ = ['x']\nx = 1", "__all__: list[str] = []", "import json"])
def test_missing_tuple_of_exports_is_reported(written: Write, source: str) -> None:
    """The checker wants a tuple, neither a list nor nothing."""
    assert len(list(wrong_exports(written("errors", source)))) == 1


@pytest.mark.parametrize("source", ["__all__ = ('x',)", "__all__: tuple[str, ...] = ()", '"""Only words."""', ""])
def test_tuple_of_exports_is_not_reported(written: Write, source: str) -> None:
    """The checker is content with a tuple, and with a module that has nothing to export."""
    assert list(wrong_exports(written("errors", source))) == []


@pytest.mark.parametrize("name", ["sansio.ranges", "core.keys"])
@pytest.mark.parametrize(
    "statement",
    ["async def f(): pass", "async def f(): await g()", "async def f(): return [x async for x in g()]"],
)
def test_asynchronous_code_is_reported_where_it_is_pure(written: Write, name: str, statement: str) -> None:
    """The checker reports anything asynchronous in a pure module."""
    assert list(asynchronous_code(written(name, statement)))


def test_asynchronous_code_is_not_reported_elsewhere(written: Write) -> None:
    """The checker lets the other modules await."""
    assert list(asynchronous_code(written("core.backend", "async def f(): await g()"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "from litestar_filestore.b import x",
        "from litestar_filestore import b",
        "import litestar_filestore.b",
        "def f():\n    from litestar_filestore.b import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from litestar_filestore.b import X",
        "from importlib import import_module\ndef f():\n    import_module('litestar_filestore.b')",
    ],
)
def test_circle_is_reported(written: Write, source: str) -> None:
    """The checker sees a circle by way of a third module, in whatever form the imports are written."""
    modules = [
        written("a", source),
        written("b", "import litestar_filestore.c"),
        written("c", "import litestar_filestore.a"),
        written("d", "import litestar_filestore.a"),
    ]
    assert list(circles(graph_of(modules))) == ["a circle: a, b, c"]


def test_chain_is_no_circle(written: Write) -> None:
    """The checker lets modules import each other in one direction, by more than one way."""
    modules = [
        written("a", "from litestar_filestore.b import x\nfrom litestar_filestore.c import y"),
        written("b", "import litestar_filestore.c"),
        written("c", ""),
    ]
    assert list(circles(graph_of(modules))) == []


def test_doubled_name_is_reported(written: Write) -> None:
    """The checker wants one module for a name; packages and a room's main file do not count."""
    modules = [written(name, "") for name in ("a.x", "b.x", "a.y", "b.b", "b.__init__", "a.__init__", "c.b")]
    assert list(doubled_names(modules)) == ["one name for several modules: a.x, b.x"]


@pytest.mark.parametrize(
    "source",
    ["from litestar_filestore.b import _x", "from litestar_filestore._b import x", "import litestar_filestore._b"],
)
def test_private_import_is_reported(written: Write, source: str) -> None:
    """The checker sees a private name that comes from another module."""
    assert len(list(private_imports(written("a", source)))) == 1


@pytest.mark.parametrize(
    "source", ["def _f(): ...", "class A:\n    __slots__ = ('_f',)", "class A:\n    _f = 1", "a._f = 1"]
)
def test_private_read_is_reported(written: Write, source: str) -> None:
    """The checker sees that a module reads what only another one defines."""
    modules = [written("a", "from litestar_filestore import b\nb._f\nb._g"), written("b", source)]
    assert list(private_reads(modules)) == ["a:2 reads b._f"]


def test_private_read_of_the_same_module_is_not_reported(written: Write) -> None:
    """The checker lets a module read the private parts of its own classes and of what they inherit."""
    source = "from litestar_filestore.b import B\nclass A(B):\n    def f(self, a):\n        self._x = 1\n"
    source += "        return a._x, self._y, library._z"
    assert list(private_reads([written("a", source), written("b", "class B:\n    _y = 1")])) == []


def test_module_with_one_user_is_reported(written: Write) -> None:
    """The checker names modules that one other one imports, or none; public homes hand on what others use."""
    modules = [
        written("errors", "from litestar_filestore.e import E"),
        written("a", "from litestar_filestore.b import x\nfrom litestar_filestore.c import y"),
        written("b", "import litestar_filestore.c"),
        written("c", ""),
        written("e", ""),
    ]
    assert lonely(modules) == {"a": "", "b": "a"}


@pytest.mark.parametrize(
    "source",
    [
        "import litestar_filestore.core.keys",
        "from litestar_filestore import hidden",
        "from litestar_filestore.errors import hidden",
        "from litestar_filestore.core.file_object import FileObject",
    ],
)
def test_hidden_import_of_an_application_is_reported(written: Write, source: str) -> None:
    """The checker reports an application that reaches behind the public names."""
    public = {PACKAGE: {"FileObject"}, f"{PACKAGE}.errors": {"StorageError"}}
    assert len(list(hidden_imports(written("app", source), public))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import litestar_filestore",
        "from litestar_filestore import FileObject, errors",
        "from litestar_filestore.errors import StorageError",
    ],
)
def test_public_import_of_an_application_is_not_reported(written: Write, source: str) -> None:
    """The checker lets an application have what is public."""
    public = {PACKAGE: {"FileObject"}, f"{PACKAGE}.errors": {"StorageError"}}
    assert list(hidden_imports(written("app", source), public)) == []
