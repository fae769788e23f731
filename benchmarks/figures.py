"""From samples to figures: medians of the quieter half, ratios, tables. Nothing here measures."""

from __future__ import annotations

from math import ceil
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ("Figures", "Results", "Sample", "figures_of", "percentile", "quieter_half", "ratio", "table")

Figures: TypeAlias = dict[str, float]
"""What was measured of one contender, by name."""
Results: TypeAlias = dict[str, dict[str, Figures]]
"""Figures by case and contender."""

_GIGABYTE = 1e9
_MEBIBYTE = 1024 * 1024


class Sample(NamedTuple):
    """One round of one contender."""

    requests: int
    size: int
    """Bytes of content in a request or its answer."""
    seconds: float
    """By the clock, from the first request to the last answer."""
    cpu_seconds: float
    """Of the server, until it did nothing any more."""
    written_bytes: int = 0
    growth_bytes: int = 0
    """Peak of resident memory less what was resident before."""
    peak_bytes: int = 0
    latencies: tuple[float, ...] = ()
    failures: int = 0
    """Answers with another status than expected."""


def quieter_half(samples: Iterable[Sample]) -> list[Sample]:
    """Return the faster half of the rounds, rounded up: in the others something else had the machine."""
    ordered = sorted(samples, key=lambda sample: sample.seconds / sample.requests)
    return ordered[: ceil(len(ordered) / 2)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all do not exceed (nearest rank), 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)] if ordered else 0.0


def figures_of(samples: Sequence[Sample]) -> Figures:
    """Return medians over the quieter half; memory and failures are the worst and the sum of all rounds."""
    quiet = quieter_half(samples)
    latencies = [each for sample in quiet for each in sample.latencies]
    seconds = median(sample.seconds / sample.requests for sample in quiet)
    cpu_seconds = median(sample.cpu_seconds / sample.requests for sample in quiet)
    size = quiet[0].size
    found = {
        "cpu_us": cpu_seconds * 1e6,
        "per_second": 1 / seconds,
        "p50_ms": percentile(latencies, 50) * 1e3,
        "p99_ms": percentile(latencies, 99) * 1e3,
        "peak_mib": max(sample.peak_bytes for sample in samples) / _MEBIBYTE,
        "growth_mib": max(sample.growth_bytes for sample in samples) / _MEBIBYTE,
        "failures": sum(sample.failures for sample in samples),
    }
    if size:
        found["mb_per_second"] = size / 1e6 / seconds
        found["cpu_s_per_gb"] = cpu_seconds / size * _GIGABYTE
        found["written_per_byte"] = median(sample.written_bytes / sample.requests / size for sample in quiet)
    return found


def ratio(results: Results, case: str, name: str, bases: Sequence[str], figure: str) -> float | None:
    """Return a figure over the lowest one of the bases, over 1 without bases, ``None`` if one was not measured."""
    contenders = results.get(case, {})
    value = contenders.get(name, {}).get(figure)
    known = [contenders[base][figure] for base in bases if figure in contenders.get(base, {})]
    if value is None or (bases and not known):
        return None
    base = min(known, default=1.0)
    return value / base if base else None


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, with numbers to the right, also readable as it is."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    printed = ["| " + " | ".join(_cells(line, widths)) + " |" for line in lines]
    marks = ["-" * (width + 1) + (":" if number else "-") for number, width in enumerate(widths)]
    printed.insert(1, "|" + "|".join(marks) + "|")
    return "\n".join(printed) + "\n"


def _cells(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        f"{cell:>{width}}" if number else f"{cell:<{width}}"
        for number, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
