"""The application that the tests of the command line run commands of."""

import os
from pathlib import Path

from advanced_alchemy.base import BigIntBase
from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar
from sqlalchemy.orm import Mapped, mapped_column

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LocalBackend, StoredObject

__all__ = ("create_app",)


class Paper(BigIntBase):
    __tablename__ = "paper"

    file: Mapped[FileObject | None] = mapped_column(StoredObject("papers"))


def create_app() -> Litestar:
    """Make the application on the folder that the environment names."""
    folder = Path(os.environ["PAPERS"])
    database = SQLAlchemyAsyncConfig(connection_string=f"sqlite+aiosqlite:///{folder}/papers.db", create_all=True)
    backend = LocalBackend("papers", folder / "objects", fsync=False)
    return Litestar(
        [], plugins=[SQLAlchemyPlugin(database), FilestorePlugin(FilestoreConfig([backend]))], openapi_config=None
    )
