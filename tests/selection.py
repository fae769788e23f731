"""Which tests `make test` leaves to `make test-all`: those marked ``slow``, and most cases of those with many.

``slow`` is for a test, class or module that takes seconds and rarely fails: sizes, kills, outages, servers.
``matrix(cases=12)`` is for one whose cases differ in their server or shape only: of each function that many cases stay.
`FOLDERS` says the same for whole folders, whose tests run on several databases, stores or servers. The cases are chosen
by their names, so the same ones run everywhere, and some of every server are among them.

Of the conformance suite on real servers, `make test-all` runs two of the four halves: sync without a prefix, and async
with one. ``make conformance`` runs all of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("mark_slow",)

TESTS = Path(__file__).parent

FOLDERS = {
    "backends": 1,
    "downloads": 1,
    "example_app": 1,
    "ledger": 1,
    "links": 1,
    "orm": 1,
    "plugin": 1,
    "router": 1,
    "tracking": 1,
    "tus": 1,
    "uploads": 1,
}
"""How many cases of each function stay in `make test`. In other folders all of them do: they need no server."""

_WITHOUT_SERVER = {"test_local.py", "test_memory.py"}
_OTHER_HALVES = re.compile(r"(?<!a)sync-prefix|async-bare")


def mark_slow(items: Iterable[pytest.Item]) -> None:
    """Mark as ``slow`` what a function has beyond the cases that stay, as ``stress`` what has a target of its own."""
    functions: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if _is_other_half(item):
            item.add_marker(pytest.mark.stress)
        if not item.get_closest_marker("slow") and not item.get_closest_marker("stress"):
            functions[item.nodeid.partition("[")[0]].append(item)
    for found in functions.values():
        if (cases := _cases(found[0])) is not None:
            for item in sorted(found, key=lambda item: crc32(item.nodeid.encode()))[cases:]:
                item.add_marker(pytest.mark.slow)


def _cases(item: pytest.Item) -> int | None:
    if (matrix := item.get_closest_marker("matrix")) is not None:
        cases: int = matrix.kwargs["cases"]
        return cases
    return FOLDERS.get(item.path.relative_to(TESTS).parts[0]) if item.path.is_relative_to(TESTS) else None


def _is_other_half(item: pytest.Item) -> bool:
    is_of_server = item.path.parent == TESTS / "conformance" and item.path.name not in _WITHOUT_SERVER
    return is_of_server and _OTHER_HALVES.search(item.name) is not None
