"""What the figures should be: each target is a figure of a contender, at most or at least so many times its base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmarks.contenders import ALCHEMY, OURS_BARE
from benchmarks.figures import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.figures import Results

__all__ = ("TARGETS", "Target", "Verdict", "judge")


class Target(NamedTuple):
    """One promise about a figure."""

    case: str
    contender: str
    figure: str
    limit: float
    bases: tuple[str, ...] = ()
    """Whose figure is 1; of several the lowest one. Without a base the limit is the figure itself."""
    bound: Literal["at most", "at least"] = "at most"
    is_strict: bool = False
    """Whether missing it fails the run: memory, which no noise moves."""


class Verdict(NamedTuple):
    """What became of a target."""

    target: Target
    value: float | None
    """Figure or ratio, ``None`` if not measured."""

    @property
    def word(self) -> Literal["reached", "MISSED", "not measured"]:
        """Say it."""
        if self.value is None:
            return "not measured"
        target = self.target
        is_reached = self.value <= target.limit if target.bound == "at most" else self.value >= target.limit
        return "reached" if is_reached else "MISSED"


_FILE = "FastAPI, sqlalchemy-file"
_ROW = "Litestar, row, plain response"


def _targets() -> list[Target]:
    found = [
        Target("counts", "upload 1 KiB", "python_calls", 1250),
        Target("counts", "upload 1 KiB without a ledger", "python_calls", 1000),
        Target("counts", "upload 1 KiB", "transactions", 2),
        Target("counts", "upload 1 KiB, 32 at a time", "transactions", 1.1),
        Target("counts", "upload 1 KiB, 32 at a time", "failures", 0),
        Target("counts", "download 1 KiB by link", "python_calls", 400),
        Target("counts", "download 1 KiB by key", "python_calls", 400),
        Target("counts", "304 by link", "python_calls", 250),
    ]
    for case in ("upload 1 KB", "upload 1 KB, 32 connections"):
        for bases in (ALCHEMY, (_FILE,)):
            found.append(Target(case, OURS_BARE, "cpu_us", 1.0, bases))
            found.append(Target(case, "ours", "cpu_us", 1.3, bases))
        found.append(Target(case, "ours", "failures", 0))
    found += [
        Target(case, OURS_BARE, "cpu_us", 1.5, ("raw ASGI",))
        for case in ("upload 10 MB", "upload 10 MB, 8 connections")
    ]
    found += [
        Target("upload 1 GB", OURS_BARE, "mb_per_second", 0.9, ("raw ASGI",), "at least"),
        Target("upload 1 GB", OURS_BARE, "cpu_us", 1.35, ("raw ASGI",)),
        Target("upload 1 GB", "what sha256 adds to ours", "cpu_us", 1.0, ("sha256 alone",)),
        Target("download 1 KB", "ours, link", "cpu_us", 0.7, ("Litestar, File",)),
        Target("download 1 KB", "ours, FileDownload.of", "cpu_us", 0.7, ("Litestar, File",)),
        Target("download 1 KB", "ours, row", "cpu_us", 1.2, (_ROW,)),
    ]
    found += [
        Target(case, name, "cpu_us", 1.1, ("raw ASGI",))
        for case in ("range of 1 MB", "download 1 GB")
        for name in ("ours, link", "ours, FileDownload.of")
    ]
    found += [
        Target(f"S3 {way} {size}", "ours, S3", "mb_per_second", 0.9, ("obstore alone",), "at least")
        for size in ("256 MB", "1 GB")
        for way in ("upload", "download")
    ]
    found.append(Target("1,000 rows to JSON", OURS_BARE, "cpu_us", 1.5, ("Litestar, row",)))
    found += [
        Target("sweep, a million tombstones, nothing due", database, "ms", 50) for database in ("SQLite", "PostgreSQL")
    ]
    found += [
        Target("upload 1 GB", name, "growth_mib", 16, is_strict=True) for name in ("ours", OURS_BARE, "ours, no fsync")
    ]
    found += [Target("download 1 GB", name, "growth_mib", 16, is_strict=True) for name in ("ours, link", "ours, row")]
    found += [
        Target("event loop blocked", work, "ms", 50)
        for work in ("upload 1 KB, 32 connections", "upload 10 MB, 8 connections", "upload 1 GB", "download 1 GB")
    ]
    return found


TARGETS = tuple(_targets())
"""All of them."""


def judge(results: Results, targets: Sequence[Target] = TARGETS) -> list[Verdict]:
    """Return what became of each target."""
    return [
        Verdict(target, ratio(results, target.case, target.contender, target.bases, target.figure))
        for target in targets
    ]
