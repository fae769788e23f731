"""Tools for tests: the fixture `filestore`, conformance tests for drivers, planned faults, hostile names, a leak gate.

A name is loaded when it is first used: `FaultyDriver` does without pytest, which the definition of a driver needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar_filestore.testing.conformance import BackendConformance
    from litestar_filestore.testing.faults import Call, Fault, FaultyBackend, FaultyDriver, Operation
    from litestar_filestore.testing.harness import EACH_HALF_ONCE, Form, Harness
    from litestar_filestore.testing.hostile import HOSTILE_FILENAMES, HOSTILE_KEYS, ODD_KEYS
    from litestar_filestore.testing.kit import FakeClock, Filestore
    from litestar_filestore.testing.leaks import LeakGate, assert_no_tasks
    from litestar_filestore.testing.random_files import provide_files
    from litestar_filestore.testing.spec import BackendSpec

__all__ = (
    "EACH_HALF_ONCE",
    "HOSTILE_FILENAMES",
    "HOSTILE_KEYS",
    "ODD_KEYS",
    "BackendConformance",
    "BackendSpec",
    "Call",
    "FakeClock",
    "Fault",
    "FaultyBackend",
    "FaultyDriver",
    "Filestore",
    "Form",
    "Harness",
    "LeakGate",
    "Operation",
    "assert_no_tasks",
    "provide_files",
)

_HOMES = {
    "EACH_HALF_ONCE": "harness",
    "HOSTILE_FILENAMES": "hostile",
    "HOSTILE_KEYS": "hostile",
    "ODD_KEYS": "hostile",
    "BackendConformance": "conformance",
    "BackendSpec": "spec",
    "Call": "faults",
    "FakeClock": "kit",
    "Fault": "faults",
    "FaultyBackend": "faults",
    "FaultyDriver": "faults",
    "Filestore": "kit",
    "Form": "harness",
    "Harness": "harness",
    "LeakGate": "leaks",
    "Operation": "faults",
    "assert_no_tasks": "leaks",
    "provide_files": "random_files",
}
"""The module of each name, for the interpreter; the imports above are for type checkers."""

# Before the modules are imported: the rewriting of their assertions is what makes failures readable. Outside a test run
# (`slow_put` is a program of its own) there is nothing to rewrite, and pytest need not be installed.
if (pytest := sys.modules.get("pytest")) is not None:
    _ASSERTING = ("atomic", "concurrency", "copy", "crash", "get", "head", "keys", "list", "put", "sign")
    pytest.register_assert_rewrite(*(f"{__name__}.conformance_{name}" for name in _ASSERTING))


def __getattr__(name: str) -> object:
    """Load a public name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next use does not need this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
