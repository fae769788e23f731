"""The process of :mod:`tests.servers.gcs_json`.

usage: python -m tests.servers.gcs_json_app HOST PORT
"""

from __future__ import annotations

import logging
import sys
from http.server import HTTPServer

from gcp_storage_emulator.server import create_server

__all__ = ("main",)


def main(host: str, port: int) -> None:
    """Serve an empty store, in memory, until killed."""
    logging.basicConfig(level=logging.WARNING)  # at its own level, DEBUG, it writes more than it serves
    # It answers one connection after the other and lets five wait; the sixth is reset, or comes again after seconds.
    HTTPServer.request_queue_size = 512
    create_server(host, port, in_memory=True).run()


if __name__ == "__main__":
    _host, _port = sys.argv[1:]
    main(_host, int(_port))
