"""What a client needs to know about any server that speaks the S3 protocol."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

import boto3
from botocore.config import Config

__all__ = ("S3Server",)


@dataclass(frozen=True)
class S3Server:
    """An S3 endpoint and the account that may do everything there.

    Clients address buckets by path (``http://host:port/bucket/key``): loopback has no wildcard names.
    """

    endpoint: str
    """URL with scheme and port, without a trailing slash."""
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"

    def create_bucket(self, name: str) -> None:
        """Create a bucket of this account.

        Raises:
            botocore.exceptions.ClientError: The name is taken or not allowed.
        """
        # boto3, because obstore cannot create buckets.
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(proxies={}, s3={"addressing_style": "path"}),
        )
        with closing(client):
            client.create_bucket(Bucket=name)
