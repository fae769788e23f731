"""Which tests `make test` leaves to `make test-all`: those marked ``slow``, and most cases of those marked ``matrix``.

``slow`` is for a test, class or module that takes seconds and whose failures are rare: sizes, kills, outages, browsers.
``matrix(cases=12)`` is for one whose cases differ in their server or shape only: of each function that many cases stay.
They are chosen by their names, so the same ones run everywhere; some of every server are among them.
Databases that nearly repeat another one are a matrix by themselves: see `REPEATED`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("mark_slow",)

REPEATED = re.compile(r"\[(?:.*[-/+])?(?:mariadb|pymysql|aiomysql|aiosqlite|psycopg)\b")
"""Cases with a database whose kind another case has as well: SQLite and PostgreSQL through another driver, MariaDB."""
REPEATED_CASES = 1
"""How many of them stay of each function."""


def mark_slow(items: Iterable[pytest.Item]) -> None:
    """Mark as ``slow`` what a matrix has beyond the cases that stay."""
    matrices: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("stress"):
            continue
        function = item.nodeid.partition("[")[0]
        if (matrix := item.get_closest_marker("matrix")) is not None:
            matrices[function, matrix.kwargs["cases"]].append(item)
        elif REPEATED.search(item.nodeid):
            matrices[function, REPEATED_CASES].append(item)
    for (_, cases), found in matrices.items():
        for item in sorted(found, key=_shuffled)[cases:]:
            item.add_marker(pytest.mark.slow)


def _shuffled(item: pytest.Item) -> int:
    return crc32(item.nodeid.encode())
