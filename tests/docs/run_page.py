"""Runs the Python blocks of one documentation page, in order, in one module: ``python -m tests.docs.run_page PAGE``.

It is a program of its own because pages define models, register backends and change warnings: state that only ends with
the process. A block may use ``await`` at its top level; all blocks of a page share one event loop, and blocks without
``await`` run while no loop is running, as a script would.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import gc
import sys
import tomllib
import warnings
from importlib import import_module
from inspect import iscoroutine
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Literal, cast

from sybil import Sybil
from sybil.parsers.myst import CodeBlockParser

if TYPE_CHECKING:
    from sybil import Document, Example
    from sybil.typing import Evaluator

__all__ = ("ROOT", "parse")

ROOT = Path(__file__).parent.parent.parent


def parse(page: Path, evaluate: Evaluator) -> Document:
    """Find the Python blocks of a page, the invisible ones included; `evaluate` is what running one of them does."""
    return Sybil(parsers=[CodeBlockParser("python", evaluate)], path=str(page.parent)).parse(page)


class PageRunner:
    """Runs blocks in a module named `page`, with the line numbers of the Markdown file in tracebacks."""

    def __init__(self, loops: asyncio.Runner) -> None:
        self._loops = loops
        # A real module: decorators and type hints look names up in `sys.modules[cls.__module__]`.
        self._module = sys.modules["page"] = ModuleType("page")
        # As `exec` does it: from Python 3.12 on, a class in a function without builtins is an error at times.
        vars(self._module)["__builtins__"] = builtins

    def __call__(self, example: Example) -> None:
        """Run one block."""
        padding = "\n" * (example.line + example.parsed.line_offset)
        code = compile(
            padding + example.parsed, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        outcome = FunctionType(code, vars(self._module))()
        if iscoroutine(outcome):
            self._loops.run(outcome)


def apply_warning_filters() -> None:
    """Turn warnings into errors, with the exceptions that pytest has."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for line in cast("list[str]", settings["tool"]["pytest"]["filterwarnings"]):
        action, message, category = [*line.split(":"), "", ""][:3]
        warnings.filterwarnings(cast("Literal['error', 'ignore']", action), message, category_named(category))


def category_named(name: str) -> type[Warning]:
    """Find a warning class by its name, dotted unless it is built in; no name means every warning."""
    module, _, attribute = name.rpartition(".")
    found: type[Warning] = getattr(import_module(module) if module else builtins, attribute or "Warning")
    return found


def run_blocks(page: Path) -> None:
    """Run the blocks of `page` and drop what they made."""
    with asyncio.Runner() as loops:
        for example in parse(page, PageRunner(loops)).examples():
            example.evaluate()
    sys.modules.pop("page", None)


def main(page: Path) -> int:
    """Run `page` and return the exit status: 1 if something was left open, an exception otherwise ends the process."""
    leaks: list[str] = []

    def report_leak(unraisable: sys.UnraisableHookArgs) -> None:
        leaks.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    sys.unraisablehook = report_leak
    apply_warning_filters()
    run_blocks(page)
    gc.collect()  # what a block left open warns when it is collected
    for leak in leaks:
        print(leak, file=sys.stderr)
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
