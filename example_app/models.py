"""What the database keeps."""

from advanced_alchemy.base import UUIDAuditBase
from sqlalchemy.orm import Mapped, mapped_column

from litestar_filestore import Candidate, FileObject, StoredObject

PROGRAMS = {"application/x-elf", "application/x-mach-binary", "application/x-msdownload"}


def no_programs(file: Candidate) -> str | None:
    """Refuse what Linux, macOS and Windows run; the type is told from the content, so another name does not help."""
    return "Programs are not kept here" if file.content_type in PROGRAMS else None


class Document(UUIDAuditBase):
    """A file with a title."""

    __tablename__ = "document"

    title: Mapped[str]
    file: Mapped[FileObject] = mapped_column(StoredObject("documents", rules=[no_programs]))
