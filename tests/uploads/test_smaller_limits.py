"""Where several places say how long a file may be, the smaller limit wins; a link or a route lifts none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from litestar import Litestar, put
from litestar.di import Provide
from litestar.testing import TestClient
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import (
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    MaxSize,
    MemoryBackend,
    RawBody,
    StoredObject,
    create_file_router,
    storages,
)
from litestar_filestore.ledger.ledger_config import LedgerConfig
from litestar_filestore.uploads.limits import UploadLimits

SECRET = "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"
MANY = 10_000_000


class Base(DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "smaller_plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("documents"))


class Small(Base):
    __tablename__ = "smaller_small"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("documents", rules=[MaxSize(10)]))


@put("/raw", request_max_body_size=10)
async def raw(raw_upload: RawBody) -> int:
    """Count what the body has, as much as the handler asks for."""
    async with raw_upload.open(MANY) as body:
        return sum([len(block) async for block in body])


@contextmanager
def serving(folder: Path, *routers: Any, **options: Any) -> Iterator[TestClient[Litestar]]:
    """Run an application with a row of each class."""
    engine = sa.create_engine(f"sqlite:///{folder / 'rows.sqlite'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Plain(id=1), Small(id=1)])

    def provide() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    config = FilestoreConfig(
        [MemoryBackend("documents")], secret=SECRET, ledger=LedgerConfig([engine], run_sweeper=False), **options
    )
    dependencies = {"db_session": Provide(provide)}
    with TestClient(Litestar([raw, *routers], plugins=[FilestorePlugin(config)], dependencies=dependencies)) as client:
        yield client
    engine.dispose()


def router(model: Any, max_bytes: int | None) -> Any:
    """Return routes for the files of a class."""
    return create_file_router(
        f"/{model.__tablename__}/{{id:int}}",
        model.file,
        methods=["PUT"],
        public=True,
        commit=True,
        max_bytes=max_bytes,
    )


@pytest.mark.parametrize(("size", "status"), [(10, 201), (11, 413)])
def test_rule_of_the_application_bounds_a_link(tmp_path: Path, size: int, status: int) -> None:
    """What a link allows more than the application is not allowed."""
    with serving(tmp_path, rules=[MaxSize(10)]) as client:
        url = storages.url_for(FileObject("documents", "a.txt"), for_upload=True, max_bytes=MANY)
        assert client.put(url, content=b"x" * size).status_code == status


@pytest.mark.parametrize(("size", "status"), [(10, 201), (11, 413)])
def test_link_bounds_what_the_application_allows(tmp_path: Path, size: int, status: int) -> None:
    """The other way round it is the link."""
    with serving(tmp_path, rules=[MaxSize(MANY)]) as client:
        url = storages.url_for(FileObject("documents", "a.txt"), for_upload=True, max_bytes=10)
        assert client.put(url, content=b"x" * size).status_code == status


@pytest.mark.parametrize("size", [10, 11])
@pytest.mark.parametrize(
    ("model", "max_bytes", "rules"),
    [
        (Small, MANY, ()),
        (Plain, MANY, [MaxSize(10)]),
        (Plain, 10, [MaxSize(MANY)]),
        (Plain, None, [MaxSize(10)]),
    ],
)
def test_smallest_limit_bounds_a_router(
    tmp_path: Path, model: Any, max_bytes: int | None, rules: Any, size: int
) -> None:
    """Column, application and router each bound a PUT, whoever says less."""
    with serving(tmp_path, router(model, max_bytes), rules=rules) as client:
        assert client.put(f"/{model.__tablename__}/1", content=b"x" * size).status_code == {10: 201, 11: 413}[size]


@pytest.mark.parametrize(("size", "status"), [(10, 201), (11, 413)])
def test_rule_of_the_application_bounds_a_router_of_a_backend(tmp_path: Path, size: int, status: int) -> None:
    """The same where no row and no column is."""
    routes = create_file_router("/media", backend="documents", methods=["PUT"], public=True, max_bytes=MANY)
    with serving(tmp_path, routes, rules=[MaxSize(10)]) as client:
        assert client.put("/media/a.txt", content=b"x" * size).status_code == status


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413)])
def test_limit_of_the_handler_bounds_what_it_asks_for(tmp_path: Path, size: int, status: int) -> None:
    """``request_max_body_size`` holds beside the argument of `open`."""
    with serving(tmp_path) as client:
        assert client.put("/raw", content=b"x" * size).status_code == status


def test_rule_that_allows_more_than_the_default_is_heard_in_raw_bodies(tmp_path: Path) -> None:
    """A rule of the application says how long files are, also where a body is nothing but one."""
    limits = UploadLimits(max_file_bytes=10)
    with serving(tmp_path, router(Plain, None), rules=[MaxSize(20)], limits=limits) as client:
        assert client.put("/smaller_plain/1", content=b"x" * 20).status_code == 201


def test_document_names_the_smallest_limit(tmp_path: Path) -> None:
    """OpenAPI tells clients what holds."""
    with serving(tmp_path, router(Small, MANY)) as client:
        operation = client.get("/schema/openapi.json").json()["paths"]["/smaller_small/{id}"]["put"]
        assert operation["requestBody"]["content"]["application/octet-stream"]["schema"]["maxLength"] == 10
