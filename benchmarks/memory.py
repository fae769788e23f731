"""How much memory one large file costs on its way in and out: ``python -m benchmarks.memory``.

Every row is a process of its own. The growth is its peak of resident memory less what it had before the file. Exits
with 1 if one of them grew further than the limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.places import LOCAL, STORES, serve_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.places import Place

__all__ = ("Growth", "main", "measure_all")

MIB = 1024 * 1024
_ROOT = Path(__file__).parent.parent
_SECONDS = 300


class Growth(NamedTuple):
    """The outcome of one process."""

    store: str
    half: str
    """``"sync"`` or ``"async"``."""
    direction: str
    """``"in"`` or ``"out"``."""
    growth_bytes: int
    """Peak of resident memory less what was resident before."""
    seconds: float


def measure_all(place: Place, stores: Sequence[str], total: int) -> Iterator[Growth]:
    """Put `total` bytes into each of `stores` and get them again, sync and async.

    Raises:
        RuntimeError: If not all bytes came back.
        subprocess.CalledProcessError: If a measurement failed; its traceback is on standard error.
    """
    for store in stores:
        for half in ("sync", "async"):
            key = None
            for direction in ("in", "out"):
                task = {"store": store, "half": half, "bytes": total, "key": key, "place": place.as_dict()}
                outcome = _run(task)
                if outcome["size"] != total:
                    raise RuntimeError(f"{store}: {outcome['size']} of {total} bytes went {direction}")
                key = outcome["key"]
                yield Growth(store, half, direction, outcome["growth_bytes"], outcome["seconds"])


def _run(task: dict[str, Any]) -> dict[str, Any]:
    # Interpreter and arguments are our own; nothing of it comes from outside.
    completed = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.memory_case", json.dumps(task)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        timeout=_SECONDS,
        check=True,
    )
    outcome: dict[str, Any] = json.loads(completed.stdout)
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and return the exit status."""
    options = _parse(arguments)
    stores = options.store or STORES
    limit = options.limit_mib * MIB
    too_much = False
    with serve_place(with_s3=any(store not in LOCAL for store in stores)) as place:
        sys.stdout.write(f"{options.mib} MiB in and out, limit {options.limit_mib} MiB, S3 is {place.server}\n")
        sys.stdout.write(f"{'store':<20}{'half':<7}{'way':<5}{'growth MiB':>11}{'MiB/s':>8}\n")
        for row in measure_all(place, stores, options.mib * MIB):
            bad = row.growth_bytes >= limit
            too_much = too_much or bad
            sys.stdout.write(
                f"{row.store:<20}{row.half:<7}{row.direction:<5}{row.growth_bytes / MIB:>11.1f}"
                f"{options.mib / row.seconds:>8.0f}{'  too much' if bad else ''}\n"
            )
            sys.stdout.flush()
    return int(too_much)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file (1024)")
    parser.add_argument("--limit-mib", type=int, default=80, help="growth that is too much (80)")
    parser.add_argument("--store", action="append", choices=STORES, help="only this one; may be repeated")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
