"""Links for others: a page with a document, until a moment that its owner chooses."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Template
from msgspec import Meta, Struct
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.documents import find, find_file
from example_app.models import Document, Share
from example_app.previews import preview
from litestar_filestore import FileDownload

WEEK = 7 * 24 * 3600


class ShareForm(Struct):
    """For how long."""

    seconds: Annotated[int, Meta(ge=1, le=WEEK)] = 3600


@dataclass
class ShareLink:
    """Where the page is."""

    url: str
    expires_at: datetime


@post("/documents/{id:uuid}/shares", tags=["documents"], raises=[NotFoundException])
async def share(
    id: FromPath[UUID],
    data: JSONBody[ShareForm],
    request: Request[Any, Any, Any],
    db_session: NamedDependency[AsyncSession],
) -> ShareLink:
    """Make a page that shows a document to whoever has its address."""
    document = await find(db_session, id)
    link = Share(document_id=document.id, expires_at=datetime.now(UTC) + timedelta(seconds=data.seconds))
    db_session.add(link)
    await db_session.commit()
    return ShareLink(request.app.route_reverse("shared", token=link.token), link.expires_at)


@get("/shared/{token:str}", name="shared", include_in_schema=False)
async def shared_page(token: FromPath[str], db_session: NamedDependency[AsyncSession]) -> Template:
    """Show a shared document."""
    found = await _shared(db_session, token)
    if found is None:
        return Template("gone.html", status_code=404)  # whether it ever was is nobody's business
    link, document = found
    seconds = (link.expires_at - datetime.now(UTC)).total_seconds()
    return Template("shared.html", context={"document": document, "share": link, "seconds": max(0, round(seconds))})


@get("/shared/{token:str}/files/{file_id:str}", include_in_schema=False)
async def shared_file(
    token: FromPath[str],
    file_id: FromPath[str],
    db_session: NamedDependency[AsyncSession],
    download: FromQuery[bool] = False,  # noqa: FBT002  # a parameter of the query
) -> FileDownload:
    """Send a file of a shared document."""
    found = await _shared(db_session, token)
    if found is None:
        raise NotFoundException("This link has expired, or never was")
    file = find_file(found[1], file_id)
    return FileDownload(file) if download else preview(file)


async def _shared(db_session: AsyncSession, token: str) -> tuple[Share, Document] | None:
    statement = (
        select(Share, Document)
        .join(Document, Document.id == Share.document_id)
        .where(Share.token == token, Share.expires_at > datetime.now(UTC), Document.deleted_at.is_(None))
    )
    row = (await db_session.execute(statement)).one_or_none()
    return None if row is None else (row[0], row[1])
