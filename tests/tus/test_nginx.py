"""Resumable uploads behind nginx, with the configuration of the documentation."""

from __future__ import annotations

import re
import secrets
import socket
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa

from tests.servers import nginx
from tests.servers.processes import HOST, require
from tests.tus.conftest import OFFSET_TYPE
from tests.tus.servers import serving
from tests.tus.stores import describe_local
from tests.tus.tus_app import PATH, Base

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "nginx.md"
TUS = {"Tus-Resumable": "1.0.0"}


def configuration(port: int) -> str:
    """Return the part of the page that is about uploads."""
    _, block = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(block).replace("127.0.0.1:8000", f"{HOST}:{port}")


def test_upload_goes_on_behind_nginx(tmp_path: Path) -> None:
    """What has come through nginx is kept when the client vanishes, and the URL of the upload leads to nginx."""
    engine = sa.create_engine(database := f"sqlite:///{tmp_path / 'rows.db'}", poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    (front := tmp_path / "nginx").mkdir()
    content = secrets.token_bytes(12_000_000)
    with (
        serving(tmp_path, describe_local(tmp_path), database) as (behind, process),
        require(lambda folder: nginx.serve(folder, configuration(behind)), front) as port,
        httpx.Client(base_url=f"http://{HOST}:{port}", headers=TUS, timeout=60, trust_env=False) as client,
    ):
        url = client.post(PATH, headers={"Upload-Length": str(len(content))}).headers["location"]
        assert url.startswith(f"http://{HOST}:{port}{PATH}/")
        with closing(socket.create_connection((HOST, port), timeout=60)) as wire:
            head = (
                f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: {HOST}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                f"Content-Type: {OFFSET_TYPE}\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            wire.sendall(head.encode() + content[:5_000_000])
            process.wait_until(lambda: int(client.head(url).headers["upload-offset"]) > 0)
        offset = int(client.head(url).headers["upload-offset"])
        assert 0 < offset <= 5_000_000
        said = {"Upload-Offset": str(offset), "Content-Type": OFFSET_TYPE}
        answer = client.patch(url, headers=said, content=content[offset:])
        assert (answer.status_code, "filestore-reference" in answer.headers) == (204, True)
