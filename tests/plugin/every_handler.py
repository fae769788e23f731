"""An application with a handler of every kind that this package knows."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyDTO,
    SQLAlchemyDTOConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar, get, patch, post, put
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.dto import DTOData
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    FileDownload,
    FileObject,
    FileObjectList,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MaxSize,
    Parts,
    RawBody,
    Storages,
    StoredObject,
    create_file_router,
)
from litestar_filestore.router.options import FileMethod

__all__ = ("create_app",)

METHODS: tuple[FileMethod, ...] = ("GET", "PUT", "DELETE")


class Base(DeclarativeBase):
    pass


class Paper(Base):
    """A row with files of every kind."""

    __tablename__ = "every_paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[FileObject | None] = mapped_column(StoredObject("papers", rules=[MaxSize(2000)]))
    pages: Mapped[FileObjectList | None] = mapped_column(StoredObject("papers", multiple=True))


class PaperDTO(SQLAlchemyDTO[Paper]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True)


@dataclass
class Form:
    title: str
    file: Annotated[FileObject, Paper.file]
    pages: Annotated[list[FileObject], Paper.pages] = field(default_factory=list)


@dataclass
class Note:
    title: str = ""
    picture: FileObject | None = None


@post("/papers")
async def create(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> dict[str, int]:
    """Take a typed form into a row."""
    paper = Paper(title=data.title, file=data.file, pages=data.pages)
    db_session.add(paper)
    await db_session.commit()
    return {"id": paper.id}


@patch("/papers/{paper_id:int}", dto=PaperDTO, return_dto=None, raises=[NotFoundException])
async def change(
    paper_id: FromPath[int], data: MultipartBody[DTOData[Paper]], db_session: NamedDependency[AsyncSession]
) -> dict[str, int]:
    """Change a row by a partial form."""
    paper = await db_session.get(Paper, paper_id) if paper_id < 2**63 else None
    if paper is None:
        raise NotFoundException
    data.update_instance(paper)
    await db_session.commit()
    return {"id": paper.id}


@post("/notes")
async def note(data: MultipartBody[Note]) -> str:
    """Take a form that needs no file."""
    return data.title


@post("/files")
async def many(data: MultipartBody[list[FileObject]], storages: Storages) -> list[FileObject]:
    """Take a list of files and nothing else."""
    for each in data:
        await storages.keep(each)
    return data


@post("/parts")
async def parts(parts: Parts) -> int:
    """Take the parts of a form one by one."""
    return len([await part.read(1000) async for part in parts])


@put("/raw")
async def raw(raw_upload: RawBody, storages: Storages) -> FileObject:
    """Take a body that is a file."""
    file = await raw_upload.store("papers", filename="raw", rules=[MaxSize(2000)])
    await storages.keep(file)
    return file


@get("/latest")
async def latest(storages: Storages) -> FileDownload:
    """Send a file that no row has."""
    return FileDownload(FileObject(storages["papers"], "latest.txt", "latest"))


def may(_connection: ASGIConnection[Any, Any, Any, Any], _subject: Any, action: str) -> bool:
    """Let everybody read and write."""
    return action != "delete"


def create_app() -> Litestar:
    """Make the application in the folder that the environment names."""
    folder = Path(os.environ["EVERY_HANDLER_FOLDER"])
    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        session_config=AsyncSessionConfig(expire_on_commit=False),
        metadata=Base.metadata,
        create_all=True,
    )
    storage = FilestoreConfig([LocalBackend("papers", folder / "files")], secret="d9Qe2kVb7TzLr4Xw8Ym1Ns6Hp3Jc5Fg0")
    routers = [
        create_file_router("/papers/{id:int}/file", Paper.file, public=True, methods=METHODS, commit=True),
        create_file_router(
            "/papers/{id:int}/pages", Paper.pages, public=True, methods=METHODS, commit=True, authorize=may
        ),
        create_file_router("/media", backend="papers", prefix="media", public=True, methods=METHODS, max_bytes=2000),
        create_file_router("/guarded", backend="papers", prefix="guarded", public=True, methods=METHODS, authorize=may),
    ]
    return Litestar(
        [create, change, note, many, parts, raw, latest, *routers],
        plugins=[SQLAlchemyPlugin(database), FilestorePlugin(storage)],
    )
