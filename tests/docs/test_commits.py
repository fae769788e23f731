"""No page teaches a form in which a 2xx can be a lie: where COMMIT fails, that is the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.run_page import ROOT, parse
from tests.docs.test_pages import PAGES


@pytest.mark.matrix(cases=1)
@pytest.mark.parametrize(("app", "without_delete"), [("README", 404), ("example", 500)])
def test_failing_commit_is_no_success(app: str, without_delete: int, tmp_path: Path) -> None:
    """What the database refuses at COMMIT is answered with an error, and changes nothing."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.docs.failing_commit", app],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found == {"first": 201, "second": 500, "delete": without_delete, "kept": "hello"}


def test_no_page_commits_behind_the_answer() -> None:
    """No code of a page, and none of the example app, leaves the commit to a hook that cannot answer any more."""
    code = {str(page): "".join(str(each.parsed) for each in parse(page, lambda _: None).examples()) for page in PAGES}
    code |= {str(each): each.read_text(encoding="utf-8") for each in (ROOT / "example_app").glob("*.py")}
    assert len(code) > 20
    assert [name for name, each in code.items() if "before_send_handler" in each] == []
