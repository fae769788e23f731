"""Resumable uploads on real stores: parts and tails on S3, through both libraries."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from litestar_filestore import StorageBackend
from tests.links.conftest import s3_backend, s3fs_backend
from tests.servers.s3 import S3Server
from tests.tus.conftest import Serve

MIB = 1024 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("make", [s3_backend, s3fs_backend])
def test_upload_in_uneven_pieces(
    s3_server: S3Server, serve: Serve, make: Callable[[S3Server, str], StorageBackend]
) -> None:
    """The object is the sum of the pieces; of another upload, which is given up, no part and no tail stays."""
    s3_server.create_bucket(bucket := f"tus-{secrets.token_hex(4)}")
    backend = make(s3_server, bucket)
    site = serve(backend)
    content = secrets.token_bytes(17 * MIB + 77)
    url, other, offset = site.create(len(content)), site.create(len(content)), 0
    for size in (1, 70_000, 9 * MIB, 100, len(content)):
        assert site.append(url, offset, content[offset : offset + size]).status_code == 204
        offset = min(offset + size, len(content))
        assert site.offset(url) == offset
    assert site.append(other, 0, content[: 9 * MIB]).status_code == 204
    site.change("UPDATE filestore_upload SET expires_at = 0")
    site.sweep()
    (key,) = site.keys()
    assert b"".join(backend.get(key)) == content
