"""A process that uploads to itself and is killed at a point.

It is run as ``python -m tests.tus.killed FOLDER POINT NTH STORE PROTOCOL``; the protocol is ``tus`` or ``draft``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore.ledger.points import on_point
from tests.tus.conftest import OFFSET_TYPE
from tests.tus.http_upload_client import DRAFT, PARTIAL
from tests.tus.stores import open_store
from tests.tus.tus_app import PATH, make_app

__all__ = ("CONTENT", "URL", "database_in")

CONTENT = bytes(range(256)) * 4096 * 18 + b"the end"
"""Two parts of eight mebibytes and more."""
URL = "url"
"""Name of the file with the URL of the upload."""


def database_in(folder: Path) -> str:
    """Return the URL of the database, without its driver."""
    return f"/{folder}/rows.db"


def main(folder: Path, point: str, nth: int, store: str, protocol: str) -> None:
    """Upload in three requests, and die on the way."""
    reached: list[str] = []

    def hook(name: str) -> None:
        reached.append(name)
        if reached.count(point) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    backend = open_store(store)
    engine = create_async_engine(f"sqlite+aiosqlite://{database_in(folder)}")
    headers, part = ({"Tus-Resumable": "1.0.0"}, OFFSET_TYPE) if protocol == "tus" else (DRAFT, PARTIAL)
    with TestClient(make_app(backend, engine, experimental_http_uploads=True)) as client:
        begin = {"Upload-Length": str(len(CONTENT)), "Upload-Complete": "?0"}
        created = client.post(PATH, headers={**headers, **begin})
        url = created.headers["location"]
        (folder / URL).write_text(url)
        on_point(hook)
        offset = 0
        for end in (100_000, 9_000_000, len(CONTENT)):
            ends = f"?{end == len(CONTENT):d}"
            said = {"Content-Type": part, "Upload-Offset": str(offset), "Upload-Complete": ends}
            answer = client.patch(url, content=CONTENT[offset:end], headers={**headers, **said})
            offset = int(answer.headers["upload-offset"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
