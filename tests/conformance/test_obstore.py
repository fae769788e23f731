"""What obstore reaches besides S3."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from litestar_filestore.backends.obstore import ObstoreBackend
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.testing.conformance import BackendConformance, BackendSpec
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer

pytestmark = pytest.mark.conformance

AZURE_PUT_HEADERS: Mapping[str, str] = MappingProxyType({"x-ms-blob-type": "BlockBlob"})


class TestMemory(BackendConformance):
    """obstore's memory store."""

    @pytest.fixture
    def make_backend(self) -> Callable[[str | None], StorageBackend]:
        """Make a store of its own."""
        return lambda prefix: ObstoreBackend("conformance", "memory:///", prefix=prefix)


class SlowServer(BackendConformance):
    """A stand-in written in Python or JavaScript: two forms of each test, and fewer objects in long listings."""

    listed_objects = 1_100

    @pytest.fixture(params=EACH_HALF_ONCE, ids=str)
    def form(self, request: pytest.FixtureRequest) -> Form:
        """Return the form in which the test runs."""
        form: Form = request.param
        return form


class TestAzure(SlowServer):
    """Azure, through Azurite."""

    signed_put_headers = AZURE_PUT_HEADERS

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
        return BackendSpec(
            "litestar_filestore.backends.obstore:ObstoreBackend",
            {
                "key": "conformance",
                "fs": f"az://{container}/",
                "azure_storage_account_name": azure_server.account_name,
                "azure_storage_account_key": azure_server.account_key,
                "azure_storage_endpoint": azure_server.endpoint,
                "client_options": {"allow_http": True},
            },
        )


class TestGcs(SlowServer):
    """Google Cloud Storage's XML interface, through a stand-in."""

    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, gcs_server: GcsServer) -> str:
        """Make a bucket."""
        name = f"conformance-{secrets.token_hex(4)}"
        gcs_server.create_bucket(name)
        return name

    @pytest.fixture
    def spec(self, gcs_server: GcsServer, bucket: str) -> BackendSpec:
        """Name the bucket and the account."""
        return BackendSpec(
            "litestar_filestore.backends.obstore:ObstoreBackend",
            {
                "key": "conformance",
                "fs": f"gs://{bucket}/",
                "google_service_account": str(gcs_server.service_account_path),
                "client_options": {"allow_http": True},
            },
        )
