"""What the errors of fsspec's libraries become."""
# ruff: noqa: S321 - errors of FTP are made here, no connection

from __future__ import annotations

import base64
import ftplib
import time
from collections.abc import Callable
from typing import Any

import asyncssh
import pytest
from aiohttp import ClientPayloadError, ServerDisconnectedError
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from fsspec.exceptions import FSTimeoutError
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from webdav4.client import ForbiddenOperation, InsufficientStorage, ResourceConflict, ResourceLocked

from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.fsspec.fsspec_errors import ResponseError, translate_library_error
from litestar_filestore.errors import (
    AccessDeniedError,
    AccessError,
    AuthenticationError,
    BackendUnavailableError,
    BucketNotFoundError,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    UnsupportedOperationError,
)
from tests.backends.fsspec_stores import (
    azure_backend,
    gcs_backend,
    make_bucket,
    make_container,
    s3_backend,
    sftp_backend,
    webdav_backend,
)
from tests.servers.azurite import AzureServer
from tests.servers.gcs_json import GcsJsonServer
from tests.servers.processes import HOST, free_port
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

SECONDS = 15
"""A server that refuses connections is reported within this time, on a machine that does other things as well."""


def s3_error(code: str, status: int = 400, operation: str = "PutObject") -> ClientError:
    """Make the error that botocore raises for an answer."""
    answer: Any = {"Error": {"Code": code, "Message": "secret"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


def azure_error(status: int, code: str | None = None) -> HttpResponseError:
    """Make the error that Azure's client raises for an answer."""
    error = HttpResponseError("secret")
    error.status_code = status
    vars(error)["error_code"] = code  # the client for storage adds it
    return error


def google_error(cls: Any) -> Exception:
    """Make an error of google.auth, which has no types."""
    error: Exception = cls("secret")
    return error


def refused_login() -> PermissionError:
    """Make the error that sshfs raises for a wrong password."""
    error = PermissionError("refused")
    error.__cause__ = asyncssh.PermissionDenied("refused")
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (s3_error("NoSuchKey", 404), ObjectNotFoundError),
        (s3_error("404", 404, "HeadObject"), ObjectNotFoundError),
        (s3_error("404", 404, "HeadBucket"), BucketNotFoundError),
        (s3_error("NoSuchBucket", 404), BucketNotFoundError),
        (s3_error("SignatureDoesNotMatch", 403), AuthenticationError),
        (s3_error("InvalidAccessKeyId", 403), AuthenticationError),
        (s3_error("ExpiredToken"), AuthenticationError),
        (s3_error("AccessDenied", 403), AccessDeniedError),
        (s3_error("403", 403, "HeadObject"), AccessDeniedError),
        (s3_error("PreconditionFailed", 412), ObjectExistsError),
        (s3_error("KeyTooLongError"), InvalidKeyError),
        (s3_error("QuotaExceeded", 403), StorageFullError),
        (s3_error("SlowDown", 503), BackendUnavailableError),
        (s3_error("InternalError", 500), BackendUnavailableError),
        (s3_error("NotImplemented", 501), UnsupportedOperationError),
        (s3_error("Nonsense", 400), StorageError),
        (NoCredentialsError(), AuthenticationError),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), BackendUnavailableError),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:9"), BackendUnavailableError),
        (azure_error(404, "BlobNotFound"), ObjectNotFoundError),
        (azure_error(404, "ContainerNotFound"), BucketNotFoundError),
        (azure_error(403, "AuthenticationFailed"), AuthenticationError),
        (azure_error(403, "AuthorizationPermissionMismatch"), AccessDeniedError),
        (azure_error(409, "BlobAlreadyExists"), ObjectExistsError),
        (azure_error(503, "ServerBusy"), BackendUnavailableError),
        (ClientAuthenticationError("secret"), AuthenticationError),
        (ServiceRequestError("secret"), BackendUnavailableError),
        (ResponseError(404, "The specified bucket does not exist."), BucketNotFoundError),
        (ResponseError(404, "No such object: specified"), ObjectNotFoundError),
        (ResponseError(401), AuthenticationError),
        (ResponseError(403), AccessDeniedError),
        (ResponseError(507), StorageFullError),
        (google_error(DefaultCredentialsError), AuthenticationError),
        (google_error(RefreshError), AuthenticationError),
        (ServerDisconnectedError(), BackendUnavailableError),
        (ClientPayloadError(), BackendUnavailableError),
        (FSTimeoutError(), BackendUnavailableError),
        (refused_login(), AuthenticationError),
        (asyncssh.HostKeyNotVerifiable("secret"), AuthenticationError),
        (asyncssh.ConnectionLost("secret"), BackendUnavailableError),
        (asyncssh.SFTPPermissionDenied("secret"), AccessDeniedError),
        (asyncssh.SFTPNoSpaceOnFilesystem("secret"), StorageFullError),
        (asyncssh.SFTPFailure("/srv/secret"), StorageError),
        (ForbiddenOperation("secret"), AccessDeniedError),
        (InsufficientStorage("secret"), StorageFullError),
        (ResourceConflict("secret"), InvalidKeyError),
        (ResourceLocked("secret"), BackendUnavailableError),
        (ftplib.error_perm("530 secret"), AuthenticationError),
        (ftplib.error_perm("550 no such file"), ObjectNotFoundError),
        (ftplib.error_perm("550 Permission denied."), AccessDeniedError),
        (ftplib.error_perm("552 quota"), StorageFullError),
        (ftplib.error_temp("421 timeout"), BackendUnavailableError),
        (EOFError(), BackendUnavailableError),
        (NotImplementedError(), UnsupportedOperationError),
    ],
    ids=repr,
)
def test_library_error(error: Exception, expected: type[StorageError]) -> None:
    """Each library's errors become errors of this package, whose texts hold nothing of the original."""
    translated = translate_library_error(error)
    assert type(translated) is expected
    assert "secret" not in str(translated)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("mine"), RuntimeError("mine")])
def test_other_errors_are_not_translated(error: Exception) -> None:
    """Errors that no library under fsspec raises are not taken for theirs."""
    assert translate_library_error(error) is None


async def every_operation(backend: FSSpecBackend, expected: type[StorageError]) -> None:
    """Try all operations of both halves, and see that each fails in the expected way."""
    for call in (
        lambda: backend.put(b"x", key="a"),
        lambda: backend.put(b"x", key="a", overwrite=True),
        lambda: backend.get_content("a"),
        lambda: backend.head("a"),
        lambda: backend.delete("a"),
        lambda: list(backend.list()),
        lambda: backend.copy("a", "b", overwrite=True),
    ):
        with pytest.raises(expected):
            call()
    for awaitable in (
        backend.put_async(b"x", key="a"),
        backend.get_content_async("a"),
        backend.head_async("a"),
        backend.delete_async("a"),
        backend.copy_async("a", "b", overwrite=True),
    ):
        with pytest.raises(expected):
            await awaitable
    with pytest.raises(expected):
        _ = [info async for info in backend.list_async()]
    await backend.close_async()


async def test_missing_bucket_of_s3(s3_server: S3Server) -> None:
    """Every operation on a bucket that is not there says so."""
    await every_operation(s3_backend(s3_server, "no-such-bucket"), BucketNotFoundError)


async def test_missing_container_of_azure(azure_server: AzureServer) -> None:
    """Every operation on a container that is not there says so."""
    await every_operation(azure_backend(azure_server, "no-such-container"), BucketNotFoundError)


async def test_wrong_secret_of_s3(s3_server: S3Server) -> None:
    """Every operation with a wrong secret says so, though the answer to HEAD does not."""
    backend = s3_backend(s3_server, make_bucket(s3_server), password="wrong")
    with pytest.raises(AuthenticationError):
        backend.put(b"x", key="a")
    with pytest.raises(AuthenticationError):
        await backend.get_content_async("a")
    with pytest.raises((AuthenticationError, AccessDeniedError)):
        backend.head("a")
    await backend.close_async()


async def test_wrong_key_of_azure(azure_server: AzureServer) -> None:
    """Every operation with a wrong key of the account is refused; Azurite calls that a lack of permission."""
    wrong = base64.b64encode(b"wrong").decode()
    connection_string = azure_server.connection_string.replace(azure_server.account_key, wrong)
    backend = azure_backend(azure_server, make_container(azure_server), connection_string=connection_string)
    await every_operation(backend, AccessError)


async def test_wrong_password_of_sftp(sftp_server: SftpServer) -> None:
    """Every operation with a wrong password says so."""
    await every_operation(sftp_backend(sftp_server, password="wrong"), AuthenticationError)


async def test_wrong_password_of_webdav(webdav_server: WebdavServer) -> None:
    """Every operation with a wrong password says so."""
    await every_operation(webdav_backend(webdav_server, auth=("tester", "wrong")), AuthenticationError)


def nobody() -> str:
    """Return a URL where nobody answers."""
    return f"http://{HOST}:{free_port()}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: s3_backend(S3Server(nobody(), "access", "secret"), "bucket"),
        lambda: azure_backend(AzureServer(f"{nobody()}/devstoreaccount1"), "bucket"),
        lambda: gcs_backend(GcsJsonServer(nobody()), "bucket"),
        lambda: FSSpecBackend("files", "sftp", host=HOST, port=free_port(), username="tester", password="secret"),
        lambda: FSSpecBackend("files", "webdav", base_url=nobody()),
        lambda: FSSpecBackend("files", "ftp", host=HOST, port=free_port()),
    ],
    ids=["s3", "azure", "gcs", "sftp", "webdav", "ftp"],
)
def test_server_that_is_not_there(make: Callable[[], FSSpecBackend]) -> None:
    """A server that cannot be reached is reported within seconds, as something that may work later."""
    backend = make()
    begin = time.monotonic()
    with pytest.raises(BackendUnavailableError) as caught:
        backend.head("a")
    assert time.monotonic() - begin < SECONDS
    assert (caught.value.operation, caught.value.backend, caught.value.key) == ("head", "files", "a")
    backend.close()
