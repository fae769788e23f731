"""What tests of applications and of drivers can use."""

from __future__ import annotations

import sys

__all__ = ()

# Before the modules are imported: the rewriting of their assertions is what makes failures readable. Outside a test run
# (`slow_put` is a program of its own) there is nothing to rewrite, and pytest need not be installed.
if (pytest := sys.modules.get("pytest")) is not None:
    _ASSERTING = ("atomic", "concurrency", "copy", "crash", "get", "head", "keys", "list", "put", "sign")
    pytest.register_assert_rewrite(*(f"{__name__}.conformance_{name}" for name in _ASSERTING))
