"""What Advanced Alchemy's page "Storage Backends" shows for S3, Google and Azure works here, on real servers."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from litestar_filestore import Capability, FileObject, FSSpecBackend, ObstoreBackend, StorageBackend, storages
from litestar_filestore.errors import AuthenticationError, UnsupportedOperationError
from tests.docs import storage_backends_blocks as blocks
from tests.docs.conftest import UserModule
from tests.docs.round_trip import CONTENT, use
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.matrix(cases=1)

FSSPEC_AND_OBSTORE = pytest.mark.parametrize("library", ["fsspec", "obstore"])


def s3_backend(user_module: UserModule, library: str, server: S3Server, bucket: str) -> StorageBackend:
    """Run the block of the page for S3 with the places and credentials of `server`."""
    keys = {"AWS_ACCESS_KEY": server.access_key, "AWS_SECRET_KEY": server.secret_key, "my-bucket": bucket}
    if library == "fsspec":
        user_module.run(blocks.S3_FSSPEC, {"https://s3.amazonaws.com": server.endpoint, **keys})
    else:
        region = f'"{server.region}", aws_endpoint="{server.endpoint}", client_options={{"allow_http": True}}'
        user_module.run(blocks.S3_OBSTORE, {'"us-west-2"': region, **keys})
    return storages.get("s3-documents")


@FSSPEC_AND_OBSTORE
def test_s3_blocks(user_module: UserModule, s3_server: S3Server, library: str) -> None:
    """Amazon S3: objects land in the named folder of the bucket, with content type and metadata."""
    bucket = f"s3-{library}"
    s3_server.create_bucket(bucket)
    backend = s3_backend(user_module, library, s3_server, bucket)
    file = FileObject("s3-documents", "a.pdf", content=CONTENT, metadata={"pages": 3}).save()
    info = file.head()
    assert (info.content_type, info.metadata) == ("application/pdf", {"pages": "3"})
    with closing(client(s3_server)) as s3:
        assert s3.get_object(Bucket=bucket, Key=f"documents/{file.path}")["Body"].read() == CONTENT
    use(backend)


@FSSPEC_AND_OBSTORE
def test_s3_signed_urls(user_module: UserModule, s3_server: S3Server, library: str) -> None:
    """Both libraries sign URLs that whoever holds them can download from and upload to."""
    bucket = f"s3-signed-{library}"
    s3_server.create_bucket(bucket)
    backend = s3_backend(user_module, library, s3_server, bucket)
    file = FileObject("s3-documents", "a.txt", content=CONTENT).save()
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(file.sign(expires_in=60)).content == CONTENT
        assert browser.put(file.sign(expires_in=60, for_upload=True), content=b"new").status_code == 200
    assert file.get_content() == b"new"
    backend.close()


@FSSPEC_AND_OBSTORE
def test_s3_large_file(user_module: UserModule, s3_server: S3Server, library: str) -> None:
    """Multipart Upload: what is larger than a part goes up in parts, through both libraries."""
    bucket = f"s3-large-{library}"
    s3_server.create_bucket(bucket)
    backend = s3_backend(user_module, library, s3_server, bucket)
    content = bytes(range(256)) * (96 * 1024)  # 24 MiB
    file = FileObject("s3-documents", "large.bin", content=content).save()
    with closing(client(s3_server)) as s3:
        assert "-" in s3.head_object(Bucket=bucket, Key=f"documents/{file.path}")["ETag"]  # S3's mark of parts
    assert file.get_content() == content
    backend.close()


def test_three_permissions_are_enough(s3_server: S3Server) -> None:
    """Common Issues: an account with the permissions of the page, and no other, can save, get and delete."""
    s3_server.create_bucket("policy")
    policy = json.loads(blocks.BUCKET_POLICY.partition("\n")[2].replace("my-bucket", "policy"))
    statement = policy["Statement"][0]
    statement["Principal"] = "*"  # everybody is the account here
    # obstore deletes with S3's bulk request. Amazon asks for the right to each object, Ceph 16 for one to the bucket.
    statement["Resource"] = [statement["Resource"], "arn:aws:s3:::policy"]
    with closing(client(s3_server)) as s3:
        s3.put_bucket_policy(Bucket="policy", Policy=json.dumps(policy))
    backend = ObstoreBackend(
        key="anonymous",
        fs="s3://policy/",
        aws_endpoint=s3_server.endpoint,
        aws_region=s3_server.region,
        aws_skip_signature=True,
        client_options={"allow_http": True},
    )
    file = FileObject(backend, "a.txt", content=CONTENT).save()
    assert file.get_content() == CONTENT
    file.delete()
    with closing(client(s3_server)) as s3:
        assert s3.list_objects_v2(Bucket="policy")["KeyCount"] == 0


@FSSPEC_AND_OBSTORE
def test_wrong_secret_is_named(user_module: UserModule, s3_server: S3Server, library: str) -> None:
    """Common Issues: wrong credentials are an error of their own, which names the backend and no secret."""
    bucket = f"s3-wrong-{library}"
    s3_server.create_bucket(bucket)
    wrong = S3Server(s3_server.endpoint, s3_server.access_key, "not-the-secret")
    backend = s3_backend(user_module, library, wrong, bucket)
    with pytest.raises(AuthenticationError, match="backend='s3-documents'") as caught:
        backend.put(CONTENT)
    assert "not-the-secret" not in str(caught.value)
    backend.close()


def test_gcs_fsspec_block(
    user_module: UserModule, gcs_json_server: GcsJsonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google Cloud Storage through gcsfs."""
    gcs_json_server.create_bucket("gcs-fsspec")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_json_server.endpoint)
    changes = {"/path/to/service-account.json": "anon", "your-project": gcs_json_server.project}
    user_module.run(blocks.GCS_FSSPEC, {"my-bucket": "gcs-fsspec", **changes})
    use(storages.get("gcs-files"))


def test_gcs_obstore_block(user_module: UserModule, gcs_server: GcsServer) -> None:
    """Google Cloud Storage through obstore, with the key file of a service account."""
    gcs_server.create_bucket("gcs-obstore")
    key_file = f'"{gcs_server.service_account_path}", client_options={{"allow_http": True}}'
    changes = {'"/path/to/service-account.json"': key_file}
    user_module.run(blocks.GCS_OBSTORE, {"my-bucket": "gcs-obstore", **changes})
    use(storages.get("gcs-files"))


def test_azure_fsspec_block(user_module: UserModule, azure_server: AzureServer) -> None:
    """Azure Blob Storage through adlfs."""
    azure_server.create_container("fsspec")
    changes = {"DefaultEndpointsProtocol=https;...": azure_server.connection_string, "container/files": "fsspec/files"}
    user_module.run(blocks.AZURE_FSSPEC, changes)
    use(storages.get("azure-blobs"))


def test_azure_obstore_block(user_module: UserModule, azure_server: AzureServer) -> None:
    """Azure Blob Storage through obstore, with the key of the account."""
    azure_server.create_container("obstore")
    plain_http = f'azure_endpoint="{azure_server.endpoint}", client_options={{"allow_http": True}}'
    changes = {
        '"account"': f'"{azure_server.account_name}"',
        '"key"': f'"{azure_server.account_key}", {plain_http}',
        "az://container/": "az://obstore/",
    }
    user_module.run(blocks.AZURE_OBSTORE, changes)
    use(storages.get("azure-blobs"))


@pytest.mark.parametrize(
    ("block", "key", "protocol"),
    [
        (blocks.S3_FSSPEC, "s3-documents", "s3"),
        (blocks.S3_OBSTORE, "s3-documents", "s3"),
        (blocks.GCS_OBSTORE, "gcs-files", "gcs"),
    ],
    ids=["s3 fsspec", "s3 obstore", "gcs obstore"],
)
def test_blocks_construct_without_a_network(user_module: UserModule, block: str, key: str, protocol: str) -> None:
    """A block exactly as it stands on the page makes a backend; clouds are contacted when it is used."""
    user_module.run(block)
    assert storages.get(key).protocol == protocol


def test_local_storage_has_no_signed_urls_yet(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Backend Characteristics: a folder says beforehand that it cannot sign, and its error is the one of old."""
    for backend in (
        FSSpecBackend(key="fsspec", fs="file", prefix=str(tmp_path_factory.mktemp("fsspec"))),
        ObstoreBackend(key="obstore", fs=f"file://{tmp_path_factory.mktemp('obstore')}/"),
    ):
        assert not backend.capabilities & (Capability.SIGN_GET | Capability.SIGN_PUT)
        file = FileObject(backend, "a.txt", content=CONTENT).save()
        with pytest.raises(NotImplementedError) as caught:
            file.sign()
        assert isinstance(caught.value, UnsupportedOperationError)


def client(server: S3Server) -> Any:
    """Return Amazon's own client, to look from outside."""
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
