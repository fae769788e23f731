"""Stores that speak the S3 protocol."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing

import boto3
import pytest
from botocore.config import Config

from litestar_filestore.testing import EACH_HALF_ONCE, BackendConformance, BackendSpec, Form
from tests.conformance.stand_ins import FSSPEC, OBSTORE, FewerForms, StandInConformance
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.conformance


def obstore_spec(server: S3Server, bucket: str) -> BackendSpec:
    """Name a folder in the bucket, and the server."""
    options = {
        "aws_endpoint": server.endpoint,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "aws_region": server.region,
        "client_options": {"allow_http": True},
    }
    return BackendSpec(OBSTORE, {"key": "conformance", "fs": f"s3://{bucket}/folder/", **options})


def s3fs_spec(server: S3Server, bucket: str) -> BackendSpec:
    """Name a folder in the bucket, and the server."""
    options = {
        "username": server.access_key,
        "password": server.secret_key,
        "endpoint_url": server.endpoint,
        "client_kwargs": {"region_name": server.region},
    }
    return BackendSpec(FSSPEC, {"key": "conformance", "fs": f"s3://{bucket}/folder", **options})


def make_bucket(server: S3Server) -> str:
    """Make a bucket."""
    name = f"conformance-{secrets.token_hex(4)}"
    server.create_bucket(name)
    return name


def pending_uploads(server: S3Server, bucket: str) -> list[str]:
    """List the keys of uploads in parts that were begun and neither completed nor aborted."""
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


@pytest.mark.slow
class TestS3ByObstore(BackendConformance):
    """Ceph through obstore."""

    folder_bytes = len("folder/")
    server_drops_parts = False

    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, s3_server: S3Server) -> str:
        """Make a bucket."""
        return make_bucket(s3_server)

    @pytest.fixture
    def spec(self, s3_server: S3Server, bucket: str) -> BackendSpec:
        """Use obstore."""
        return obstore_spec(s3_server, bucket)

    @pytest.fixture
    def leftovers(self, s3_server: S3Server, bucket: str) -> Callable[[], list[str]]:
        """List the pending uploads."""
        return lambda: pending_uploads(s3_server, bucket)


@pytest.mark.slow
class TestS3ByS3fs(FewerForms, TestS3ByObstore):
    """Ceph through s3fs."""

    @pytest.fixture
    def spec(self, s3_server: S3Server, bucket: str) -> BackendSpec:
        """Use s3fs."""
        return s3fs_spec(s3_server, bucket)


@pytest.mark.matrix(cases=1)
@pytest.mark.slow
class TestMotoByObstore(StandInConformance):
    """moto through obstore: what can be tested where Ceph cannot be installed. Where it can, that one has all forms."""

    folder_bytes = len("folder/")
    server_checks_signatures = False
    server_dates_uploads = False  # all of them began in 2010
    server_misses_uploads = False

    @pytest.fixture(params=EACH_HALF_ONCE[:1], ids=str)
    def form(self, request: pytest.FixtureRequest) -> Form:
        """Return the async half, bare."""
        form: Form = request.param
        return form

    @pytest.fixture(scope="class")
    @classmethod
    def bucket(cls, moto_server: S3Server) -> str:
        """Make a bucket."""
        return make_bucket(moto_server)

    @pytest.fixture
    def spec(self, moto_server: S3Server, bucket: str) -> BackendSpec:
        """Use obstore."""
        return obstore_spec(moto_server, bucket)

    @pytest.fixture
    def leftovers(self, moto_server: S3Server, bucket: str) -> Callable[[], list[str]]:
        """List the pending uploads."""
        return lambda: pending_uploads(moto_server, bucket)
