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
from benchmarks.contenders import CONTENDERS, OURS_BARE, is_installed
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
    from collections.abc import Mapping, Sequence

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
    run = _Run(_parse(arguments))
    try:
        run.measure()
    finally:
        run.write()
    return run.status()


class _Run:
    """What is measured together, and what came of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._only: list[str] = options.case or []
        self._rounds: int | None = options.rounds
        self._folder = Path(options.out)
        self._cases = self._chosen(*(all_cases.FULL if options.full else all_cases.QUICK))
        self._s3 = self._chosen(*(all_cases.S3_FULL if options.full else all_cases.S3_QUICK))
        self._results: Results = {}
        self._problems: list[str] = []

    def _chosen(self, *cases: Case) -> list[Case]:
        return [case for case in cases if self._is_wanted(case.name)]

    def _is_wanted(self, name: str) -> bool:
        return not self._only or any(name.startswith(each) for each in self._only)

    def measure(self) -> None:
        """Do everything that is wanted."""
        if self._is_wanted("counts"):
            self._results["counts"] = _counts()
            _say(other_table("counts", self._results["counts"]))
        with TemporaryDirectory(prefix="filestore-bench-") as folder, serve_place(with_s3=bool(self._s3)) as place:
            with Fleet(_new(Path(folder) / "fleet"), place) as fleet:
                for case in self._cases:
                    self._compare(case, fleet)
                if place.server == "Ceph":
                    for case in self._s3:
                        self._compare(case, fleet, {"obstore alone": Alone(place, case)})
            with Fleet(_new(Path(folder) / "watched"), place, is_watched=True) as fleet:
                self._results["event loop blocked"] = self._gaps(fleet)
        self._add_digest()
        if self._is_wanted("sweep"):
            idle = {name: {"ms": seconds * 1e3} for name, seconds in idle_sweeps().items()}
            self._results["sweep, a million tombstones, nothing due"] = idle

    def _compare(self, case: Case, fleet: Fleet, others: Mapping[str, Alone] | None = None) -> None:
        """Let everybody do the case who can."""
        works: dict[str, Work | Alone] = dict(others or {})
        for name in case.contenders:
            if work := self._work(case, name, fleet):
                works[name] = work
        samples: dict[str, list[Sample]] = {name: [] for name in works}
        for number in range(self._rounds or case.rounds):
            for name in _rotated(list(works), number):
                samples[name].append(works[name].measure())
                for other in (others or {}).values():
                    other.clean()
        for each in works.values():
            each.close()
        self._results[case.name] = {name: figures_of(taken) for name, taken in samples.items()}
        _say(f"{case.name}\n{case_table(case, self._results)}")

    def _work(self, case: Case, name: str, fleet: Fleet) -> Work | None:
        problem = "not installed"
        if is_installed(CONTENDERS[name]):
            try:
                return Work(case, CONTENDERS[name], fleet.server(name))
            except (WrongAnswerError, ServerFailedError, OSError) as error:
                problem = str(error)
        self._problems.append(f"{name}: left out of {case.name}: {problem}")
        return None

    def _gaps(self, fleet: Fleet) -> dict[str, Figures]:
        """Return for how long event loops were blocked at most: medians over the quieter half of the rounds."""
        found: dict[str, Figures] = {}
        for case in self._cases:
            name = _WATCHED.get(case.name, "")
            if name and (work := self._work(case, name, fleet)):
                gaps = sorted(_longest_gap(fleet.server(name), work) for _ in range(_WATCHED_ROUNDS))
                work.close()
                found[case.name] = {"ms": median(gaps[: _WATCHED_ROUNDS // 2])}
        return found

    def _add_digest(self) -> None:
        """Add what hashing alone costs, and what it adds to a large upload."""
        found = self._results.get("upload 1 GB", {})
        if {"ours, no fsync", OURS_BARE} <= found.keys():
            more = found["ours, no fsync"]["cpu_us"] - found[OURS_BARE]["cpu_us"]
            found["what sha256 adds to ours"] = {"cpu_us": more}
            found["sha256 alone"] = {"cpu_us": _hash_seconds(all_cases.GIGABYTE) * 1e6}

    def write(self) -> None:
        """Write the report, also of what was measured before something failed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        targets = verdict_table(judge(self._results))
        tables = markdown([*self._cases, *self._s3], self._results)
        self._put("results.json", json.dumps(self._results, indent=1) + "\n")
        self._put("results.md", f"{_surroundings()}\n\n{tables}")
        self._put("targets.md", targets)
        for name, (case, figure, unit) in _CHARTS.items():
            contenders = self._results.get(case, {})
            values = {each: figures[figure] for each, figures in contenders.items() if figure in figures}
            if values:
                self._put(f"{name}.svg", chart(case, values, unit))
        _say("\n".join([targets, *self._problems]))
        _say(f"written to {self._folder}: results.json, results.md, targets.md, charts as SVG")

    def _put(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")

    def status(self) -> int:
        """Return 1 if memory grew too far, or a contender of ours could not do what it should."""
        strict = [verdict for verdict in judge(self._results) if verdict.target.is_strict]
        is_broken = any(verdict.word == "MISSED" for verdict in strict)
        return int(is_broken or any(problem.startswith("ours") for problem in self._problems))


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _counts() -> dict[str, Figures]:
    """Return what `benchmarks.counts` counts, in a process that has no other threads."""
    command = [sys.executable, "-m", "benchmarks.counts", "--json", "--contenders", "--load"]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=False)  # noqa: S603  # our own program
    found: dict[str, Figures] = json.loads(done.stdout)
    return found


def _rotated(names: list[str], number: int) -> list[str]:
    shift = number % len(names) if names else 0
    return [*names[shift:], *names[:shift]]


def _hash_seconds(total: int) -> float:
    block = bytes(1024 * 1024)
    taken: list[float] = []
    for _ in range(2):
        digest, start = hashlib.sha256(), time.process_time()
        for _ in range(total // len(block)):
            digest.update(block)
        taken.append(time.process_time() - start)
    return min(taken)


def _longest_gap(server: Server, work: Work) -> float:
    with Connection(server.port) as connection:
        ask = Request("GET", GAP_PATH)
        connection.text(ask)
        work.measure()
        return float(connection.text(ask)[1])


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
