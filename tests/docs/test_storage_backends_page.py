"""What Advanced Alchemy's page "Storage Backends" shows works here: set-up, models, registration, patterns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest
from litestar import Litestar, get
from litestar.params import FromPath
from litestar.testing import TestClient
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from litestar_filestore import (
    FileObject,
    FSSpecBackend,
    MemoryBackend,
    ObstoreBackend,
    StorageError,
    storages,
)
from litestar_filestore.ledger.table import LEDGER_TABLE
from tests.docs import storage_backends_blocks as blocks
from tests.docs.conftest import UserModule
from tests.docs.round_trip import CONTENT, use
from tests.servers.s3 import S3Server

pytest_plugins = ["pytester"]

PLAIN_HTTP = 'client_options={"allow_http": True},'
REGION = {'aws_region="us-west-2",': f'aws_region="us-east-1", {PLAIN_HTTP}'}
"""The region of the test server, which has no TLS."""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, s3_server: S3Server) -> S3Server:
    """The environment of a process on a machine that knows its S3 account."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    return s3_server


@pytest.mark.parametrize(
    "block",
    [blocks.BASIC_FSSPEC, blocks.BASIC_OBSTORE, blocks.LOCAL_FSSPEC, blocks.LOCAL_OBSTORE],
    ids=["basic fsspec", "basic obstore", "local fsspec", "local obstore"],
)
def test_local_blocks(user_module: UserModule, tmp_path: Path, block: str) -> None:
    """Quick Start and Local Filesystem: both libraries' ways to a folder store, read and delete there."""
    user_module.run(block, {"/var/app/uploads": str(tmp_path)})
    file = FileObject("local", "a.txt", content=CONTENT).save()
    assert tmp_path.joinpath(file.path).read_bytes() == CONTENT
    use(storages.get("local"))


def test_model_block(user_module: UserModule, tmp_path: Path) -> None:
    """Using in Models: a row of the model keeps a file, its content, and its complete metadata."""
    user_module.run(blocks.BASIC_FSSPEC, {"/var/app/uploads": str(tmp_path)})
    user_module.names["Optional"] = Optional  # which the page forgets to import
    user_module.run(blocks.MODELS)
    document_class: Any = user_module.names["Document"]
    engine = create_engine("sqlite://")
    metadata = document_class.metadata
    metadata.create_all(engine, tables=[metadata.tables[name] for name in (document_class.__tablename__, LEDGER_TABLE)])
    with Session(engine) as session:
        file = FileObject("local", "a.pdf", content=CONTENT, metadata={"pages": 3})
        session.add_all([document_class(title="with", file=file), document_class(title="without")])
        session.commit()
    with Session(engine) as session:
        with_file, without = session.scalars(select(document_class).order_by(document_class.title))
        assert (with_file.file.get_content(), without.file) == (CONTENT, None)
        assert (with_file.file.size, with_file.file.content_type) == (len(CONTENT), "application/pdf")
        assert with_file.file.metadata == {"pages": 3}
    engine.dispose()


def test_registration_block(user_module: UserModule) -> None:
    """Backend Registration: a registered backend is found by its key and in the list of all."""
    instance = user_module.names["backend_instance"] = MemoryBackend("local")
    user_module.run(blocks.REGISTRATION)
    assert user_module.names["backend"] is instance
    assert user_module.names["all_backends"] == [instance]
    use(instance)


def test_startup_block(user_module: UserModule, tmp_path: Path, environment: S3Server) -> None:
    """Startup Registration: backends registered in a lifespan serve the handlers of the application."""

    @get("/{key:str}")
    async def handler(key: FromPath[str]) -> str:
        file = await FileObject(key, "a.txt", content=CONTENT).save_async()
        stored = await file.get_content_async()
        await file.delete_async()
        return stored.decode()

    environment.create_bucket("startup")
    user_module.names["handler"] = handler
    changes = {"/var/app/uploads": str(tmp_path), "my-bucket": "startup", "[...]": "[handler]", **REGION}
    user_module.run(blocks.STARTUP, changes)
    app: Litestar = user_module.names["app"]
    with TestClient(app) as client:
        assert [client.get(f"/{key}").text for key in ("documents", "images")] == [CONTENT.decode()] * 2


def test_environment_variables_block(
    user_module: UserModule, environment: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment Variables: bucket, credentials and region come from there."""
    environment.create_bucket("from-environment")
    monkeypatch.setenv("S3_BUCKET", "from-environment")
    region = 'aws_region=os.environ.get("AWS_REGION", "us-east-1"),'
    user_module.run(blocks.ENVIRONMENT_VARIABLES, {region: f"{region} {PLAIN_HTTP}"})
    use(storages.get("s3"))


def test_iam_roles_block(user_module: UserModule, environment: S3Server) -> None:
    """IAM Roles: without credentials in the code, those of the process are taken."""
    environment.create_bucket("iam")
    user_module.names["ObstoreBackend"] = ObstoreBackend
    user_module.run(blocks.IAM_ROLES, {"my-bucket": "iam", **REGION})
    use(storages.get("s3"))


def test_multiple_backends_block(user_module: UserModule, environment: S3Server, tmp_path: Path) -> None:
    """Multiple Backends: three stores side by side; the one whose key file is missing does not disturb the others."""
    environment.create_bucket("company-documents")
    user_module.names.update(ObstoreBackend=ObstoreBackend, FSSpecBackend=FSSpecBackend)
    user_module.run(blocks.MULTIPLE_BACKENDS, {"/tmp/uploads": str(tmp_path), **REGION})
    assert storages.registered_backends() == ["documents", "uploads", "temp"]
    for key in ("documents", "temp"):
        use(storages.get(key))
    with pytest.raises(StorageError, match="uploads"):
        storages.get("uploads").put(CONTENT)


@pytest.mark.slow
def test_in_memory_block(pytester: pytest.Pytester) -> None:
    """Testing: the fixture and the test of the page pass in a project of their own."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(blocks.IN_MEMORY_TEST)
    # Advanced Alchemy's warning about itself, as in pyproject.toml.
    quiet = "ignore:The declarative_mixin decorator was used only by:DeprecationWarning"
    pytester.runpytest_subprocess("-W", "error", "-W", quiet).assert_outcomes(passed=1)
