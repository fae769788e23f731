"""An application of Advanced Alchemy: models, DTO, repository and service, with sessions that commit by themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from advanced_alchemy.extensions.litestar import (
    SQLAlchemyAsyncConfig,
    SQLAlchemyDTO,
    SQLAlchemyDTOConfig,
    SQLAlchemyPlugin,
)
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from litestar import Litestar, Response, patch, post
from litestar.di import NamedDependency
from litestar.dto import DTOData
from litestar.params import FromPath, MultipartBody
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    ContentTypes,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MaxSize,
    StoredObject,
)
from litestar_filestore.ledger.ledger_config import LedgerConfig

__all__ = ("BACKEND", "Base", "create_app")

BACKEND = "upload-documents"


class Base(DeclarativeBase):
    """The classes of this application."""


class Owner(Base):
    """Whom documents belong to."""

    __tablename__ = "upload_owner"
    id: Mapped[int] = mapped_column(primary_key=True)


class Document(Base):
    """A file with a title that no other has."""

    __tablename__ = "upload_document"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    title: Mapped[str] = mapped_column(unique=True)
    file: Mapped[FileObject] = mapped_column(
        StoredObject(BACKEND, key="documents/{random}{ext}", rules=[MaxSize(1000), ContentTypes("text/plain")])
    )
    # Checked when the transaction commits, and not before.
    owner_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey("upload_owner.id", deferrable=True, initially="DEFERRED"), default=None
    )


class Repository(SQLAlchemyAsyncRepository[Document]):
    """Documents in the database."""

    model_type = Document


class Service(SQLAlchemyAsyncRepositoryService[Document, Repository]):
    """What can be done with documents."""

    repository_type = Repository


class ReadDTO(SQLAlchemyDTO[Document]):
    """What clients get to see; without it, it would be what they may send."""


class WriteDTO(SQLAlchemyDTO[Document]):
    """What clients may send."""

    config = SQLAlchemyDTOConfig(exclude={"id"})


class ChangeDTO(SQLAlchemyDTO[Document]):
    """What clients may send of it."""

    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True)


@dataclass
class DocumentForm:
    """The same by hand."""

    title: str
    file: Annotated[FileObject, Document.file]
    owner_id: int | None = None


@post("/form")
async def by_form(data: MultipartBody[DocumentForm], db_session: NamedDependency[AsyncSession]) -> Document:
    """Add a document, and flush."""
    document = Document(title=data.title, file=data.file, owner_id=data.owner_id)
    db_session.add(document)
    await db_session.flush()
    return document


@post("/no-flush")
async def without_flush(data: MultipartBody[DocumentForm], db_session: NamedDependency[AsyncSession]) -> str:
    """Add a document, and leave everything to the commit."""
    db_session.add(Document(title=data.title, file=data.file, owner_id=data.owner_id))
    return data.title


@post("/commit")
async def with_commit(data: MultipartBody[DocumentForm], db_session: NamedDependency[AsyncSession]) -> str:
    """Add a document, and commit in the handler."""
    db_session.add(Document(title=data.title, file=data.file, owner_id=data.owner_id))
    await db_session.commit()
    return data.title


@post("/dto", dto=WriteDTO, return_dto=ReadDTO)
async def by_dto(data: MultipartBody[Document], db_session: NamedDependency[AsyncSession]) -> Document:
    """Add what the DTO has made."""
    db_session.add(data)
    await db_session.flush()
    return data


@post("/plugin")
async def by_plugin(data: MultipartBody[Document], db_session: NamedDependency[AsyncSession]) -> Document:
    """Add what Advanced Alchemy's own DTO for models has made."""
    db_session.add(data)
    await db_session.flush()
    return data


@post("/repository", dto=WriteDTO, return_dto=ReadDTO)
async def by_repository(data: MultipartBody[Document], db_session: NamedDependency[AsyncSession]) -> Document:
    """Add through a repository."""
    return await Repository(session=db_session).add(data)


@post("/service", dto=WriteDTO, return_dto=ReadDTO)
async def by_service(data: MultipartBody[DTOData[Document]], db_session: NamedDependency[AsyncSession]) -> Document:
    """Add through a service."""
    return await Service(session=db_session).create(data.create_instance())


@post("/refused", dto=WriteDTO, return_dto=None)
async def refused(data: MultipartBody[Document], db_session: NamedDependency[AsyncSession]) -> Response[str]:
    """Add a document, and think again."""
    db_session.add(data)
    await db_session.flush()
    return Response("no", status_code=409)


@post("/broken", dto=WriteDTO, return_dto=None)
async def broken(data: MultipartBody[Document], db_session: NamedDependency[AsyncSession]) -> None:
    """Add a document, and fail."""
    db_session.add(data)
    await db_session.flush()
    raise RuntimeError("the handler fails")


@patch("/documents/{id:uuid}", dto=ChangeDTO, return_dto=ReadDTO)
async def change(
    id: FromPath[UUID],  # noqa: A002  # the name of the parameter
    data: MultipartBody[DTOData[Document]],
    db_session: NamedDependency[AsyncSession],
) -> Document:
    """Replace what was sent."""
    document = data.update_instance(await db_session.get_one(Document, id))
    await db_session.flush()
    return document


@post("/owners/{id:int}")
async def add_owner(id: FromPath[int], db_session: NamedDependency[AsyncSession]) -> None:  # noqa: A002  # as above
    """Add somebody."""
    db_session.add(Owner(id=id))


def create_app(folder: Path, url: str) -> Litestar:
    """Make the application with its rows in the database behind `url` and its files in `folder`."""
    database = SQLAlchemyAsyncConfig(
        connection_string=url,
        metadata=Base.metadata,
        before_send_handler="autocommit",
        create_all=True,
    )

    def check_foreign_keys(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")

    if url.startswith("sqlite"):
        event.listen(database.get_engine().sync_engine, "connect", check_foreign_keys)
    storage = FilestoreConfig([LocalBackend(BACKEND, folder / "files")], ledger=LedgerConfig(run_sweeper=False))
    ways = [by_form, without_flush, with_commit, by_dto, by_plugin, by_repository, by_service]
    return Litestar(
        [*ways, refused, broken, change, add_owner],
        plugins=[SQLAlchemyPlugin(database), FilestorePlugin(storage)],
        # Advanced Alchemy 1.12 disposes of the first engine of a process only.
        on_shutdown=[database.get_engine().dispose],
    )
