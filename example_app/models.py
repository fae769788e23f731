"""What the database keeps."""

from advanced_alchemy.base import UUIDAuditBase
from sqlalchemy.orm import Mapped, mapped_column

from litestar_filestore import FileObject, StoredObject


class Document(UUIDAuditBase):
    """A file with a title."""

    __tablename__ = "document"

    title: Mapped[str]
    file: Mapped[FileObject] = mapped_column(StoredObject("documents"))
