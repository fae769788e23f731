"""What the database keeps."""

from datetime import datetime
from functools import partial
from secrets import token_urlsafe
from uuid import UUID

from advanced_alchemy.base import UUIDAuditBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from litestar_filestore import Candidate, FileObjectList, MaxFiles, StoredObject

PROGRAMS = {"application/x-elf", "application/x-mach-binary", "application/x-msdownload"}


def no_programs(file: Candidate) -> str | None:
    """Refuse what Linux, macOS and Windows run; the type is told from the content, so another name does not help."""
    return "Programs are not kept here" if file.content_type in PROGRAMS else None


class Document(UUIDAuditBase):
    """A title and one or more files."""

    __tablename__ = "document"

    title: Mapped[str]
    files: Mapped[FileObjectList] = mapped_column(
        StoredObject("documents", multiple=True, rules=[no_programs, MaxFiles(50)])
    )
    deleted_at: Mapped[datetime | None] = mapped_column(DateTimeUTC, default=None, index=True)
    """When it went to the trash. It can come back, because its row still holds its files."""


class Share(UUIDAuditBase):
    """Lets whoever has its token read one document for a while."""

    __tablename__ = "share"

    token: Mapped[str] = mapped_column(unique=True, default=partial(token_urlsafe, 24))
    document_id: Mapped[UUID] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC)
