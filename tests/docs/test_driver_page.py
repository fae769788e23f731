"""The driver that "Write a driver" shows is one: it passes the definition that the page asks its readers to run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.docs.run_page import ROOT, parse

pytest_plugins = ["pytester"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_driver_of_the_page_passes_the_definition(pytester: pytest.Pytester) -> None:
    """The code of the page is a test module that passes."""
    blocks = [example.parsed for example in parse(ROOT / "docs/howto/write-a-driver.md", lambda _: None).examples()]
    pytester.makeini("[pytest]")  # a project without settings of ours
    pytester.makepyfile("\n".join(blocks))
    # Thousands of commits: in memory where the system has a folder for that, or most of the time they wait for a disk.
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", f"--basetemp={folder}/tests")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] > 200
