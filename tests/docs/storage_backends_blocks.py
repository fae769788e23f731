"""The code blocks of Advanced Alchemy 1.12's page "Storage Backends", as a user has them in a project.

Only the root of the imports is changed: ``advanced_alchemy.types.file_object`` and ``advanced_alchemy.types`` are
``litestar_filestore`` here. Blocks with one part for each library are cut at the comment that names the library.
"""

from __future__ import annotations

__all__ = (
    "AZURE_FSSPEC",
    "AZURE_OBSTORE",
    "BASIC_FSSPEC",
    "BASIC_OBSTORE",
    "BUCKET_POLICY",
    "ENVIRONMENT_VARIABLES",
    "GCS_FSSPEC",
    "GCS_OBSTORE",
    "IAM_ROLES",
    "IN_MEMORY_TEST",
    "LOCAL_FSSPEC",
    "LOCAL_OBSTORE",
    "MODELS",
    "MULTIPLE_BACKENDS",
    "REGISTRATION",
    "S3_FSSPEC",
    "S3_OBSTORE",
    "STARTUP",
)

BASIC_FSSPEC = """\
from litestar_filestore import storages
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

# Local filesystem
storages.register_backend(FSSpecBackend(
    key="local",
    fs="file",
    prefix="/var/app/uploads",
))
"""

BASIC_OBSTORE = """\
from litestar_filestore import storages
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

# Local filesystem
storages.register_backend(ObstoreBackend(
    key="local",
    fs="file:///var/app/uploads/",
))
"""

MODELS = """\
from sqlalchemy.orm import Mapped, mapped_column
from advanced_alchemy.base import UUIDAuditBase
from litestar_filestore import FileObject, StoredObject

class Document(UUIDAuditBase):
    __tablename__ = "documents"

    title: "Mapped[str]"
    file: "Mapped[Optional[FileObject]]" = mapped_column(
        StoredObject(backend="local")
    )
"""

REGISTRATION = """\
from litestar_filestore import storages

# Register backend with unique key
storages.register_backend(backend_instance)

# Access registered backend
backend = storages.get("local")

# List all backends
all_backends = storages.all()
"""

STARTUP = """\
from contextlib import asynccontextmanager
from litestar import Litestar

@asynccontextmanager
async def configure_storage(app: Litestar):
    \"\"\"Configure storage backends on startup.\"\"\"
    # Register fsspec backend
    from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

    storages.register_backend(FSSpecBackend(
        key="documents",
        fs="file",
        prefix="/var/app/uploads",
    ))

    # Register obstore backend
    from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

    storages.register_backend(ObstoreBackend(
        key="images",
        fs="s3://my-bucket/images/",
        aws_region="us-west-2",
    ))

    yield

app = Litestar(route_handlers=[...], lifespan=[configure_storage])
"""

S3_FSSPEC = """\
# fsspec
import fsspec
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

s3_fs = fsspec.filesystem(
    "s3",
    key="AWS_ACCESS_KEY",
    secret="AWS_SECRET_KEY",
    endpoint_url="https://s3.amazonaws.com",
)
storages.register_backend(FSSpecBackend(
    key="s3-documents",
    fs=s3_fs,
    prefix="my-bucket/documents",
))
"""

S3_OBSTORE = """\
# obstore
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

storages.register_backend(ObstoreBackend(
    key="s3-documents",
    fs="s3://my-bucket/documents/",
    aws_access_key_id="AWS_ACCESS_KEY",
    aws_secret_access_key="AWS_SECRET_KEY",
    aws_region="us-west-2",
))
"""

GCS_FSSPEC = """\
# fsspec
import fsspec
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

gcs_fs = fsspec.filesystem(
    "gcs",
    token="/path/to/service-account.json",
    project="your-project",
)
storages.register_backend(FSSpecBackend(
    key="gcs-files",
    fs=gcs_fs,
    prefix="my-bucket/files",
))
"""

GCS_OBSTORE = """\
# obstore
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

storages.register_backend(ObstoreBackend(
    key="gcs-files",
    fs="gs://my-bucket/files/",
    google_service_account="/path/to/service-account.json",
))
"""

AZURE_FSSPEC = """\
# fsspec
import fsspec
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

azure_fs = fsspec.filesystem(
    "abfs",
    connection_string="DefaultEndpointsProtocol=https;...",
)
storages.register_backend(FSSpecBackend(
    key="azure-blobs",
    fs=azure_fs,
    prefix="container/files",
))
"""

AZURE_OBSTORE = """\
# obstore
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

storages.register_backend(ObstoreBackend(
    key="azure-blobs",
    fs="az://container/files/",
    azure_storage_account_name="account",
    azure_storage_account_key="key",
))
"""

LOCAL_FSSPEC = """\
# fsspec
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

storages.register_backend(FSSpecBackend(
    key="local",
    fs="file",
    prefix="/var/app/uploads",
))
"""

LOCAL_OBSTORE = """\
# obstore
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

storages.register_backend(ObstoreBackend(
    key="local",
    fs="file:///var/app/uploads/",
))
"""

ENVIRONMENT_VARIABLES = """\
import os
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend

storages.register_backend(ObstoreBackend(
    key="s3",
    fs=f"s3://{os.environ['S3_BUCKET']}/",
    aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID"),
    aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY"),
    aws_region=os.environ.get("AWS_REGION", "us-east-1"),
))
"""

MULTIPLE_BACKENDS = """\
# Documents on S3
storages.register_backend(ObstoreBackend(
    key="documents",
    fs="s3://company-documents/",
    aws_region="us-west-2",
))

# User uploads on GCS
storages.register_backend(ObstoreBackend(
    key="uploads",
    fs="gs://user-uploads/",
    google_service_account="/path/to/service-account.json",
))

# Temporary files locally
storages.register_backend(FSSpecBackend(
    key="temp",
    fs="file",
    prefix="/tmp/uploads",
))
"""

IAM_ROLES = """\
# obstore uses AWS SDK credential chain
storages.register_backend(ObstoreBackend(
    key="s3",
    fs="s3://my-bucket/",
    aws_region="us-west-2",
    # No credentials needed - uses IAM role
))
"""

IN_MEMORY_TEST = """\
import pytest
from litestar_filestore import storages
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend

@pytest.fixture
def memory_storage():
    \"\"\"Configure in-memory storage for tests.\"\"\"
    backend = FSSpecBackend(key="test-storage", fs="memory")
    storages.register_backend(backend)
    yield backend
    storages._backends.pop("test-storage", None)

async def test_file_operations(memory_storage):
    \"\"\"Test file upload with in-memory backend.\"\"\"
    from litestar_filestore import FileObject

    file_obj = FileObject(
        backend="test-storage",
        filename="test.txt",
        content=b"Test content",
    )

    await file_obj.save_async()
    content = await file_obj.get_content_async()
    assert content == b"Test content"
"""

BUCKET_POLICY = """\
# S3 bucket policy example
{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject"
            ],
            "Resource": "arn:aws:s3:::my-bucket/*"
        }
    ]
}
"""
