"""Whether sweep and fsck take the same time per object, and the same memory, for any number of objects.

``python -m benchmarks.ledger_sizes`` compares 100,000 and 1,000,000 and fails above its limits. The store is a number:
its driver lists so many objects and deletes them all, so that the database and this package are what is measured.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from benchmarks.ledger_places import BACKEND, DATABASES, LEDGER, Base, Document, serve_database
from litestar_filestore import Driver, ObjectInfo, StorageBackend, storages
from litestar_filestore.errors import ObjectNotFoundError, UnsupportedOperationError
from litestar_filestore.ledger.fsck import fsck
from litestar_filestore.ledger.sweep import sweep
from tests.servers.processes import ServerMissingError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from sqlalchemy import Engine

__all__ = ("idle_sweeps", "main")

_SIZES = (100_000, 1_000_000)
_MAX_RATIO = 4.0
"""Time per object of the largest number over that of the smallest. What is not constant grows by ten between these
sizes; caches that no longer hold everything, a vacuum, and other users of the machine make up to three of it."""
_MAX_GROWTH_MIB = 64.0
_IDLE_ROUNDS = 9
# Keys in the order of numbers would lie side by side in every index; these are spread, and still never repeat.
_SPREAD = 2_654_435_761
_FILL = {
    "sqlite": (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count) ",
        f"printf('%08x', (i * {_SPREAD}) % 4294967296)",
        "json_object",
        "n",
    ),
    "postgresql": (
        "",
        f"lpad(to_hex((i::bigint * {_SPREAD}) % 4294967296), 8, '0')",
        "jsonb_build_object",
        "generate_series(0, :count - 1) AS n(i)",
    ),
}


class NumberDriver(Driver):
    """Lists `count` objects of one byte, and takes every delete."""

    name = "benchmark"
    protocol = "number"

    def __init__(self) -> None:
        self.count = 0
        self.deleted = 0

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects."""
        del prefix
        for number in range(self.count):
            yield ObjectInfo(key=f"{number * _SPREAD % 2**32:08x}", size=1, last_modified=0.0)

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """`list`."""
        for info in self.list(prefix):
            yield info

    def delete(self, paths: Sequence[str]) -> None:
        """Count."""
        self.deleted += len(paths)

    async def delete_async(self, paths: Sequence[str]) -> None:
        """`delete`."""
        self.delete(paths)

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Find nothing, not even a mark of another database."""
        del start, end
        raise ObjectNotFoundError("benchmark", key=path)

    def head(self, path: str) -> ObjectInfo:
        """Find nothing."""
        raise ObjectNotFoundError("benchmark", key=path)

    def put(self, path: str, blocks: Any, options: Any) -> ObjectInfo:
        """Refuse."""
        del path, blocks, options
        raise UnsupportedOperationError("benchmark")

    def copy(self, *_: Any, **__: Any) -> None:
        """Refuse."""
        raise UnsupportedOperationError("benchmark")

    async def put_async(self, path: str, blocks: Any, options: Any) -> ObjectInfo:
        """Refuse."""
        del path, blocks, options
        raise UnsupportedOperationError("benchmark")

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """`get`."""
        for block in self.get(path, start, end):
            yield block

    async def head_async(self, path: str) -> ObjectInfo:
        """`head`."""
        return self.head(path)

    async def copy_async(self, *_: Any, **__: Any) -> None:
        """Refuse."""
        raise UnsupportedOperationError("benchmark")


class Measure(NamedTuple):
    """One run."""

    microseconds: float
    """Time per object."""
    peak_mib: float
    """The most memory that the process ever had until its end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and return 1 if something grows with the number of objects."""
    options = _parse(arguments)
    failures = 0
    driver = NumberDriver()
    backend = StorageBackend(BACKEND, driver=driver)
    storages.register_backend(backend)
    for name in options.database or DATABASES:
        with serve_database(name) as url:
            engine = sa.create_engine(url)
            runs = [_measure(engine, driver, backend, count) for count in options.size or _SIZES]
            engine.dispose()
        failures += _print(name, options.size or _SIZES, runs)
    return int(failures > 0)


def idle_sweeps(count: int = 1_000_000) -> dict[str, float]:
    """Return the seconds of a sweep that finds nothing due among so many tombstones, by database."""
    storages.register_backend(StorageBackend(BACKEND, driver=NumberDriver()))
    found: dict[str, float] = {}
    try:
        for name, title in zip(DATABASES, ("SQLite", "PostgreSQL"), strict=True):
            with suppress(ServerMissingError), serve_database(name) as url:
                engine = sa.create_engine(url)
                found[title] = _sweep_idly(engine, count)
                engine.dispose()
    finally:
        storages.unregister_backend(BACKEND)
    return found


def _sweep_idly(engine: Engine, count: int) -> float:
    _fill(engine, count)
    with engine.begin() as connection:
        # Due in a million seconds, and each at a time of its own, as after a large deletion.
        connection.execute(
            sa.text("UPDATE filestore_object SET state = 'gone', not_before = :due + not_before"),
            {"due": time.time() + 1_000_000},
        )
    _tidy(engine)
    taken: list[float] = []
    for _ in range(_IDLE_ROUNDS):
        start = time.perf_counter()
        if sweep(engine, LEDGER, storages).deleted:
            raise AssertionError("something was due")
        taken.append(time.perf_counter() - start)
    return median(sorted(taken)[: _IDLE_ROUNDS // 2 + 1])


def _tidy(engine: Engine) -> None:
    """Do what a database does by itself after a while."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE filestore_object" if engine.name == "postgresql" else "ANALYZE"))


def _measure(engine: Engine, driver: NumberDriver, backend: StorageBackend, count: int) -> dict[str, Measure]:
    driver.count, driver.deleted = count, 0
    _fill(engine, count)

    def check() -> None:
        report = fsck(engine, LEDGER, [sa.inspect(Document)], [backend])
        if not report.is_clean or report.entries != count:
            raise AssertionError(f"not what was filled in: {report.counts}")

    def clear() -> None:
        done = sweep(engine, LEDGER, storages, limit=count)
        if done.deleted != count or driver.deleted != count:
            raise AssertionError(f"not everything was swept: {done}")

    checked = _time(check, count)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE filestore_object SET state = 'doomed' WHERE backend = 'bench'"))
    if engine.dialect.name == "postgresql":
        _tidy(engine)
    return {"fsck": checked, "sweep": _time(clear, count)}


def _fill(engine: Engine, count: int) -> None:
    """Make so many rows with entries, out of nothing."""
    begin, key, make, source = _FILL[engine.dialect.name]
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    pairs = (
        f"'filename', 'a.txt', 'to_filename', {key}, 'backend', '{BACKEND}', 'size', 1, 'content_type', 'text/plain'"
    )
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO filestore_object (backend, key, state, size, created_at, not_before, attempts) "  # noqa: S608
                f"{begin}SELECT '{BACKEND}', {key}, 'linked', 1, 0, i * 0.001, 0 FROM {source}"
            ),
            {"count": count},
        )
        connection.execute(
            sa.text(f"INSERT INTO document (id, file) {begin}SELECT i + 1, {make}({pairs}) FROM {source}"),  # noqa: S608
            {"count": count},
        )
        connection.execute(sa.text("ANALYZE"))


def _time(work: Callable[[], None], count: int) -> Measure:
    start = time.perf_counter()
    work()
    taken = time.perf_counter() - start
    return Measure(taken / count * 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _print(name: str, sizes: Sequence[int], runs: Sequence[dict[str, Measure]]) -> int:
    failures = 0
    for what in runs[0]:
        sys.stdout.write(f"\n{f'{what}, {name}':<24}{'us per object':>16}{'peak MiB':>12}\n")
        for size, run in zip(sizes, runs, strict=True):
            sys.stdout.write(f"  {size:<22,}{run[what].microseconds:>16.1f}{run[what].peak_mib:>12.0f}\n")
        first, last = runs[0][what], runs[-1][what]
        failures += last.microseconds > _MAX_RATIO * first.microseconds
        failures += last.peak_mib - first.peak_mib > _MAX_GROWTH_MIB
    sys.stdout.flush()
    return failures


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger_sizes", description=__doc__)
    parser.add_argument("--database", action="append", choices=DATABASES, help="only this one; may be repeated")
    parser.add_argument("--size", action="append", type=int, help="so many objects; may be repeated")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
