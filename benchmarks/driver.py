"""Compares all contenders: ``python -m benchmarks.driver``, or ``make bench``; ``--full`` for all sizes.

Each contender is a server process of its own. All of them do a case in every round, in changing order, so that whatever
else the machine does meets everybody. The figures are medians of the quieter half of the rounds; the column `ratio` is
the one to read: it is the figure over that of the case's base. CPU is that of the server, from the kernel, until it
does nothing any more. Exits with 1 if memory grew above its target, or a contender of ours gave back wrong bytes; other
targets that are missed are told.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from benchmarks import cases as all_cases
from benchmarks.client import Connection, Request
from benchmarks.contenders import CONTENDERS, is_installed
from benchmarks.figures import figures_of
from benchmarks.ledger_sizes import idle_sweeps
from benchmarks.places import serve_place
from benchmarks.report import case_table, chart, markdown, other_table, verdict_table
from benchmarks.s3_alone import Alone
from benchmarks.serve import GAP_PATH
from benchmarks.servers import serve
from benchmarks.targets import judge
from benchmarks.work import Work, WrongAnswerError
from tests.servers.processes import ServerFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cases import Case
    from benchmarks.figures import Figures, Results, Sample
    from benchmarks.places import Place
    from benchmarks.servers import Server

__all__ = ("main",)

_ROOT = Path(__file__).parent.parent
_WATCHED = {
    "upload 1 KB, 32 connections": "ours",
    "upload 10 MB, 8 connections": "ours",
    "upload 1 GB": "ours",
    "download 1 GB": "ours, row",
}
"""Cases during which the event loop is watched, and in whom."""
_WATCHED_ROUNDS = 4
_PEERS = ("fastapi", "sqlalchemy-file", "fastapi-storages", "django")
_CHARTS = {
    "upload-1kb": ("upload 1 KB", "cpu_us", "CPU microseconds per request"),
    "upload-10mb": ("upload 10 MB", "cpu_s_per_gb", "CPU seconds per GB"),
    "upload-1gb": ("upload 1 GB", "mb_per_second", "MB per second"),
    "download-1kb": ("download 1 KB", "cpu_us", "CPU microseconds per request"),
    "download-1gb": ("download 1 GB", "mb_per_second", "MB per second"),
}


class Fleet:
    """Servers that are started when they are first needed, and stay."""

    def __init__(self, folder: Path, place: Place, *, is_watched: bool = False) -> None:
        self._folder = folder
        self._environment = place.environment()
        self._is_watched = is_watched
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def server(self, name: str) -> Server:
        """Return the server of a contender."""
        if name not in self._servers:
            folder = self._folder / str(len(self._servers))
            served = serve(CONTENDERS[name], folder, self._environment, is_watched=self._is_watched)
            self._servers[name] = self._stack.enter_context(served)
        return self._servers[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the report, and return the exit status."""
    options = _parse(arguments)
    chosen, s3 = (all_cases.FULL, all_cases.S3_FULL) if options.full else (all_cases.QUICK, all_cases.S3_QUICK)
    chosen, s3 = _named(chosen, options.case), _named(s3, options.case)
    results: Results = {}
    problems: list[str] = []
    if not options.case or "counts" in options.case:
        results["counts"] = _counts()
        _say(other_table("counts", results["counts"]))
    with TemporaryDirectory(prefix="filestore-bench-") as folder, serve_place(with_s3=bool(s3)) as place:
        root = Path(folder)
        with Fleet(_new(root / "fleet"), place) as fleet:
            for case in chosen:
                results[case.name] = _compare(case, fleet, {}, options.rounds, problems)
                _say(f"{case.name}\n{case_table(case, results)}")
            for case in s3 if place.server == "Ceph" else ():
                alone = Alone(place, case)
                results[case.name] = _compare(case, fleet, {"obstore alone": alone}, options.rounds, problems)
                _say(f"{case.name}\n{case_table(case, results)}")
        _add_digest(results)
        with Fleet(_new(root / "watched"), place, is_watched=True) as fleet:
            results["event loop blocked"] = _gaps(chosen, fleet)
    if not options.case or "sweep" in options.case:
        results["sweep, a million tombstones, nothing due"] = {
            name: {"ms": seconds * 1e3} for name, seconds in idle_sweeps().items()
        }
    _write(Path(options.out), [*chosen, *s3], results)
    for problem in problems:
        _say(problem)
    broken = [verdict for verdict in judge(results) if verdict.target.is_strict and verdict.word == "MISSED"]
    return int(bool(broken) or any(problem.startswith("ours") for problem in problems))


def _named(cases: Sequence[Case], names: Sequence[str] | None) -> list[Case]:
    return [case for case in cases if not names or any(case.name.startswith(name) for name in names)]


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _counts() -> dict[str, Figures]:
    """Return what `benchmarks.counts` counts, in a process that has no other threads."""
    command = [sys.executable, "-m", "benchmarks.counts", "--json", "--contenders", "--load"]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=False)  # noqa: S603  # our own program
    found: dict[str, Figures] = json.loads(done.stdout)
    return found


def _compare(
    case: Case, fleet: Fleet, others: dict[str, Alone], rounds: int | None, problems: list[str]
) -> dict[str, Figures]:
    """Return the figures of everybody who can do the case."""
    works: dict[str, Work | Alone] = dict(others)
    for name in case.contenders:
        if not is_installed(CONTENDERS[name]):
            problems.append(f"{name}: not installed, left out of {case.name}")
            continue
        try:
            works[name] = Work(case, CONTENDERS[name], fleet.server(name))
        except (WrongAnswerError, ServerFailedError, OSError) as error:
            problems.append(f"{name}: left out of {case.name}: {error}")
    samples: dict[str, list[Sample]] = {name: [] for name in works}
    for number in range(rounds or case.rounds):
        for name in _rotated(list(works), number):
            samples[name].append(works[name].measure())
    for work in works.values():
        work.close()
    return {name: figures_of(taken) for name, taken in samples.items()}


def _rotated(names: list[str], number: int) -> list[str]:
    shift = number % len(names) if names else 0
    return [*names[shift:], *names[:shift]]


def _add_digest(results: Results) -> None:
    """Add what hashing alone costs, and what it adds to a large upload."""
    found = results.get("upload 1 GB", {})
    if {"ours, no fsync", "ours, no fsync, no digest"} <= found.keys():
        more = found["ours, no fsync"]["cpu_us"] - found["ours, no fsync, no digest"]["cpu_us"]
        found["what sha256 adds to ours"] = {"cpu_us": more}
        found["sha256 alone"] = {"cpu_us": _hash_seconds(all_cases.GIGABYTE) * 1e6}


def _hash_seconds(total: int) -> float:
    block = bytes(1024 * 1024)
    taken: list[float] = []
    for _ in range(2):
        digest, start = hashlib.sha256(), time.process_time()
        for _ in range(total // len(block)):
            digest.update(block)
        taken.append(time.process_time() - start)
    return min(taken)


def _gaps(cases: Sequence[Case], fleet: Fleet) -> dict[str, Figures]:
    """Return for how long event loops were blocked at most: medians over the quieter half of the rounds."""
    found: dict[str, Figures] = {}
    for case in cases:
        if name := _WATCHED.get(case.name):
            server = fleet.server(name)
            work = Work(case, CONTENDERS[name], server)
            gaps: list[float] = []
            for _ in range(_WATCHED_ROUNDS):
                _longest_gap(server)
                work.measure()
                gaps.append(_longest_gap(server))
            work.close()
            found[case.name] = {"ms": median(sorted(gaps)[: _WATCHED_ROUNDS // 2])}
    return found


def _longest_gap(server: Server) -> float:
    with Connection(server.port) as connection:
        return float(connection.text(Request("GET", GAP_PATH))[1])


def _write(folder: Path, cases: Sequence[Case], results: Results) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    targets = verdict_table(judge(results))
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "results.md").write_text(f"{_surroundings()}\n\n{markdown(cases, results)}", encoding="utf-8")
    (folder / "targets.md").write_text(targets, encoding="utf-8")
    for name, (case, figure, unit) in _CHARTS.items():
        values = {
            contender: figures[figure] for contender, figures in results.get(case, {}).items() if figure in figures
        }
        if values:
            (folder / f"{name}.svg").write_text(chart(case, values, unit), encoding="utf-8")
    _say(targets)
    _say(f"written to {folder}: results.json, results.md, targets.md, charts as SVG")


def _surroundings() -> str:
    """Return a sentence about machine, day and versions."""
    packages = ("litestar", "uvicorn", "granian", "SQLAlchemy", "advanced-alchemy", "obstore", "aiohttp", *_PEERS)
    versions: list[str] = []
    for package in packages:
        with suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    day, load = date.today().isoformat(), os.getloadavg()[0]  # noqa: DTZ011  # the day of whoever runs it
    return (
        f"{day}, {os.cpu_count()} cores, load {load:.1f} in the end; "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.driver", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all sizes and numbers of connections")
    parser.add_argument(
        "--case", action="append", help="only cases that begin so, 'counts' or 'sweep'; may be repeated"
    )
    parser.add_argument("--rounds", type=int, help="so many rounds of each case")
    parser.add_argument("--out", default=".cache/benchmarks", help="folder of the results (.cache/benchmarks)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
