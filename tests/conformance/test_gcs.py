"""Google Cloud Storage: its XML interface, which obstore speaks, and its JSON interface, which gcsfs speaks."""

from __future__ import annotations

import secrets

import pytest

from litestar_filestore.testing import BackendSpec
from tests.conformance.stand_ins import FSSPEC, OBSTORE, StandInConformance
from tests.servers.gcs import GcsServer
from tests.servers.gcs_json import GcsJsonServer

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


class TestGcsByObstore(StandInConformance):
    """The XML interface, in front of moto."""

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
        options = {
            "google_service_account": str(gcs_server.service_account_path),
            "client_options": {"allow_http": True},
        }
        return BackendSpec(OBSTORE, {"key": "conformance", "fs": f"gs://{bucket}/", **options})


class TestGcsByGcsfs(StandInConformance):
    """The JSON interface of an emulator, which knows no accounts and takes conditions for advice."""

    server_checks_signatures = False
    server_creates_atomically = False
    listed_objects = 300  # it writes the index of all objects again with every upload

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
        return BackendSpec(FSSPEC, {"key": "conformance", "fs": f"gs://{bucket}", **options})
