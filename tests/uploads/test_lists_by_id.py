"""Forms and JSON that keep, move, replace, remove and add files of a list: by id, bytes and references mixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyDTO,
    SQLAlchemyDTOConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar, get, post, put
from litestar.di import NamedDependency
from litestar.dto import DTOData
from litestar.params import FromPath, JSONBody, MultipartBody
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MaxFiles,
    Storages,
    StoredObject,
    storages,
)
from litestar_filestore.ledger.ledger_config import LedgerConfig
from tests.uploads.state import Store

BACKEND = "upload-lists"


class Base(DeclarativeBase):
    """The class of these tests."""


class Paper(Base):
    """A row with a list of files, and with one file."""

    __tablename__ = "upload_paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    pages: Mapped[FileObjectList] = mapped_column(StoredObject(BACKEND, multiple=True, rules=[MaxFiles(6)]))
    cover: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


class PagesDTO(SQLAlchemyDTO[Paper]):
    """The pages as clients may send them."""

    config = SQLAlchemyDTOConfig(include={"pages"}, partial=True)


@dataclass
class Form:
    pages: Annotated[list[FileObject], Paper.pages] = field(default_factory=list)


class Struct(msgspec.Struct):
    pages: list[FileObject]


class Model(pydantic.BaseModel):
    pages: list[FileObject]


@dataclass
class Cover:
    cover: FileObject | None = None


async def _change(session: AsyncSession, id_: int, pages: Any) -> Paper:
    paper = await session.get_one(Paper, id_)
    paper.pages = pages
    await session.commit()
    return paper


@post("/papers")
async def add(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> Paper:
    """Add a paper."""
    db_session.add(paper := Paper(pages=data.pages))
    await db_session.commit()
    return paper


@put("/form/{paper_id:int}")
async def by_form(
    paper_id: FromPath[int], data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]
) -> Paper:
    """Take a form."""
    return await _change(db_session, paper_id, data.pages)


@put("/struct/{paper_id:int}")
async def by_struct(
    paper_id: FromPath[int], data: JSONBody[Struct], db_session: NamedDependency[AsyncSession]
) -> Paper:
    """Take JSON."""
    return await _change(db_session, paper_id, data.pages)


@put("/model/{paper_id:int}")
async def by_model(paper_id: FromPath[int], data: JSONBody[Model], db_session: NamedDependency[AsyncSession]) -> Paper:
    """Take JSON through pydantic."""
    return await _change(db_session, paper_id, data.pages)


@put("/dto/{paper_id:int}", dto=PagesDTO, return_dto=SQLAlchemyDTO[Paper])
async def by_dto(
    paper_id: FromPath[int], data: JSONBody[DTOData[Paper]], db_session: NamedDependency[AsyncSession]
) -> Paper:
    """Take JSON through a DTO."""
    paper = data.update_instance(await db_session.get_one(Paper, paper_id))
    await db_session.commit()
    return paper


@put("/dto-form/{paper_id:int}", dto=PagesDTO, return_dto=SQLAlchemyDTO[Paper])
async def by_dto_form(
    paper_id: FromPath[int], data: MultipartBody[DTOData[Paper]], db_session: NamedDependency[AsyncSession]
) -> Paper:
    """Take a form through a DTO."""
    paper = data.update_instance(await db_session.get_one(Paper, paper_id))
    await db_session.commit()
    return paper


@put("/cover/{paper_id:int}")
async def cover(paper_id: FromPath[int], data: JSONBody[Cover], db_session: NamedDependency[AsyncSession]) -> str:
    """Take one file."""
    (await db_session.get_one(Paper, paper_id)).cover = data.cover
    await db_session.commit()
    return "taken"


@post("/whole-list")
async def whole_list(data: MultipartBody[list[FileObject]]) -> list[str]:
    """Take files without a form."""
    return [file.filename for file in data]


@post("/whole")
async def whole(data: MultipartBody[FileObject]) -> str:
    """Take one file without a form."""
    return data.filename


@post("/names")
async def names(data: JSONBody[Struct], storages: Storages) -> list[str]:
    """Keep files without a row."""
    for file in data.pages:
        await storages.keep(file)
    return [file.filename for file in data.pages]


@get("/papers/{paper_id:int}")
async def show(paper_id: FromPath[int], db_session: NamedDependency[AsyncSession]) -> Paper:
    """Show a paper."""
    return await db_session.get_one(Paper, paper_id)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """URL of an empty database."""
    return f"sqlite:///{tmp_path / 'rows.sqlite'}"


@pytest.fixture
def store(tmp_path: Path, url: str) -> Store:
    """A look at what is left."""
    return Store(tmp_path, BACKEND, Base, url)


@pytest.fixture
def client(tmp_path: Path, url: str) -> Iterator[TestClient[Litestar]]:
    """The application."""
    database = SQLAlchemyAsyncConfig(
        connection_string=url.replace("sqlite:", "sqlite+aiosqlite:"),
        metadata=Base.metadata,
        session_config=AsyncSessionConfig(expire_on_commit=False),
        create_all=True,
    )
    storage = FilestoreConfig(
        [LocalBackend(BACKEND, tmp_path / "files")],
        ledger=LedgerConfig(run_sweeper=False),
        secret="kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0",
    )
    ways = [by_form, by_struct, by_model, by_dto, by_dto_form, cover, whole_list, whole, names]
    app = Litestar(
        [add, show, *ways],
        plugins=[SQLAlchemyPlugin(database), FilestorePlugin(storage)],
        # Advanced Alchemy 1.12 disposes of the first engine of a process only.
        on_shutdown=[database.get_engine().dispose],
    )
    with TestClient(app) as client:
        yield client


def added(client: TestClient[Litestar], *names: str) -> tuple[int, list[str]]:
    """Add a paper with pages of these names; return its key and the ids of the pages."""
    paper = client.post("/papers", files=[("pages", (name, name.encode())) for name in names]).json()
    return paper["id"], [page["id"] for page in paper["pages"]]


def reference(name: str) -> str:
    """Return the reference of a finished upload."""
    return storages.reference_for(FileObject(BACKEND, name, content=name.encode()).save())


def pairs(answer: Any) -> list[tuple[str, str]]:
    """Return ids and names of the pages in an answer."""
    assert answer.status_code in {200, 201}, answer.text
    return [(page["id"], page["filename"]) for page in answer.json()["pages"]]


FORMS, JSON = ["/form", "/dto-form"], ["/struct", "/model", "/dto"]


@pytest.mark.matrix(cases=3)
@pytest.mark.parametrize("path", JSON)
def test_json_mixes_what_stays_and_what_is_new(path: str, client: TestClient[Litestar], store: Store) -> None:
    """The list is as it was sent; what it leaves out is deleted."""
    paper, (one, two, three) = added(client, "1.txt", "2.txt", "3.txt")
    replaced = {"id": one, "file": reference("new 1.txt")}
    answer = client.put(f"{path}/{paper}", json={"pages": [three, reference("4.txt"), replaced]})
    (first, (new, name), third) = pairs(answer)
    assert (first, third, name) == ((three, "3.txt"), (one, "new 1.txt"), "4.txt")
    assert new not in {one, two, three}
    assert pairs(client.get(f"/papers/{paper}")) == [first, (new, name), third]
    left = store.settle()
    assert (left.is_consistent, len(left.objects)) == (True, 3)


@pytest.mark.matrix(cases=3)
@pytest.mark.parametrize("path", JSON)
def test_json_may_send_back_what_it_was_shown(path: str, client: TestClient[Litestar]) -> None:
    """A client reorders the list that it has read, and sends it."""
    paper, _ = added(client, "1.txt", "2.txt")
    shown = client.get(f"/papers/{paper}").json()["pages"][::-1]
    assert pairs(client.put(f"{path}/{paper}", json={"pages": shown})) == [(p["id"], p["filename"]) for p in shown]


@pytest.mark.matrix(cases=2)
@pytest.mark.parametrize("path", FORMS)
def test_form_mixes_ids_bytes_and_references(path: str, client: TestClient[Litestar], store: Store) -> None:
    """Parts of one name are the list, in their order; a part with an id in its name replaces that file."""
    paper, (one, two, three, four) = added(client, "1.txt", "2.txt", "3.txt", "4.txt")
    parts: list[Any] = [
        ("pages", (None, three)),
        ("pages", ("5.txt", b"5")),
        (f"pages[{one}]", ("new 1.txt", b"new")),
        ("pages", (None, reference("6.txt"))),
        (f"pages[{two}]", (None, reference("new 2.txt"))),
    ]
    found = pairs(client.put(f"{path}/{paper}", files=parts))
    assert [name for _, name in found] == ["3.txt", "5.txt", "new 1.txt", "6.txt", "new 2.txt"]
    assert (found[0][0], found[2][0], found[4][0]) == (three, one, two)
    assert four not in dict(found)
    left = store.settle()
    assert (left.is_consistent, len(left.objects)) == (True, 5)


def test_form_of_a_page_keeps_what_is_untouched(client: TestClient[Litestar]) -> None:
    """An input for each file: untouched it keeps the file, a checkbox removes it, a new file wins over the checkbox."""
    paper, (one, two, three) = added(client, "1.txt", "2.txt", "3.txt")
    untouched = ("", b"", "application/octet-stream")
    parts: list[Any] = [
        (f"pages[{one}]", untouched),
        (f"pages[{two}]", untouched),
        (f"pages[{two}]", (None, "remove")),
        (f"pages[{three}]", ("new 3.txt", b"new")),
        (f"pages[{three}]", (None, "remove")),
        ("pages", untouched),
    ]
    assert pairs(client.put(f"/form/{paper}", files=parts)) == [(one, "1.txt"), (three, "new 3.txt")]
    parts = [(f"pages[{each}]", (None, "remove")) for each in (one, three)]
    assert pairs(client.put(f"/form/{paper}", files=parts)) == []


def test_form_of_text_keeps_and_moves(client: TestClient[Litestar]) -> None:
    """A form that brings no bytes may be sent as text."""
    paper, (one, two) = added(client, "1.txt", "2.txt")
    answer = client.put(f"/form/{paper}", data={"pages": [two], f"pages[{one}]": reference("new 1.txt")})
    assert pairs(answer) == [(two, "2.txt"), (one, "new 1.txt")]


@pytest.mark.matrix(cases=5)
@pytest.mark.parametrize("path", [*FORMS, *JSON])
def test_file_of_another_row_is_refused(path: str, client: TestClient[Litestar], store: Store) -> None:
    """Its id is a 400 that names the field; both rows keep what they have, and the new bytes are gone."""
    paper, ids = added(client, "1.txt")
    other, (foreign,) = added(client, "other.txt")
    for pages in ([*ids, foreign], [*ids, *ids], ["a" * 16]):
        if path in FORMS:
            parts: list[Any] = [("pages", (None, each)) for each in pages]
            answer = client.put(f"{path}/{paper}", files=[*parts, ("pages", ("new.txt", b"new"))])
        else:
            answer = client.put(f"{path}/{paper}", json={"pages": pages})
        assert (answer.status_code, answer.json()["extra"][0]["key"]) == (400, "pages"), answer.text
        assert "No file here has the id" in answer.json()["detail"]
    assert pairs(client.get(f"/papers/{paper}")) == [(ids[0], "1.txt")]
    assert pairs(client.get(f"/papers/{other}")) == [(foreign, "other.txt")]
    left = store.settle()
    assert (left.is_consistent, len(left.objects)) == (True, 2)


def test_id_outside_of_its_list_is_refused(client: TestClient[Litestar]) -> None:
    """One file, a new row, and a handler without a row do not take it."""
    paper, (one,) = added(client, "1.txt")
    assert client.put(f"/cover/{paper}", json={"cover": one}).status_code == 400
    assert client.post("/papers", files=[("pages", (None, one))]).status_code == 400
    assert client.post("/names", json={"pages": [one]}).status_code == 400
    assert client.post("/whole-list", files=[("files", (None, one))]).status_code == 400
    assert client.put(f"/struct/{paper}", json={"pages": [{"id": one, "file": "no reference"}]}).status_code == 400


def test_list_with_too_many_files_is_refused(client: TestClient[Litestar]) -> None:
    """What stays counts, too."""
    paper, ids = added(client, "1.txt", "2.txt")
    parts: list[Any] = [("pages", (None, each)) for each in ids]
    parts += [("pages", (f"{number}.txt", b"x")) for number in range(5)]
    assert client.put(f"/form/{paper}", files=parts).status_code == 400
    assert pairs(client.get(f"/papers/{paper}")) == [(ids[0], "1.txt"), (ids[1], "2.txt")]


def test_body_that_is_files_takes_references(client: TestClient[Litestar]) -> None:
    """Also without a form class, a text part with a reference is a file; other texts are not."""
    parts: list[Any] = [
        ("csrf", (None, "token")),
        ("files", ("1.txt", b"1")),
        ("files", (None, reference("2.txt"))),
        ("files", (None, "")),
    ]
    assert client.post("/whole-list", files=parts).json() == ["1.txt", "2.txt"]
    assert client.post("/whole", files=[("file", (None, reference("3.txt")))]).text == "3.txt"
    assert client.post("/whole", files=[("file", (None, ""))]).status_code == 400
    assert client.post("/whole", files=[("file", (None, "a.b.c"))]).status_code == 400


def test_form_is_documented(client: TestClient[Litestar]) -> None:
    """The document says what the parts of a list may be."""
    schema = client.get("/schema/openapi.json").json()["components"]["schemas"]["Form"]
    assert "the id of a file" in schema["properties"]["pages"]["description"]
