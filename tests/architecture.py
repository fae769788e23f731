"""The picture of the house, and the rules that keep it true.

`HOUSE` says for each room which other rooms it may see and which libraries it may use. The rest of the file reads the
imports out of the syntax trees, wherever they stand: at the top, in a function, under ``TYPE_CHECKING`` or as
``import_module("...")``. Nothing is imported to find out, so a forbidden import is found in a broken module too.
Each rule yields one sentence per violation; `test_architecture.py` wants none. No rule counts lines.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

ROOT = Path(__file__).parent.parent
PACKAGE = "litestar_filestore"


@dataclass(frozen=True)
class Room:
    """What the modules of one room may import, besides each other and the standard library."""

    rooms: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


# ----------------------------------------------------------------------------------------------------------------------
#   errors  <-  core  <-  backends
#   errors  <-  core  <-  validation  <-  orm  <-  ledger  <-  tracking
#   errors  <-  sansio                                                      no Litestar up to here
#               all of these  <-  uploads  <-  downloads  <-  links  <-  router  <-  plugin
#                                                                         element  <-  plugin
#               testing, cli, metrics: nothing imports them
# ----------------------------------------------------------------------------------------------------------------------
WITHOUT_LITESTAR = ("errors", "core", "sansio", "backends", "validation", "orm", "ledger", "tracking")
FEATURES = ("uploads", "downloads", "links", "router", "element")

HOUSE = {
    "errors": Room(),
    "core": Room(("errors",), ("msgspec",)),
    "sansio": Room(("errors",)),
    "backends": Room(("errors", "core")),
    "validation": Room(("errors", "core"), ("msgspec",)),
    "orm": Room(("errors", "core", "validation"), ("sqlalchemy", "msgspec")),
    "ledger": Room(("errors", "core", "validation", "orm"), ("sqlalchemy",)),
    "tracking": Room(("errors", "core", "validation", "orm", "ledger"), ("sqlalchemy",)),
    "uploads": Room(WITHOUT_LITESTAR, ("litestar", "msgspec", "sqlalchemy")),
    "downloads": Room((*WITHOUT_LITESTAR, "uploads"), ("litestar", "anyio", "sqlalchemy")),
    "links": Room((*WITHOUT_LITESTAR, "uploads", "downloads"), ("litestar", "msgspec")),
    "router": Room((*WITHOUT_LITESTAR, "uploads", "downloads", "links"), ("litestar", "sqlalchemy")),
    "element": Room((), ("litestar",)),
    "plugin": Room((*WITHOUT_LITESTAR, *FEATURES), ("litestar", "sqlalchemy", "msgspec")),
    "cli": Room(
        (*WITHOUT_LITESTAR, *FEATURES, "plugin"), ("litestar", "sqlalchemy", "anyio", "click", "msgspec", "rich")
    ),
    "metrics": Room(("errors", "core"), ("prometheus_client", "opentelemetry")),
    "testing": Room(("errors", "core", "sansio", "backends"), ("anyio", "httpx", "pytest")),
    # Public names only: the package itself, and what an author of a driver needs.
    "": Room((*WITHOUT_LITESTAR, *FEATURES, "plugin")),
    "drivers": Room(("errors", "core", "backends")),
    "events": Room(("core",)),
}

# Where more libraries are let in than the room has: a module or a package, by its whole name.
MORE_LIBRARIES = {
    "core.file_object": ("pydantic_core",),  # what pydantic asks a field's type for; it is installed when pydantic asks
    "sansio.tokens": ("msgspec",),  # writes and reads the claims
    "backends.moving": ("msgspec",),  # notes of what is moved, and records with another key
    "backends.obstore": ("obstore",),
    "backends.obstore.s3_beside_obstore": ("botocore", "s3fs"),  # for what obstore does not offer
    # fsspec reaches services through implementations of its own; each is known in the module of its service only.
    "backends.fsspec": ("fsspec",),
    "backends.fsspec.azure": ("azure",),
    "backends.fsspec.fsspec_backend": ("sshfs",),
    "backends.fsspec.gcs": ("google", "yarl"),
    "ledger.migrations": ("alembic",),  # imported by migrations only, so Alembic is there
}

# Imports against the arrows, each with its reason. They are made by name, when they are called for.
BY_NAME = {
    ("plugin.plugin", "cli.commands"): "the commands need click and rich, which are optional in Litestar 3",
}

# What others import from. A module whose names one of them hands on is used by programs, whoever else imports it.
PUBLIC_HOMES = ("", "drivers", "errors", "events", "ledger", "ledger.migrations", "metrics", "orm", "testing")

# Backports of the standard library count as the standard library.
STANDARD = sys.stdlib_module_names | {"typing_extensions"}

# HTTP grammar and key rules are pure: they can be tested without a loop and used from sync and async.
PURE = ("sansio", "core.keys")


@dataclass(frozen=True)
class Module:
    """One source file of the package.

    Attributes:
        name: Dotted name below the package, `""` for the package itself.
        path: The file.
    """

    name: str
    path: Path

    @classmethod
    def at(cls, path: Path, package: Path) -> Module:
        """Name the module in the file `path` below the folder `package`."""
        parts = path.relative_to(package).with_suffix("").parts
        return cls(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)

    @property
    def room(self) -> str:
        """The first segment of the name."""
        return self.name.partition(".")[0]

    @cached_property
    def source(self) -> str:
        """The text of the file."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of the file."""
        return ast.parse(self.source, str(self.path))

    def __str__(self) -> str:
        return self.name or PACKAGE


@dataclass(frozen=True)
class Import:
    """One imported module, and the line of the statement.

    Attributes:
        target: Dotted name of the module, and behind it the imported name if the statement has one.
        line: Where the statement stands.
    """

    target: str
    line: int

    @property
    def root(self) -> str:
        """The first segment: the library, or the package itself."""
        return self.target.partition(".")[0]

    @property
    def inside(self) -> str:
        """The name below the package of what is imported from it."""
        return self.target.removeprefix(PACKAGE).removeprefix(".")

    @property
    def room(self) -> str:
        """The room of an import from the package itself; of a name of the root module, the root."""
        room = self.inside.partition(".")[0]
        return room if room in HOUSE else ""


def modules_below(package: Path) -> list[Module]:
    """List the modules of a package folder, sorted by path."""
    return [Module.at(path, package) for path in sorted(package.rglob("*.py"))]


def imports_of(module: Module) -> Iterator[Import]:
    """Yield every import of a module, wherever it stands."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=str(source), names=names, level=0):
                yield from (Import(f"{source}.{alias.name}", node.lineno) for alias in names)
            case ast.ImportFrom(level=level, module=source):
                yield Import("." * level + (source or ""), node.lineno)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[argument, *_],
            ) if (name := _string(argument, module)) is not None:
                yield Import(name, node.lineno)


def _string(node: ast.expr, module: Module) -> str | None:
    """Return a string that is written out, or that a constant of the module holds."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    for assignment in module.tree.body:
        match assignment:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))) if (
                isinstance(node, ast.Name) and node.id == name
            ):
                return value
    return None


# -- One module --------------------------------------------------------------------------------------------------------


def libraries_of(name: str) -> set[str]:
    """Return what a module may use: its room's libraries, and those of its own and of the packages around it."""
    segments = name.split(".")
    around = [".".join(segments[:length]) for length in range(1, len(segments) + 1)]
    return {*HOUSE[segments[0]].libraries, *(library for each in around for library in MORE_LIBRARIES.get(each, ()))}


def wrong_imports(module: Module) -> Iterator[str]:
    """Report every import that the picture has no arrow for."""
    room = HOUSE.get(module.room)
    if room is None:
        yield f"{module}: the house has no room {module.room!r}"
        return
    libraries = libraries_of(module.name)
    for found in imports_of(module):
        where = f"{module}:{found.line}"
        if found.target.startswith("."):
            yield f"{where} imports {found.target!r} relatively"
        elif found.root == PACKAGE:
            if found.room not in {module.room, *room.rooms} and (module.name, found.inside) not in BY_NAME:
                yield f"{where} imports {found.target}, but {module.room or 'the root'} sees only {room.rooms}"
        elif found.root not in STANDARD and found.root not in libraries:
            yield f"{where} uses the library {found.root!r}"


def wrong_exports(module: Module) -> Iterator[str]:
    """Report a module without a tuple `__all__`; one with nothing but a docstring needs none."""
    values = [
        node.value
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == "__all__"
    ]
    is_empty = all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in module.tree.body)
    if not values and not is_empty:
        yield f"{module}: has no __all__"
    yield from (f"{module}: __all__ is not a tuple" for value in values if not isinstance(value, ast.Tuple))


def asynchronous_code(module: Module) -> Iterator[str]:
    """Report everything in a pure module that only an event loop can run."""
    if not any(module.name == name or module.name.startswith(f"{name}.") for name in PURE):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            yield f"{module}:{node.lineno} is asynchronous"
        elif isinstance(node, ast.comprehension) and node.is_async:
            yield f"{module}:{node.iter.lineno} is asynchronous"


def private_imports(module: Module) -> Iterator[str]:
    """Report private names that a module imports from another one of the package."""
    for found in imports_of(module):
        if found.root == PACKAGE and any(map(is_private, found.inside.split("."))):
            yield f"{module}:{found.line} imports {found.target}"


def is_private(name: str) -> bool:
    """Return whether a name says that nobody else is to use it."""
    return name.startswith("_") and not name.startswith("__")


# -- All modules -------------------------------------------------------------------------------------------------------


def graph_of(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Return for each module which others of the package it imports, exceptions of `BY_NAME` left out."""
    graph: dict[str, set[str]] = {module.name: set() for module in modules}
    for module in modules:
        for found in imports_of(module):
            if found.root != PACKAGE:
                continue
            target = found.inside if found.inside in graph else found.inside.rpartition(".")[0]
            if target in graph and target != module.name and (module.name, target) not in BY_NAME:
                graph[module.name].add(target)
    return graph


def circles(graph: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Report each set of modules that import each other, directly or by way of others."""
    reached = {name: set(targets) for name, targets in graph.items()}
    before = -1
    while (size := sum(map(len, reached.values()))) != before:
        before = size
        for seen in reached.values():
            seen.update(*[reached.get(name, ()) for name in seen])
    together = {frozenset(other for other in seen if name in reached[other]) for name, seen in reached.items()}
    yield from (f"a circle: {', '.join(sorted(circle))}" for circle in sorted(together - {frozenset()}, key=sorted))


def doubled_names(modules: Iterable[Module]) -> Iterator[str]:
    """Report names that two modules have. A room's main file may be called like the room."""
    found = defaultdict(list)
    for module in modules:
        if module.path.name != "__init__.py":
            *_, parent, name = ("", *module.name.split("."))
            if name != parent:
                found[name].append(module.name)
    yield from (f"one name for several modules: {', '.join(names)}" for names in found.values() if len(names) > 1)


def private_reads(modules: Iterable[Module]) -> Iterator[str]:
    """Report private names that are read off something, and that only a module defines which this one imports.

    A class may read what it inherits. Private names of libraries are left to ruff (SLF001): each exception there has a
    reason.
    """
    modules = list(modules)
    graph = graph_of(modules)
    defined = {module.name: _private_definitions(module) for module in modules}
    for module in modules:
        elsewhere: set[str] = set().union(*(defined[other] for other in graph[module.name]))
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in elsewhere - defined[module.name]
                and ast.unparse(node.value) not in {"self", "cls", "super()"}
            ):
                yield f"{module}:{node.lineno} reads {ast.unparse(node)}"


def _private_definitions(module: Module) -> set[str]:
    """Return the private names that a module gives to functions, classes, variables, attributes and slots."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.Constant(value=str(name)) if name.isidentifier():  # slots, and names for `setattr`
                names.add(name)
    return set(filter(is_private, names))


def lonely(modules: Iterable[Module]) -> dict[str, str]:
    """Return the modules that one other module imports, with the name of that one; nobody is `""`.

    Not among them: public homes, what such a home hands on, and packages that only hold modules.
    """
    modules = list(modules)
    importers: dict[str, set[str]] = defaultdict(set)
    for name, targets in graph_of(modules).items():
        for target in targets:
            importers[target].add(name)
    return {
        module.name: next(iter(importers[module.name]), "")
        for module in modules
        if module.path.name != "__init__.py" and module.name not in PUBLIC_HOMES
        if len(importers[module.name]) <= 1 and not importers[module.name] & {*PUBLIC_HOMES}
    }


# -- What applications import ------------------------------------------------------------------------------------------


def hidden_imports(module: Module, public: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Report what an application takes from the package besides its public names.

    Args:
        module: A module of an application.
        public: The public names of each module that others may import from, by its full name.
    """
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.partition(".")[0] == PACKAGE and alias.name not in public:
                        yield f"{module}:{node.lineno} imports {alias.name}"
            case ast.ImportFrom(module=str(source), names=names) if source.partition(".")[0] == PACKAGE:
                for alias in names:
                    if alias.name not in public.get(source, ()) and f"{source}.{alias.name}" not in public:
                        yield f"{module}:{node.lineno} imports {source}.{alias.name}"


def exported_names(module: Module) -> frozenset[str]:
    """Read the strings of a module's `__all__`."""
    return frozenset(
        element.value
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in ast.unparse(node).partition("=")[0]
        if isinstance(node.value, ast.Tuple)
        for element in node.value.elts
        if isinstance(element, ast.Constant) and isinstance(element.value, str)
    )


def public_names() -> dict[str, frozenset[str]]:
    """Return the public names of the package by the full name of the module that others import them from."""
    modules = {module.name: module for module in modules_below(ROOT / PACKAGE)}
    return {f"{PACKAGE}.{home}".rstrip("."): exported_names(modules[home]) for home in PUBLIC_HOMES if home in modules}
