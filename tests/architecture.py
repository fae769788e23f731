"""The picture of the house, and the rules that keep it true.

`HOUSE` says for each layer which other layers it may see and which libraries it may use. The rest of the file reads
the imports out of the syntax trees, wherever they stand: at the top, in a function, under ``TYPE_CHECKING`` or as
``import_module("...")``. Nothing is imported to find out, so a forbidden import is found in a broken module too.
Each rule takes a module and yields one sentence per violation; `test_architecture.py` wants none.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = "litestar_filestore"


@dataclass(frozen=True)
class Layer:
    """What the modules of one layer may import, besides each other and the standard library."""

    layers: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    any_library: bool = False


# ----------------------------------------------------------------------------------------------------------------------
#                errors  <-  core  <-  backends, validation, orm      (these three never import each other)
#                errors  <-  sansio
#                            core, sansio, validation  <-  http
#                            everything above  <-  plugin
#                images, testing: nothing imports them
# ----------------------------------------------------------------------------------------------------------------------
BELOW_PLUGIN = ("errors", "core", "sansio", "backends", "validation", "orm", "http")

HOUSE = {
    "errors": Layer(),
    "core": Layer(("errors",), ("msgspec",)),
    "sansio": Layer(("errors",)),
    "backends": Layer(("errors", "core"), ("anyio",)),
    "validation": Layer(("errors", "core"), ("msgspec",)),
    "orm": Layer(("errors", "core"), ("sqlalchemy", "msgspec")),
    "http": Layer(("errors", "core", "sansio", "validation"), ("litestar", "anyio", "msgspec")),
    "plugin": Layer(BELOW_PLUGIN, any_library=True),
    "images": Layer(("errors", "core", "validation"), ("anyio", "PIL")),
    "testing": Layer((*BELOW_PLUGIN, "plugin", ""), any_library=True),
    # The root module (``litestar_filestore/__init__.py``) re-exports the public names and holds nothing else.
    "": Layer((*BELOW_PLUGIN, "plugin")),
}

# Modules that may use more than their layer: this is where a library is allowed in.
MORE_LIBRARIES = {
    "core.backend": ("anyio",),
    "core.schema": ("pydantic_core",),  # what pydantic asks a field's type for; it is installed when pydantic asks
    "core.sources": ("anyio",),
    "core.threads": ("anyio",),
    # fsspec reaches services through implementations of its own; each is known in the modules of its service only.
    "backends.fsspec": ("fsspec", "sshfs"),
    "backends.fsspec_azure": ("fsspec", "adlfs", "azure"),
    "backends.fsspec_gcs": ("fsspec", "gcsfs", "google", "yarl"),
    "backends.fsspec_s3": ("fsspec", "s3fs", "botocore", "aiobotocore"),
    "backends.fsspec_sftp": ("fsspec", "sshfs", "asyncssh", "paramiko"),
    "backends.fsspec_webdav": ("fsspec", "webdav4"),
    "backends.obstore": ("obstore",),
    "backends.s3_links": ("botocore",),
    "backends.s3_pending": ("obstore", "botocore"),
    "orm.alembic_operations": ("alembic",),  # imported by migrations only, so Alembic is there
    "plugin.cli": ("click", "rich", "rich_click"),
}

# Optional in Litestar 3, so nothing but the command may need them.
ONLY_WHERE_LISTED = {"click", "rich", "rich_click"}

# Backports of the standard library count as the standard library.
STANDARD = sys.stdlib_module_names | {"typing_extensions"}

# HTTP grammar, key rules and byte counting are pure: they can be tested without a loop and used from sync and async.
PURE = ("sansio", "core.keys", "core.meter")


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
    def layer(self) -> str:
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


def more_libraries(name: str) -> tuple[str, ...]:
    """Return what a module may use beyond its layer: its own entry's, or that of the module that it is a part of.

    A backend of several modules shares its name: ``backends.obstore_read`` belongs to ``backends.obstore``.
    """
    while name not in MORE_LIBRARIES and "_" in name:
        name = name.rpartition("_")[0]
    return MORE_LIBRARIES.get(name, ())


@dataclass(frozen=True)
class Import:
    """One imported module: its dotted name, and the line of the statement."""

    target: str
    line: int

    @property
    def root(self) -> str:
        """The first segment: the library, or the package itself."""
        return self.target.partition(".")[0]

    @property
    def layer(self) -> str:
        """The layer of an import from the package itself."""
        segments = self.target.split(".")
        return segments[1] if len(segments) > 1 else ""


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
                for alias in names:
                    # A layer can also be the name that is imported: `from litestar_filestore import core`.
                    is_layer = source == PACKAGE and alias.name in HOUSE
                    yield Import(f"{source}.{alias.name}" if is_layer else source, node.lineno)
            case ast.ImportFrom(level=level, module=source):
                yield Import("." * level + (source or ""), node.lineno)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(source)), *_],
            ):
                yield Import(source, node.lineno)


def wrong_imports(module: Module) -> Iterator[str]:
    """Report every import that the picture has no arrow for."""
    layer = HOUSE.get(module.layer)
    if layer is None:
        yield f"{module}: the house has no layer {module.layer!r}"
        return
    libraries = {*layer.libraries, *more_libraries(module.name)}
    for found in imports_of(module):
        where = f"{module}:{found.line}"
        if found.target.startswith("."):
            yield f"{where} imports {found.target!r} relatively"
        elif found.root == PACKAGE:
            if found.layer not in {module.layer, *layer.layers}:
                yield f"{where} imports {found.target}, but {module.layer or 'the root'} sees only {layer.layers}"
        elif found.root in STANDARD or found.root in libraries:
            continue
        elif not layer.any_library or found.root in ONLY_WHERE_LISTED:
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


def private_imports(module: Module, public: frozenset[str]) -> Iterator[str]:
    """Report what an application takes from the package besides its public names."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.partition(".")[0] == PACKAGE:
                        yield f"{module}:{node.lineno} imports {alias.name} as a whole"
            case ast.ImportFrom(module=str(source), names=names) if source.partition(".")[0] == PACKAGE:
                for alias in names:
                    if source != PACKAGE or alias.name not in public:
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
