"""Web addresses of buckets, as people copy them from a browser, and the URLs that they mean."""

from __future__ import annotations

import re

from litestar_filestore.errors import ConfigurationError

__all__ = ("check_web_address",)

_ADDRESS = re.compile(r"https?://(s3\.amazonaws\.com|storage\.googleapis\.com)(?:/+([^/?#]*))?", re.IGNORECASE)


def check_web_address(url: str) -> None:
    """Refuse the web address of a bucket. As plain HTTP it has no credentials, so nothing could be stored there.

    Raises:
        ConfigurationError: If it is one; the message shows the URL to write instead.
    """
    if (found := _ADDRESS.match(url)) is not None:
        host, bucket = found[1], found[2] or "bucket"
        remedy = f"s3://{bucket}/, and aws_region=" if host.lower().startswith("s3") else f"gs://{bucket}/"
        raise ConfigurationError(f"{host} is a web address, and nothing can be stored over plain HTTP: write {remedy}")
