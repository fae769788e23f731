"""Uploads into rows with Advanced Alchemy, whose sessions commit by themselves when the answer is decided."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from tests.ledger.places import async_url
from tests.uploads.documents import BACKEND, Base, create_app
from tests.uploads.state import Store

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

GOOD = {"file": ("a.txt", b"Some text.", "text/plain")}
ON_BOTH = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
WAYS = ["/form", "/dto", "/plugin", "/repository", "/service"]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: SQLite's, where a test does not ask for another one."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'rows.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"uploads_{uuid4().hex}"
    server.create_database(name)
    return server.url("psycopg", name)


@pytest.fixture
def store(tmp_path: Path, url: str) -> Store:
    """A look at what is left."""
    return Store(tmp_path, BACKEND, Base, url)


@pytest.fixture
def client(tmp_path: Path, url: str) -> Iterator[TestClient[Litestar]]:
    """The application on a database of its own."""
    with TestClient(create_app(tmp_path, async_url(url))) as client:
        yield client


def post(client: TestClient[Litestar], path: str, title: str = "A title", **fields: Any) -> Any:
    """Send a document."""
    return client.post(path, data={"title": title, **fields}, files=GOOD)


@pytest.mark.parametrize("path", WAYS)
def test_post_makes_a_row_with_its_file(path: str, client: TestClient[Litestar], store: Store) -> None:
    """The body lands in a row, and the answer shows the file as stored."""
    response = post(client, path)
    assert response.status_code == 201, response.text
    body = response.json()
    left = store.settle()
    assert (body["title"], body["file"]["filename"], body["file"]["size"]) == ("A title", "a.txt", 10)
    assert (left.is_consistent, len(left.rows)) == (True, 1)


@pytest.mark.parametrize("path", WAYS)
def test_post_follows_the_column(path: str, client: TestClient[Litestar], store: Store) -> None:
    """The key is made by the column's template, with the extension of the type."""
    post(client, path)
    (key,) = store.settle().objects
    assert (key.startswith("documents/"), key.endswith(".txt")) == (True, True)


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize(
    ("content", "status"), [(b"x" * 1001, 413), (b"PK\x03\x04" + bytes(30), 415)], ids=["too large", "wrong type"]
)
def test_post_is_judged_by_the_column(
    path: str, content: bytes, status: int, client: TestClient[Litestar], store: Store
) -> None:
    """The rules of the column hold for the form."""
    response = client.post(path, data={"title": "A title"}, files={"file": ("a.txt", content)})
    left = store.settle()
    assert (response.status_code, left.objects, left.rows) == (status, set(), set())


@pytest.mark.parametrize("path", WAYS)
def test_post_that_breaks_a_constraint_is_an_error(path: str, client: TestClient[Litestar], store: Store) -> None:
    """A second document of one title is refused by the database, and its file is gone."""
    post(client, path)
    response = post(client, path)
    left = store.settle()
    assert response.status_code in {409, 500}
    assert (left.is_consistent, len(left.rows)) == (True, 1)


@pytest.mark.parametrize("path", ["/dto", "/plugin", "/repository", "/service"])
def test_post_that_does_not_fit_the_dto_is_400(path: str, client: TestClient[Litestar], store: Store) -> None:
    """A form that a DTO refuses is the client's mistake, with the field's name; Litestar alone would answer 500."""
    response = post(client, path, owner_id="nobody")
    body = response.json()
    assert (response.status_code, body["detail"]) == (400, f"Validation failed for POST {path}")
    assert body["extra"] == [{"message": "Expected `int | null`, got `str`", "key": "owner_id", "source": "body"}]
    assert store.settle().objects == set()


@ON_BOTH
def test_post_with_a_commit_in_the_handler_reports_what_fails(client: TestClient[Litestar], store: Store) -> None:
    """A handler that commits itself answers for it: a constraint that is checked then is an error."""
    response = post(client, "/commit", owner_id="7")
    left = store.settle()
    assert (response.status_code >= 400, left.objects, left.rows) == (True, set(), set())


@ON_BOTH
def test_post_whose_commit_fails_leaves_nothing(client: TestClient[Litestar], store: Store) -> None:
    """Advanced Alchemy commits when the answer is decided and keeps the error to itself; the bytes go all the same."""
    post(client, "/no-flush")
    response = post(client, "/no-flush")
    left = store.settle()
    assert (response.status_code, left.is_consistent, len(left.rows)) == (201, True, 1)


@ON_BOTH
@pytest.mark.parametrize("path", ["/form", "/no-flush"])
def test_post_whose_commit_finds_a_broken_reference_leaves_nothing(
    path: str, client: TestClient[Litestar], store: Store
) -> None:
    """A constraint that is checked at commit comes after every flush; the request has given its file up nonetheless."""
    response = post(client, path, owner_id="7")
    assert (response.status_code, store.staged()) == (201, set())
    left = store.settle()
    assert (left.objects, left.rows) == (set(), set())


@ON_BOTH
def test_post_after_a_commit_that_failed_commits_its_own_row_only(client: TestClient[Litestar], store: Store) -> None:
    """What was refused is not on the connection any more, and does not come back with the next request."""
    post(client, "/form", title="Refused", owner_id="7")
    assert client.post("/owners/7").status_code == 201
    response = post(client, "/form", owner_id="7")
    left = store.settle()
    assert (response.status_code, left.is_consistent, len(left.rows)) == (201, True, 1)


def test_post_whose_answer_is_an_error_leaves_nothing(client: TestClient[Litestar], store: Store) -> None:
    """A session that is rolled back for the sake of a status takes the file with it."""
    response = post(client, "/refused")
    left = store.settle()
    assert (response.status_code, left.objects, left.rows) == (409, set(), set())


def test_post_whose_handler_fails_leaves_nothing(client: TestClient[Litestar], store: Store) -> None:
    """An error after the flush undoes the row, and the file goes."""
    response = post(client, "/broken")
    left = store.settle()
    assert (response.status_code, left.objects, left.rows) == (500, set(), set())


def test_patch_replaces_the_file(client: TestClient[Litestar], store: Store) -> None:
    """A partial form with a file gives the row a new object, and the old one goes."""
    created = post(client, "/dto").json()
    before = store.settle()
    files = {"file": ("b.txt", b"Other text.", "text/plain")}
    response = client.patch(f"/documents/{created['id']}", files=files)
    after = store.settle()
    assert (response.status_code, response.json()["title"]) == (200, "A title")
    assert response.json()["file"]["filename"] == "b.txt"
    assert (after.is_consistent, len(after.rows), after.rows & before.rows) == (True, 1, set())


def test_patch_without_a_file_keeps_it(client: TestClient[Litestar], store: Store) -> None:
    """A partial form without a file leaves the row's alone."""
    created = post(client, "/dto").json()
    before = store.settle()
    response = client.patch(f"/documents/{created['id']}", files={"title": (None, "Another")})
    assert (response.status_code, response.json()["title"]) == (200, "Another")
    assert store.settle() == before
