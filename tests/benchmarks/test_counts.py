"""Small requests cost no more than they did: calls, turns of the event loop, hops, statements, transactions."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.counts import BASES, CEILINGS, ROWS, Counts, excesses
from tests.docs.run_page import ROOT


def counted(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Count in a process of its own: threads that are there before are not counted."""
    command = [sys.executable, "-m", "benchmarks.counts", "--json", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_no_request_is_above_its_ceiling() -> None:
    """Each request that has a ceiling is measured, and stays below it."""
    done = counted()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == CEILINGS.keys() | BASES
    assert all(each["python_calls"] > 0 for each in found.values())
    # Its creation, its bytes and the form with its reference, beside the one form that has the bytes in it.
    assert found["resumable upload 1 KiB"]["python_calls"] <= 3 * found["upload 1 KiB"]["python_calls"]
    # Of each file of a list: it is loaded, watched, encoded and linked, and its link is signed once in a minute.
    plain = found[f"{ROWS} rows of plain JSON"]["python_calls"]
    assert found[f"{ROWS} rows with links"]["python_calls"] - plain <= 13 * ROWS
    assert found[f"{ROWS} rows with new links"]["python_calls"] - plain <= 20 * ROWS


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_planted_slowdown_is_found() -> None:
    """Three hundred calls more for each request exceed the ceiling of each."""
    done = counted("--slow")
    assert done.returncode == 1
    assert {request for request in CEILINGS if f"{request}: " in done.stderr} == set(CEILINGS)


def test_a_count_at_its_ceiling_is_no_excess() -> None:
    """Every field is compared by itself, and the ceiling belongs to what is allowed."""
    request, ceiling = next(iter(CEILINGS.items()))
    assert excesses({request: ceiling}) == []
    more = Counts(*(count + 1 for count in ceiling))
    assert len(excesses({request: more})) == len(Counts._fields)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_others_are_counted_by_the_same_counter() -> None:
    """The same upload by a plain handler and by Advanced Alchemy, and ours beside 31 others, in the same table."""
    found = json.loads(counted("--contenders", "--load").stdout)
    plain, theirs = found["upload 1 KiB, Litestar, row"], found["upload 1 KiB, Advanced Alchemy, obstore"]
    assert 0 < plain["python_calls"] < theirs["python_calls"]
    assert plain["transactions"] == theirs["transactions"] == 1
    # Few uploads write an intent of their own, for those that come next.
    assert 1 <= found["upload 1 KiB, 32 at a time"]["transactions"] <= 1.5
