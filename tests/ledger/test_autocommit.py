"""Where each statement commits itself, rows with files are refused, and rows, ledger and store stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore.errors import LedgerError
from tests.ledger.models import Document, a_file
from tests.ledger.world import SEED, World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def session(seeded: World) -> Iterator[Session]:
    """A session with AUTOCOMMIT on the rows of the seed."""
    with Session(seeded.engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        yield session


@pytest.mark.parametrize("how", ["added", "replaced", "deleted"])
def test_flush_is_refused(seeded: World, session: Session, how: str) -> None:
    """Nothing is staged, stored or written."""
    if how == "added":
        session.add(Document(id=4, file=a_file("four")))
    elif how == "replaced":
        session.get_one(Document, 1).file = a_file("new")
    else:
        session.delete(session.get_one(Document, 1))
    with pytest.raises(LedgerError, match="AUTOCOMMIT"):
        session.commit()
    assert seeded.leftovers() == []
    assert seeded.contents() == SEED


@pytest.mark.parametrize(
    "statement",
    [
        sa.delete(Document).where(Document.id == 1),
        sa.update(Document).where(Document.id == 1).values(file=None),
        sa.insert(Document).values(id=4, file=a_file("four")),
        sa.insert(Document).values([{"id": 4, "pages": [a_file("four")]}]),
    ],
    ids=["delete", "update", "insert", "insert of several"],
)
def test_bulk_statement_is_refused(seeded: World, session: Session, statement: Any) -> None:
    """A bulk statement that changes files is refused before it runs."""
    with pytest.raises(LedgerError, match="AUTOCOMMIT"):
        session.execute(statement)
    with pytest.raises(LedgerError, match="AUTOCOMMIT"):
        session.execute(sa.update(Document), [{"id": 1, "file": None}])
    assert seeded.contents() == SEED


def test_bulk_statement_without_files(seeded: World, session: Session) -> None:
    """One that has nothing to do with files is not."""
    session.execute(sa.update(Document).values(name="same"))
    session.execute(sa.insert(Document), [{"id": 4, "name": "same"}])
    with seeded.engine.connect() as connection:
        assert connection.scalars(sa.select(Document.name)).all() == ["same"] * 4
