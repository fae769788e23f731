"""What is said, and how soon, when a store of obstore cannot be used."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from obstore import exceptions

from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.backends.obstore.obstore_errors import translate_obstore_error
from litestar_filestore.errors import (
    AuthenticationError,
    BackendUnavailableError,
    BucketNotFoundError,
    ConfigurationError,
    InvalidKeyError,
    StorageError,
    StorageFullError,
)
from tests.backends.obstore_stores import azure_backend, gcs_backend, make_bucket, make_container, s3_backend
from tests.servers.azurite import AzureServer
from tests.servers.chaos import ChaosProxy
from tests.servers.gcs import GcsServer
from tests.servers.processes import free_port
from tests.servers.s3 import S3Server

Operation = Callable[[ObstoreBackend], object]

OPERATIONS = {
    "start": lambda backend: backend.start(),
    "put": lambda backend: backend.put(b"abc", key="some/key"),
    "put-parts": lambda backend: backend.put(iter([bytes(1024 * 1024)] * 9), key="some/key", overwrite=True),
    "get": lambda backend: list(backend.get("some/key")),
    "head": lambda backend: backend.head("some/key"),
    "delete": lambda backend: backend.delete("some/key"),
    "delete-many": lambda backend: backend.delete(["some/key", "other/key"]),
    "list": lambda backend: list(backend.list()),
    "copy": lambda backend: backend.copy("some/key", "other/key"),
}
"""Every operation that speaks to the store."""

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """Make a bucket for the module."""
    return make_bucket(s3_server)


@pytest.fixture(scope="module")
def container(azure_server: AzureServer) -> str:
    """Make a container for the module."""
    return make_container(azure_server)


def failure_of(operation: Operation, backend: ObstoreBackend) -> StorageError:
    """Run an operation that fails and return its error, if that names the backend and shows no secret."""
    begun = time.monotonic()
    with pytest.raises(StorageError) as caught:
        operation(backend)
    assert time.monotonic() - begun < 15
    assert caught.value.backend == "files"
    assert not any(secret in str(caught.value) for secret in ("://", "Signature=", "<", "secret-of-nobody", "\n"))
    return caught.value


@every_operation
def test_wrong_secret(s3_server: S3Server, bucket: str, operation: Operation) -> None:
    """A store that refuses the signature is told from one that refuses the operation."""
    backend = s3_backend(s3_server, bucket, aws_secret_access_key="secret-of-nobody")
    error = failure_of(operation, backend)
    assert isinstance(error, AuthenticationError)
    assert "secret key" in str(error)


@every_operation
def test_unknown_access_key(s3_server: S3Server, bucket: str, operation: Operation) -> None:
    """The message names the option to look at."""
    backend = s3_backend(s3_server, bucket, aws_access_key_id="nobody")
    error = failure_of(operation, backend)
    assert isinstance(error, AuthenticationError)
    assert "access key" in str(error)


@every_operation
def test_missing_bucket(s3_server: S3Server, operation: Operation) -> None:
    """A missing bucket is never taken for a missing object: all rows would seem to have lost theirs."""
    error = failure_of(operation, s3_backend(s3_server, "no-such-bucket"))
    assert isinstance(error, BucketNotFoundError)


@every_operation
def test_missing_container(azure_server: AzureServer, operation: Operation) -> None:
    """The same on Azure, whose answers differ from operation to operation."""
    error = failure_of(operation, azure_backend(azure_server, "no-such-container"))
    assert isinstance(error, BucketNotFoundError)


@every_operation
def test_missing_bucket_at_google(gcs_server: GcsServer, operation: Operation) -> None:
    """The same on Google Cloud Storage."""
    error = failure_of(operation, gcs_backend(gcs_server, "no-such-bucket"))
    assert isinstance(error, BucketNotFoundError)


@every_operation
def test_wrong_account_key(azure_server: AzureServer, container: str, operation: Operation) -> None:
    """Azurite's word for it is AuthorizationFailure, which on Azure itself means something else."""
    wrong = azure_backend(azure_server, container, azure_storage_account_key="bm9ib2R5")
    assert isinstance(failure_of(operation, wrong), AuthenticationError)


@every_operation
def test_nothing_listens(operation: Operation) -> None:
    """A refused connection is tried again for a moment and then reported."""
    backend = ObstoreBackend(
        "files",
        "s3://bucket/",
        aws_endpoint=f"http://127.0.0.1:{free_port()}",
        aws_access_key_id="x",
        aws_secret_access_key="secret-of-nobody",
        client_options={"allow_http": True},
    )
    error = failure_of(operation, backend)
    assert isinstance(error, BackendUnavailableError)
    assert "endpoint" in str(error)


async def test_silence(s3_server: S3Server) -> None:
    """A store that takes the connection and says nothing is given up after the time of a request."""
    address = urlsplit(s3_server.endpoint)
    async with ChaosProxy(str(address.hostname), int(address.port or 0)) as proxy:
        proxy.hold()
        backend = s3_backend(
            s3_server,
            "bucket",
            aws_endpoint=f"http://127.0.0.1:{proxy.port}",
            client_options={"allow_http": True, "timeout": "1s"},
            retry_config={"max_retries": 0},
        )
        with pytest.raises(BackendUnavailableError, match="in time"):
            await backend.start_async()


@contextmanager
def answering_busy() -> Iterator[str]:
    """Run a service that answers every request with 503, and yield its URL."""
    answer = (
        b"HTTP/1.1 503 Slow Down\r\nconnection: close\r\ncontent-length: 36\r\n\r\n<Error><Code>SlowDown</Code></Error>"
    )

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # shut down by the test
                return
            with connection:
                request = connection.makefile("rb")
                length = max((int(line[15:]) for line in iter(request.readline, b"\r\n") if is_length(line)), default=0)
                request.read(length)
                connection.sendall(answer)

    def is_length(line: bytes) -> bool:
        return line.lower().startswith(b"content-length:")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@every_operation
def test_overload(operation: Operation) -> None:
    """An overloaded store is worth another attempt later, and the class says so."""
    with answering_busy() as endpoint:
        backend = ObstoreBackend(
            "files",
            "s3://bucket/",
            aws_endpoint=endpoint,
            aws_access_key_id="x",
            aws_secret_access_key="secret-of-nobody",
            client_options={"allow_http": True},
            retry_config={"max_retries": 1},
        )
        error = failure_of(operation, backend)
        backend.close()
    assert isinstance(error, BackendUnavailableError)
    assert "again later" in str(error)


def test_plain_http_must_be_allowed(s3_server: S3Server) -> None:
    """The message says how, for the usual first mistake with a server of one's own."""
    error = failure_of(OPERATIONS["start"], s3_backend(s3_server, "bucket", client_options={}))
    assert isinstance(error, ConfigurationError)
    assert "'allow_http': True" in str(error)


def test_error_names_operation_and_key(s3_server: S3Server) -> None:
    """The place is in the error, for logs and handlers."""
    error = failure_of(OPERATIONS["put"], s3_backend(s3_server, "no-such-bucket"))
    assert (error.operation, error.backend, error.key) == ("put", "files", "some/key")


def test_start_is_content_with_an_empty_bucket(s3_server: S3Server, bucket: str) -> None:
    """The object that it asks for need not exist."""
    backend = s3_backend(s3_server, bucket)
    backend.start()
    assert list(backend.list()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error performing PUT - No space left on device (os error 28)", StorageFullError),
        ("status code: 507 Insufficient Storage: ", StorageFullError),
        ("status code: 400 Bad Request: <Error><Code>KeyTooLongError</Code></Error>", InvalidKeyError),
        ("status code: 400 Bad Request: <Error><Code>ExpiredToken</Code></Error>", AuthenticationError),
        ("Error performing PUT http://169.254.169.254/latest/api/token", AuthenticationError),
        (
            "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
            ConfigurationError,
        ),
        ("status code: 418 I'm a teapot: ", StorageError),
    ],
)
def test_meaning_of_what_servers_here_do_not_say(text: str, expected: type[StorageError]) -> None:
    """Texts of services that cannot be run for a test, as they were seen."""
    meaning = translate_obstore_error(exceptions.GenericError(text))
    assert type(meaning) is expected


def test_other_exceptions_are_not_translated() -> None:
    """A mistake in a program stays what it is."""
    assert translate_obstore_error(TypeError("x")) is None
