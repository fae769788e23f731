"""What fsspec reaches besides S3."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from litestar_filestore.backends.fsspec import FSSpecBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.testing.conformance import BackendConformance, BackendSpec
from tests.conformance.test_local import unfinished
from tests.servers.azurite import AzureServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

pytestmark = pytest.mark.conformance

AZURE_PUT_HEADERS: Mapping[str, str] = MappingProxyType({"x-ms-blob-type": "BlockBlob"})

FACTORY = "litestar_filestore.backends.fsspec:FSSpecBackend"


class TestFile(BackendConformance):
    """Local folders by fsspec's name for them."""

    @pytest.fixture
    def spec(self, tmp_path: Path) -> BackendSpec:
        """Store below a folder of the test's own."""
        return BackendSpec(FACTORY, {"key": "conformance", "fs": (tmp_path / "root").as_uri(), "fsync": False})

    @pytest.fixture
    def leftovers(self, tmp_path: Path) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(tmp_path / "root")


class TestMemory(BackendConformance):
    """fsspec's memory file system, one for the whole process."""

    @pytest.fixture
    def make_backend(self) -> Callable[[str | None], StorageBackend]:
        """Use the process's own."""
        return lambda prefix: FSSpecBackend("conformance", "memory", prefix)


class TestAzure(BackendConformance):
    """Azure through adlfs, on Azurite."""

    signed_put_headers = AZURE_PUT_HEADERS
    listed_objects = 1_100

    @pytest.fixture(scope="class")
    @classmethod
    def container(cls, azure_server: AzureServer) -> str:
        """Make a container."""
        name = f"conformance-{secrets.token_hex(4)}"
        azure_server.create_container(name)
        return name

    @pytest.fixture
    def spec(self, azure_server: AzureServer, container: str) -> BackendSpec:
        """Name the container and the server."""
        connection_string = azure_server.connection_string
        return BackendSpec(
            FACTORY, {"key": "conformance", "fs": f"abfs://{container}", "connection_string": connection_string}
        )


class TestGcs(BackendConformance):
    """Google Cloud Storage through gcsfs, on an emulator of its JSON interface."""

    server_checks_signatures = False

    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, gcs_json_server: GcsJsonServer) -> str:
        """Make a bucket."""
        name = f"conformance-{secrets.token_hex(4)}"
        gcs_json_server.create_bucket(name)
        return name

    @pytest.fixture
    def spec(self, gcs_json_server: GcsJsonServer, bucket: str) -> BackendSpec:
        """Name the bucket and the server."""
        options = {"endpoint_url": gcs_json_server.endpoint, "project": gcs_json_server.project, "token": "anon"}
        return BackendSpec(FACTORY, {"key": "conformance", "fs": f"gs://{bucket}", **options})


class TestSftp(BackendConformance):
    """SFTP."""

    @pytest.fixture
    def spec(self, sftp_server: SftpServer) -> BackendSpec:
        """Name the server."""
        options = {"username": sftp_server.username, "password": sftp_server.password, "port": sftp_server.port}
        return BackendSpec(
            FACTORY, {"key": "conformance", "fs": f"sftp://{sftp_server.host}/", "known_hosts": None, **options}
        )

    @pytest.fixture
    def leftovers(self, sftp_server: SftpServer) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(sftp_server.root)


class TestWebdav(BackendConformance):
    """WebDAV."""

    @pytest.fixture
    def spec(self, webdav_server: WebdavServer) -> BackendSpec:
        """Name the server."""
        auth = (webdav_server.username, webdav_server.password)
        return BackendSpec(FACTORY, {"key": "conformance", "fs": "webdav", "base_url": webdav_server.url, "auth": auth})

    @pytest.fixture
    def leftovers(self, webdav_server: WebdavServer) -> Callable[[], list[str]]:
        """List the files among the unfinished writes."""
        return lambda: unfinished(webdav_server.root)
