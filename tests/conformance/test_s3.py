"""Stores that speak the S3 protocol."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing

import boto3
import pytest
from botocore.config import Config

from litestar_filestore.testing.conformance import BackendConformance, BackendSpec
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.conformance


class S3Conformance(BackendConformance):
    """What both servers and both libraries need."""

    folder_bytes = len("folder/")

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, s3_server: S3Server) -> S3Server:
        """Ceph, unless a class says otherwise."""
        return s3_server

    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, server: S3Server) -> str:
        """Make a bucket."""
        name = f"conformance-{secrets.token_hex(4)}"
        server.create_bucket(name)
        return name

    @pytest.fixture
    def leftovers(self, server: S3Server, bucket: str) -> Callable[[], list[str]]:
        """List the uploads in parts that were begun and neither completed nor aborted."""
        return lambda: pending_uploads(server, bucket)


class ObstoreSpec:
    """Builds the backend on obstore."""

    @pytest.fixture
    def spec(self, server: S3Server, bucket: str) -> BackendSpec:
        """Name the bucket, a folder in it, and the server."""
        return BackendSpec(
            "litestar_filestore.backends.obstore:ObstoreBackend",
            {
                "key": "conformance",
                "fs": f"s3://{bucket}/folder/",
                "aws_endpoint": server.endpoint,
                "aws_access_key_id": server.access_key,
                "aws_secret_access_key": server.secret_key,
                "aws_region": server.region,
                "client_options": {"allow_http": True},
            },
        )


class TestCephByObstore(ObstoreSpec, S3Conformance):
    """Ceph through obstore."""


class TestCephByS3fs(S3Conformance):
    """Ceph through s3fs."""

    @pytest.fixture
    def spec(self, server: S3Server, bucket: str) -> BackendSpec:
        """Name the bucket, a folder in it, and the server."""
        return BackendSpec(
            "litestar_filestore.backends.fsspec:FSSpecBackend",
            {
                "key": "conformance",
                "fs": f"s3://{bucket}/folder",
                "username": server.access_key,
                "password": server.secret_key,
                "endpoint_url": server.endpoint,
                "client_kwargs": {"region_name": server.region},
            },
        )


class TestMotoByObstore(ObstoreSpec, S3Conformance):
    """moto through obstore."""

    server_checks_signatures = False

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, moto_server: S3Server) -> S3Server:
        """The server that lets everybody in."""
        return moto_server


def pending_uploads(server: S3Server, bucket: str) -> list[str]:
    """List the keys of uploads in parts that are under way."""
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
    with closing(client):
        return [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
