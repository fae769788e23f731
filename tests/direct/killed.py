"""A process that uploads and is killed at a point: ``python -m tests.direct.killed FOLDER POINT WAY STORE``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore.ledger.points import on_point
from tests.tus.killed import database_in
from tests.tus.stores import open_store
from tests.tus.tus_app import PATH, make_app

__all__ = ("CONTENT", "TICKET")

CONTENT = b"0123456789abcdef" * 65536 * 9
"""Two parts."""
TICKET = "ticket"
"""Name of the file with the ticket."""


def main(folder: Path, point: str, way: str, store: str) -> None:
    """Upload, and die on the way."""

    def hook(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = create_async_engine(f"sqlite+aiosqlite://{database_in(folder)}")
    with TestClient(make_app(open_store(store), engine)) as client:
        on_point(hook)
        begun = client.post(f"{PATH}/{way}", json={"filename": "a.txt", "size": len(CONTENT)}).json()
        (folder / TICKET).write_text(begun["ticket"])
        if way == "form":
            httpx.post(begun["url"], data=begun["fields"], files={"file": ("a.txt", CONTENT)}).raise_for_status()
        for part in begun.get("parts", ()):
            at = (part["number"] - 1) * begun["part_bytes"]
            put: Any = client.put if "testserver" in part["url"] else httpx.put
            put(part["url"], content=CONTENT[at : at + part["size"]]).raise_for_status()
        client.post(f"{PATH}/finish", json={"ticket": begun["ticket"]})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
