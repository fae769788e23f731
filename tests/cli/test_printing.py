"""What commands look like on a terminal, and without one."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from litestar_filestore.cli.printing import progress, show_table

ROWS = [("one", "\x1b[2J"), ("[bold]two", "x" * 300)]


def test_tables_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Cells are separated by tabs, and nothing is cut or obeyed."""
    show_table(("key", "place"), ROWS)
    assert capsys.readouterr().out == f"key\tplace\none\t\\x1b[2J\n[bold]two\t{'x' * 300}\n"


def test_tables_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are lines around the cells, and what the cells say is text."""
    screen = StringIO()
    console = Console(force_terminal=True, width=60, file=screen)
    monkeypatch.setattr("litestar_filestore.cli.printing.console", console)
    show_table(("key", "place"), ROWS)
    shown = screen.getvalue()
    assert "\u2502" in shown
    assert "[bold]two" in shown
    assert "\x1b[2J" not in shown


def test_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal, progress goes to standard error; elsewhere there is none."""
    with progress("objects") as show:
        show(1, 4)
    assert capsys.readouterr() == ("", "")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("objects") as show:
        show(1, 4)
        show(4, 4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4 objects" in err
    assert "left" in err
