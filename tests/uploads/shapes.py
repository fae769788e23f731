"""An application that takes the same form in every shape that Litestar knows, and keeps each file in a row."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
from advanced_alchemy.extensions.litestar import (
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyDTO,
    SQLAlchemyDTOConfig,
    SQLAlchemyPlugin,
)
from litestar import Controller, Litestar, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.dto import DTOData
from litestar.enums import RequestEncodingType
from litestar.params import Body, MultipartBody
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import (
    ContentTypes,
    FileField,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MaxSize,
    StoredObject,
)
from litestar_filestore.ledger.ledger_config import LedgerConfig
from tests import reservations

BACKEND = "upload-shapes"
MAX_BYTES = 1000
RULES = (MaxSize(MAX_BYTES), ContentTypes("text/plain"))

Text = Annotated[FileObject, FileField(rules=RULES)]


class Base(DeclarativeBase):
    pass


class Kept(Base):
    """A row for each file of a form."""

    __tablename__ = "kept"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))


class Document(Base):
    """The form as a row."""

    __tablename__ = "document"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    title: Mapped[str]
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND, rules=RULES))
    more: Mapped[list[FileObject]] = mapped_column(StoredObject(BACKEND, multiple=True, rules=RULES), default=list)
    thumb: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND, rules=RULES), default=None)


@dataclass
class DataForm:
    title: str
    file: Text
    more: list[Text] = field(default_factory=list)
    thumb: Text | None = None


class StructForm(msgspec.Struct, rename="upper"):
    title: str
    file: Annotated[FileObject, *RULES]
    more: list[Text] = []
    thumb: Text | None = None


class TypedForm(TypedDict):
    title: str
    file: Text
    more: NotRequired[list[Text]]
    thumb: NotRequired[Text | None]


@attrs.define
class AttrsForm:
    title: str
    file: Text
    more: list[Text] = attrs.field(factory=list)
    thumb: Text | None = None


class PydanticForm(pydantic.BaseModel):
    title: str
    file: Text = pydantic.Field(alias="theFile")
    more: list[Text] = []
    thumb: Text | None = None


@dataclass
class MixedForm:
    title: str
    file: Text
    spooled: UploadFile | None = None
    more: list[Text] = field(default_factory=list)
    thumb: Text | None = None


@dataclass
class ColumnForm:
    """A form whose files are as the columns of a model say."""

    title: str
    file: Annotated[FileObject, Document.file]
    more: Annotated[list[FileObject], Document.more] = field(default_factory=list)
    thumb: Annotated[FileObject | None, Document.thumb] = None


class DocumentDTO(SQLAlchemyDTO[Document]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, rename_fields={"file": "document"})


class PartialDTO(SQLAlchemyDTO[Document]):
    config = SQLAlchemyDTOConfig(exclude={"id"}, partial=True, rename_strategy="upper")


def files_of(form: Any) -> list[FileObject]:
    """Return the files of a form of any shape; none of no form."""
    if form is None:
        return []
    values = form if isinstance(form, dict) else {name: getattr(form, name, None) for name in ("file", "more", "thumb")}
    singles = [values.get("file"), values.get("thumb")]
    return [each for each in (*singles, *(values.get("more") or ())) if each is not None]


async def keep(session: AsyncSession, files: list[FileObject]) -> list[str]:
    """Keep each file in a row of its own, and return their names."""
    session.add_all([Kept(file=each) for each in files])
    await session.flush()
    return [each.filename for each in files]


class Shapes(Controller):
    """One path for each shape; each answers with the names of the files."""

    @post("/dataclass")
    async def data(self, data: MultipartBody[DataForm], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/struct")
    async def struct(self, data: MultipartBody[StructForm], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/typed-dict")
    async def typed(self, data: MultipartBody[TypedForm], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/attrs")
    async def attrs(self, data: MultipartBody[AttrsForm], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/pydantic")
    async def pydantic(self, data: MultipartBody[PydanticForm], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/mixed")
    async def mixed(self, data: MultipartBody[MixedForm], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/column")
    async def column(self, data: MultipartBody[ColumnForm], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/optional")
    async def optional(
        self, data: MultipartBody[DataForm | None], db_session: NamedDependency[AsyncSession]
    ) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/body")
    async def body(
        self,
        data: Annotated[DataForm, Body(media_type=RequestEncodingType.MULTI_PART)],
        db_session: NamedDependency[AsyncSession],
    ) -> list[str]:
        return await keep(db_session, files_of(data))

    @post("/bare")
    async def bare(self, data: MultipartBody[Text], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, [data])

    @post("/bare-list")
    async def bare_list(self, data: MultipartBody[list[Text]], db_session: NamedDependency[AsyncSession]) -> list[str]:
        return await keep(db_session, data)

    @post("/model", dto=DocumentDTO, return_dto=None)
    async def model(self, data: MultipartBody[Document], db_session: NamedDependency[AsyncSession]) -> list[str]:
        db_session.add(data)
        await db_session.flush()
        return [each.filename for each in files_of(data)]

    @post("/partial", dto=PartialDTO, return_dto=None)
    async def partial(
        self, data: MultipartBody[DTOData[Document]], db_session: NamedDependency[AsyncSession]
    ) -> list[str]:
        if {"title", "file"} - data.as_builtins().keys():
            return []
        document = data.create_instance()
        db_session.add(document)
        await db_session.flush()
        return [each.filename for each in files_of(document)]


def create_app(folder: Path) -> Litestar:
    """Make the application with its rows and files in `folder`."""
    database = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{folder / 'rows.sqlite'}",
        engine_config=EngineConfig(poolclass=NullPool),  # one that is kept would stay open after its test
        metadata=Base.metadata,
        before_send_handler="autocommit",
        create_all=True,
    )
    # The test sweeps: it wants to know what is left when that is done.
    storage = FilestoreConfig([LocalBackend(BACKEND, folder / "files")], ledger=LedgerConfig(run_sweeper=False))
    return Litestar([Shapes], plugins=[SQLAlchemyPlugin(database), FilestorePlugin(storage)])


def create_app_from_environment() -> Litestar:
    """Make the application for a server process."""
    reservations.switch_off()
    return create_app(Path(os.environ["UPLOAD_SHAPES_FOLDER"]))
