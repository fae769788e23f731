"""Uploads beside everything else that Litestar puts around a handler."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Litestar, Request, Response, Router, get, post
from litestar.config.compression import CompressionConfig
from litestar.config.csrf import CSRFConfig
from litestar.connection import ASGIConnection
from litestar.dto import DataclassDTO, DTOConfig
from litestar.exceptions import ClientException, HTTPException, NotAuthorizedException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.params import MultipartBody
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.testing import TestClient

from litestar_filestore import (
    ContentTypes,
    FileField,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    MaxSize,
    MemoryBackend,
    Storages,
)
from litestar_filestore.core.rule import Candidate
from litestar_filestore.errors import FileTooLargeError, FileTypeNotAllowedError
from tests.uploads.conftest import Serve

Stored = Callable[[], list[bytes]]

GOOD = {"file": ("a.txt", b"Some text.", "text/plain")}
TOO_LARGE = {"file": ("a.txt", b"x" * 101, "text/plain")}
WRONG = {"file": ("a.zip", b"PK\x03\x04" + bytes(30), "text/plain")}
TITLE = {"title": "A title"}


@dataclass
class Form:
    title: str
    file: Annotated[FileObject, MaxSize(100), ContentTypes("text/plain")]


@post("/")
async def create(data: MultipartBody[Form], storages: Storages) -> str:
    """Keep the file, and tell its name."""
    await storages.keep(data.file)
    return f"{data.title}: {data.file.filename}"


# -- CSRF

CSRF = CSRFConfig(secret="s" * 32, cookie_name="csrf", header_name="x-csrf")


@get("/token", sync_to_thread=False)
def token() -> None:
    """Give out the token, as any answer to a safe method does."""


def token_of(client: TestClient[Litestar]) -> str:
    """Return the token for the next request."""
    return client.get("/token").cookies["csrf"]


def test_post_with_csrf_token_in_the_header(serve: Serve, stored: Stored) -> None:
    """With the token in a header the form is read as always."""
    client = serve(create, token, csrf_config=CSRF)
    response = client.post("/", data=TITLE, files=GOOD, headers={"x-csrf": token_of(client)})
    assert (response.status_code, response.text, stored()) == (201, "A title: a.txt", [b"Some text."])


def test_post_with_csrf_token_in_the_form(serve: Serve, stored: Stored) -> None:
    """With the token in the form Litestar reads it all before us, and its files are stored from there."""
    client = serve(create, token, csrf_config=CSRF)
    response = client.post("/", data={**TITLE, "_csrf_token": token_of(client)}, files=GOOD)
    assert (response.status_code, response.text, stored()) == (201, "A title: a.txt", [b"Some text."])


@pytest.mark.parametrize(("files", "status"), [(TOO_LARGE, 413), (WRONG, 415), (None, 400)])
def test_rules_hold_behind_csrf_in_the_form(files: Any, status: int, serve: Serve, stored: Stored) -> None:
    """A form that Litestar has read is judged like any other."""
    client = serve(create, token, csrf_config=CSRF)
    fields = files or {"other": ("a.txt", b"Some text.")}
    response = client.post("/", data={**TITLE, "_csrf_token": token_of(client)}, files=fields)
    assert (response.status_code, [each["key"] for each in response.json()["extra"]]) == (status, ["file"])
    assert stored() == []


# Litestar's middleware has spooled the file, and closes it only where a handler is called.
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
def test_post_without_csrf_token_is_403(serve: Serve, stored: Stored) -> None:
    """A forged request stores nothing."""
    client = serve(create, token, csrf_config=CSRF)
    assert (client.post("/", data=TITLE, files=GOOD).status_code, stored()) == (403, [])
    gc.collect()  # now, so that no other test is told of that file


# -- guards, rate limit, compression, cache


def refuse(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let nobody in."""
    raise NotAuthorizedException


def test_post_past_a_guard_is_401(serve: Serve, stored: Stored) -> None:
    """Who is not let in does not even have his file looked at."""
    seen: list[Candidate] = []

    @post("/", guards=[refuse])
    async def guarded(data: MultipartBody[Annotated[FileObject, FileField(rules=[seen.append])]]) -> None: ...

    assert (serve(guarded).post("/", files=GOOD).status_code, seen, stored()) == (401, [], [])


def test_post_above_the_rate_limit_is_429(serve: Serve, stored: Stored) -> None:
    """Requests are counted before their files are read."""
    client = serve(create, middleware=[RateLimitConfig(rate_limit=("minute", 2)).middleware])
    statuses = [client.post("/", data=TITLE, files=GOOD).status_code for _ in range(3)]
    assert (statuses, len(stored())) == ([201, 201, 429], 2)


@pytest.mark.parametrize("backend_name", ["gzip"])
def test_answer_is_compressed(backend_name: Any, serve: Serve, stored: Stored) -> None:
    """The answer to an upload may be compressed like any other."""
    client = serve(create, compression_config=CompressionConfig(backend=backend_name, minimum_size=1))
    response = client.post("/", data={"title": "t" * 1000}, files=GOOD, headers={"Accept-Encoding": "gzip"})
    assert (response.headers["content-encoding"], response.text) == ("gzip", "t" * 1000 + ": a.txt")
    assert stored() == [b"Some text."]


def test_answer_from_the_cache_stores_nothing(serve: Serve, stored: Stored) -> None:
    """A handler whose answers are cached is called once, and so is the reading of its form."""

    @post("/", cache=True)
    async def cached(data: MultipartBody[Form], storages: Storages) -> str:
        await storages.keep(data.file)
        return data.title

    client = serve(cached)
    titles = [client.post("/", data={"title": title}, files=GOOD).text for title in ("first", "second")]
    assert (titles, len(stored())) == (["first", "first"], 1)


# -- errors

PROBLEMS = ProblemDetailsPlugin(ProblemDetailsConfig(enable_for_all_http_exceptions=True))
REFUSALS = [
    pytest.param((TOO_LARGE, TITLE, 413, "file"), id="too large"),
    pytest.param((WRONG, TITLE, 415, "file"), id="wrong type"),
    pytest.param(({"other": GOOD["file"]}, TITLE, 400, "file"), id="missing"),
    pytest.param((GOOD, {}, 400, "data"), id="missing field"),
]


@pytest.mark.parametrize("place", ["plugins", "behind"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_are_problem_details(
    refusal: tuple[Any, Any, int, str], place: str, serve: Serve, stored: Stored
) -> None:
    """With Litestar's plugin every refusal is a problem (RFC 9457), wherever the plugin stands in the list."""
    files, data, status, key = refusal
    client = serve(create, **{place: [PROBLEMS]})
    response = client.post("/", data=data, files=files)
    body = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert (body["status"], [each["key"] for each in body["extra"]], stored()) == (status, [key], [])


def own_words(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """Answer an error as no other would."""
    return Response({"mine": type(error).__name__}, status_code=418)


@pytest.mark.parametrize(
    ("files", "handled"),
    [
        (TOO_LARGE, 413),
        (TOO_LARGE, FileTooLargeError),
        (TOO_LARGE, HTTPException),
        (TOO_LARGE, Exception),
        (WRONG, 415),
        (WRONG, FileTypeNotAllowedError),
        (WRONG, ClientException),
        ({"other": GOOD["file"]}, ValidationException),
        ({"other": GOOD["file"]}, 400),
    ],
)
def test_exception_handlers_of_the_application_win(files: Any, handled: Any, serve: Serve, stored: Stored) -> None:
    """Whoever says how an error is answered is asked, by status, by our class or by Litestar's."""
    client = serve(create, exception_handlers={handled: own_words})
    response = client.post("/", data=TITLE, files=files)
    assert (response.status_code, list(response.json()), stored()) == (418, ["mine"], [])


@dataclass
class Numbered:
    number: int
    file: FileObject


@post("/", dto=DataclassDTO[Numbered], return_dto=None)
async def number(data: MultipartBody[Numbered]) -> int:
    """Make the same error in the handler's own name."""
    return msgspec.convert("no number", int)


@pytest.mark.parametrize(("sent", "status"), [("no number", 400), ("1", 500)], ids=["in the form", "in the handler"])
def test_form_that_a_dto_refuses_is_400(sent: str, status: int, serve: Serve, stored: Stored) -> None:
    """Msgspec's error is the client's mistake where the DTO reads the form, and the handler's where that raises it."""
    response = serve(number).post("/", data={"number": sent}, files=GOOD)
    assert (response.status_code, stored()) == (status, [])


@pytest.mark.parametrize("handled", [msgspec.ValidationError, Exception])
def test_handler_for_errors_of_msgspec_wins(handled: Any, serve: Serve) -> None:
    """An application that answers msgspec's errors itself does so for forms too."""
    client = serve(number, exception_handlers={handled: own_words})
    statuses = [client.post("/", data={"number": sent}, files=GOOD).status_code for sent in ("no number", "1")]
    assert statuses == [418, 418]


# -- hooks


async def look(request: Request[Any, Any, Any]) -> None:
    """Note that the hook was called."""
    request.state.looked = True


def look_without_waiting(request: Request[Any, Any, Any]) -> None:
    """Note that the hook was called."""
    request.state.looked = True


@post("/")
async def tell(data: MultipartBody[FileObject], storages: Storages, request: Request[Any, Any, Any]) -> bool:
    """Tell whether the application's hook was called."""
    await storages.keep(data)
    return bool(request.state.looked)


@pytest.mark.parametrize("hook", [look, look_without_waiting])
def test_hook_of_the_application_is_called(hook: Any, serve: Serve, stored: Stored) -> None:
    """A hook before requests goes on working, asynchronous or not."""
    response = serve(tell, before_request=hook).post("/", files=GOOD)
    assert (response.json(), stored()) == (True, [b"Some text."])


def test_nearest_hook_is_called(serve: Serve) -> None:
    """Of several hooks Litestar calls the one nearest to the handler, with uploads as without."""
    calls: list[str] = []

    def far(request: Request[Any, Any, Any]) -> None:
        calls.append("far")

    def near(request: Request[Any, Any, Any]) -> None:
        calls.append("near")

    @post("/")
    async def take(data: MultipartBody[FileObject]) -> str:
        return data.filename

    router = Router("/", route_handlers=[take], before_request=near)
    assert (serve(router, before_request=far).post("/", files=GOOD).text, calls) == ("a.txt", ["near"])


def test_hook_that_answers_leaves_the_body_unread(serve: Serve, stored: Stored) -> None:
    """A hook that answers in the handler's place has the last word; nothing is stored."""

    async def answer(request: Request[Any, Any, Any]) -> str:
        return "by the hook"

    response = serve(create, before_request=answer).post("/", data=TITLE, files=TOO_LARGE)
    assert (response.status_code, response.text, stored()) == (201, "by the hook", [])


async def read_form(request: Request[Any, Any, Any]) -> None:
    """Read the form as Litestar does."""
    await request.form()


async def read_body(request: Request[Any, Any, Any]) -> None:
    """Read the body as a whole."""
    await request.body()


@pytest.mark.parametrize("hook", [read_form, read_body])
def test_hook_that_reads_the_request_leaves_it_to_us(hook: Any, serve: Serve, stored: Stored) -> None:
    """What a hook has read of the request is taken from there."""
    response = serve(create, before_request=hook).post("/", data=TITLE, files=GOOD)
    assert (response.status_code, response.text, stored()) == (201, "A title: a.txt", [b"Some text."])


# -- what Litestar alone gets wrong


class Tagged(msgspec.Struct, rename="camel"):
    some_tags: list[str]
    file: FileObject


@dataclass
class TaggedData:
    some_tags: list[str]
    file: FileObject


class TaggedDTO(DataclassDTO[TaggedData]):
    config = DTOConfig(rename_strategy="camel")


@post("/struct")
async def tag_struct(data: MultipartBody[Tagged]) -> list[str]:
    """Tell the tags."""
    return data.some_tags


@post("/dto", dto=TaggedDTO, return_dto=None)
async def tag_dto(data: MultipartBody[TaggedData]) -> list[str]:
    """Tell the tags."""
    return data.some_tags


@pytest.mark.parametrize("path", ["/struct", "/dto"])
@pytest.mark.parametrize("tags", [["one"], ["one", "two"]])
def test_list_of_one_value_is_a_list(path: str, tags: list[str], serve: Serve) -> None:
    """A list field with another name on the wire takes one part as well as several."""
    response = serve(tag_struct, tag_dto).post(path, data={"someTags": tags}, files=GOOD)
    assert (response.status_code, response.json()) == (201, tags)


@post("/")
async def take_several(data: MultipartBody[list[FileObject]]) -> int:
    """Tell how many there are."""
    return len(data)


def test_form_without_files_for_a_list_of_files_is_400(serve: Serve) -> None:
    """A body that is a list of files has at least one."""
    response = serve(take_several).post("/", files={"title": (None, "no file")})
    assert (response.status_code, response.json()["extra"][0]["key"]) == (400, "files")


# -- limits of bodies


@post("/large")
async def take_large(data: MultipartBody[Annotated[FileObject, MaxSize("12 MB")]], storages: Storages) -> int | None:
    """Take more than Litestar's 10 MB."""
    await storages.keep(data)
    return data.size


def test_limit_of_the_body_follows_the_rules(serve: Serve, stored: Stored) -> None:
    """Litestar's 10 MB for a body do not stand in the way of a rule that allows a longer file."""
    content = b"text" * 2_750_000
    response = serve(take_large).post("/large", files={"file": ("a.txt", content)})
    assert (response.json(), stored()) == (len(content), [content])


@pytest.mark.parametrize("where", ["application", "handler"])
def test_limit_that_the_application_has_set_wins(where: str, serve: Serve, stored: Stored) -> None:
    """A limit on bodies holds, whatever the rules would allow."""
    own: dict[str, Any] = {"request_max_body_size": 1000}

    @post("/", **(own if where == "handler" else {}))
    async def limited(data: MultipartBody[Annotated[FileObject, MaxSize("1 MB")]]) -> None: ...

    client = serve(limited, **(own if where == "application" else {}))
    statuses = [client.post("/", files={"file": ("a.txt", b"t" * size)}).status_code for size in (500, 1000)]
    assert (statuses, stored()) == ([201, 413], [])


# -- two applications


def test_two_applications_in_one_process_take_their_own_files() -> None:
    """Litestar notes decoders on classes; the second application does not take the first one's place."""
    backends = [MemoryBackend("first"), MemoryBackend("second")]
    plugins = [FilestorePlugin(FilestoreConfig([each])) for each in backends]
    first, second = (TestClient(Litestar([create], plugins=[each])) for each in plugins)
    with first, second:
        for client in (first, second, first):
            assert client.post("/", data=TITLE, files=GOOD).status_code == 201
        assert [len(list(each.list())) for each in backends] == [2, 1]


# -- bodies that are no forms


@post("/")
async def take_perhaps(data: MultipartBody[Form | None]) -> bool:
    """Tell whether there was a form."""
    return data is not None


def test_body_of_another_type_is_415(serve: Serve) -> None:
    """A handler for forms takes no JSON."""
    assert serve(create).post("/", json={"title": "A title"}).status_code == 415


def test_no_body_is_no_form(serve: Serve) -> None:
    """A handler whose form may be ``None`` can be called without a body."""
    response = serve(take_perhaps).post("/")
    assert (response.status_code, response.json()) == (201, False)
