"""Backends of fsspec on the test servers."""

from __future__ import annotations

import secrets
from typing import Any

from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from tests.backends.obstore_stores import make_bucket, make_container, pending_uploads
from tests.servers.azurite import AzureServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

__all__ = (
    "azure_backend",
    "gcs_backend",
    "make_bucket",
    "make_container",
    "pending_uploads",
    "s3_backend",
    "s3_options",
    "sftp_backend",
    "webdav_backend",
)


def s3_options(server: S3Server) -> dict[str, Any]:
    """Return what s3fs needs to reach a server."""
    return {
        "endpoint_url": server.endpoint,
        "username": server.access_key,
        "password": server.secret_key,
        "client_kwargs": {"region_name": server.region},
    }


def s3_backend(server: S3Server, bucket: str, **options: Any) -> FSSpecBackend:
    """Build a backend on an S3 server; `options` go before the usual ones."""
    return FSSpecBackend("files", f"s3://{bucket}", **{**s3_options(server), **options})


def azure_backend(server: AzureServer, container: str, **options: Any) -> FSSpecBackend:
    """Build a backend on an Azure server; `options` go before the usual ones."""
    usual = {"connection_string": server.connection_string}
    return FSSpecBackend("files", f"abfs://{container}", **{**usual, **options})


def gcs_backend(server: GcsJsonServer, bucket: str, **options: Any) -> FSSpecBackend:
    """Build a backend on a server that speaks Google's JSON protocol; `options` go before the usual ones."""
    usual = {"endpoint_url": server.endpoint, "project": server.project, "token": "anon"}
    return FSSpecBackend("files", f"gs://{bucket}", **{**usual, **options})


def sftp_backend(server: SftpServer, **options: Any) -> FSSpecBackend:
    """Build a backend on an SFTP server, in a folder of its own; `options` go before the usual ones."""
    usual = {
        "host": server.host,
        "port": server.port,
        "username": server.username,
        "password": server.password,
        "prefix": f"folder-{secrets.token_hex(4)}",
    }
    return FSSpecBackend("files", "sftp", **{**usual, **options})


def webdav_backend(server: WebdavServer, **options: Any) -> FSSpecBackend:
    """Build a backend on a WebDAV server, in a folder of its own; `options` go before the usual ones."""
    usual = {
        "base_url": server.url,
        "auth": (server.username, server.password),
        "prefix": f"folder-{secrets.token_hex(4)}",
    }
    return FSSpecBackend("files", "webdav", **{**usual, **options})
