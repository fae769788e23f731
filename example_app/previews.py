"""Files inside the pages of this application."""

from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.documents import find, find_file
from litestar_filestore import INLINE_TYPES, DownloadConfig, FileDownload, FileObject

PDF = "application/pdf"

# Browsers show images, sound, films and text anyway; PDF only on request, because its viewers parse a lot.
DOWNLOADS = DownloadConfig(inline_types=INLINE_TYPES | {PDF})

# By default nobody may frame a file. A PDF is shown in a frame, so pages of this site may.
FRAMED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"}


def preview(file: FileObject) -> FileDownload:
    """Show a file, if its type is one that cannot run a script; it is saved otherwise."""
    return FileDownload(file, disposition="inline", headers=FRAMED if file.content_type == PDF else None)


@get("/documents/{id:uuid}/previews/{file_id:str}", tags=["documents"], raises=[NotFoundException])
async def show(id: FromPath[UUID], file_id: FromPath[str], db_session: NamedDependency[AsyncSession]) -> FileDownload:
    """Show a file instead of saving it."""
    return preview(find_file(await find(db_session, id), file_id))
