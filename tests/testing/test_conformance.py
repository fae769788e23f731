"""The conformance tests themselves: each of a row of broken drivers is caught, and the tests hang together."""

from __future__ import annotations

import inspect
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from litestar_filestore.testing import BackendConformance
from tests.testing.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
SUITE = "tests/testing/mutant_suite.py"
SUITE_SECONDS = 280

pytestmark = pytest.mark.timeout(300)  # whoever is first runs the whole suite

Outcomes = dict[str, Counter[str]]
"""Of each ``class::test``: how many of its variants passed, failed, broke (error) and were skipped."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Run the test that is there for each broken driver, and all of these tests for the right one, in one process."""
    wanted = [(f"Test{mutant.__name__}", test) for mutant, test in MUTANTS.items()]
    wanted += [("TestMemoryDriver", test) for test in sorted({*MUTANTS.values()})]
    report = tmp_path_factory.mktemp("mutants") / "report.xml"
    # --assert=plain: explaining how two contents of 2 MiB differ, in full where CI is set, would take minutes.
    options = ["-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", f"--junitxml={report}"]
    names = [f"{SUITE}::{name}::{test}" for name, test in wanted]
    command = [sys.executable, "-m", "pytest", *options, *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SUITE_SECONDS)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    outcomes = _read(report)
    assert {"::".join(pair) for pair in wanted} == outcomes.keys(), result.stdout + result.stderr
    return outcomes


def _read(report: Path) -> Outcomes:
    outcomes: Outcomes = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own process
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '').partition('[')[0]}"
        result = next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")
        outcomes.setdefault(name, Counter())[result] += 1
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_broken_driver_is_caught(outcomes: Outcomes, mutant: type) -> None:
    """The test that is there for a defect fails on a driver that has it."""
    outcome = outcomes[f"Test{mutant.__name__}::{MUTANTS[mutant]}"]
    assert outcome["failure"] > 0
    assert outcome["error"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("test", sorted({*MUTANTS.values()} - {"test_signed_get"}))
def test_right_driver_passes(outcomes: Outcomes, test: str) -> None:
    """The same test passes on the driver from which the broken ones are made: it is the defect that fails it."""
    outcome = outcomes[f"TestMemoryDriver::{test}"]
    assert set(outcome) == {"passed"}


def test_no_test_hides_another() -> None:
    """No two classes of the suite use one name for different tests: the first would replace the others unseen."""
    names = Counter(name for base in BackendConformance.__mro__ for name in vars(base) if name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_test_says_what_it_demands() -> None:
    """Implementors read the docstrings of the tests as the contract."""
    tests = {name: test for name, test in inspect.getmembers(BackendConformance) if name.startswith("test_")}
    assert len(tests) > 90
    assert [name for name, test in tests.items() if not test.__doc__] == []
