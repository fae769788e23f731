"""Runs commands in a process of its own: ``python -m tests.cli.cli_process``.

It reads one JSON object per line, ``{"folder": ..., "app": ..., "arguments": [...], "terminal": ...}``, and answers
with exit code and output.
"""

import json
import os
import sys

from click.testing import CliRunner
from litestar.cli.main import litestar_group

__all__ = ()


def _serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        os.environ.update(PAPERS=order["folder"], COLUMNS="200")
        arguments = ["--app", f"tests.cli.cli_app:{order['app']}", "storages", *order["arguments"]]
        terminal = {"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": None} if order["terminal"] else None
        result = CliRunner(env=terminal).invoke(litestar_group, arguments)
        print(json.dumps([result.exit_code, result.output]), flush=True)


if __name__ == "__main__":
    _serve()
