"""The HTTP interface to documents.

Every handler commits before it answers: a status of success means that the change is there.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, delete, get, post, put
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.pagination import OffsetPagination
from litestar.params import FromPath, FromQuery, MultipartBody, QueryParameter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.models import Document
from litestar_filestore import FileObject, create_file_router, create_upload_router


@dataclass
class DocumentForm:
    """A new document."""

    # As the column says: where they go, and what they have to be. Each is bytes, or the reference of a finished upload.
    files: Annotated[list[FileObject], Document.files]
    title: str = ""


@dataclass
class FilesForm:
    """Files for a document that is there."""

    files: Annotated[list[FileObject], Document.files]


@dataclass
class FileForm:
    """One file in place of another."""

    file: Annotated[FileObject, Document.files]


class DocumentController(Controller):
    """Create, list, change, delete and restore documents."""

    path = "/documents"
    tags = ("documents",)

    @post("/")
    async def create(self, data: MultipartBody[DocumentForm], db_session: NamedDependency[AsyncSession]) -> Document:
        """Add a document, under the name of its first file unless it is given a title.

        The files have been stored while the request was read. If there is no row for them in the end, they are deleted
        again.
        """
        document = Document(title=data.title.strip() or data.files[0].filename, files=data.files)
        db_session.add(document)
        # Now rather than when the answer is decided: what fails here is an answer.
        await db_session.commit()
        return document

    @get("/")
    async def read_all(
        self,
        db_session: NamedDependency[AsyncSession],
        deleted: FromQuery[bool] = False,  # noqa: FBT002  # a parameter of the query
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
        offset: Annotated[int, QueryParameter(ge=0, le=2**53)] = 0,
    ) -> OffsetPagination[Document]:
        """List documents or the trash, the newest first."""
        wanted = Document.deleted_at.is_not(None) if deleted else Document.deleted_at.is_(None)
        order = Document.deleted_at.desc() if deleted else Document.created_at.desc()
        page = select(Document).where(wanted).order_by(order, Document.id).limit(limit).offset(offset)
        items = (await db_session.scalars(page)).all()
        total = await db_session.scalar(select(func.count()).select_from(Document).where(wanted))
        return OffsetPagination(items=items, limit=limit, offset=offset, total=total or 0)

    @get("/{id:uuid}", raises=[NotFoundException])
    async def read(self, id: FromPath[UUID], db_session: NamedDependency[AsyncSession]) -> Document:
        """Show a document."""
        return await find(db_session, id)

    @delete("/{id:uuid}", raises=[NotFoundException])
    async def remove(
        self,
        id: FromPath[UUID],
        db_session: NamedDependency[AsyncSession],
        forever: FromQuery[bool] = False,  # noqa: FBT002  # a parameter of the query
    ) -> None:
        """Put a document into the trash, or delete it for ever; its files go with its row."""
        if forever:
            await db_session.delete(await find(db_session, id, deleted=None))
        else:
            (await find(db_session, id)).deleted_at = datetime.now(UTC)
        await db_session.commit()

    @post("/{id:uuid}/restore", status_code=200, raises=[NotFoundException])
    async def restore(self, id: FromPath[UUID], db_session: NamedDependency[AsyncSession]) -> Document:
        """Bring a document back from the trash."""
        document = await find(db_session, id, deleted=True)
        document.deleted_at = None
        await db_session.commit()
        return document

    @post("/{id:uuid}/files", raises=[NotFoundException])
    async def add(
        self, id: FromPath[UUID], data: MultipartBody[FilesForm], db_session: NamedDependency[AsyncSession]
    ) -> Document:
        """Add files to a document."""
        document = await find(db_session, id)
        document.files.extend(data.files)
        await db_session.commit()
        return document

    @put("/{id:uuid}/files/{file_id:str}", raises=[NotFoundException])
    async def replace(
        self,
        id: FromPath[UUID],
        file_id: FromPath[str],
        data: MultipartBody[FileForm],
        db_session: NamedDependency[AsyncSession],
    ) -> Document:
        """Put another file in the place of one, under its id; the old one is deleted after the commit."""
        document = await find(db_session, id)
        old = find_file(document, file_id)
        data.file.id = old.id
        document.files[document.files.index(old)] = data.file
        await db_session.commit()
        return document

    @delete("/{id:uuid}/files/{file_id:str}", status_code=200, raises=[NotFoundException])
    async def take_out(
        self, id: FromPath[UUID], file_id: FromPath[str], db_session: NamedDependency[AsyncSession]
    ) -> Document:
        """Delete one file of a document."""
        document = await find(db_session, id)
        document.files.remove(find_file(document, file_id))
        await db_session.commit()
        return document


async def find(db_session: AsyncSession, id: UUID, *, deleted: bool | None = False) -> Document:
    """Return a document; ``deleted=True`` looks in the trash, ``None`` everywhere.

    Raises:
        NotFoundException: There is none.
    """
    document = await db_session.get(Document, id)
    if document is None or deleted not in (None, document.deleted_at is not None):
        raise NotFoundException("There is no such document")
    return document


def find_file(document: Document, file_id: str) -> FileObject:
    """Return a file of a document by the id that clients see. It stays while others come and go.

    Raises:
        NotFoundException: There is none.
    """
    for file in document.files:
        if file.id == file_id:
            return file
    raise NotFoundException("There is no such file")


def is_in_library(_: ASGIConnection[Any, Any, Any, Any], document: Document, __: str) -> bool:
    """Let nobody read what is in the trash. An application with users asks here who may read what."""
    if document.deleted_at is not None:
        raise NotFoundException("There is no such document")
    return True


# GET and HEAD of the files, with ranges and conditions.
downloads = create_file_router(
    "/documents/{id:uuid}/downloads", Document.files, public=True, authorize=is_in_library, tags=["documents"]
)
# Where `<filestore-upload>` sends files, or asks where in the bucket their parts go: it goes on after a broken
# connection, and after the page was loaded again.
uploads = create_upload_router("/documents/uploads", Document.files, public=True)
