"""How `FSSpecBackend` is set up; no server is contacted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.implementations.sftp import SFTPFileSystem
from sshfs import SSHFileSystem

from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.fsspec.fsspec_driver import FSSpecDriver
from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.registry import storages
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import ConfigurationError, MissingDependencyError
from tests.servers.gcs import generate_key

SIGNING = Capability.SIGN_GET | Capability.SIGN_PUT
AZURE_CONNECTION = "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=a2V5;EndpointSuffix=core.windows.net"


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    """Write the key file of a service account."""
    path = tmp_path / "service-account.json"
    content = {
        "type": "service_account",
        "client_email": "somebody@example.org",
        "private_key": generate_key()[0],
        "token_uri": "http://127.0.0.1:9/token",
    }
    path.write_text(json.dumps(content))
    return path


def test_documented_s3_instance_is_accepted() -> None:
    """The form that Advanced Alchemy documents for S3 builds."""
    fs = fsspec.filesystem("s3", key="AWS_ACCESS_KEY", secret="AWS_SECRET_KEY", endpoint_url="https://s3.amazonaws.com")
    backend = FSSpecBackend(key="s3-documents", fs=fs, prefix="my-bucket/documents")
    assert (backend.fs, backend.protocol, backend.prefix, backend.is_async) == (fs, "s3", "my-bucket/documents", True)
    assert (backend.driver, backend.options) == ("fsspec", {})


def test_documented_gcs_instance_is_accepted(service_account: Path) -> None:
    """The form that Advanced Alchemy documents for Google Cloud Storage builds."""
    fs = fsspec.filesystem("gcs", token=str(service_account), project="your-project", skip_instance_cache=True)
    backend = FSSpecBackend(key="gcs-files", fs=fs, prefix="my-bucket/files")
    assert (backend.fs, backend.protocol, backend.is_async) == (fs, "gs", True)


def test_documented_azure_instance_is_accepted() -> None:
    """The form that Advanced Alchemy documents for Azure builds."""
    fs = fsspec.filesystem("abfs", connection_string=AZURE_CONNECTION)
    backend = FSSpecBackend(key="azure-blobs", fs=fs, prefix="container/files")
    assert (backend.fs, backend.protocol, backend.is_async) == (fs, "abfs", True)


@pytest.mark.parametrize("prefix", ["/var/app/uploads", "/tmp/uploads"])
def test_documented_folder_is_accepted(prefix: str) -> None:
    """The form that Advanced Alchemy documents for local folders builds, and uses the driver of this package."""
    backend = FSSpecBackend(key="local", fs="file", prefix=prefix)
    driver = backend.storage_driver
    assert isinstance(driver, LocalDriver)
    assert (driver.root, backend.protocol, backend.driver, backend.is_async) == (Path(prefix), "file", "fsspec", False)
    assert isinstance(backend.fs, LocalFileSystem)


async def test_documented_memory_example() -> None:
    """The test that Advanced Alchemy documents passes."""
    backend = FSSpecBackend(key="test-storage", fs="memory")
    storages.register_backend(backend)
    try:
        file = FileObject(backend="test-storage", filename="test.txt", content=b"Test content")
        await file.save_async()
        assert await file.get_content_async() == b"Test content"
    finally:
        storages.unregister_backend("test-storage")
    assert isinstance(backend.fs, MemoryFileSystem)


@pytest.mark.parametrize(
    ("fs", "prefix", "root"),
    [
        ("file:///srv/files", None, "/srv/files"),
        ("local", "/srv/files", "/srv/files"),
        (LocalFileSystem(), "/srv/files", "/srv/files"),
        (DirFileSystem("/srv/files", LocalFileSystem()), None, "/srv/files"),
        (DirFileSystem("files", DirFileSystem("/srv", LocalFileSystem())), None, "/srv/files"),
    ],
)
def test_local_folder_in_other_words(fs: Any, prefix: str | None, root: str) -> None:
    """All of fsspec's names for a local folder lead to the driver of this package."""
    driver = FSSpecBackend("files", fs, prefix).storage_driver
    assert isinstance(driver, LocalDriver)
    assert str(driver.root) == root


def test_prefix_inside_a_named_folder(tmp_path: Path) -> None:
    """A URL names the root, and the prefix then a folder in it."""
    backend = FSSpecBackend("files", tmp_path.as_uri(), "inner", fsync=False)
    backend.put(b"x", key="a")
    assert (tmp_path / "inner" / "a").read_bytes() == b"x"


def test_subclass_of_the_local_file_system_is_not_local(tmp_path: Path) -> None:
    """Who changed the local file system wants it used."""

    class Changed(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "changed"

    backend = FSSpecBackend("files", Changed(), str(tmp_path))
    assert isinstance(backend.storage_driver, FSSpecDriver)
    backend.put(b"x", key="a/b")
    assert (tmp_path / "a" / "b").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("fs", "options", "message"),
    [
        ("file", {}, r'prefix="/var/app/uploads"'),
        (LocalFileSystem(), {}, r'prefix="/var/app/uploads"'),
        ("file", {"prefix": "uploads"}, "absolute"),
        ("file://srv/files", {}, "file:///srv/files"),
        ("file:/srv/files", {}, "file:///folder"),
        ("/srv/files", {}, "fs='/srv/files' is neither a URL nor a protocol: .*LocalBackend takes a folder as it is"),
        ("s3:bucket", {}, "neither a URL nor a protocol: write a URL such as 's3://bucket/folder/'"),
        ("https://s3.amazonaws.com/bucket", {}, "write s3://bucket/"),
        ("nonsense", {}, "available_protocols"),
        ("nonsense://bucket", {}, "available_protocols"),
        ("s3", {}, "Name the bucket"),
        ("s3://", {"prefix": "/"}, "Name the bucket"),
        ("simplecache::s3://bucket", {}, "chains"),
        ("s3://bucket/folder?versionId=1", {}, "not in the URL"),
        ("webdav", {}, "base_url"),
        ("sftp", {"prefix": "uploads"}, "host"),
        (object(), {}, "not a file system"),
        (Path("/srv/files"), {}, "not a file system"),
    ],
)
def test_wrong_set_up_is_refused(fs: Any, options: dict[str, Any], message: str) -> None:
    """What cannot work is refused when the backend is built, with what to write instead."""
    with pytest.raises(ConfigurationError, match=message):
        FSSpecBackend("files", fs, **options)


@pytest.mark.parametrize(("protocol", "extra"), [("s3", "s3"), ("sftp", "sftp"), ("webdav", "webdav")])
def test_missing_fsspec_is_reported_with_the_extra(protocol: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fsspec the message is the line that installs it with what the protocol needs."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'litestar-filestore\[{extra}\]'"):
        FSSpecBackend("files", protocol, "bucket")


def test_missing_file_system_is_reported_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fsspec alone the message is the line that installs the file system."""
    monkeypatch.delitem(vars(sys.modules["fsspec.registry"])["_registry"], "webdav", raising=False)
    monkeypatch.setitem(sys.modules, "webdav4.fsspec", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'litestar-filestore\[webdav\]'"):
        FSSpecBackend("files", "webdav", base_url="http://127.0.0.1:9/")


def test_missing_file_system_without_an_extra_is_named() -> None:
    """For the many file systems without an extra the message says which package fsspec wants."""
    with pytest.raises(MissingDependencyError, match="dropbox"):
        FSSpecBackend("files", "dropbox", token="secret")


def test_local_folder_without_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder needs no fsspec."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    backend = FSSpecBackend("files", "file", str(tmp_path))
    backend.put(b"x", key="a")
    assert backend.get_content("a") == b"x"
    assert backend.fs is None


def test_import_loads_no_library() -> None:
    """The module can be imported without fsspec, and does not spend the time that it takes."""
    program = "import sys, litestar_filestore.backends.fsspec.fsspec_backend; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_sshfs_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """SFTP goes through asyncssh where that is installed, and through paramiko elsewhere."""
    backends = [FSSpecBackend("files", "sftp", host="127.0.0.1")]
    monkeypatch.setitem(sys.modules, "sshfs", None)
    monkeypatch.setitem(vars(sys.modules["fsspec.registry"])["_registry"], "sftp", SFTPFileSystem)
    backends.append(FSSpecBackend("files", "sftp", host="127.0.0.1"))
    drivers = [backend.storage_driver for backend in backends]
    classes = [driver.recipe.cls for driver in drivers if isinstance(driver, FSSpecDriver)]
    assert classes == [SSHFileSystem, SFTPFileSystem]


def test_leading_slash_of_a_bucket_does_not_matter() -> None:
    """A prefix that begins with a slash names the same bucket."""
    backend = FSSpecBackend("files", "s3", "/bucket/folder")
    assert backend.prefix == "bucket/folder"


def test_access_key_by_its_other_name() -> None:
    """The access key cannot be called ``key``, which names the backend."""
    backend = FSSpecBackend("files", "s3://bucket", username="access", password="secret")
    assert (backend.fs.key, backend.fs.secret) == ("access", "secret")


def test_s3_is_set_up_for_a_server_that_must_answer() -> None:
    """What the user did not set is set so that links are signed right and nothing waits for minutes."""
    config = FSSpecBackend("files", "s3://bucket", config_kwargs={"read_timeout": 7}).fs.config_kwargs
    assert (config["signature_version"], config["connect_timeout"], config["read_timeout"]) == ("s3v4", 5, 7)


def test_base_url_of_webdav_is_the_servers() -> None:
    """webdav4 calls the server's URL ``base_url``, and so does the user who comes from Advanced Alchemy."""
    backend = FSSpecBackend("files", "webdav", base_url="http://127.0.0.1:9/dav", auth=["user", "password"])
    assert str(backend.fs.client.base_url) == "http://127.0.0.1:9/dav"
    assert backend.base_url is None
    backend.close()


def test_base_url_elsewhere_is_the_public_one() -> None:
    """For other protocols ``base_url`` is where the public finds the objects."""
    backend = FSSpecBackend("files", "s3://bucket", "docs", base_url="https://cdn.example.org/")
    assert backend.public_url("a b") == "https://cdn.example.org/docs/a%20b"


@pytest.mark.parametrize(
    ("fs", "options", "signs"),
    [
        ("s3://bucket", {}, True),
        ("s3://bucket", {"anon": True}, False),
        ("abfs://container", {"account_name": "account", "account_key": "a2V5"}, True),
        ("abfs://container", {"connection_string": AZURE_CONNECTION}, True),
        ("abfs://container", {"account_name": "account", "sas_token": "sig=x"}, False),
        ("gs://bucket", {"token": "google_default"}, True),
        ("gs://bucket", {"token": "anon"}, False),
    ],
)
def test_signing_depends_on_the_credentials(fs: str, options: dict[str, Any], *, signs: bool) -> None:
    """Signing is claimed where the credentials can do it."""
    assert bool(FSSpecBackend("files", fs, **options).capabilities & SIGNING) is signs


def test_secrets_are_not_shown() -> None:
    """The representation of a backend holds no credentials."""
    assert "secret" not in repr(FSSpecBackend("files", "s3://bucket", username="access", password="secret"))


def test_unacceptable_options_are_reported_at_the_start() -> None:
    """Options that only the constructor of the file system knows are refused there, as errors of this package."""
    backend = FSSpecBackend("files", "webdav", base_url="http://127.0.0.1:9/", nonsense=1)
    with pytest.raises(ConfigurationError, match="nonsense"):
        backend.start()
