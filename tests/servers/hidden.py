"""A machine that has Python and make, and nothing of what some tests can use besides: for ``pytest --hide-servers``.

The first thing that a new developer runs is ``make test``. A test that starts a program without asking whether it is
there fails on such a machine only, and there is none among those of the people who write tests. So the programs are
hidden from a run of those tests that want one. They are found, not listed: a test of tomorrow is among them.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

__all__ = ("chosen", "hide", "launchers", "wants_a_program")

_LOOK_FOR_PROGRAMS = frozenset({"find_program", "which"})


def hide(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let nothing be found that is no part of Python's packages.

    Args:
        patch: Undone when the programs may be found again.
        folder: Empty; it becomes the search path.
    """
    patch.setenv("PATH", str(folder))
    patch.delenv("CI", raising=False)  # a missing server skips its tests, as it does there
    patch.setenv("FILESTORE_POSTGRES", "wheel")  # not the one below /usr/lib, which is not on the path
    for other in ("FILESTORE_AZURITE", "FILESTORE_CHROMIUM"):
        patch.setenv(other, str(folder / "nothing"))


@cache
def launchers() -> frozenset[str]:
    """Return the names of the modules here that look for a program on the search path, which may be missing."""
    names = {path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if not path.stem.startswith("test_")}
    found = {name: importlib.import_module(f"tests.servers.{name}") for name in names - {"processes"}}
    return frozenset(name for name, module in found.items() if _names_in(module) & _LOOK_FOR_PROGRAMS)


def chosen(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests that want a program.

    Of those of one class or module that have it from fixtures only, the first: the others are skipped as it is.
    """
    found: list[pytest.Item] = []
    skipped_alike: set[object] = set()
    for item in items:
        if not wants_a_program(item):
            continue
        if not _says_so_itself(item):
            if item.parent in skipped_alike:
                continue
            skipped_alike.add(item.parent)
        found.append(item)
    return found


def wants_a_program(item: pytest.Item) -> bool:
    """Return whether a test, or a fixture that it has, starts a program that may be missing.

    By what they call, and by what the test is called: parameters tell which server a test is about, also where a child
    process starts it.
    """
    return _says_so_itself(item) or any(map(_looks_for_programs, _fixtures_of(item)))


def _says_so_itself(item: pytest.Item) -> bool:
    return any(word in item.nodeid for word in launchers()) or _looks_for_programs(getattr(item, "obj", None))


def _looks_for_programs(function: Any) -> bool:
    return bool(_calls(function) & (launchers() | _LOOK_FOR_PROGRAMS))


def _fixtures_of(item: Any) -> Iterable[Any]:
    definitions: dict[str, list[Any]] = item._fixtureinfo.name2fixturedefs  # noqa: SLF001  # pytest says it nowhere else
    return (inspect.unwrap(each.func) for found in definitions.values() for each in found)


def _calls(function: Any) -> set[str]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    names: set[str] = set() if code is None else set(code.co_names)
    # One step further: a test that calls a function of the tests, which starts the program.
    around: dict[str, Any] = getattr(function, "__globals__", {})
    own = [around[name] for name in names if inspect.isfunction(around.get(name))]
    return names.union(*(each.__code__.co_names for each in own if each.__module__.startswith("tests.")))


def _names_in(module: Any) -> set[str]:
    functions = [inspect.unwrap(each) for each in vars(module).values() if inspect.isfunction(each)]
    return {name for each in functions if each.__module__ == module.__name__ for name in each.__code__.co_names}
