"""How long one put and one get take, next to plainer ways of doing them: ``python -m benchmarks.throughput``.

The column to read is `ratio`: time over that of the first line of the table, in the same round. Absolute times belong
to the machine and the hour.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.contenders import Setting, getters, putters
from benchmarks.places import serve_place
from benchmarks.rounds import compare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.places import Place
    from benchmarks.rounds import Score

__all__ = ("main",)

KIB = 1024
MIB = 1024 * KIB


class Effort(NamedTuple):
    """How often a size is measured."""

    name: str
    size: int
    rounds: int
    operations: int
    """How many are timed together."""


EFFORTS = (Effort("1 KiB", KIB, 15, 40), Effort("1 MiB", MIB, 15, 8), Effort("100 MiB", 100 * MIB, 7, 1))
STORES = {"local": "local", "s3": "S3, obstore"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and return the exit status 0: times are read, not judged."""
    options = _parse(arguments)
    stores = options.store or list(STORES)
    with serve_place(with_s3="s3" in stores) as place, asyncio.Runner() as loops:
        for store in stores:
            for half in ("sync", "async"):
                for effort in EFFORTS:
                    _measure(place, store, half, effort, loops)
    return 0


def _measure(place: Place, store: str, half: str, effort: Effort, loops: asyncio.Runner) -> None:
    setting = Setting(place, STORES[store], half, os.urandom(effort.size), loops)
    where = "local disk" if setting.is_local else f"S3 ({place.server})"
    for what, build in (("put", putters), ("get", getters)):  # built one after the other: puts remove all objects
        scores = compare(build(setting), rounds=effort.rounds, count=effort.operations)
        _print(f"{what}, {where}, {half}, {effort.name}", scores, effort.size)
    setting.clean()


def _print(title: str, scores: Sequence[Score], size: int) -> None:
    sys.stdout.write(f"\n{title:<38}{'ratio':>8}{'ms':>10}{'MiB/s':>8}\n")
    for score in scores:
        speed = size / MIB / score.seconds
        sys.stdout.write(f"  {score.name:<36}{score.ratio:>8.2f}{score.seconds * 1e3:>10.3f}{speed:>8.0f}\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES, help="only this one; may be repeated")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
