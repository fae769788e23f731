"""The pages do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.docs.run_page import ROOT, parse

FEATURES = ROOT / "docs" / "features"
PAGES = [ROOT / "README.md", *sorted(page for page in ROOT.glob("docs/**/*.md") if "_build" not in page.parts)]
PAGES_WITH_CODE = [page for page in PAGES if any(parse(page, lambda _: None).examples())]


def run_page(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the blocks of `page` in a new process whose current directory is `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", str(page)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.matrix(cases=8)
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs(page: Path, tmp_path: Path) -> None:
    """Every block of the page runs, and its assertions hold."""
    result = run_page(page, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_feature_pages_start_with_code() -> None:
    """A reader of a feature's page sees Python before the first section."""
    pages = [page for page in FEATURES.glob("*.md") if page.name != "index.md"]
    openings = {page.name: page.read_text(encoding="utf-8").partition("\n## ")[0] for page in pages}
    assert [name for name, opening in openings.items() if "\n```python\n" not in opening] == []


def write_page(folder: Path, text: str) -> Path:
    """Write a page of Markdown into `folder`."""
    page = folder / "page.md"
    page.write_text(dedent(text), encoding="utf-8")
    return page


def test_failure_is_reported_with_its_line(tmp_path: Path) -> None:
    """A block that fails ends the run, and the traceback points into the page."""
    page = write_page(
        tmp_path,
        """\
        # Title

        ```python
        number = 1

        assert number == 2
        ```
        """,
    )
    result = run_page(page, tmp_path)
    assert result.returncode == 1
    assert 'page.md", line 6' in result.stderr
    assert "AssertionError" in result.stderr


def test_blocks_share_names_and_the_event_loop(tmp_path: Path) -> None:
    """Invisible, awaiting and plain blocks see the same names, and those that await the same loop."""
    page = write_page(
        tmp_path,
        """\
        <!--- invisible-code-block: python
        import asyncio
        start = 1
        -->

        ```python
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        ```

        ```{code-block} python
        assert start == 1
        assert asyncio.run(asyncio.sleep(0, "plain blocks run outside a loop"))
        ```

        ```python
        await asyncio.sleep(0)
        assert loop is asyncio.get_running_loop()
        print("reached the end")
        ```
        """,
    )
    result = run_page(page, tmp_path)
    assert (result.stdout, result.stderr) == ("reached the end\n", "")


def test_page_has_an_empty_folder_of_its_own(tmp_path: Path) -> None:
    """Relative paths of a page end up in the folder that was made for it."""
    page = write_page(tmp_path, "```python\nopen('left.txt', 'w').close()\n```\n")
    folder = tmp_path / "empty"
    folder.mkdir()
    run_page(page, folder)
    assert [path.name for path in folder.iterdir()] == ["left.txt"]


def test_type_hints_of_a_page_resolve(tmp_path: Path) -> None:
    """Classes of a page live in a module, where libraries that read annotations look names up."""
    page = write_page(
        tmp_path,
        """\
        ```python
        from __future__ import annotations
        from typing import get_type_hints

        class Inner: ...
        class Outer:
            inner: Inner

        assert get_type_hints(Outer) == {"inner": Inner}
        ```
        """,
    )
    result = run_page(page, tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("import warnings\nwarnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
        ("file = open('left.txt', 'w')", "unclosed file"),
    ],
)
def test_warning_or_leak_fails_the_page(tmp_path: Path, block: str, complaint: str) -> None:
    """What pytest would not let pass in a test does not pass on a page either."""
    result = run_page(write_page(tmp_path, f"```python\n{block}\n```\n"), tmp_path)
    assert result.returncode == 1
    assert complaint in result.stderr
