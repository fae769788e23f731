"""Backends on the test servers, and the servers' own view of what they hold."""

from __future__ import annotations

import base64
import secrets
from contextlib import closing
from typing import Any

import boto3
from botocore.config import Config

from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server
from tests.servers.webdav import WebdavServer

__all__ = (
    "azure_backend",
    "begin_upload",
    "gcs_backend",
    "make_bucket",
    "make_container",
    "pending_uploads",
    "s3_backend",
    "webdav_backend",
)

PLAIN_HTTP = {"allow_http": True}


def make_bucket(server: S3Server | GcsServer) -> str:
    """Make an empty bucket and return its name."""
    name = f"obstore-{secrets.token_hex(4)}"
    server.create_bucket(name)
    return name


def make_container(server: AzureServer) -> str:
    """Make an empty container and return its name."""
    name = f"obstore-{secrets.token_hex(4)}"
    server.create_container(name)
    return name


def s3_backend(server: S3Server, bucket: str, **options: Any) -> ObstoreBackend:
    """Build a backend on an S3 server; `options` go before the usual ones."""
    usual = {
        "aws_endpoint": server.endpoint,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "aws_region": server.region,
        "client_options": PLAIN_HTTP,
    }
    return ObstoreBackend("files", f"s3://{bucket}/", **{**usual, **options})


def azure_backend(server: AzureServer, container: str, **options: Any) -> ObstoreBackend:
    """Build a backend on an Azure server; `options` go before the usual ones."""
    usual = {
        "azure_storage_account_name": server.account_name,
        "azure_storage_account_key": server.account_key,
        "azure_storage_endpoint": server.endpoint,
        "client_options": PLAIN_HTTP,
    }
    return ObstoreBackend("files", f"az://{container}/", **{**usual, **options})


def gcs_backend(server: GcsServer, bucket: str, **options: Any) -> ObstoreBackend:
    """Build a backend on a server that speaks Google's protocol; `options` go before the usual ones."""
    usual = {"google_service_account": str(server.service_account_path), "client_options": PLAIN_HTTP}
    return ObstoreBackend("files", f"gs://{bucket}/", **{**usual, **options})


def webdav_backend(server: WebdavServer, folder: str = "", **options: Any) -> ObstoreBackend:
    """Build a backend on a WebDAV server, below `folder`, which begins with a slash."""
    account = base64.b64encode(f"{server.username}:{server.password}".encode()).decode()
    client = {**PLAIN_HTTP, "default_headers": {"authorization": f"Basic {account}"}}
    return ObstoreBackend("files", f"{server.url}{folder}/", **{"client_options": client, **options})


def pending_uploads(server: S3Server, bucket: str) -> list[str]:
    """List the keys of the uploads in parts that were begun and neither completed nor aborted."""
    with closing(_client(server)) as client:
        return [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def begin_upload(server: S3Server, bucket: str, key: str) -> None:
    """Begin an upload in parts and leave it."""
    with closing(_client(server)) as client:
        client.create_multipart_upload(Bucket=bucket, Key=key)


def _client(server: S3Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
