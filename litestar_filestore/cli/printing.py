"""How commands print, what their exit codes mean, and what becomes of their errors."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from litestar.cli._utils import console  # one of the two names that other plugins' commands use as well
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from litestar_filestore.cli.reports import ErrorReport
from litestar_filestore.errors import StorageError
from litestar_filestore.ledger.outages import explain_database_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = (
    "CANNOT_RUN",
    "FOUND_SOMETHING",
    "StoragesCommand",
    "finish",
    "is_shown",
    "printable",
    "progress",
    "reason_of",
    "say",
    "show_table",
)

ReportT = TypeVar("ReportT", bound=msgspec.Struct)

FOUND_SOMETHING = 1
"""Exit code: the command has done its work, and not all is well. 2 is click's, for a wrong command line."""
CANNOT_RUN = 3
"""Exit code: the command could not do its work, because a store or database is away or the set-up is wrong."""


_QUIET_SECONDS = 0.1
"""How long a command waits before it ends. obstore 0.12 frees what it was given in threads of its own, a moment after
the call; one that does so while the interpreter ends aborts the process, and scripts would see that exit code."""


class StoragesCommand(click.Command):
    """A command with ``--json``, whose expected errors end in a sentence and not in a traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the option, which is handed on as `as_json`."""
        super().__init__(*args, **kwargs)
        option = click.Option(["--json", "as_json"], is_flag=True, default=False, help="Print one JSON document.")
        self.params.append(option)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; say why it could not do its work."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # whoever reads the output has gone, which click knows how to end
            raise
        except ExceptionGroup as group:
            errors, others = group.split((StorageError, SQLAlchemyError, OSError))
            if others is not None:
                raise
            raise _stop(list(errors.exceptions if errors else ()), as_json=ctx.params["as_json"]) from group
        except (StorageError, SQLAlchemyError, OSError) as error:
            raise _stop([error], as_json=ctx.params["as_json"]) from error
        finally:
            if "obstore" in sys.modules:
                time.sleep(_QUIET_SECONDS)


def _stop(errors: list[Exception], *, as_json: bool) -> SystemExit:
    for error in map(explain_database_error, errors):
        if as_json:
            click.echo(msgspec.json.encode(_report_of(error)))
        else:
            say(str(error) if isinstance(error, StorageError) else reason_of(error), style="red")
    return SystemExit(CANNOT_RUN)


def _report_of(error: Exception) -> ErrorReport:
    name = type(error).__name__
    if not isinstance(error, StorageError):
        return ErrorReport(error=name, reason=reason_of(error))
    return ErrorReport(error=name, reason=error.detail, backend=error.backend, operation=error.operation, key=error.key)


def reason_of(error: Exception) -> str:
    """Return what an error says, without statements and parameters."""
    if isinstance(error, StorageError):
        return error.detail
    return str(error).partition("\n")[0] or type(error).__name__


def finish(report: ReportT, render: Callable[[ReportT], None], *, ok: bool = True, as_json: bool = False) -> None:
    """Print a report, as JSON or by `render`, and end the command with the exit code that fits."""
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        render(report)
    if not ok:
        sys.exit(FOUND_SOMETHING)


def say(line: str, *, style: str | None = None) -> None:
    """Print a line literally: keys and messages of stores must not be read as markup, emoji or colours."""
    console.print(_text(line, style), soft_wrap=True)


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; without a terminal, whose width would cut it, lines whose cells are separated by tabs."""
    if not console.is_terminal:
        for row in (headings, *rows):
            click.echo("\t".join(map(printable, row)))
        return
    table = Table(*headings)
    for row in rows:
        table.add_row(*map(_text, row))
    console.print(table)


class _Rate(ProgressColumn):
    """How many there are in a second."""

    def render(self, task: Task) -> Text:
        """Return the rate, as far as it is known."""
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s")


def is_shown() -> bool:
    """Return whether `progress` shows anything, so that nobody counts for it in vain."""
    return Console(stderr=True).is_terminal


@contextmanager
def progress(unit: str) -> Generator[Callable[[int, int | None], None]]:
    """Show on a terminal how many are done, how fast, and how long it still takes; elsewhere, nothing.

    It goes to standard error, so that it mixes with no output.

    Args:
        unit: What is counted.

    Returns:
        A context with a function to call with the number of those done and the number of all, in any thread.
    """
    columns = (
        *(TextColumn("{task.completed:,.0f} {task.description}"), BarColumn(), TaskProgressColumn(), _Rate()),
        *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _text(line: str, style: str | None = None) -> Text:
    return Text(printable(line), style=style or "")


def printable(line: str) -> str:
    """Escape what is not printable: keys in a bucket may come from anybody and hold terminal escape sequences."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
