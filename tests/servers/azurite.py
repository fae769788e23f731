"""Azurite: Microsoft's emulator of Azure's blob service. It checks account keys and the signatures of links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.processes import HOST, ServerMissingError, free_port, running

__all__ = ("AzureServer", "serve")

PROGRAM = "azurite-blob"
CACHE = Path(__file__).parents[2] / ".cache" / "azurite"
INSTALL = f"npm install --prefix {CACHE} azurite, or name the program in FILESTORE_AZURITE"

# The account that every copy of the emulator has, published in its documentation.
ACCOUNT_NAME = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class AzureServer:
    """A blob service and the account that may do everything there."""

    endpoint: str
    """URL of the account: scheme, port and, because this is an emulator, the account's name as path."""
    account_name: str = ACCOUNT_NAME
    account_key: str = field(default=ACCOUNT_KEY, repr=False)

    @property
    def connection_string(self) -> str:
        """The facts in the form that Azure's own library and adlfs take."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account_name};AccountKey={self.account_key};"
            f"BlobEndpoint={self.endpoint};"
        )

    def create_container(self, name: str) -> None:
        """Create a container of this account.

        Raises:
            azure.core.exceptions.ResourceExistsError: The name is taken.
        """
        from azure.storage.blob import BlobServiceClient  # half a second to import

        with BlobServiceClient.from_connection_string(self.connection_string) as client:
            client.create_container(name).close()


@contextmanager
def serve(directory: Path) -> Iterator[AzureServer]:
    """Run the emulator, empty, in `directory`.

    Raises:
        ServerMissingError: It is not installed, or needs Node.js, which is not.
        ServerFailedError: It does not start.
    """
    program = _find_program()
    port = free_port()
    # Without the skip it refuses clients that speak a newer version of the protocol than itself, as Azure's own does.
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    # Not in files: from there, the end of a blob of 12 MiB once came back as what lies 3 KiB before it.
    place = ["--blobHost", HOST, "--blobPort", str(port), "--inMemoryPersistence"]
    with running("azurite", [program, *place, *options], directory) as process:
        process.wait_for_port(port)
        yield AzureServer(f"http://{HOST}:{port}/{ACCOUNT_NAME}")


def _find_program() -> Path:
    """Find the emulator: FILESTORE_AZURITE (the program or its directory), else the project's cache, else the path."""
    named = os.environ.get("FILESTORE_AZURITE")
    if named is not None:
        found = shutil.which(named) or shutil.which(PROGRAM, path=named)
    else:
        found = shutil.which(PROGRAM, path=CACHE / "node_modules" / ".bin") or shutil.which(PROGRAM)
    if found is None or shutil.which("node") is None:
        raise ServerMissingError(f"{PROGRAM} or Node.js is not installed: {INSTALL}")
    return Path(found)
