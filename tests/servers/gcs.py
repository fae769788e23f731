"""The XML interface of Google Cloud Storage, which obstore speaks, in front of an S3 server.

There is no emulator of that interface to install. :mod:`tests.servers.gcs_facade` checks Google's kinds of signatures
and turns requests into S3's. It shows that our use of the protocol is right, not how Google behaves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.servers import moto
from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, find_package, free_port, running
from tests.servers.s3 import S3Server

__all__ = ("GcsServer", "generate_key", "serve")

CLIENT_EMAIL = "tests@filestore-tests.iam.gserviceaccount.com"


@dataclass(frozen=True)
class GcsServer:
    """A storage service and the service account that may do everything there."""

    endpoint: str
    """URL with scheme and port, without a trailing slash. The service account names it too, and obstore looks there."""
    service_account: Mapping[str, str] = field(repr=False)
    """Content of the account's JSON key file, private key included."""
    service_account_path: Path
    """That file."""
    upstream: S3Server
    """Where the objects are."""

    def create_bucket(self, name: str) -> None:
        """Create a bucket.

        Raises:
            botocore.exceptions.ClientError: The name is taken or not allowed.
        """
        self.upstream.create_bucket(name)


@contextmanager
def serve(directory: Path, upstream: S3Server | None = None) -> Iterator[GcsServer]:
    """Run the service in `directory`, in front of `upstream` or else of a moto server of its own.

    Raises:
        ServerMissingError: A package is not installed.
        ServerFailedError: It does not start.
    """
    for package in ("aiohttp", "botocore", "cryptography"):
        find_package(package, f"pip install {package}")
    with ExitStack() as stack:
        if upstream is None:
            upstream = stack.enter_context(moto.serve(directory))
        port = free_port()
        endpoint = f"http://{HOST}:{port}"
        private_key, public_key = generate_key()
        service_account = {
            "type": "service_account",
            "project_id": "filestore-tests",
            "client_id": "1",
            "client_email": CLIENT_EMAIL,
            "private_key_id": "1",
            "private_key": private_key,
            "token_uri": f"{endpoint}/token",
            "gcs_base_url": endpoint,
        }
        configuration = {"host": HOST, "port": port, "client_email": CLIENT_EMAIL, "public_key": public_key}
        configuration_path = _write(directory / "facade.json", {**configuration, "upstream": asdict(upstream)})
        command = [sys.executable, "-P", "-m", "tests.servers.gcs_facade", str(configuration_path)]
        surroundings = Surroundings(environment=TESTS_IMPORTABLE)
        process = stack.enter_context(running("facade", command, directory, surroundings))
        process.wait_for_port(port)
        account_path = _write(directory / "service-account.json", service_account)
        yield GcsServer(endpoint, service_account, account_path, upstream)


def generate_key() -> tuple[str, str]:
    """Make a private key and its public key, both as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def _write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path
