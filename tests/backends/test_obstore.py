"""How `ObstoreBackend` is set up; no server is contacted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from obstore.store import HTTPStore, LocalStore, MemoryStore, S3Store

from litestar_filestore.backends.local.local_backend import LocalDriver
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.core.types import Capability
from litestar_filestore.errors import AuthenticationError, ConfigurationError

KEYS = {"aws_access_key_id": "AWS_ACCESS_KEY", "aws_secret_access_key": "AWS_SECRET_KEY"}
AZURE = {"azure_storage_account_name": "account", "azure_storage_account_key": "a2V5"}


def make(**options: Any) -> ObstoreBackend:
    """Build a backend on a bucket."""
    return ObstoreBackend("files", "s3://bucket/", **options)


@pytest.mark.parametrize(
    ("url", "options", "protocol"),
    [
        ("file:///var/app/uploads/", {}, "file"),
        ("s3://my-bucket/", {"aws_region": "us-west-2"}, "s3"),
        ("s3://my-bucket/documents/", {**KEYS, "aws_region": "us-west-2"}, "s3"),
        ("s3://my-bucket/", {**dict.fromkeys(KEYS), "aws_region": "us-east-1"}, "s3"),
        ("gs://my-bucket/files/", {"google_service_account": "/path/to/service-account.json"}, "gcs"),
        (
            "az://container/files/",
            {"azure_storage_account_name": "account", "azure_storage_account_key": "key"},
            "azure",
        ),
        ("abfss://container@account.dfs.core.windows.net/files/", {}, "azure"),
        ("https://example.org/files/", {}, "http"),
        ("memory:///", {}, "memory"),
    ],
)
def test_documented_forms_are_accepted(url: str, options: dict[str, Any], protocol: str) -> None:
    """Every form that Advanced Alchemy documents builds, though the credentials in it are made up."""
    backend = ObstoreBackend(key="files", fs=url, **options)
    assert (backend.protocol, backend.key) == (protocol, "files")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://my-bucket/files/", {"google_service_account": "/path/to/service-account.json"}),
        ("az://container/files/", {"azure_storage_account_name": "account", "azure_storage_account_key": "key"}),
    ],
)
def test_unreadable_credentials_are_reported_at_the_start(url: str, options: dict[str, Any]) -> None:
    """A credentials file may be mounted after the application was imported, so the start is early enough."""
    with pytest.raises(AuthenticationError, match="cannot be read") as caught:
        ObstoreBackend("files", url, **options).start()
    assert caught.value.backend == "files"
    assert "/path/to" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("uploads", "file:///folder/.*LocalBackend takes a folder as it is"),
        ("file:uploads", "fs='file:uploads' is not a URL: write .*file:///folder/"),
        ("https://s3.amazonaws.com/bucket/folder", "write s3://bucket/, and aws_region="),
        ("https://storage.googleapis.com/bucket", "write gs://bucket/"),
        ("s3:key:pass-word@bucket", "fs='s3:bucket' is not a URL"),
        ("/var/app/uploads", "file:///folder/"),
        ("C:\\uploads", "file:///folder/"),
        ("memory", "memory:///"),
        ("s3:bucket", "s3://bucket/folder/"),
        ("file://relative/folder", "file:///absolute/folder/"),
        ("file:///", "file:///absolute/folder/"),
        ("file:///~/uploads/", "file:///absolute/folder/"),
        ("file:///var/../etc/", "'.' or '..'|dot segment"),
        ("s3://", "s3://bucket/folder/"),
        ("s3:///folder/", "s3://bucket/folder/"),
        ("gs:///folder/", "gs://bucket/folder/"),
        ("az:///folder/", "az://container/folder/"),
        ("https:///folder/", "https://host/folder/"),
        ("gcs://bucket/", "gs://bucket/folder/"),
        ("ftp://host/folder/", "https://host/folder/"),
        ("s3://bucket//folder/", "empty"),
        ("s3://bucket/a/../b/", "dot segment"),
        ("s3://bucket/?region=us-west-2", "options of the backend"),
        ("s3://bucket/folder#1/", "options of the backend"),
        ("s3://name:pass-word@bucket/", "s3://bucket/folder/"),
        ("https://name@host/folder/", "https://host/folder/"),
        ("abfss://name:pass-word@account.dfs.core.windows.net/", "abfss://container@account"),
        ("memory:///folder/", "prefix="),
    ],
)
def test_wrong_url_is_refused_with_the_right_form(url: str, right: str) -> None:
    """What obstore would correct, ignore or misunderstand is an error that says what to write."""
    with pytest.raises(ConfigurationError, match=right) as caught:
        ObstoreBackend("files", url)
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "name"),
    [
        ("s3://bucket/", {"aws_regoin": "us-west-2"}, "aws_regoin"),
        ("s3://bucket/", {"client_options": {"time_out": "5s"}}, "time_out"),
        ("gs://bucket/", {"google_bukcet": "x"}, "google_bukcet"),
        ("az://container/", {**AZURE, "azure_kye": "x"}, "azure_kye"),
        ("https://host/", {"aws_region": "us-west-2"}, "aws_region"),
        ("memory:///", {"aws_region": "us-west-2"}, "aws_region"),
        ("file:///var/app/uploads/", {"aws_region": "us-west-2"}, "aws_region"),
    ],
)
def test_unknown_option_is_named(url: str, options: dict[str, Any], name: str) -> None:
    """A misspelt option is an error, not a default."""
    with pytest.raises(ConfigurationError, match=name):
        ObstoreBackend("files", url, **options)


@pytest.mark.parametrize(
    ("url", "options", "mended"),
    [
        ("az://container/", {}, "azure_storage_account_name"),
        ("s3://bucket/", {"aws_access_key_id": "x"}, "aws_secret_access_key"),
        ("s3://bucket/", {"aws_region": 5}, "wrong form, among aws_region, .*: most are text"),
        ("s3://bucket/", {"retry_config": {"max_retries": "many"}}, "wrong form"),
    ],
)
def test_incomplete_options_are_refused(
    url: str, options: dict[str, Any], mended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that cannot work are an error when the backend is built."""
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match=mended):
        ObstoreBackend("files", url, **options)


def test_slash_at_the_end_of_a_bucket_may_be_missing() -> None:
    """Advanced Alchemy's documentation calls it incorrect without; here both name the same store."""
    assert ObstoreBackend("files", "s3://bucket").fs == ObstoreBackend("files", "s3://bucket/").fs


def test_folder_of_the_url_is_percent_decoded(tmp_path: Path) -> None:
    """A blank in a URL is ``%20`` and a blank in the name of the folder."""
    ObstoreBackend("files", f"file://{tmp_path}/a%20b/").put(b"abc", key="x")
    assert (tmp_path / "a b" / "x").read_bytes() == b"abc"


def test_options_that_are_none_leave_it_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``os.environ.get`` returns ``None`` for what is not set, and is what configuration is often made of."""
    monkeypatch.setenv("AWS_ENDPOINT", "https://s3.example.org")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    backend = ObstoreBackend("files", "s3://bucket/", aws_endpoint=None, aws_access_key_id=None)
    assert "from-the-environment" in backend.sign("x")


@pytest.mark.parametrize(
    ("url", "options", "variable"),
    [("s3://bucket/", KEYS, "AWS"), ("gs://bucket/", {}, "GOOGLE"), ("az://container/", AZURE, "AZURE")],
)
def test_environment_settles_connections(
    url: str, options: dict[str, Any], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``AWS_ALLOW_HTTP`` and its like are heeded, beside our defaults; an option comes first."""
    monkeypatch.setenv(f"{variable}_ALLOW_HTTP", "true")
    monkeypatch.setenv(f"{variable}_TIMEOUT", "7s")
    client = ObstoreBackend("files", url, **options).fs.client_options
    assert client == {"allow_http": "true", "timeout": "7s", "connect_timeout": "5s"}
    client = ObstoreBackend("files", url, **options, client_options={"timeout": "8s"}).fs.client_options
    assert client["timeout"] == "8s"


@pytest.mark.parametrize(
    ("said", "options", "refuses"), [("disabled", {}, False), ("disabled", {"conditional_put": "etag"}, True)]
)
def test_environment_says_what_the_store_can_do(
    said: str, options: dict[str, Any], *, refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store without conditional puts may be known by the environment only."""
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", said)
    assert (Capability.PUT_IF_ABSENT in make(**options).capabilities) == refuses


def test_unreachable_stores_are_given_up_soon() -> None:
    """The defaults of obstore are ten repetitions within three minutes."""
    store = ObstoreBackend("files", "s3://bucket/").fs
    assert store.client_options == {"connect_timeout": "5s", "timeout": "30s"}
    assert store.retry_config["max_retries"] == 3
    assert store.retry_config["retry_timeout"].total_seconds() == 10


def test_settings_of_the_user_come_first() -> None:
    """Defaults fill only what is not set."""
    backend = ObstoreBackend("files", "s3://bucket/", client_options={"timeout": "7s"}, retry_config={"max_retries": 1})
    assert backend.fs.client_options == {"connect_timeout": "5s", "timeout": "7s"}
    assert backend.fs.retry_config["max_retries"] == 1


@pytest.mark.parametrize("name", ["allow_http", "aws_allow_http"])
def test_client_options_may_stand_among_the_others(name: str) -> None:
    """Among those obstore 0.12.1 takes them, and then panics when asked for its configuration."""
    store = make(**{name: True}).fs
    assert store.client_options["allow_http"] == "true"
    assert store.config["bucket"] == "bucket"


def test_store_of_the_caller_is_used_as_it_is() -> None:
    """Its settings are the caller's."""
    store = S3Store("bucket", retry_config={"max_retries": 7})
    backend = ObstoreBackend(key="files", fs=store)
    assert backend.fs is store
    assert backend.protocol == "s3"


@pytest.mark.parametrize(
    ("store", "protocol"),
    [(MemoryStore(), "memory"), (HTTPStore("https://host/"), "http"), (LocalStore(prefix="/tmp"), "file")],
)
def test_protocol_is_named_as_in_advanced_alchemy(store: Any, protocol: str) -> None:
    """Rows and logs of both packages say the same."""
    assert ObstoreBackend("files", store).protocol == protocol


def test_options_beside_a_store_are_refused() -> None:
    """They would be ignored."""
    with pytest.raises(ConfigurationError, match="aws_region"):
        ObstoreBackend("files", MemoryStore(), aws_region="us-west-2")


def test_other_objects_are_no_stores() -> None:
    """A path object is not guessed to be a folder: the URL says what is meant."""
    path: Any = Path("/var/app/uploads")
    with pytest.raises(ConfigurationError, match="PosixPath"):
        ObstoreBackend("files", path)


def test_folders_are_served_by_the_local_driver(tmp_path: Path) -> None:
    """The local store of obstore does not sync, and follows symbolic links out of its root."""
    backend = ObstoreBackend("files", f"file://{tmp_path}/uploads/", fsync=False)
    assert isinstance(backend.storage_driver, LocalDriver)
    assert Capability.LOCAL_PATH in backend.capabilities


def test_local_store_of_the_caller_is_served_by_the_local_driver(tmp_path: Path) -> None:
    """It names the folder, no more."""
    backend = ObstoreBackend("files", LocalStore(prefix=tmp_path))
    backend.put(b"abc", key="a/x")
    assert isinstance(backend.storage_driver, LocalDriver)
    assert (tmp_path / "a" / "x").read_bytes() == b"abc"


def test_local_store_without_a_folder_is_refused() -> None:
    """It stands for the whole file system."""
    with pytest.raises(ConfigurationError, match="prefix="):
        ObstoreBackend("files", LocalStore())


def test_store_below_a_folder_is_made_when_asked_for(tmp_path: Path) -> None:
    """Code written for Advanced Alchemy finds a store of obstore in `fs`."""
    backend = ObstoreBackend("files", f"file://{tmp_path}/uploads/")
    backend.put(b"abc", key="x")
    assert backend.fs.get("x").bytes().to_bytes() == b"abc"


def test_secrets_are_not_shown() -> None:
    """The form for logs names neither options nor credentials."""
    assert "AWS_SECRET_KEY" not in repr(make(**KEYS))


WITHOUT_OBSTORE = """
import sys
sys.modules["obstore"] = None
from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.errors import MissingDependencyError
ObstoreBackend("files", sys.argv[1]).put(b"abc", key="x")
try:
    ObstoreBackend("files", "s3://bucket/")
except MissingDependencyError as error:
    print(error)
"""


def test_only_folders_work_without_obstore(tmp_path: Path) -> None:
    """Without the extra a folder can be used, and everything else says what to install."""
    command = [sys.executable, "-c", WITHOUT_OBSTORE, f"file://{tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'litestar-filestore[obstore]'" in done.stdout
    assert (tmp_path / "x").read_bytes() == b"abc"
