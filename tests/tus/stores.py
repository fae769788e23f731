"""Stores that are described by a text, so that programs in other processes can open them too."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litestar_filestore import FSSpecBackend, ObstoreBackend, StorageBackend
from tests.tus.picky import backend_in

if TYPE_CHECKING:
    import pytest

    from tests.servers.azurite import AzureServer
    from tests.servers.s3 import S3Server

__all__ = ("describe", "describe_local", "open_store")


def describe(request: pytest.FixtureRequest, kind: str, folder: Path) -> str:
    """Describe an empty store of a kind: ``local``, ``picky``, ``s3`` (Ceph through obstore) or ``azure``."""
    name = f"tus-{secrets.token_hex(4)}"
    if kind == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        server.create_bucket(name)
        return json.dumps(
            {
                "kind": kind,
                "url": f"s3://{name}/files/",
                "aws_endpoint": server.endpoint,
                "aws_access_key_id": server.access_key,
                "aws_secret_access_key": server.secret_key,
                "aws_region": server.region,
                "client_options": {"allow_http": True},
            }
        )
    if kind == "azure":
        azure: AzureServer = request.getfixturevalue("azure_server")
        azure.create_container(name)
        return json.dumps(
            {
                "kind": kind,
                "url": f"abfs://{name}/files",
                "connection_string": azure.connection_string,
            }
        )
    return describe_local(folder, kind)


def describe_local(folder: Path, kind: str = "local") -> str:
    """Describe a store on disk."""
    return json.dumps({"kind": kind, "folder": str(folder)})


def open_store(described: str) -> StorageBackend:
    """Return the store."""
    options: dict[str, Any] = json.loads(described)
    match options.pop("kind"):
        case "s3":
            return ObstoreBackend("documents", options.pop("url"), **options)
        case "azure":
            return FSSpecBackend("documents", options.pop("url"), **options)
        case kind:
            return backend_in(Path(options["folder"]), picky=kind == "picky")
