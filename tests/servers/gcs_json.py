"""gcp-storage-emulator: the JSON interface of Google Cloud Storage, which gcsfs speaks.

obstore speaks the XML interface: :mod:`tests.servers.gcs`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, find_package, free_port, running

__all__ = ("GcsJsonServer", "serve")

# gcsfs looks at this when it is first imported, so it is set here, where the tests' configuration imports it before any
# test. Otherwise gcsfs asks Google over gRPC for the type of every bucket first, and waits 60 seconds for no answer.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


@dataclass(frozen=True)
class GcsJsonServer:
    """An emulator that lets everybody do everything: ``GCSFileSystem(token="anon", endpoint_url=..., project=...)``."""

    endpoint: str
    """URL with scheme and port, without a trailing slash."""
    project: str = "filestore-tests"

    def create_bucket(self, name: str) -> None:
        """Create a bucket.

        Raises:
            httpx.HTTPStatusError: The name is taken or not allowed.
        """
        with httpx.Client(trust_env=False) as client:  # no proxy, whatever the environment says
            body = {"name": name}
            client.post(f"{self.endpoint}/storage/v1/b?project={self.project}", json=body).raise_for_status()


@contextmanager
def serve(directory: Path) -> Iterator[GcsJsonServer]:
    """Run the emulator, empty; its output goes to a file below `directory`.

    Raises:
        ServerMissingError: The package is not installed.
        ServerFailedError: It does not start.
    """
    find_package("gcp_storage_emulator", "pip install gcp-storage-emulator")
    port = free_port()
    command = [sys.executable, "-P", "-m", "tests.servers.gcs_json_app", HOST, str(port)]
    with running("gcs-json", command, directory, Surroundings(environment=TESTS_IMPORTABLE)) as process:
        process.wait_for_port(port)
        yield GcsJsonServer(f"http://{HOST}:{port}")
