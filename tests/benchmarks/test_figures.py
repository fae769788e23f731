"""What the driver makes of its samples: medians of the quieter half, ratios, verdicts, tables, charts."""

from __future__ import annotations

from typing import Any, Literal
from xml.etree import ElementTree as ET

import pytest

from benchmarks.cases import FULL, QUICK, S3_FULL, S3_QUICK, Case
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import Sample, figures_of, percentile, quieter_half, ratio, table
from benchmarks.report import FIGURES, case_table, chart, markdown, verdict_table
from benchmarks.targets import TARGETS, Target, Verdict, judge


def sample(seconds: float, cpu: float = 1.0, **more: Any) -> Sample:
    """One round of ten requests of a thousand bytes."""
    return Sample(10, 1000, seconds, cpu)._replace(**more)


def test_quieter_half_is_the_faster_one() -> None:
    """Of five rounds three are kept, by the time of one request."""
    rounds = [sample(5), sample(1), sample(4), sample(2), sample(3)]
    assert [each.seconds for each in quieter_half(rounds)] == [1, 2, 3]
    assert quieter_half([sample(2), sample(3)._replace(requests=30)])[0].requests == 30
    assert quieter_half([sample(1)]) == [sample(1)]


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (99, 10), (100, 10), (10, 1), (0, 1)])
def test_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    """It is the nearest rank."""
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value


def test_percentile_of_nothing_is_zero() -> None:
    """When every request failed there is no latency."""
    assert percentile([], 99) == 0


def test_figures_are_medians_of_one_request() -> None:
    """Processor time, rate and bytes are of the quieter half; memory and failures of all rounds."""
    rounds = [
        sample(1, cpu=0.1, written_bytes=20_000, latencies=(0.1, 0.3)),
        sample(2, cpu=0.2, written_bytes=20_000, latencies=(0.2,)),
        sample(9, cpu=9.0, growth_bytes=3 * 1024**2, failures=2, latencies=(5.0,)),
    ]
    found = figures_of(rounds)
    assert found["cpu_us"] == pytest.approx(15_000)
    assert found["per_second"] == pytest.approx(10 / 1.5)
    assert found["mb_per_second"] == pytest.approx(0.01 / 1.5)
    assert found["cpu_s_per_gb"] == pytest.approx(15_000)
    assert found["written_per_byte"] == pytest.approx(2)
    assert (found["p50_ms"], found["p99_ms"]) == pytest.approx((200, 300))
    assert (found["growth_mib"], found["failures"]) == (3, 2)


def test_ratio_is_to_the_lowest_base() -> None:
    """A contender is compared with the better form of another one."""
    results = {"work": {"ours": {"cpu_us": 3.0}, "a": {"cpu_us": 2.0}, "b": {"cpu_us": 4.0}}}
    assert ratio(results, "work", "ours", ("b", "a", "not installed"), "cpu_us") == 1.5
    assert ratio(results, "work", "ours", (), "cpu_us") == 3.0


@pytest.mark.parametrize("missing", [("play", "ours", ()), ("work", "theirs", ()), ("work", "ours", ("theirs",))])
def test_ratio_of_what_was_not_measured_is_none(missing: tuple[str, str, tuple[str, ...]]) -> None:
    """A case, a contender or a base that is not there gives no number."""
    case, name, bases = missing
    assert ratio({"work": {"ours": {"cpu_us": 3.0}}}, case, name, bases, "cpu_us") is None


@pytest.mark.parametrize(
    ("bound", "value", "word"),
    [
        ("at most", 1.5, "reached"),
        ("at most", 1.51, "MISSED"),
        ("at least", 1.5, "reached"),
        ("at least", 1.49, "MISSED"),
        ("at most", None, "not measured"),
    ],
)
def test_limit_belongs_to_what_is_allowed(
    bound: Literal["at most", "at least"], value: float | None, word: str
) -> None:
    """A figure at its limit is reached, in both directions."""
    target = Target("work", "ours", "cpu_us", 1.5)._replace(bound=bound)
    assert Verdict(target, value).word == word


def test_judge_says_it_of_every_target() -> None:
    """Each target gets a verdict, also without any results."""
    assert [verdict.word for verdict in judge({})] == ["not measured"] * len(TARGETS)
    target = Target("work", "ours", "cpu_us", 1.5, ("theirs",))
    results = {"work": {"ours": {"cpu_us": 3.0}, "theirs": {"cpu_us": 2.0}}}
    assert judge(results, [target]) == [Verdict(target, 1.5)]


def test_targets_and_cases_name_what_there_is() -> None:
    """A contender that a case or a target is about exists, and every case of a target is measured by a full run."""
    alone = {"obstore alone", "sha256 alone", "what sha256 adds to ours"}
    for case in (*QUICK, *FULL, *S3_QUICK, *S3_FULL):
        assert set(case.contenders) <= CONTENDERS.keys()
        assert case.base in {*case.contenders, *alone}
    measured = {case.name: case for case in (*QUICK, *FULL, *S3_QUICK, *S3_FULL)}
    for target in TARGETS:
        if target.case in measured:
            assert {target.contender, *target.bases} <= {*measured[target.case].contenders, *alone}, target
    assert {target.case for target in TARGETS} - measured.keys() == {
        "counts",
        "event loop blocked",
        "sweep, a million tombstones, nothing due",
    }


def test_table_is_markdown_with_numbers_to_the_right() -> None:
    """Cells are padded, so that it can also be read as it is."""
    assert table(["what", "n"], [["a", "10"], ["long one", "2"]]) == (
        "| what     |  n |\n|----------|---:|\n| a        | 10 |\n| long one |  2 |\n"
    )


def test_report_tells_ratios_and_verdicts() -> None:
    """Small files are told in microseconds, large ones in seconds for a gigabyte; what was missed is said."""
    small = Case("small", "upload", 1000, ("raw ASGI", "ours"))
    large = Case("large", "download", 10**9, ("raw ASGI", "ours"))
    base, ours = figures_of([sample(1, cpu=0.1)]), figures_of([sample(2, cpu=0.3)])
    results = {each.name: {"raw ASGI": base, "ours": ours} for each in (small, large)}
    assert "CPU us" in case_table(small, results)
    assert "CPU s/GB" in case_table(large, results)
    for each in (small, large):
        assert [cell.strip() for cell in case_table(each, results).splitlines()[-1].split("|")][3:6:2] == [
            "0.50",
            "3.00",
        ]
    report = markdown([small, large], results | {"sweep": {"SQLite": {"ms": 51.0}}, "nothing": {}})
    assert "### sweep\n\n|        | ms |\n|--------|---:|\n| SQLite | 51 |" in report
    assert report.count("###") == 3
    missed = Verdict(Target("small", "ours", "cpu_us", 1.5, ("raw ASGI",)), 3.0)
    assert "CPU at most 1.5 x raw ASGI |  3 | MISSED" in verdict_table([missed])
    assert {target.figure for target in TARGETS} == FIGURES.keys()


def test_chart_is_well_formed_svg() -> None:
    """Names are escaped, the longest bar is the largest value, and nothing at all is still a picture."""
    root = ET.fromstring(  # noqa: S314  # we wrote it
        chart("1 KB & more", {"raw <ASGI>": 1.0, "ours": 4.0}, "us")
    )
    bars = [float(each.get("width", "0")) for each in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == [95.0, 380.0]
    assert "raw <ASGI>" in {each.text for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert chart("nothing", {}, "us").endswith("</svg>\n")
