"""Writes what was measured: tables and verdicts as Markdown, a bar chart as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from benchmarks.figures import ratio, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.cases import Case
    from benchmarks.figures import Figures, Results
    from benchmarks.targets import Target, Verdict

__all__ = ("FIGURES", "case_table", "chart", "markdown", "other_table", "verdict_table")

FIGURES = {
    "python_calls": "Python calls",
    "transactions": "transactions",
    "cpu_us": "CPU",
    "mb_per_second": "throughput",
    "failures": "failures",
    "growth_mib": "growth in MiB",
    "ms": "ms",
}
"""What the figures of targets are called."""
_SMALL_BYTES = 64 * 1024
_STYLE = 'font-family="sans-serif" font-size="13" fill="#888"'
_LABEL, _BAR, _LINE = 300, 380, 22


def case_table(case: Case, results: Results) -> str:
    """Return the table of one case. Ratios are to its base; small files are told per request, large ones per byte."""
    is_small = case.size <= _SMALL_BYTES
    speed, cost = ("per second", "CPU us") if is_small else ("MB/s", "CPU s/GB")
    header = ["", speed, "ratio", cost, "ratio", "p50 ms", "p99 ms", "peak MiB", "written", "failed"]
    speed_name, cost_name = ("per_second", "cpu_us") if is_small else ("mb_per_second", "cpu_s_per_gb")
    rows = [
        [
            name,
            f"{figures[speed_name]:.0f}",
            _ratio(results, case, name, speed_name),
            f"{figures[cost_name]:.0f}" if is_small else f"{figures[cost_name]:.2f}",
            _ratio(results, case, name, cost_name),
            f"{figures['p50_ms']:.1f}",
            f"{figures['p99_ms']:.1f}",
            f"{figures['peak_mib']:.0f}",
            f"{figures['written_per_byte']:.1f} x" if case.action == "upload" else "",
            f"{figures['failures']:.0f}",
        ]
        for name, figures in results[case.name].items()
        if "p50_ms" in figures
    ]
    return table(header, rows)


def _ratio(results: Results, case: Case, name: str, figure: str) -> str:
    found = ratio(results, case.name, name, (case.base,), figure)
    return "" if found is None else f"{found:.2f}"


def other_table(name: str, figures: Mapping[str, Figures]) -> str:
    """Return the table of what is not a case of requests: whatever figures there are."""
    columns = list(next(iter(figures.values())))
    rows = [[row, *(f"{values[column]:,.5g}" for column in columns)] for row, values in figures.items()]
    return table([name, *(column.replace("_", " ") for column in columns)], rows)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return the targets with what became of them."""
    rows = [
        [
            f"{verdict.target.case}: {verdict.target.contender}",
            _limit(verdict.target),
            "" if verdict.value is None else f"{verdict.value:,.4g}",
            verdict.word,
        ]
        for verdict in verdicts
    ]
    return table(["target", "limit", "is", ""], rows)


def _limit(target: Target) -> str:
    limit = f"{FIGURES[target.figure]} {target.bound} {target.limit:,g}"
    # Of several bases the first one is named: the others are forms of the same.
    return f"{limit} x {target.bases[0]}" if target.bases else limit


def markdown(cases: Sequence[Case], results: Results) -> str:
    """Return everything that was measured, a section for each case."""
    named = {case.name: case for case in cases}
    return "\n".join(
        f"### {name}\n\n{case_table(named[name], results) if name in named else other_table('', figures)}"
        for name, figures in results.items()
        if figures
    )


def chart(title: str, values: Mapping[str, float], unit: str) -> str:
    """Return horizontal bars as SVG, in the order given; ours, the names that begin so, in another colour."""
    longest = max(values.values(), default=1.0) or 1.0
    height = _LINE * (len(values) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABEL + _BAR + 100} {height}" {_STYLE}>',
        f'<title>{escape(title)}</title><text x="0" y="16" font-weight="bold">{escape(f"{title} ({unit})")}</text>',
    ]
    for number, (name, value) in enumerate(values.items(), start=1):
        y, width = _LINE * number + 8, max(1.0, _BAR * value / longest)
        colour = "#c8553d" if name.startswith("ours") else "#5b7db1"
        lines.append(
            f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_LINE - 6}" fill="{colour}"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 13}">{value:,.4g}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])
