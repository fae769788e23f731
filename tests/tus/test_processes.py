"""Two processes on one database: an upload goes from one to the other, whatever became of its connection."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.servers.processes import HOST, RunningProcess
from tests.tus.conftest import OFFSET_TYPE
from tests.tus.servers import serving
from tests.tus.stores import describe_local
from tests.tus.tus_app import PATH, Base

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.slow

TUS = {"Tus-Resumable": "1.0.0"}


@dataclass
class Server:
    """One process of the application."""

    port: int
    process: RunningProcess

    @property
    def url(self) -> str:
        """Where uploads are created."""
        return f"http://{HOST}:{self.port}{PATH}"

    def at(self, url: str) -> str:
        """Return the URL of an upload at this process."""
        return f"http://{HOST}:{self.port}{urlsplit(url).path}"

    def head(self, url: str) -> httpx.Response:
        """Ask how much has come."""
        return httpx.head(self.at(url), headers=TUS, timeout=30, trust_env=False)

    def create(self, length: int) -> str:
        """Create an upload, and return its URL."""
        said = {**TUS, "Upload-Length": str(length)}
        return str(httpx.post(self.url, headers=said, timeout=30, trust_env=False).headers["location"])

    def patch(self, url: str, offset: int, content: bytes) -> httpx.Response:
        """Send bytes."""
        said = {**TUS, "Content-Type": OFFSET_TYPE, "Upload-Offset": str(offset)}
        return httpx.patch(self.at(url), content=content, headers=said, timeout=60, trust_env=False)

    def begin(self, url: str, announced: int, content: bytes) -> socket.socket:
        """Send a part of what is announced, and return the open connection."""
        wire = socket.create_connection((HOST, self.port), timeout=30)
        head = (
            f"PATCH {urlsplit(url).path} HTTP/1.1\r\nHost: {HOST}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            f"Content-Type: {OFFSET_TYPE}\r\nContent-Length: {announced}\r\n\r\n"
        )
        wire.sendall(head.encode() + content)
        return wire


class Pair(NamedTuple):
    """Two processes of the application on one database and one folder."""

    one: Server
    two: Server
    engine: sa.Engine

    def wait_for(self, url: str, offset: int) -> None:
        """Return when so much of an upload is committed."""
        statement = sa.text("SELECT offset FROM filestore_upload WHERE id = :id").bindparams(id=url.rpartition("/")[2])
        if self.engine.dialect.name == "postgresql":
            statement = sa.text(str(statement).replace("offset", '"offset"')).bindparams(id=url.rpartition("/")[2])

        def is_there() -> bool:
            with self.engine.connect() as connection:
                return bool(connection.execute(statement).scalar_one() >= offset)

        self.one.process.wait_until(is_there)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two processes of the application."""
    folder = tmp_path_factory.mktemp("tus")
    url = f"sqlite:///{folder / 'rows.sqlite'}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"tus_{uuid.uuid4().hex}"
        server.create_database(name)
        url = server.url("psycopg", name)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    with ExitStack() as stack:
        store = describe_local(folder)
        one, two = (Server(*stack.enter_context(serving(folder, store, url))) for _ in range(2))
        yield Pair(one, two, engine)


def finish(server: Server, url: str, content: bytes, offset: int) -> None:
    """Send the rest, and compare what the reference says."""
    answer = server.patch(url, offset, content[offset:])
    assert (answer.status_code, "filestore-reference" in answer.headers) == (204, True), answer.text


@pytest.mark.parametrize("come", [3_000_123, 50_000, 12_000_000])
def test_stalled_request_lets_go_for_another_process(servers: Pair, come: int) -> None:
    """A client whose connection hangs asks elsewhere: the hanging request keeps what has come, and lets go."""
    one, two, _ = servers
    content = secrets.token_bytes(20_000_000)
    url = one.create(len(content))
    with closing(one.begin(url, len(content), content[:come])) as wire:
        servers.wait_for(url, come)  # it is committed while nothing more comes
        wire.sendall(content[come : come + 1000])
        answer = two.head(url)
        offset = int(answer.headers["upload-offset"])
        assert come <= offset <= come + 1000
        reply = wire.recv(65536).decode()
        assert reply.startswith("HTTP/1.1 204"), reply
        assert f"upload-offset: {offset}" in reply.lower()
    finish(two, url, content, offset)


def test_lost_connection_keeps_what_has_come(servers: Pair) -> None:
    """A client that vanishes in the middle goes on where its bytes ended."""
    one, two, _ = servers
    content = secrets.token_bytes(10_000_000)
    url = one.create(len(content))
    one.begin(url, len(content), content[:4_000_000]).close()
    offset = int(two.head(url).headers["upload-offset"])
    assert 0 < offset <= 4_000_000
    finish(two, url, content, offset)


def test_tuspy_uploads_with_checksums_and_resumes(servers: Pair) -> None:
    """The Python client: in chunks with checksums, stopped in the middle, resumed at the other process."""
    one, two, _ = servers
    content = secrets.token_bytes(3_000_000)
    client = TusClient(one.url)
    first = client.uploader(
        file_stream=BytesIO(content), chunk_size=700_000, metadata={"filename": "a.bin"}, upload_checksum=True
    )
    first.upload(stop_at=1_400_000)
    url = str(first.url)
    again = TusClient(two.url).uploader(file_stream=BytesIO(content), chunk_size=10**6, url=two.at(url))
    assert again.offset == first.offset
    again.upload()
    answer = one.head(url)
    assert (answer.headers["upload-offset"], "filestore-reference" in answer.headers) == (str(len(content)), True)


def test_tuspy_is_refused_with_a_reason(servers: Pair) -> None:
    """What the server refuses is an error there, not a loop."""
    client = TusClient(servers.one.url, headers={"x-user": "stranger"})
    with pytest.raises(TusCommunicationError):
        client.uploader(file_stream=BytesIO(b"abc"), retries=0).upload()


def test_killed_server_loses_nothing_that_was_committed(servers: Pair) -> None:
    """After a kill the other process tells what was committed, and takes over when the hold has run out."""
    one, two, _ = servers
    content = secrets.token_bytes(20_000_000)
    url = one.create(len(content))
    with closing(one.begin(url, len(content), content[:12_000_000])):
        servers.wait_for(url, 8 * 1024 * 1024)
        os.kill(one.process.pid, signal.SIGKILL)
    offset = int(two.head(url).headers["upload-offset"])
    assert 8 * 1024 * 1024 <= offset <= 12_000_000
    answer = two.patch(url, offset, content[offset:])
    while answer.status_code == 423:  # as clients do
        answer = two.patch(url, offset, content[offset:])
    assert (answer.status_code, "filestore-reference" in answer.headers) == (204, True), answer.text
