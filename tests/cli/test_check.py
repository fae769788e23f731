"""``check`` says exactly what is wrong with a store: on real servers, through each library."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from botocore.config import Config

from litestar_filestore import FSSpecBackend, LocalBackend, MemoryBackend, ObstoreBackend, StorageBackend
from litestar_filestore.cli.policies import least_policy
from litestar_filestore.cli.probes import probe
from litestar_filestore.cli.reports import BackendCheck
from litestar_filestore.errors import StorageFullError
from litestar_filestore.testing import Fault, FaultyBackend
from tests.backends import fsspec_stores, obstore_stores
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer

ROOT = Path(__file__).parents[2]
QUICK: dict[str, Any] = {"retry_config": {"max_retries": 0}, "client_options": {"allow_http": True}}

S3Maker: TypeAlias = Callable[..., StorageBackend]


def s3_by_obstore(server: S3Server, bucket: str, **wrong: str) -> StorageBackend:
    """Build a backend of obstore; `wrong` replaces facts of the server."""
    return ObstoreBackend(
        "files",
        f"s3://{bucket}/folder/",
        aws_endpoint=wrong.get("endpoint", server.endpoint),
        aws_access_key_id=wrong.get("access_key", server.access_key),
        aws_secret_access_key=wrong.get("secret_key", server.secret_key),
        aws_region=wrong.get("region", server.region),
        **QUICK,
    )


def s3_by_fsspec(server: S3Server, bucket: str, **wrong: str) -> StorageBackend:
    """Build the same of fsspec."""
    return FSSpecBackend(
        "files",
        f"s3://{bucket}/folder",
        endpoint_url=wrong.get("endpoint", server.endpoint),
        username=wrong.get("access_key", server.access_key),
        password=wrong.get("secret_key", server.secret_key),
        client_kwargs={"region_name": wrong.get("region", server.region)},
        config_kwargs={"retries": {"max_attempts": 0}, "connect_timeout": 5},
    )


by_each_library = pytest.mark.parametrize("make", [s3_by_obstore, s3_by_fsspec], ids=["obstore", "fsspec"])


def outcomes(found: BackendCheck) -> dict[str, str]:
    """Return what became of each step."""
    return {step.name: step.outcome for step in found.steps}


def reasons(found: BackendCheck) -> str:
    """Return what is said about the steps that failed."""
    return " ".join(f"{step.name}: {step.reason}" for step in found.steps if step.outcome == "failed")


def permissions(found: BackendCheck) -> dict[str, str | None]:
    """Return what the account lacks for each step that failed."""
    return {step.name: step.permission for step in found.steps if step.outcome == "failed"}


def keys(backend: StorageBackend) -> list[str]:
    """Return the keys of all objects."""
    return [info.key for info in backend.list()]


ALL_OK = dict.fromkeys(("reach", "put", "read", "range", "list", "sign", "delete"), "ok")
WITHOUT_LINKS = {**ALL_OK, "sign": "unsupported"}


class S3Owner:
    """The owner of a bucket, who says what may be done in it."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.bucket = obstore_stores.make_bucket(server)
        self._client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
            config=Config(proxies={}, s3={"addressing_style": "path"}),
        )

    def store(self, key: str) -> None:
        """Put an object."""
        self._client.put_object(Bucket=self.bucket, Key=key, Body=b"there")

    def deny(self, **actions: list[str]) -> None:
        """Deny these actions to everybody, the owner included."""
        both = [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/*"]
        statement = {"Effect": "Deny", "Principal": "*", "Resource": both, **actions}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self._client.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@pytest.fixture
def owner(s3_server: S3Server) -> Iterator[S3Owner]:
    """A bucket of its own on Ceph."""
    with closing(S3Owner(s3_server)) as owner:
        yield owner


@pytest.mark.matrix(cases=1)
@by_each_library
async def test_a_good_bucket(make: S3Maker, owner: S3Owner) -> None:
    """Every step works, a link is fetched without credentials, and nothing is left."""
    backend = make(owner.server, owner.bucket)
    found = await probe(backend)
    assert (outcomes(found), found.ok) == (ALL_OK, True), found
    assert found.place == f"{owner.bucket}/folder"
    assert found.policy is None
    assert keys(backend) == []
    backend.close()
    await backend.close_async()


@pytest.mark.matrix(cases=1)
@by_each_library
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"access_key": "nobody"}, "credentials"),
        ({"secret_key": "wrong"}, "credentials"),
        ({"endpoint": "http://127.0.0.1:9"}, "Nothing listens at that host and port"),
        ({"endpoint": "http://no-such-host.invalid:8000"}, "name of the host is not known"),
    ],
    ids=["access key", "secret", "port", "host"],
)
async def test_wrong_facts(make: S3Maker, owner: S3Owner, wrong: dict[str, str], said: str) -> None:
    """The first step says which fact is wrong; the others are not tried."""
    found = await probe(make(owner.server, owner.bucket, **wrong))
    assert outcomes(found) == {**dict.fromkeys(ALL_OK, "skipped"), "reach": "failed"}
    assert said in reasons(found)
    assert not found.ok


@pytest.mark.slow
@by_each_library
async def test_wrong_bucket(make: S3Maker, s3_server: S3Server) -> None:
    """A bucket that is not there is named."""
    found = await probe(make(s3_server, "not-there-at-all"))
    assert "bucket" in reasons(found)
    assert "create it" in reasons(found)
    assert found.place == "not-there-at-all/folder"


@pytest.mark.matrix(cases=1)
@by_each_library
@pytest.mark.parametrize("holds", [True, False], ids=["an object", "nothing"])
async def test_a_read_only_bucket(make: S3Maker, owner: S3Owner, holds: bool) -> None:  # noqa: FBT001
    """It names the permissions that are missing, and the policy that has them."""
    if holds:
        owner.store("folder/there.txt")
    owner.deny(Action=["s3:PutObject", "s3:DeleteObject"])
    found = await probe(make(owner.server, owner.bucket))
    assert permissions(found) == {"put": "s3:PutObject", "delete": "s3:DeleteObject"}, found
    assert outcomes(found)["read"] == ("ok" if holds else "skipped")
    assert outcomes(found)["list"] == "ok"
    assert found.policy is not None
    assert "s3:PutObject" in found.policy
    assert f"arn:aws:s3:::{owner.bucket}/folder/*" in found.policy
    assert found.left_behind is None


@pytest.mark.slow
@by_each_library
async def test_a_write_only_bucket(make: S3Maker, owner: S3Owner) -> None:
    """Reading and listing are named, the link is refused, and the probe is removed."""
    owner.deny(Action=["s3:GetObject", "s3:ListBucket"])
    found = await probe(make(owner.server, owner.bucket))
    wanted = {"read": "s3:GetObject", "range": "s3:GetObject", "list": "s3:ListBucket", "sign": "s3:GetObject"}
    assert permissions(found) == wanted, found
    assert (outcomes(found)["put"], outcomes(found)["delete"]) == ("ok", "ok")


@pytest.mark.slow
@by_each_library
async def test_a_bucket_that_keeps_everything(make: S3Maker, owner: S3Owner) -> None:
    """Where nothing may be deleted, it says so and names what it had to leave."""
    owner.deny(Action=["s3:DeleteObject"])
    found = await probe(make(owner.server, owner.bucket))
    assert permissions(found) == {"delete": "s3:DeleteObject"}
    assert found.left_behind is not None
    assert found.left_behind.startswith("filestore-check/")


@pytest.mark.slow
@by_each_library
async def test_the_least_policy_is_enough(make: S3Maker, owner: S3Owner) -> None:
    """Where everything is denied that the printed policy does not allow, all steps work."""
    policy = json.loads(least_policy("s3", f"{owner.bucket}/folder") or "")
    owner.deny(NotAction=[action for statement in policy["Statement"] for action in statement["Action"]])
    backend = make(owner.server, owner.bucket)
    found = await probe(backend)
    assert outcomes(found) == ALL_OK, found


WRONG_REGION = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization '
    b"header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message><Region>eu-central-1"
    b"</Region></Error>"
)


class WrongRegion(BaseHTTPRequestHandler):
    """Answers as Amazon does where a request is signed for another region than the bucket's. Ceph takes any region."""

    protocol_version = "HTTP/1.1"  # which tells a client that waits to send its content

    def do_GET(self) -> None:
        """Answer."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.send_response(400)
        self.send_header("Connection", "close")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(WRONG_REGION)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(WRONG_REGION)

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET  # noqa: N815  # names of the standard library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # likewise
        """Say nothing."""


@pytest.fixture
def other_region() -> Iterator[S3Server]:
    """A store whose buckets are in another region."""
    with ThreadingHTTPServer(("127.0.0.1", 0), WrongRegion) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield S3Server(f"http://127.0.0.1:{server.server_port}", "key", "secret")
        server.shutdown()
        thread.join()


@pytest.mark.matrix(cases=1)
@by_each_library
async def test_wrong_region(make: S3Maker, other_region: S3Server) -> None:
    """The region is named as what is wrong."""
    found = await probe(make(other_region, "bucket"))
    assert "another region" in reasons(found), found


async def test_a_port_that_does_not_answer() -> None:
    """A store that takes the connection and says nothing costs the time that is allowed, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = S3Server(f"http://127.0.0.1:{silent.getsockname()[1]}", "key", "secret")
        found = await probe(s3_by_obstore(server, "bucket"), seconds=0.3)
    assert "did not answer within 0.3 s" in reasons(found)


# -- other services


@pytest.mark.slow
@pytest.mark.parametrize("make", [obstore_stores.azure_backend, fsspec_stores.azure_backend], ids=["obstore", "fsspec"])
async def test_azure(make: Callable[..., StorageBackend], azure_server: AzureServer) -> None:
    """A container works; one that is not there is named."""
    found = await probe(make(azure_server, obstore_stores.make_container(azure_server)))
    assert outcomes(found) == ALL_OK, found
    assert "container" in reasons(await probe(make(azure_server, "not-there")))


@pytest.mark.slow
async def test_azure_with_a_wrong_key(azure_server: AzureServer) -> None:
    """The key is named as what is wrong."""
    container = obstore_stores.make_container(azure_server)
    key = "bm90IHRoZSBrZXkgb2YgdGhlIGFjY291bnQ="
    wrong = [
        obstore_stores.azure_backend(azure_server, container, azure_storage_account_key=key, **QUICK),
        fsspec_stores.azure_backend(
            azure_server,
            container,
            connection_string=azure_server.connection_string.replace(azure_server.account_key, key),
        ),
    ]
    for backend in wrong:
        found = await probe(backend)
        assert "credentials" in reasons(found), found


def azure_token(server: AzureServer, container: str, **may: bool) -> str:
    """Return a token that allows only this in the container."""
    return generate_container_sas(
        server.account_name,
        container,
        account_key=server.account_key,
        permission=ContainerSasPermissions(**may),
        expiry=datetime.now(UTC) + timedelta(hours=1),
        protocol="https,http",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("may", "failed"),
    [
        ({"read": True, "list": True}, {"put", "delete"}),
        ({"write": True, "create": True, "delete": True}, {"read", "range", "list"}),
    ],
    ids=["read only", "write only"],
)
@pytest.mark.parametrize("library", ["obstore", "fsspec"])
async def test_azure_with_a_token(
    azure_server: AzureServer, library: str, may: dict[str, bool], failed: set[str]
) -> None:
    """It names the actions that the token does not allow, and the role and the letters that do."""
    container = obstore_stores.make_container(azure_server)
    token = azure_token(azure_server, container, **may)
    if library == "obstore":
        options: dict[str, Any] = {"azure_storage_account_key": None, "azure_storage_sas_key": token}
        backend: StorageBackend = obstore_stores.azure_backend(azure_server, container, **options)
    else:
        connection = f"BlobEndpoint={azure_server.endpoint};SharedAccessSignature={token}"
        backend = fsspec_stores.azure_backend(azure_server, container, connection_string=connection)
    found = await probe(backend)
    assert permissions(found).keys() - {"sign"} == failed, found
    assert found.policy is not None
    assert (container in found.policy, "racwdl" in found.policy) == (True, True)


@pytest.mark.slow
async def test_gcs(gcs_server: GcsServer) -> None:
    """A bucket works through obstore; one that is not there is named."""
    found = await probe(obstore_stores.gcs_backend(gcs_server, obstore_stores.make_bucket(gcs_server)))
    assert outcomes(found) == {**ALL_OK, "sign": outcomes(found)["sign"]}, found
    assert "bucket" in reasons(await probe(obstore_stores.gcs_backend(gcs_server, "not-there")))


@pytest.mark.slow
async def test_gcs_by_fsspec(gcs_json_server: GcsJsonServer) -> None:
    """So does one through gcsfs, which cannot sign without a key."""
    gcs_json_server.create_bucket("for-a-check")
    backend = fsspec_stores.gcs_backend(gcs_json_server, "for-a-check")
    found = await probe(backend)
    assert {**outcomes(found), "sign": "ok"} == ALL_OK, found
    assert "bucket" in reasons(await probe(fsspec_stores.gcs_backend(gcs_json_server, "not-there")))


async def test_sftp(sftp_server: SftpServer) -> None:
    """A folder works; a wrong password is named."""
    assert outcomes(await probe(fsspec_stores.sftp_backend(sftp_server))) == WITHOUT_LINKS
    assert "credentials" in reasons(await probe(fsspec_stores.sftp_backend(sftp_server, password="wrong")))


# -- disks


async def test_a_folder(tmp_path: Path) -> None:
    """A folder works, and needs no links; nothing is left in it."""
    found = await probe(LocalBackend("files", tmp_path / "files"))
    assert (outcomes(found), found.ok, found.place) == (WITHOUT_LINKS, True, str(tmp_path / "files"))
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_a_small_limit() -> None:
    """A backend for tiny objects is probed with a tiny one."""
    assert (await probe(MemoryBackend("files", max_bytes=1))).ok


async def test_a_full_disk(tmp_path: Path) -> None:
    """A full disk is called full."""
    plan = [Fault("put", StorageFullError("No space is left in the store"), times=None)]
    found = await probe(FaultyBackend(LocalBackend("files", tmp_path), plan))
    assert "put: No space is left in the store" in reasons(found)
    assert found.policy is None


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """So is a real one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode()}")
    try:
        (tmp_path / "filler").write_bytes(b"x" * 40_000)
        found = asyncio.run(probe(LocalBackend("files", tmp_path)))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert "put: No space is left in the store" in reasons(found), found


async def test_a_driver_with_a_bug(tmp_path: Path) -> None:
    """What no driver should raise is reported, and not raised."""
    found = await probe(FaultyBackend(LocalBackend("files", tmp_path), [Fault("get", ZeroDivisionError(), times=None)]))
    assert "read: ZeroDivisionError in the driver" in reasons(found)
    assert outcomes(found)["delete"] == "ok"


async def test_a_store_that_changes_content(tmp_path: Path) -> None:
    """A store that gives back less than it was given fails."""
    found = await probe(FaultyBackend(LocalBackend("files", tmp_path), [Fault("get", after_bytes=3, times=None)]))
    assert {step.name for step in found.steps if step.outcome == "failed"} == {"read", "range"}


PROBE_AS_NOBODY = """
import asyncio, os, sys
import msgspec
from litestar_filestore import LocalBackend, MemoryBackend
from litestar_filestore.cli.probes import probe
asyncio.run(probe(MemoryBackend("loads all modules")))
os.setgid(65534), os.setuid(65534)
print(msgspec.json.encode(asyncio.run(probe(LocalBackend("files", sys.argv[1])))).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("mode", "failed"), [(0o555, {"put"}), (0o000, {"put", "read", "list", "delete"})])
def test_a_folder_without_permission(tmp_path: Path, mode: int, failed: set[str]) -> None:
    """It says who needs what, and whose the folder is."""
    folder = tmp_path / "files"
    folder.mkdir()
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    folder.chmod(mode)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", PROBE_AS_NOBODY, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    found = json.loads(done.stdout)
    assert failed <= {step["name"] for step in found["steps"] if step["outcome"] == "failed"}, found
    assert "The user with uid 65534 has to read, write and enter" in found["policy"]
    assert "belongs to uid 0" in found["policy"]
