"""Serves the example app with rows in PostgreSQL and files in Ceph, until it is interrupted: ``make run-s3``.

Both servers are started for it, and nothing of them stays.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.example_app.example import serve_on_cloud
from tests.servers import ceph, postgres
from tests.servers.proc import wait_for_end
from tests.servers.processes import ServerMissingError

MAX_BYTES = 10**9
"""This Ceph keeps everything in memory."""


def main() -> None:
    """Start what is needed, and wait."""
    parser = argparse.ArgumentParser(description="Serve the example app on Ceph and PostgreSQL.")
    parser.add_argument("--port", type=int, default=8000)
    port: int = parser.parse_args().port
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filestore-example-")))
        for name in ("ceph", "postgres", "app"):
            (folder / name).mkdir()
        print("Starting Ceph and PostgreSQL", flush=True)
        try:
            s3 = stack.enter_context(ceph.serve(folder / "ceph"))
            database = stack.enter_context(postgres.serve(folder / "postgres"))
        except ServerMissingError as error:
            sys.exit(f"make run-s3 needs both servers, and one is missing: {error}")
        example = stack.enter_context(serve_on_cloud(folder / "app", s3, database, port=port, max_bytes=MAX_BYTES))
        print(f"Example app: {example.url} (Ctrl+C stops it), files in {s3.endpoint}", flush=True)
        with suppress(KeyboardInterrupt):
            while not wait_for_end(example.process.pid, timeout_seconds=60):
                pass


if __name__ == "__main__":
    main()
