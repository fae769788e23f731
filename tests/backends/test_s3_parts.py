"""Objects in parts in S3, which obstore leaves to s3fs."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from obstore.store import S3Store

from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.obstore import s3_beside_obstore
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import AccessError, UnsupportedOperationError
from tests.backends.obstore_stores import make_bucket, pending_uploads, s3_backend
from tests.servers.s3 import S3Server

R2 = "https://0123456789abcdef.r2.cloudflarestorage.com"


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """Make a bucket for the module."""
    return make_bucket(s3_server)


@pytest.mark.parametrize(("endpoint", "equal"), [(None, False), ("https://s3.example.org", False), (R2, True)])
def test_r2_wants_equal_parts(endpoint: str | None, *, equal: bool) -> None:
    """Cloudflare's service is known by its endpoint; s3fs has an option for it."""
    by_obstore = ObstoreBackend("files", "s3://bucket/", aws_endpoint=endpoint, aws_region="auto").part_limits
    by_s3fs = FSSpecBackend("files", "s3", "bucket", fixed_upload_size=equal).part_limits
    assert by_obstore == by_s3fs
    assert (by_obstore.equal_sizes, by_obstore.min_bytes) == (equal, 5 * 1024 * 1024)


AMONG_THE_OTHERS: Any = {"allow_http": True}


@pytest.mark.parametrize(
    "store",
    [
        S3Store("bucket", **AMONG_THE_OTHERS),
        S3Store("bucket", server_side_encryption="sse-c", sse_customer_key_base64=base64.b64encode(bytes(32)).decode()),
    ],
    ids=["settings that cannot be read", "keys of the customer"],
)
def test_stores_that_s3fs_could_not_use_like_obstore(store: S3Store) -> None:
    """Their parts become objects, which obstore stores like all others."""
    backend = ObstoreBackend("files", store)
    assert Capability.PARTS not in backend.capabilities
    assert backend.part_limits.min_bytes == 1


def test_encryption_is_kept() -> None:
    """Parts are encrypted like what is put at once: a bucket may refuse anything else."""
    store = S3Store("bucket", server_side_encryption="aws:kms", sse_kms_key_id="key")
    given = s3_beside_obstore.parts_driver(s3_beside_obstore.bucket_of(store, "")).fs.s3_additional_kwargs
    assert given == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}


async def test_s3fs_may_be_missing(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the parts become objects."""
    monkeypatch.setattr(s3_beside_obstore, "find_spec", lambda _: None)
    backend = s3_backend(s3_server, bucket)
    upload = await backend.begin_parts_async("plain")
    parts = [await backend.put_part_async("plain", upload, number, number - 1, b"x") for number in (1, 2)]
    assert (await backend.finish_parts_async("plain", upload, parts)).size == 2
    assert [info.key for info in backend.list()] == ["plain"]
    assert pending_uploads(s3_server, bucket) == []


async def test_credentials_that_change(s3_server: S3Server, bucket: str) -> None:
    """Each request asks the provider, which may be asynchronous, as obstore does."""
    secret = "wrong"

    async def provider() -> Any:
        return {
            "access_key_id": s3_server.access_key,
            "secret_access_key": secret,
            "token": None,
            "expires_at": None,
        }

    store = S3Store(
        bucket,
        prefix="folder",
        endpoint=s3_server.endpoint,
        region=s3_server.region,
        client_options={"allow_http": True},
        credential_provider=provider,
    )
    backend = ObstoreBackend("files", store)
    with pytest.raises(AccessError) as caught:
        await backend.begin_parts_async("a")
    assert (caught.value.operation, caught.value.key) == ("begin_parts", "a")
    secret = s3_server.secret_key
    upload = await backend.begin_parts_async("a")
    part = await backend.put_part_async("a", upload, 1, 0, b"content")
    with pytest.raises(UnsupportedOperationError, match="_async"):
        backend.abandon_parts("a", upload)
    await backend.finish_parts_async("a", upload, [part])
    assert await backend.get_content_async("a") == b"content"
    await backend.close_async()
