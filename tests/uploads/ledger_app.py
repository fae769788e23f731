"""An application that keeps uploads in rows, to be killed while it takes some."""

import os
from pathlib import Path

from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, post
from litestar.di import NamedDependency
from litestar.params import MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, LocalBackend, StoredObject
from litestar_filestore.ledger.ledger_config import LedgerConfig
from tests import reservations

__all__ = ("BACKEND", "Base", "create_app_from_environment")

BACKEND = "killed"


class Base(DeclarativeBase):
    pass


class Taken(Base):
    """A row for each file."""

    __tablename__ = "taken"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject(BACKEND))


@post("/rows")
async def create(data: MultipartBody[list[FileObject]], db_session: NamedDependency[AsyncSession]) -> int:
    """Keep all files in rows."""
    db_session.add_all([Taken(file=each) for each in data])
    await db_session.commit()
    return len(data)


def create_app_from_environment() -> Litestar:
    """Return the application with its rows in the database and its files in the folder that the environment names."""
    reservations.switch_off()
    folder = Path(os.environ["UPLOAD_FOLDER"])
    url = os.environ["UPLOAD_DATABASE"]
    database = SQLAlchemyAsyncConfig(connection_string=url, metadata=Base.metadata, create_all=True)
    # The test sweeps: it wants to know what is left when that is done.
    config = FilestoreConfig([LocalBackend(BACKEND, folder / "files")], ledger=LedgerConfig(run_sweeper=False))
    return Litestar([create], plugins=[SQLAlchemyPlugin(database), FilestorePlugin(config)], openapi_config=None)
