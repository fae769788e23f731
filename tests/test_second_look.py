"""The second look lets through what failed once, and nothing that fails again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import second_look

TEST = """
from pathlib import Path

def test_at_first():
    runs = Path("runs")
    seen = int(runs.read_text()) if runs.exists() else 0
    runs.write_text(str(seen + 1))
    assert seen not in {failing}

def test_else():
    pass
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two tests."""
    (tmp_path / "pytest.ini").write_text("[pytest]")
    monkeypatch.setattr(second_look, "ROOT", tmp_path)
    monkeypatch.setattr(second_look, "FAILED", tmp_path / ".pytest_cache/v/cache/lastfailed")
    monkeypatch.setattr(second_look, "TIMES", 2)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it is quicker
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("failing", "status"), [([], 0), ([0], 0), ([0, 2], 1)], ids=["never", "once", "twice"])
def test_what_fails_has_to_pass_each_time(root: Path, failing: list[int], status: int) -> None:
    """A test that failed may not fail in any of the further runs."""
    (root / "test_it.py").write_text(TEST.format(failing=failing))
    assert second_look.main(f"{sys.executable} -m pytest -q") == status
    assert int((root / "runs").read_text()) == {(): 1, (0,): 1 + second_look.TIMES, (0, 2): 3}[tuple(failing)]


def test_no_failed_test_is_no_excuse(root: Path) -> None:
    """A command that fails without a failed test, as when nothing could be collected, fails."""
    assert not (root / ".pytest_cache").exists()
    with pytest.raises(SystemExit, match="ended with 3"):
        second_look.main(f'{sys.executable} -c "raise SystemExit(3)"')


@pytest.mark.usefixtures("root")
def test_many_failures_get_no_second_look(capfd: pytest.CaptureFixture[str]) -> None:
    """What breaks many tests is no chance."""
    names = [f'"test_it.py::test_{number}"' for number in range(second_look.MOST + 1)]
    program = "import pathlib, sys; file = pathlib.Path(sys.argv[1]); file.parent.mkdir(parents=True)"
    write = f"{program}; file.write_text(sys.argv[2]); sys.exit(1)"
    content = "{" + ", ".join(f"{name}: true" for name in names) + "}"
    assert second_look.main(f"{sys.executable} -c '{write}' {second_look.FAILED} '{content}'") == 1
    said = capfd.readouterr().out
    assert ("too many for a second look" in said, "Second look, 1" in said) == (True, False)
