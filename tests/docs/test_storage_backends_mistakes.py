"""What Advanced Alchemy's page "Storage Backends" calls common issues: path forms, and libraries that are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from litestar_filestore import FSSpecBackend, ObstoreBackend, StorageBackend, storages
from litestar_filestore.errors import ConfigurationError
from tests.docs.round_trip import use
from tests.docs.run_page import ROOT
from tests.servers.s3 import S3Server

# -- Path Separator Issues


@pytest.mark.parametrize("fs", ["s3://{}/", "s3://{}"], ids=["correct", "incorrect: missing trailing slash"])
def test_bucket_url_with_and_without_slash(s3_server: S3Server, fs: str) -> None:
    """The slash behind the bucket makes no difference."""
    bucket = f"slash-{len(fs)}"
    s3_server.create_bucket(bucket)
    backend = ObstoreBackend(
        key="slash",
        fs=fs.format(bucket),
        aws_endpoint=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        aws_region=s3_server.region,
        client_options={"allow_http": True},
    )
    use_registered(backend)


def use_registered(backend: StorageBackend) -> None:
    """Use a backend as columns do, by its key."""
    storages.register_backend(backend)
    try:
        use(backend)
    finally:
        storages.unregister_backend(backend.key)


def test_protocol_with_a_prefix(tmp_path: Path) -> None:
    """Correct: the protocol without a path, and the folder as prefix."""
    use_registered(FSSpecBackend(key="files", fs="file", prefix=str(tmp_path)))


@pytest.mark.parametrize("backend_class", [FSSpecBackend, ObstoreBackend])
def test_url_of_a_file_system_without_a_folder(backend_class: type[StorageBackend]) -> None:
    """Incorrect: ``file://path`` names a host; the error says how it is written."""
    with pytest.raises(ConfigurationError, match="file:///"):
        backend_class(key="files", fs="file://path")


def test_prefix_with_a_leading_slash(s3_server: S3Server) -> None:
    """A leading slash before the bucket of a prefix makes no difference."""
    s3_server.create_bucket("leading-slash")
    backend = FSSpecBackend(
        key="slash",
        fs="s3",
        prefix="/leading-slash/path",
        username=s3_server.access_key,
        password=s3_server.secret_key,
        endpoint_url=s3_server.endpoint,
    )
    use_registered(backend)


# -- Missing Dependencies


def run_without(blocked: str, code: str) -> str:
    """Run `code` in a process where the modules named in `blocked` cannot be imported, and return what it prints."""
    block = f"import sys\nfor name in {blocked.split()!r}:\n    sys.modules[name] = None\n"
    command = [sys.executable, "-P", "-c", block + code]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("blocked", "call", "extra"),
    [
        ("obstore", 'ObstoreBackend(key="x", fs="s3://bucket/")', "obstore"),
        ("obstore", 'ObstoreBackend(key="x", fs="gs://bucket/")', "obstore"),
        ("fsspec", 'FSSpecBackend(key="x", fs="memory")', "fsspec"),
        ("fsspec", 'FSSpecBackend(key="x", fs="s3", prefix="bucket")', "s3"),
        ("s3fs", 'FSSpecBackend(key="x", fs="s3", prefix="bucket")', "s3"),
        ("s3fs", 'FSSpecBackend(key="x", fs="s3://bucket/folder")', "s3"),
        ("gcsfs", 'FSSpecBackend(key="x", fs="gcs", prefix="bucket")', "gcs"),
        ("gcsfs", 'FSSpecBackend(key="x", fs="gs", prefix="bucket")', "gcs"),
        ("adlfs", 'FSSpecBackend(key="x", fs="abfs", prefix="container")', "azure"),
        ("adlfs", 'FSSpecBackend(key="x", fs="az", prefix="container")', "azure"),
        ("sshfs paramiko", 'FSSpecBackend(key="x", fs="sftp", prefix="/files", host="host")', "sftp"),
        ("webdav4", 'FSSpecBackend(key="x", fs="webdav", base_url="http://host")', "webdav"),
    ],
)
def test_missing_library_is_named_with_its_command(blocked: str, call: str, extra: str) -> None:
    """The error is one line of ``pip install`` away from being mended, whatever is missing."""
    code = f"""
from litestar_filestore import FSSpecBackend, ObstoreBackend
from litestar_filestore.errors import MissingDependencyError
try:
    {call}
except MissingDependencyError as error:
    print(error)
"""
    assert f"pip install 'litestar-filestore[{extra}]'" in run_without(blocked, code)


LOCAL_USE = """
import tempfile
from litestar_filestore import FileObject, FSSpecBackend, LocalBackend, ObstoreBackend
folder = tempfile.mkdtemp()
for backend in (
    LocalBackend("local", folder),
    FSSpecBackend(key="fsspec", fs="file", prefix=folder),
    FSSpecBackend(key="fsspec-url", fs=f"file://{folder}"),
    ObstoreBackend(key="obstore", fs=f"file://{folder}/"),
):
    file = FileObject(backend, "a.txt", content=b"abc").save()
    print(file.get_content().decode(), end=" ")
    file.delete()
"""


def test_folders_need_no_library() -> None:
    """The package imports, and every way to a local folder works, with neither obstore nor fsspec."""
    assert run_without("obstore fsspec", LOCAL_USE).split() == ["abc"] * 4
