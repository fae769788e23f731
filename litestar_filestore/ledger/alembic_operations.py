"""Alembic's operations for the triggers of `litestar_filestore.ledger.triggers`; importing this module registers them.

In a migration::

    import litestar_filestore.ledger.alembic_operations


    def upgrade():
        op.create_filestore_triggers("document", ["file", "pages"])


    def downgrade():
        op.drop_filestore_triggers("document")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations

from litestar_filestore.errors import UnsupportedOperationError
from litestar_filestore.ledger.triggers import create_triggers_sql, drop_triggers_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = (
    "CreateFilestoreTriggers",
    "DropFilestoreTriggers",
)


class CreateFilestoreTriggers(MigrateOperation):
    """Makes the triggers of one table with file columns; PostgreSQL only."""

    def __init__(
        self, table: str, columns: Sequence[str], *, schema: str | None = None, ledger_schema: str | None = None
    ) -> None:
        """Describe what is made; the arguments are those of `create_filestore_triggers`."""
        self.table = table
        self.columns = tuple(columns)
        self.schema = schema
        self.ledger_schema = ledger_schema

    @classmethod
    def create_filestore_triggers(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[str],
        *,
        schema: str | None = None,
        ledger_schema: str | None = None,
    ) -> None:
        """Doom the objects of rows that are changed or deleted behind the sessions' backs, from now on.

        Args:
            operations: Alembic's; left out when called as ``op.create_filestore_triggers(...)``.
            table: The table.
            columns: All of its file columns.
            schema: Schema of the table; ``None`` for the first of the search path.
            ledger_schema: Schema of the table ``filestore_object``, the same way.

        Raises:
            UnsupportedOperationError: If the database is not PostgreSQL.
            InvalidArgumentError: If there is no column.
        """
        operations.invoke(cls(table, columns, schema=schema, ledger_schema=ledger_schema))

    def reverse(self) -> DropFilestoreTriggers:
        """Return what undoes this."""
        return DropFilestoreTriggers(self.table, self.columns, schema=self.schema, ledger_schema=self.ledger_schema)


class DropFilestoreTriggers(MigrateOperation):
    """Removes the triggers of one table."""

    def __init__(
        self, table: str, columns: Sequence[str] = (), *, schema: str | None = None, ledger_schema: str | None = None
    ) -> None:
        """Describe what is removed; `columns` are needed only to make it again."""
        self.table = table
        self.columns = tuple(columns)
        self.schema = schema
        self.ledger_schema = ledger_schema

    @classmethod
    def drop_filestore_triggers(
        cls, operations: Operations, table: str, *, schema: str | None = None, ledger_schema: str | None = None
    ) -> None:
        """Undo `create_filestore_triggers`.

        Args:
            operations: Alembic's; left out when called as ``op.drop_filestore_triggers(...)``.
            table: The table.
            schema: As they were made.
            ledger_schema: As they were made.

        Raises:
            UnsupportedOperationError: If the database is not PostgreSQL.
        """
        operations.invoke(cls(table, schema=schema, ledger_schema=ledger_schema))

    def reverse(self) -> CreateFilestoreTriggers:
        """Return what makes the triggers again."""
        return CreateFilestoreTriggers(self.table, self.columns, schema=self.schema, ledger_schema=self.ledger_schema)


# Called, not used as decorators: those would hide the classes' types.
Operations.register_operation("create_filestore_triggers")(CreateFilestoreTriggers)
Operations.register_operation("drop_filestore_triggers")(DropFilestoreTriggers)


def _create(operations: Operations, operation: CreateFilestoreTriggers) -> None:
    _execute(
        operations,
        create_triggers_sql(
            operation.table, operation.columns, schema=operation.schema, ledger_schema=operation.ledger_schema
        ),
    )


def _drop(operations: Operations, operation: DropFilestoreTriggers) -> None:
    _execute(
        operations,
        drop_triggers_sql(operation.table, schema=operation.schema, ledger_schema=operation.ledger_schema),
    )


def _execute(operations: Operations, statements: Sequence[str]) -> None:
    dialect = operations.migration_context.dialect.name
    if dialect != "postgresql":
        raise UnsupportedOperationError(f"The ledger's triggers are written for PostgreSQL, not for {dialect}")
    for statement in statements:
        operations.execute(sa.text(statement))


Operations.implementation_for(CreateFilestoreTriggers)(_create)
Operations.implementation_for(DropFilestoreTriggers)(_drop)
