"""Putting files into rows."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest
import sqlalchemy as sa
from litestar.connection import ASGIConnection
from sqlalchemy.orm import Session

from litestar_filestore import create_file_router
from litestar_filestore.router.options import FileMethod
from tests.router.conftest import Letter, Paper, Serve, Site
from tests.router.test_column_router import FILE, KINDS, PAGES, schema_of, text

BOTH: tuple[FileMethod, ...] = ("GET", "PUT", "DELETE")


def single(**options: Any) -> Any:
    """Return a router for one file."""
    return create_file_router(FILE, Paper.file, public=True, methods=BOTH, **options)


def several(**options: Any) -> Any:
    """Return a router for a list of files."""
    return create_file_router(PAGES, Paper.pages, public=True, methods=BOTH, **options)


def states(site: Site) -> list[str]:
    """Return the states of all objects in the ledger, sorted."""
    with site.engine.connect() as connection:
        return sorted(str(row[0]) for row in connection.execute(sa.text("SELECT state FROM filestore_object")))


@pytest.mark.parametrize("kind", KINDS)
def test_put_gives_a_row_its_file(serve: Serve, kind: str) -> None:
    """The body of the request becomes the file of a row that had none."""
    site = serve(single(), kind=kind)
    paper = site.add()
    answer = site.client.put(f"/papers/{paper}/file?filename=a.txt", content=b"abc")
    assert answer.status_code == 201, answer.text
    assert (answer.json()["filename"], answer.json()["size"]) == ("a.txt", 3)
    assert site.client.get(f"/papers/{paper}/file").content == b"abc"
    assert states(site) == ["linked"]


@pytest.mark.parametrize("kind", KINDS)
def test_put_replaces_the_file(serve: Serve, kind: str) -> None:
    """The file that was there is given up, and its name stays."""
    site = serve(single(), kind=kind)
    paper = site.add(file=text(b"old", "kept.txt"))
    answer = site.client.put(f"/papers/{paper}/file", content=b"new")
    assert (answer.status_code, answer.json()["filename"]) == (200, "kept.txt")
    assert site.client.get(f"/papers/{paper}/file").content == b"new"
    assert states(site) == ["doomed", "linked"]


@pytest.mark.parametrize(("index", "status", "pages"), [(0, 200, ["X", "two"]), (2, 201, ["one", "two", "X"])])
def test_put_into_a_list(serve: Serve, index: int, status: int, pages: list[str]) -> None:
    """A file takes the place that is named, which may be the next one."""
    site = serve(several())
    paper = site.add(pages=[text(b"one"), text(b"two")])
    assert site.client.put(f"/papers/{paper}/pages/{index}", content=b"X").status_code == status
    assert [each.get_content().decode() for each in site.paper(paper).pages or ()] == pages


@pytest.mark.parametrize(("path", "column"), [("file", Letter.file), ("pages", Letter.pages)])
def test_put_goes_where_the_column_says_for_each_file(serve: Serve, path: str, column: Any) -> None:
    """A column that makes the key of each file does so for what is put, from its verified type."""
    site = serve(create_file_router(f"/letters/{{id:int}}/{path}", column, public=True, methods=BOTH))
    with Session(site.engine) as session, session.begin():
        session.add(Letter(id=1))
    url = f"/letters/1/{path}" + ("/0" if path == "pages" else "")
    answer = site.client.put(f"{url}?filename=a.pdf", content=b"%PDF-1.7", headers={"content-type": "image/png"})
    assert answer.status_code == 201, answer.text
    (info,) = site.backend.list()
    folder, _, name = info.key.partition("/")
    assert (folder, name[-4:]) == ("application-pdf", ".pdf")


def test_put_into_a_list_that_is_not_there(serve: Serve) -> None:
    """The first file makes the list."""
    site = serve(several())
    paper = site.add()
    assert site.client.put(f"/papers/{paper}/pages/0", content=b"X").status_code == 201
    assert len(site.paper(paper).pages or ()) == 1


def test_put_beyond_the_end_is_404(serve: Serve) -> None:
    """A list has no gaps, and nothing is stored for one."""
    site = serve(several())
    paper = site.add(pages=[text(b"one")])
    assert site.client.put(f"/papers/{paper}/pages/7", content=b"X").status_code == 404
    assert set(states(site)) <= {"linked", "doomed"}


def test_put_above_the_limit_is_413(serve: Serve) -> None:
    """What is too long changes nothing."""
    site = serve(single(max_bytes=3))
    paper = site.add(file=text(b"old"))
    assert site.client.put(f"/papers/{paper}/file", content=b"four").status_code == 413
    assert site.client.get(f"/papers/{paper}/file").content == b"old"


@pytest.mark.parametrize("path", ["file", "pages/0"])
def test_put_of_a_part_is_400(serve: Serve, path: str) -> None:
    """A piece of a file does not take the place of the file."""
    site = serve(single(), several())
    paper = site.add(file=text(b"whole"), pages=[text(b"whole")])
    url, headers = f"/papers/{paper}/{path}", {"content-range": "bytes 0-2/5"}
    assert site.client.put(url, content=b"new", headers=headers).status_code == 400
    assert site.client.get(url).content == b"whole"


def test_put_of_somebody_else_is_403(serve: Serve) -> None:
    """Who may not write is refused before the body is read."""
    actions: list[str] = []

    def refuse(connection: ASGIConnection[Any, Any, Any, Any], row: Paper, action: str) -> bool:
        actions.append(action)
        return action == "read"

    site = serve(single(authorize=refuse))
    paper = site.add(file=text(b"old"))
    assert site.client.put(f"/papers/{paper}/file", content=b"new").status_code == 403
    assert (actions, states(site)) == (["write"], ["linked"])


def test_put_asks_again_when_the_upload_is_over(serve: Serve) -> None:
    """A right that was taken away meanwhile is gone, and so is the upload."""
    answers = iter([True, False])
    site = serve(single(authorize=lambda _connection, _row, _action: next(answers)))
    paper = site.add(file=text(b"old"))
    assert site.client.put(f"/papers/{paper}/file", content=b"new").status_code == 403
    assert states(site) == ["doomed", "linked"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_if_match_protects_what_others_wrote(serve: Serve, method: str) -> None:
    """A change that was meant for another version is refused."""
    site = serve(single())
    paper = site.add(file=text(b"old"))
    url = f"/papers/{paper}/file"
    etag = site.client.get(url).headers["etag"]
    site.client.put(url, content=b"theirs")
    statuses = [
        site.client.request(method, url, content=b"mine", headers={"if-match": value}).status_code
        for value in (etag, site.client.get(url).headers["etag"])
    ]
    assert statuses == [412, 200 if method == "PUT" else 204]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_if_match_may_have_several_lines(serve: Serve, method: str) -> None:
    """Lines of one name are one list, in which any tag may be the present one."""
    site = serve(single())
    paper = site.add(file=text(b"old"))
    url = f"/papers/{paper}/file"
    etag = site.client.get(url).headers["etag"]
    lines = [("if-match", etag), ("if-match", '"another"')]

    async def send() -> int:
        # Litestar's client would join the lines by itself.
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=cast("Any", site.app))) as client:
            answer = await client.request(method, f"http://testserver{url}", content=b"mine", headers=lines)
            return answer.status_code

    with site.client.portal() as portal:
        assert portal.call(send) == (200 if method == "PUT" else 204)


def test_if_none_match_creates_only(serve: Serve) -> None:
    """A file is put only where there is none."""
    site = serve(single())
    paper = site.add()
    url, headers = f"/papers/{paper}/file", {"if-none-match": "*"}
    assert [site.client.put(url, content=b"x", headers=headers).status_code for _ in range(2)] == [201, 412]


def test_commit_is_left_to_the_session(serve: Serve) -> None:
    """With `commit` the router commits where nobody else does."""
    site = serve(single(commit=True))
    paper = site.add()
    assert site.client.put(f"/papers/{paper}/file", content=b"abc").status_code == 201
    assert site.paper(paper).file is not None


def test_openapi_describes_the_body(serve: Serve) -> None:
    """The body is binary, of a bounded length, and the name a parameter."""
    site = serve(single(max_bytes=100), several())
    put = schema_of(site)["paths"]["/papers/{id}/file"]["put"]
    schema = put["requestBody"]["content"]["application/octet-stream"]["schema"]
    assert schema == {"type": "string", "format": "binary", "maxLength": 100}
    assert {each["name"] for each in put["parameters"]} == {"id", "filename"}
    assert {"200", "201", "400", "413"} <= set(put["responses"])
