"""Azure's blob service, through Azurite. What interrupted puts leave there, the service forgets after a week."""

from __future__ import annotations

import secrets
from types import MappingProxyType

import pytest

from litestar_filestore.testing import BackendSpec
from tests.conformance.stand_ins import FSSPEC, OBSTORE, StandInConformance
from tests.servers.azurite import AzureServer

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


class AzureConformance(StandInConformance):
    """What both libraries need."""

    signed_put_headers = MappingProxyType({"x-ms-blob-type": "BlockBlob"})

    @pytest.fixture(scope="class")
    @classmethod
    def container(cls, azure_server: AzureServer) -> str:
        """Make a container."""
        name = f"conformance-{secrets.token_hex(4)}"
        azure_server.create_container(name)
        return name


class TestAzureByObstore(AzureConformance):
    """Azurite through obstore."""

    @pytest.fixture
    def spec(self, azure_server: AzureServer, container: str) -> BackendSpec:
        """Name the container and the server."""
        options = {
            "azure_storage_account_name": azure_server.account_name,
            "azure_storage_account_key": azure_server.account_key,
            "azure_storage_endpoint": azure_server.endpoint,
            "client_options": {"allow_http": True},
        }
        return BackendSpec(OBSTORE, {"key": "conformance", "fs": f"az://{container}/", **options})


class TestAzureByAdlfs(AzureConformance):
    """Azurite through adlfs."""

    @pytest.fixture
    def spec(self, azure_server: AzureServer, container: str) -> BackendSpec:
        """Name the container and the server."""
        options = {"connection_string": azure_server.connection_string}
        return BackendSpec(FSSPEC, {"key": "conformance", "fs": f"abfs://{container}", **options})
