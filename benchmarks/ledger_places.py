"""Databases for the benchmarks of the ledger: durable ones, since a commit costs what its disk costs."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from litestar_filestore import FileObject, StoredObject
from litestar_filestore.ledger.table import define_ledger
from tests.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("BACKEND", "DATABASES", "LEDGER", "Base", "Document", "serve_database")

BACKEND = "bench"
DATABASES = ("sqlite", "postgresql")
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Base(DeclarativeBase):
    """Models with a ledger."""


class Document(Base):
    """A row whose file the ledger looks after."""

    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(BACKEND))


_table = define_ledger(Base.metadata)
if _table is None:
    raise AssertionError("the metadata has a ledger")
LEDGER = _table
"""The ledger's table."""


@contextmanager
def serve_database(name: str) -> Iterator[str]:
    """Yield the URL of an empty database with the tables."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="filestore-bench-")))
        url = f"sqlite:///{folder}/bench.db"
        if name == "postgresql":
            postgres.SETTINGS.update(_DURABLE)
            url = stack.enter_context(postgres.serve(folder)).url("psycopg")
        engine = sa.create_engine(url)
        Base.metadata.create_all(engine)
        engine.dispose()
        yield url
