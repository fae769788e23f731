"""The uploads in parts that nobody will finish."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from obstore.store import S3Store

from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.errors import (
    AuthenticationError,
    BackendUnavailableError,
    BucketNotFoundError,
    MissingDependencyError,
    UnsupportedOperationError,
)
from tests.backends.obstore_stores import begin_upload, make_bucket, pending_uploads, s3_backend
from tests.servers.processes import free_port
from tests.servers.s3 import S3Server


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """Make a bucket for the module."""
    return make_bucket(s3_server)


@pytest.fixture(autouse=True)
def everything_ended(s3_server: S3Server, bucket: str) -> None:
    """Let each test begin without pending uploads."""
    s3_backend(s3_server, bucket).clean(older_than=-60)


def test_old_uploads_are_aborted_and_counted(s3_server: S3Server, bucket: str) -> None:
    """A process that died in an upload leaves it pending; cleaning ends it."""
    for name in ("a", "a", "b/c"):
        begin_upload(s3_server, bucket, name)
    assert s3_backend(s3_server, bucket).clean(older_than=-60) == 3
    assert pending_uploads(s3_server, bucket) == []


def test_young_uploads_are_spared(s3_server: S3Server, bucket: str) -> None:
    """Somebody may still be sending their parts."""
    begin_upload(s3_server, bucket, "young")
    assert s3_backend(s3_server, bucket).clean(older_than=3600) == 0
    assert pending_uploads(s3_server, bucket) == ["young"]


def test_uploads_outside_of_the_folder_are_spared(s3_server: S3Server, bucket: str) -> None:
    """A bucket may have other tenants: only uploads below the folders of URL and prefix are ended."""
    for name in ("mine/files/x", "mine/files-of-others/x", "mine/x", "x"):
        begin_upload(s3_server, bucket, name)
    assert s3_backend(s3_server, f"{bucket}/mine", prefix="files").clean(older_than=-60) == 1
    assert pending_uploads(s3_server, bucket) == ["mine/files-of-others/x", "mine/x", "x"]


async def test_async_half_ends_the_same(s3_server: S3Server, bucket: str) -> None:
    """The async half counts and aborts as well."""
    begin_upload(s3_server, bucket, "x")
    assert await s3_backend(s3_server, bucket).clean_async(older_than=-60) == 1
    assert pending_uploads(s3_server, bucket) == []


def test_objects_are_spared(s3_server: S3Server, bucket: str) -> None:
    """What was completed is no leftover."""
    backend = s3_backend(s3_server, bucket)
    backend.put(iter([bytes(1024 * 1024)] * 9), key="complete")
    backend.clean(older_than=-60)
    assert backend.head("complete").size == 9 * 1024 * 1024


def test_credentials_may_come_from_the_environment(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What obstore finds there is found for cleaning too."""
    monkeypatch.setenv("AWS_ENDPOINT", s3_server.endpoint)
    monkeypatch.setenv("AWS_REGION", s3_server.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    begin_upload(s3_server, bucket, "x")
    backend = ObstoreBackend("files", f"s3://{bucket}/", client_options={"allow_http": True})
    assert backend.clean(older_than=-60) == 1


def credential_of(server: S3Server) -> Any:
    """Return a credential as obstore wants it from a provider."""
    return {
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "token": None,
        "expires_at": None,
    }


def provided_backend(server: S3Server, bucket: str, provider: Any) -> ObstoreBackend:
    """Build a backend whose credentials come from `provider`."""
    store = S3Store(
        bucket,
        endpoint=server.endpoint,
        region=server.region,
        client_options={"allow_http": True},
        credential_provider=provider,
    )
    return ObstoreBackend("files", store)


def test_credentials_may_come_from_a_provider(s3_server: S3Server, bucket: str) -> None:
    """A provider is asked for cleaning as it is for everything else."""
    begin_upload(s3_server, bucket, "x")
    assert provided_backend(s3_server, bucket, lambda: credential_of(s3_server)).clean(older_than=-60) == 1


async def test_credentials_may_come_from_an_asynchronous_provider(s3_server: S3Server, bucket: str) -> None:
    """Such a provider needs the event loop, so the sync half says that it cannot."""

    async def provider() -> Any:
        return credential_of(s3_server)

    begin_upload(s3_server, bucket, "x")
    backend = provided_backend(s3_server, bucket, provider)
    with pytest.raises(UnsupportedOperationError, match="clean_async"):
        backend.clean(older_than=-60)
    assert await backend.clean_async(older_than=-60) == 1


def test_store_whose_settings_cannot_be_read() -> None:
    """Asked for the settings of such a store, obstore 0.12.1 panics past every ``except Exception``."""
    among_the_others: Any = {"allow_http": True}
    backend = ObstoreBackend("files", S3Store("bucket", **among_the_others))
    with pytest.raises(UnsupportedOperationError, match="client_options"):
        backend.clean(older_than=0)


def test_wrong_secret_is_reported(s3_server: S3Server, bucket: str) -> None:
    """Errors of botocore have the same classes as those of obstore."""
    with pytest.raises(AuthenticationError, match="secret key") as caught:
        s3_backend(s3_server, bucket, aws_secret_access_key="wrong").clean(older_than=0)
    assert (caught.value.operation, caught.value.backend) == ("clean", "files")


def test_missing_bucket_is_reported(s3_server: S3Server) -> None:
    """A missing bucket is not an empty one."""
    with pytest.raises(BucketNotFoundError):
        s3_backend(s3_server, "no-such-bucket").clean(older_than=0)


def test_unreachable_store_is_reported(s3_server: S3Server) -> None:
    """A refused connection can be tried again later."""
    with pytest.raises(BackendUnavailableError):
        s3_backend(s3_server, "bucket", aws_endpoint=f"http://127.0.0.1:{free_port()}").clean(older_than=0)


def test_botocore_may_be_missing(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only cleaning needs it, and says what to install."""
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'litestar-filestore\[s3\]'"):
        s3_backend(s3_server, bucket).clean(older_than=0)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("az://container/", {"azure_storage_account_name": "a", "azure_storage_account_key": "a2V5"}),
        ("gs://bucket/", {}),
        ("https://host/", {}),
        ("memory:///", {}),
    ],
)
def test_other_stores_keep_nothing_that_could_be_ended(url: str, options: dict[str, Any]) -> None:
    """Azure forgets unfinished uploads by itself; nothing is asked for."""
    assert ObstoreBackend("files", url, **options).clean(older_than=0) == 0
