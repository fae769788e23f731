"""Routes for the files of a mapped column."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.handlers import BaseRouteHandler
from openapi_spec_validator import OpenAPIV31SpecValidator
from sqlalchemy.orm import Session

from litestar_filestore import FileObject, create_file_router
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.router.options import FileMethod
from tests.router.conftest import Note, Paper, Serve, Site

KINDS = ("advanced-alchemy", "async", "sync")
FILE = "/papers/{id:int}/file"
PAGES = "/papers/{id:int}/pages"


def text(content: bytes, name: str = "a.txt") -> FileObject:
    """Return a file to be stored with its row."""
    return FileObject("documents", name, content=content)


@pytest.mark.parametrize("kind", KINDS)
def test_get_sends_the_file(serve: Serve, kind: str) -> None:
    """The file of a row is sent, whatever kind of session the application has."""
    site = serve(create_file_router(FILE, Paper.file, public=True), kind=kind)
    paper = site.add(file=text(b"%PDF-1.7", "a.pdf"))
    answer = site.client.get(f"/papers/{paper}/file")
    assert (answer.status_code, answer.content) == (200, b"%PDF-1.7")
    assert answer.headers["content-disposition"] == 'attachment; filename="a.pdf"'


@pytest.mark.parametrize("kind", KINDS)
def test_get_sends_one_file_of_a_list(serve: Serve, kind: str) -> None:
    """Files of a list are named by their place."""
    site = serve(create_file_router(PAGES, Paper.pages, public=True), kind=kind)
    paper = site.add(pages=[text(b"one"), text(b"two")])
    assert [site.client.get(f"/papers/{paper}/pages/{index}").text for index in (0, 1)] == ["one", "two"]


def test_get_by_a_key_of_several_parts(serve: Serve) -> None:
    """The path names every part of the primary key, in whatever order."""
    site = serve(create_file_router("/notes/{id:uuid}/in/{room:str}", Note.file, public=True))
    key = uuid4()
    with Session(site.engine) as session, session.begin():
        session.add(Note(id=key, room="attic", file=FileObject(site.backend, "a.txt", content=b"abc")))
    assert site.client.get(f"/notes/{key}/in/attic").content == b"abc"
    assert site.client.get(f"/notes/{key}/in/cellar").status_code == 404


def test_get_sends_a_range(serve: Serve) -> None:
    """A part of a file can be had alone."""
    site = serve(create_file_router(FILE, Paper.file, public=True))
    paper = site.add(file=text(b"0123456789"))
    answer = site.client.get(f"/papers/{paper}/file", headers={"range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")


def test_head_is_get_without_the_bytes(serve: Serve) -> None:
    """HEAD has the headers of GET."""
    site = serve(create_file_router(FILE, Paper.file, public=True))
    paper = site.add(file=text(b"abc"))
    got, looked = (site.client.request(method, f"/papers/{paper}/file") for method in ("GET", "HEAD"))
    assert (looked.status_code, looked.content, dict(looked.headers)) == (200, b"", dict(got.headers))


@pytest.mark.parametrize("index", ["2", "-1", "-2", "9" * 30])
def test_place_that_is_not_in_the_list_is_404(serve: Serve, index: str) -> None:
    """A place counts from the first file on, and neither from the end nor beyond it."""
    site = serve(create_file_router(PAGES, Paper.pages, public=True))
    paper = site.add(pages=[text(b"one"), text(b"two")])
    assert site.client.get(f"/papers/{paper}/pages/{index}").status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_missing_row_and_missing_file_are_404(serve: Serve, method: str) -> None:
    """A row that is not there has no file, nor has one whose column is empty."""
    site = serve(create_file_router(FILE, Paper.file, public=True, methods=("GET", "DELETE")))
    paper = site.add()
    statuses = {site.client.request(method, f"/papers/{id_}/file").status_code for id_ in (paper, paper + 1)}
    assert statuses == {404}


@pytest.mark.parametrize("kind", ["advanced-alchemy", "sync"])
@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
@pytest.mark.parametrize("path", [f"papers/{10**30}/file", f"papers/{10**15}/file", f"notes/{UUID(int=7)}/in/a%00"])
def test_key_that_no_row_can_have_is_404(serve: Serve, path: str, database: str, kind: str) -> None:
    """A number or a text that the database has no place for is the key of no row."""
    methods: tuple[FileMethod, ...] = ("GET", "PUT", "DELETE")
    paper = create_file_router(FILE, Paper.file, public=True, methods=methods)
    note = create_file_router("/notes/{id:uuid}/in/{room:str}", Note.file, public=True, methods=methods[:2])
    site = serve(paper, note, database=database, kind=kind)
    wanted = methods if path.startswith("papers") else methods[:2]
    assert [site.client.request(method, f"/{path}").status_code for method in wanted] == [404] * len(wanted)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_method_that_was_not_asked_for_is_405(serve: Serve, method: str) -> None:
    """By default a router reads."""
    site = serve(create_file_router(FILE, Paper.file, public=True))
    paper = site.add(file=text(b"abc"))
    assert site.client.request(method, f"/papers/{paper}/file").status_code == 405


@pytest.mark.parametrize("kind", KINDS)
def test_delete_takes_the_file_out_of_the_row(serve: Serve, kind: str) -> None:
    """The row stays, without a file."""
    site = serve(create_file_router(FILE, Paper.file, public=True, methods=("GET", "DELETE")), kind=kind)
    paper = site.add(file=text(b"abc"))
    assert site.client.delete(f"/papers/{paper}/file").status_code == 204
    assert (site.paper(paper).file, site.client.get(f"/papers/{paper}/file").status_code) == (None, 404)


def test_delete_takes_one_file_out_of_a_list(serve: Serve) -> None:
    """The others move up."""
    site = serve(create_file_router(PAGES, Paper.pages, public=True, methods=("GET", "DELETE")))
    paper = site.add(pages=[text(b"one"), text(b"two"), text(b"three")])
    assert site.client.delete(f"/papers/{paper}/pages/1").status_code == 204
    assert [each.get_content() for each in site.paper(paper).pages or ()] == [b"one", b"three"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_guard_keeps_out(serve: Serve, method: str) -> None:
    """Nothing is looked at for those whom a guard sends away."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        if connection.headers.get("x-user") != "ann":
            raise NotAuthorizedException

    site = serve(create_file_router(FILE, Paper.file, guards=[guard], methods=("GET", "DELETE")))
    paper = site.add(file=text(b"abc"))
    statuses = [
        site.client.request(method, f"/papers/{paper}/file", headers=headers).status_code
        for headers in ({}, {"x-user": "bob"})
    ]
    assert statuses == [401, 401]
    assert site.client.get(f"/papers/{paper}/file", headers={"x-user": "ann"}).text == "abc"


def only_owner(connection: ASGIConnection[Any, Any, Any, Any], row: Paper, action: str) -> bool:
    """Let everybody read, and only the owner of a row delete."""
    return action == "read" or connection.headers.get("x-user") == row.owner


async def only_owner_async(connection: ASGIConnection[Any, Any, Any, Any], row: Paper, action: str) -> bool:
    """`only_owner`, as a coroutine function."""
    return only_owner(connection, row, action)


@pytest.mark.parametrize("authorize", [only_owner, only_owner_async])
def test_authorize_decides_by_row_and_action(serve: Serve, authorize: Any) -> None:
    """What may be done with a file is decided for each row and for each thing to do."""
    router = create_file_router(FILE, Paper.file, public=True, methods=("GET", "DELETE"), authorize=authorize)
    site = serve(router)
    paper = site.add(file=text(b"abc"), owner="bob")
    url = f"/papers/{paper}/file"
    assert [
        site.client.get(url, headers={"x-user": "eve"}).status_code,
        site.client.delete(url, headers={"x-user": "eve"}).status_code,
        site.client.delete(url, headers={"x-user": "bob"}).status_code,
    ] == [200, 403, 204]


def test_authorize_without_an_answer_is_a_no(serve: Serve) -> None:
    """A forgotten ``return`` opens nothing."""

    def forget(connection: ASGIConnection[Any, Any, Any, Any], row: Paper, action: str) -> Any:
        only_owner(connection, row, action)

    site = serve(create_file_router(FILE, Paper.file, public=True, authorize=forget))
    assert site.client.get(f"/papers/{site.add(file=text(b'abc'))}/file").status_code == 403


def test_authorize_may_hide_the_row(serve: Serve) -> None:
    """An exception of the hook is the answer."""

    def hide(connection: ASGIConnection[Any, Any, Any, Any], row: Paper, action: str) -> bool:
        raise NotFoundException

    site = serve(create_file_router(FILE, Paper.file, public=True, authorize=hide))
    assert site.client.get(f"/papers/{site.add(file=text(b'abc'))}/file").status_code == 404


@pytest.mark.parametrize("name", ["../../etc/passwd", 'a"\r\nSet-Cookie: a=b', "page.html", "\u202etxt.exe", "\0"])
def test_hostile_name_is_harmless(serve: Serve, name: str) -> None:
    """Names of files are names and nothing else, and pages are not shown."""
    site = serve(create_file_router(FILE, Paper.file, public=True, disposition="inline"))
    answer = site.client.get(f"/papers/{site.add(file=text(b'<script>', name))}/file")
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    assert answer.headers["content-disposition"].isprintable()
    assert "/" not in answer.headers["content-disposition"]
    assert "html" not in answer.headers["content-type"]


def test_routes_have_a_name(serve: Serve) -> None:
    """Addresses can be made from the name of the route."""
    site = serve(
        create_file_router(FILE, Paper.file, public=True, name="paper-file"),
        create_file_router(PAGES, Paper.pages, public=True, name="paper-page"),
    )
    assert site.app.route_reverse("paper-file", id=7) == "/papers/7/file"
    assert site.app.route_reverse("paper-page", id=7, file_id="2") == "/papers/7/pages/2"


def test_cache_control_is_as_configured(serve: Serve) -> None:
    """Who may keep a file is the router's to say."""
    site = serve(create_file_router(FILE, Paper.file, public=True, cache_control="public, max-age=60"))
    answer = site.client.get(f"/papers/{site.add(file=text(b'abc'))}/file")
    assert answer.headers["cache-control"] == "public, max-age=60"


def schema_of(site: Site) -> dict[str, Any]:
    """Return the OpenAPI document, which is valid."""
    document: dict[str, Any] = site.client.get("/schema/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    return document


def test_openapi_describes_the_routes(serve: Serve) -> None:
    """Parameters, the binary content and its statuses are in the document; the hooks are not."""
    site = serve(
        create_file_router(FILE, Paper.file, public=True, methods=("GET", "DELETE"), tags=["papers"]),
        create_file_router(PAGES, Paper.pages, public=True, methods=("GET", "DELETE")),
    )
    paths = schema_of(site)["paths"]
    assert set(paths) == {"/papers/{id}/file", "/papers/{id}/pages/{file_id}"}
    reading = paths["/papers/{id}/file"]["get"]
    assert [(each["name"], each["in"], each["schema"]["type"]) for each in reading["parameters"]] == [
        ("id", "path", "integer")
    ]
    assert ("application/octet-stream" in reading["responses"]["200"]["content"], reading["tags"]) == (True, ["papers"])
    assert {each["name"] for each in paths["/papers/{id}/pages/{file_id}"]["delete"]["parameters"]} == {"id", "file_id"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"column": Paper.file}, "guards"),
        ({"column": Paper.file, "guards": []}, "guards"),
        ({"column": Paper.file, "authorize": only_owner}, "guards"),
        ({"column": Paper.file, "public": True, "guards": [only_owner]}, "either"),
        ({"column": Paper.file, "backend": "documents", "public": True}, "either"),
        ({"public": True}, "either"),
        ({"column": Paper.owner, "public": True}, "column="),
        ({"path": "/x/{id:uuid}/{room:str}", "column": Note.file, "public": True, "methods": ("DELETE",)}, "nullable"),
        ({"column": Paper.file, "public": True, "methods": ()}, "methods"),
        ({"column": Paper.file, "public": True, "methods": ("PATCH",)}, "methods"),
        ({"path": "/papers/file", "column": Paper.file, "public": True}, "primary key"),
        ({"path": "/papers/{paper_id:int}/file", "column": Paper.file, "public": True}, "/files/{id:int}"),
    ],
)
def test_router_that_cannot_be_meant_is_refused(arguments: dict[str, Any], message: str) -> None:
    """Routes that would be open by accident, or that lead nowhere, are not made."""
    with pytest.raises(ConfigurationError, match=message):
        create_file_router(**{"path": FILE, **arguments})


def test_authorize_sees_the_request(serve: Serve) -> None:
    """The request in the hook is the one that is answered."""
    seen: list[tuple[str, str]] = []

    def note(connection: ASGIConnection[Any, Any, Any, Any], row: Paper, action: str) -> bool:
        assert isinstance(connection, Request)
        seen.append((connection.method, action))
        return True

    router = create_file_router(FILE, Paper.file, public=True, authorize=note, methods=("GET", "DELETE"))
    site = serve(router)
    paper = site.add(file=text(b"abc"))
    for method in ("GET", "HEAD", "DELETE"):
        site.client.request(method, f"/papers/{paper}/file")
    assert seen == [("GET", "read"), ("HEAD", "read"), ("DELETE", "delete")]
