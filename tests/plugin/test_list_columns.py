"""Models with several files in a column, under the annotation that users of Advanced Alchemy have."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from advanced_alchemy.base import BigIntBase
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyDTO, SQLAlchemyPlugin
from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from litestar_filestore import (
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    MemoryBackend,
    StoredObject,
)


class Album(BigIntBase):
    """A model as the documentation of Advanced Alchemy writes it."""

    __tablename__ = "plugin_album"

    photos: Mapped[FileObjectList] = mapped_column(StoredObject("albums", multiple=True))


@post("/albums")
async def create(db_session: NamedDependency[AsyncSession]) -> Album:
    """Store two files of one name in one row."""
    album = Album(photos=[FileObject("albums", "a.png", content=content) for content in (b"one", b"three")])
    db_session.add(album)
    await db_session.commit()
    await db_session.refresh(album)
    return album


@get("/dto", return_dto=SQLAlchemyDTO[Album])
async def through_dto(db_session: NamedDependency[AsyncSession]) -> Album:
    """Return the row through a DTO."""
    return await db_session.get_one(Album, 1)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient[Litestar]]:
    """An application on a database of its own."""
    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{tmp_path / 'albums.db'}", create_all=True, metadata=Album.metadata
    )
    storage = FilestoreConfig(backends=[MemoryBackend("albums")])
    app = Litestar(
        [create, through_dto],
        plugins=[SQLAlchemyPlugin(database), FilestorePlugin(storage)],
        # Advanced Alchemy 1.12 disposes of the first engine of a process only.
        on_shutdown=[database.get_engine().dispose],
    )
    with TestClient(app) as client:
        yield client


def test_post_and_get_of_a_list_column(client: TestClient[Litestar]) -> None:
    """The application starts, and both ways show the public form of each file."""
    created = client.post("/albums").json()["photos"]
    assert [file["size"] for file in created] == [3, 5]
    assert client.get("/dto").json()["photos"] == created
    assert {name for file in created for name in file} == {"filename", "content_type", "size", "etag", "url", "id"}
    assert len({file["id"] for file in created}) == 2
    shown = client.get("/schema/openapi.json").json()["components"]["schemas"]["FileObject"]
    assert (shown["properties"]["id"], "id" in shown["required"]) == ({"type": "string"}, False)
