"""Errors of this package reach a client as HTTP errors that tell nothing about the storage."""

import logging
from typing import Any

import pytest
from litestar import Controller, Litestar, MediaType, Request, Response, get
from litestar.exceptions import ClientException, HTTPException, InternalServerException
from litestar.logging import LoggingConfig
from litestar.params import FromPath
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.testing import TestClient

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LocalBackend, StorageError, Storages
from litestar_filestore.errors import (
    AccessDeniedError,
    AccessError,
    AuthenticationError,
    BackendNotRegisteredError,
    BackendUnavailableError,
    BucketNotFoundError,
    ConfigurationError,
    ConflictError,
    DatabaseFullError,
    DatabaseUnavailableError,
    FileRejectedError,
    FileTooLargeError,
    FileTypeNotAllowedError,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTokenError,
    LedgerError,
    LedgerMissingError,
    LinkLostError,
    MissingDependencyError,
    MultipartError,
    MultipartLimitError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    QuotaExceededError,
    RangeNotSatisfiableError,
    SourceTypeError,
    StorageFullError,
    TusError,
    UnsupportedOperationError,
)
from litestar_filestore.plugin.statuses import ANSWERS, RAISED
from tests.plugin.conftest import Serve

PLACE: dict[str, Any] = {"operation": "get", "backend": "backend-7", "key": "2026/11/key-7"}
STATUS: dict[type[StorageError], int] = {
    StorageError: 500,
    ConfigurationError: 500,
    MissingDependencyError: 500,
    BackendNotRegisteredError: 500,
    SourceTypeError: 500,
    InvalidArgumentError: 500,
    InvalidKeyError: 400,
    MultipartError: 400,
    MultipartLimitError: 413,
    TusError: 400,
    InvalidTokenError: 403,
    RangeNotSatisfiableError: 416,
    FileTooLargeError: 413,
    FileRejectedError: 400,
    FileTypeNotAllowedError: 415,
    ObjectNotFoundError: 404,
    ObjectExistsError: 409,
    ObjectChangedError: 503,
    AccessError: 503,
    AuthenticationError: 503,
    AccessDeniedError: 503,
    BucketNotFoundError: 503,
    BackendUnavailableError: 503,
    StorageFullError: 507,
    DatabaseUnavailableError: 503,
    DatabaseFullError: 507,
    QuotaExceededError: 413,
    UnsupportedOperationError: 501,
    LedgerError: 500,
    LedgerMissingError: 500,
    LinkLostError: 409,
    ConflictError: 409,
}


def make(class_: type[StorageError]) -> StorageError:
    """Build an error whose every part would be telling."""
    more: dict[str, Any] = {"max_bytes": 10} if class_ is FileTooLargeError else {}
    return class_("internal-7 said no", **more, **PLACE)


class Broken(Controller):
    @get("/{name:str}")
    async def read(self, name: FromPath[str]) -> None:
        raise make(next(each for each in STATUS if each.__name__ == name))


def say(word: str) -> Any:
    """Return an exception handler that answers with its word and the class it was given."""

    def handle(_request: Request[Any, Any, Any], error: Exception) -> Response[str]:
        return Response(f"{word}: {type(error).__name__}", status_code=418, media_type=MediaType.TEXT)

    return handle


@pytest.mark.parametrize(("class_", "status"), [*STATUS.items()], ids=lambda value: getattr(value, "__name__", value))
def test_table_names_the_status(class_: type[StorageError], status: int) -> None:
    """Every class of errors has its status in the one table, by itself or by its nearest parent."""
    assert next(ANSWERS[each] for each in class_.__mro__ if each in ANSWERS).status_code == status


def test_table_agrees_with_the_exceptions() -> None:
    """The status in the table is that of the exception, unless the exception stands for a whole class of statuses."""
    wide = (ClientException, InternalServerException)
    answers = [each for each in ANSWERS.values() if each.exception not in wide]
    assert [each.exception.status_code for each in answers] == [each.status_code for each in answers]


def test_every_own_http_error_is_in_the_table() -> None:
    """What the package raises as an HTTP error of its own has its status in the table too."""

    def below(class_: type[HTTPException]) -> set[type[HTTPException]]:
        return {class_}.union(*map(below, class_.__subclasses__()))

    own = {each for each in below(HTTPException) if each.__module__.startswith("litestar_filestore.")}
    assert own == set(RAISED)
    assert [each.status_code for each in RAISED] == [*RAISED.values()]


def test_every_error_has_a_test() -> None:
    """No class of errors was added without deciding what a client is told."""

    def below(class_: type[StorageError]) -> set[type[StorageError]]:
        return {class_}.union(*map(below, class_.__subclasses__()))

    assert {each for each in below(StorageError) if each.__module__ == "litestar_filestore.errors"} == set(STATUS)


@pytest.mark.parametrize(("class_", "status"), STATUS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_get_answers_with_the_status_of_the_error(class_: type[StorageError], status: int, serve: Serve) -> None:
    """Each class of errors has its HTTP status."""
    response = serve([Broken]).get(f"/{class_.__name__}")
    assert (response.status_code, response.json()["status_code"]) == (status, status)


@pytest.mark.parametrize("class_", STATUS, ids=lambda value: value.__name__)
def test_get_tells_nothing_about_the_storage(class_: type[StorageError], serve: Serve) -> None:
    """No answer holds the detail, the key, or the backend of the error; but what a rule says is for the client."""
    response = serve([Broken]).get(f"/{class_.__name__}")
    text = f"{response.text} {response.headers}"
    told = ["internal-7"] if issubclass(class_, FileRejectedError) else []
    assert sorted({word for word in ("internal-7", "key-7", "backend-7") if word in text}) == told


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileRejectedError("too blue", field="photo"), "too blue"),
        (FileTypeNotAllowedError("no JPEG", field="photo"), "no JPEG"),
        (
            FileTooLargeError("", max_bytes=2_000_000, field="photo"),
            "The file is larger than the 2 MB that are allowed",
        ),
    ],
    ids=["rejected", "type", "size"],
)
def test_get_says_which_field_a_refused_file_was_for(error: StorageError, message: str, serve: Serve) -> None:
    """A refusal names the field and the reason where Litestar's own validation errors name them."""

    @get("/")
    async def read() -> None:
        raise error

    assert serve([read]).get("/").json()["extra"] == [{"message": message, "key": "photo", "source": "body"}]


def test_get_of_an_unsatisfiable_range_names_the_size(serve: Serve) -> None:
    """A 416 says how long the file is, as RFC 9110 §14.4 has it."""

    @get("/")
    async def read() -> None:
        raise RangeNotSatisfiableError("starts at 900", size=800)

    assert serve([read]).get("/").headers["content-range"] == "bytes */800"


def test_error_of_the_store_is_logged_with_its_details(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """What the client is not told stands in the log, with the traceback."""
    with caplog.at_level(logging.INFO, "litestar_filestore"):
        serve([Broken], logging_config=None).get("/BackendUnavailableError")
    (record,) = (each for each in caplog.records if each.name == "litestar_filestore")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "internal-7 said no [operation='get', backend='backend-7', key='2026/11/key-7']" in record.message


@get("/no-secret")
async def no_secret(storages: Storages) -> str:
    """Make a link where nothing signs links."""
    return storages.url_for(FileObject("documents", "a.txt", to_filename="a.txt"))


@get("/no-backend")
async def no_backend() -> FileObject:
    """Store where nothing is."""
    return await FileObject("photos", "a.txt", content=b"x").save_async()


@get("/text")
async def text() -> FileObject:
    """Store what is no bytes."""
    content: Any = "x"
    return await FileObject("documents", "a.txt", content=content).save_async()


@get("/type")
async def type_() -> FileObject:
    """Store with a type that is none."""
    return await FileObject("documents", "a.txt", content=b"x", content_type="nonsense").save_async()


@get("/again")
async def nothing() -> FileObject:
    """Store nothing."""
    return await FileObject("documents", "a.txt").save_async()


@get("/serialized")
async def serialized() -> FileObject:
    """Return a file whose URL cannot be made."""
    return FileObject("documents", "a.txt", to_filename="a.txt")


def no_url(_file: FileObject, _connection: Any) -> str | None:
    """Fail while the answer is being written."""
    raise ConfigurationError("there is no URL")


MISTAKES = [no_secret, no_backend, text, type_, nothing, serialized]


@pytest.mark.parametrize("log_exceptions", ["always", "debug", "never"])
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: next(iter(each.paths)))
def test_mistake_of_the_program_is_logged_once(
    mistake: Any,
    log_exceptions: Any,
    backend: LocalBackend,
    caplog: pytest.LogCaptureFixture,
    *,
    debug: bool,
) -> None:
    """It is a 500 that tells the client nothing, and one record with the traceback, whatever Litestar logs itself."""
    config = FilestoreConfig([backend], url_builder=no_url)
    app = Litestar(
        [mistake],
        plugins=[FilestorePlugin(config)],
        debug=debug,
        logging_config=LoggingConfig(log_exceptions=log_exceptions, configure_root_logger=False),
    )
    with TestClient(app, raise_server_exceptions=False) as client, caplog.at_level(logging.INFO, "litestar_filestore"):
        response = client.get(next(iter(mistake.paths)), headers={"accept": "application/json"})
    assert response.status_code == 500
    if not debug:
        assert response.json() == {"status_code": 500, "detail": "Internal Server Error"}
    (record,) = (each for each in caplog.records if each.name == "litestar_filestore")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[2] is not None


def test_mistake_of_the_program_shows_the_page_of_debug_mode(backend: LocalBackend) -> None:
    """While one develops, Litestar's page says what is wrong."""
    app = Litestar([no_backend], plugins=[FilestorePlugin(FilestoreConfig([backend]))], debug=True)
    with TestClient(app) as client:
        assert "No storage backend registered" in client.get("/no-backend", headers={"accept": "text/html"}).text


def test_error_of_the_client_is_logged_without_alarm(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A request for a missing file is no error of the application."""
    with caplog.at_level(logging.INFO, "litestar_filestore"):
        serve([Broken], logging_config=None).get("/ObjectNotFoundError")
    assert [each.levelno for each in caplog.records if each.name == "litestar_filestore"] == [logging.INFO]


@pytest.mark.parametrize("position", ["before", "after"])
def test_get_answers_with_problem_details(position: str, backend: LocalBackend) -> None:
    """With ProblemDetailsPlugin for HTTP errors, storage errors are problem details too, whichever plugin is first."""
    plugins: list[Any] = [
        ProblemDetailsPlugin(ProblemDetailsConfig(enable_for_all_http_exceptions=True)),
        FilestorePlugin(FilestoreConfig([backend])),
    ]
    with TestClient(Litestar([Broken], plugins=plugins if position == "before" else plugins[::-1])) as client:
        response = client.get("/ObjectNotFoundError")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


HANDLERS: list[tuple[Any, str, str]] = [
    (ObjectNotFoundError, "ObjectNotFoundError", "own: ObjectNotFoundError"),
    (StorageError, "ObjectNotFoundError", "own: ObjectNotFoundError"),
    (FileNotFoundError, "ObjectNotFoundError", "own: ObjectNotFoundError"),
    (OSError, "BackendUnavailableError", "own: BackendUnavailableError"),
    (404, "ObjectNotFoundError", "own: NotFoundException"),
    (503, "AccessDeniedError", "own: ServiceUnavailableException"),
    (HTTPException, "StorageFullError", "own: InternalServerException"),
    (Exception, "ObjectExistsError", "own: ClientException"),
    (StorageError, "ConfigurationError", "own: ConfigurationError"),
    (500, "ConfigurationError", "own: ConfigurationError"),
]


@pytest.mark.parametrize(("key", "name", "expected"), HANDLERS)
def test_handler_of_the_application_wins(key: Any, name: str, expected: str, serve: Serve) -> None:
    """A handler for the error, one of its parents, the HTTP error or the status answers instead of the table."""
    assert serve([Broken], exception_handlers={key: say("own")}).get(f"/{name}").text == expected


@pytest.mark.parametrize(("key", "name", "expected"), HANDLERS)
def test_handler_of_a_controller_wins(key: Any, name: str, expected: str, serve: Serve) -> None:
    """So does one that stands closer to the route than the application."""

    class Inner(Broken):
        exception_handlers = {key: say("own")}  # noqa: RUF012  # as Litestar wants it

    assert serve([Inner], exception_handlers={key: say("outer")}).get(f"/{name}").text == expected


def test_errors_can_be_left_to_the_application(backend: LocalBackend, serve: Serve) -> None:
    """Without the default handlers a storage error is an error like any other."""
    config = FilestoreConfig([backend], set_default_exception_handlers=False)
    assert serve([Broken], config=config).get("/ObjectNotFoundError").status_code == 500
