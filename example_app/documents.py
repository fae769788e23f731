"""The HTTP interface to documents."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, head, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.pagination import OffsetPagination
from litestar.params import FromPath, MultipartBody, QueryParameter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.models import Document
from litestar_filestore import FileDownload, FileObject

LINK_SECONDS = 3600


@dataclass
class DocumentForm:
    """What a client sends."""

    file: Annotated[FileObject, Document.file]  # as the column says: where it goes, and what it has to be
    title: str = ""


@dataclass
class Link:
    """Where whoever has it downloads one file for a while."""

    url: str


class DocumentController(Controller):
    """Create, list, download and delete documents."""

    path = "/documents"
    tags = ("documents",)

    @post("/")
    async def create(self, data: MultipartBody[DocumentForm], db_session: NamedDependency[AsyncSession]) -> Document:
        """Add a document, under the file's own name unless it is given a title.

        The file has been stored while the request was read. If there is no row for it in the end, it is deleted again.
        """
        document = Document(title=data.title.strip() or data.file.filename, file=data.file)
        db_session.add(document)
        # Now rather than when the answer is decided: what fails here is an answer.
        await db_session.commit()
        return document

    @get("/")
    async def read_all(
        self,
        db_session: NamedDependency[AsyncSession],
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
        offset: Annotated[int, QueryParameter(ge=0, le=2**53)] = 0,
    ) -> OffsetPagination[Document]:
        """List documents, the newest first."""
        newest = select(Document).order_by(Document.created_at.desc(), Document.id).limit(limit).offset(offset)
        items = (await db_session.scalars(newest)).all()
        total = await db_session.scalar(select(func.count()).select_from(Document))
        return OffsetPagination(items=items, limit=limit, offset=offset, total=total or 0)

    @get("/{id:uuid}/file")
    async def download(self, id: FromPath[UUID], db_session: NamedDependency[AsyncSession]) -> FileDownload:
        """Send the file of a document, or the part of it that is asked for."""
        return FileDownload((await _get(db_session, id)).file)

    @head("/{id:uuid}/file", include_in_schema=False)
    async def look(self, id: FromPath[UUID], db_session: NamedDependency[AsyncSession]) -> FileDownload:
        """Tell what the download would be."""
        return FileDownload((await _get(db_session, id)).file)

    @get("/{id:uuid}/link", raises=[NotFoundException])
    async def share(self, id: FromPath[UUID], db_session: NamedDependency[AsyncSession]) -> Link:
        """Sign a link to the file of a document, good for an hour."""
        return Link(await (await _get(db_session, id)).file.url_async(expires_in=LINK_SECONDS))

    @delete("/{id:uuid}", raises=[NotFoundException])
    async def remove(self, id: FromPath[UUID], db_session: NamedDependency[AsyncSession]) -> None:
        """Delete a document with its file."""
        await db_session.delete(await _get(db_session, id))
        await db_session.commit()


async def _get(db_session: AsyncSession, id: UUID) -> Document:
    document = await db_session.get(Document, id)
    if document is None:
        raise NotFoundException("There is no such document")
    return document
