"""Supports migrations with Alembic: writes file columns, and adds operations for the ledger and its triggers.

Alembic writes the ``repr`` of a user-defined type, and leaves the import to you. In ``env.py``::

    from litestar_filestore.ledger.migrations import render_item

    context.configure(..., render_item=render_item)

The import also registers the operations for the triggers of `litestar_filestore.ledger.triggers`. In a migration::

    import litestar_filestore.ledger.migrations  # registers the operations, also where env.py does not


    def upgrade():
        op.create_filestore_triggers("document", ["file", "pages"])


    def downgrade():
        op.drop_filestore_triggers("document")

``op.upgrade_filestore_ledger()`` brings a ledger that an earlier version made to the shape of this one, and
``op.downgrade_filestore_ledger()`` takes it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations

from litestar_filestore.errors import UnsupportedOperationError
from litestar_filestore.ledger.table import LEDGER_TABLE, define_ledger, upload_parts_of, uploads_of, usage_of
from litestar_filestore.ledger.triggers import create_triggers_sql, drop_triggers_sql
from litestar_filestore.orm.stored_object import StoredObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.autogenerate.api import AutogenContext

__all__ = (
    "CreateFilestoreTriggers",
    "DowngradeFilestoreLedger",
    "DropFilestoreTriggers",
    "UpgradeFilestoreLedger",
    "render_item",
)


def render_item(type_: str, obj: Any, autogen_context: AutogenContext) -> str | Literal[False]:
    """Write a file column into a migration, with the import that it needs; for Alembic's ``render_item``.

    No backend has to be registered. A callable `key` and other arguments that only matter at run time are left out.

    Args:
        type_: Kind of the item, ``"type"`` for column types.
        obj: The item.
        autogen_context: Alembic's; an import is added to its `imports`.

    Returns:
        Python code, or ``False`` for items that Alembic renders itself. If your application has its own
        ``render_item``, let it call this one first.
    """
    if type_ != "type" or not isinstance(obj, StoredObject):
        return False
    autogen_context.imports.add("import litestar_filestore")
    return f"litestar_filestore.{obj!r}"


class _Ledger(MigrateOperation):
    """The tables of a ledger."""

    def __init__(self, *, schema: str | None = None, concurrently: bool = False) -> None:
        """Describe them; the arguments are those of `UpgradeFilestoreLedger.upgrade_filestore_ledger`."""
        self.schema = schema
        self.concurrently = concurrently

    def tables(self) -> tuple[sa.Table, list[sa.Table], list[sa.Index], list[sa.Index]]:
        """Return the table of entries, those that came later, the indexes of the former, and those it had at first."""
        metadata = sa.MetaData(schema=self.schema)
        table = cast("sa.Table", define_ledger(metadata))
        now = sorted(table.indexes, key=lambda index: str(index.name))
        at_first = [
            sa.Index(f"ix_{LEDGER_TABLE}_due", table.c.state, table.c.backend, table.c.not_before),
            sa.Index(f"ix_{LEDGER_TABLE}_owner", table.c.owner),
        ]
        for index in (*now, *at_first):
            index.dialect_options["postgresql"]["concurrently"] = self.concurrently
        later = [cast("sa.Table", each(metadata)) for each in (usage_of, uploads_of, upload_parts_of)]
        return table, later, now, at_first


class UpgradeFilestoreLedger(_Ledger):
    """Brings the tables of a ledger that an earlier version made to the shape of this version."""

    @classmethod
    def upgrade_filestore_ledger(
        cls, operations: Operations, *, schema: str | None = None, concurrently: bool = False
    ) -> None:
        """Add the column and table of counters and the tables of resumable uploads, and replace both indexes.

        Entries stay as they are.

        Args:
            operations: Alembic's; left out when called as ``op.upgrade_filestore_ledger(...)``.
            schema: Schema of the table ``filestore_object``; ``None`` for the first of the search path.
            concurrently: Whether PostgreSQL makes the indexes without keeping anyone from writing. It cannot do that in
                a transaction: call it in ``with op.get_context().autocommit_block():``.
        """
        operations.invoke(cls(schema=schema, concurrently=concurrently))

    def reverse(self) -> DowngradeFilestoreLedger:
        """Return the operation that undoes this one."""
        return DowngradeFilestoreLedger(schema=self.schema, concurrently=self.concurrently)


class DowngradeFilestoreLedger(_Ledger):
    """Brings the tables of a ledger back to their first shape; counters and unfinished uploads are lost."""

    @classmethod
    def downgrade_filestore_ledger(
        cls, operations: Operations, *, schema: str | None = None, concurrently: bool = False
    ) -> None:
        """Undo `upgrade_filestore_ledger`.

        Args:
            operations: Alembic's; left out when called as ``op.downgrade_filestore_ledger(...)``.
            schema: The same as for the upgrade.
            concurrently: The same as for the upgrade.
        """
        operations.invoke(cls(schema=schema, concurrently=concurrently))

    def reverse(self) -> UpgradeFilestoreLedger:
        """Return the operation that does it again."""
        return UpgradeFilestoreLedger(schema=self.schema, concurrently=self.concurrently)


class _Triggers(MigrateOperation):
    """The triggers of one table with file columns; PostgreSQL only."""

    def __init__(
        self, table: str, columns: Sequence[str] = (), *, schema: str | None = None, ledger_schema: str | None = None
    ) -> None:
        """Describe them; the arguments are those of `CreateFilestoreTriggers.create_filestore_triggers`."""
        self.table = table
        self.columns = tuple(columns)
        self.schema = schema
        self.ledger_schema = ledger_schema

    def statements(self) -> list[str]:
        """Return the SQL of the operation."""
        raise NotImplementedError


class CreateFilestoreTriggers(_Triggers):
    """Creates the triggers of one table with file columns; PostgreSQL only."""

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
        """Create triggers that doom the objects of rows that are changed or deleted without a session.

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

    def statements(self) -> list[str]:
        """Return the SQL of the operation."""
        return create_triggers_sql(self.table, self.columns, schema=self.schema, ledger_schema=self.ledger_schema)

    def reverse(self) -> DropFilestoreTriggers:
        """Return the operation that undoes this one."""
        return DropFilestoreTriggers(self.table, self.columns, schema=self.schema, ledger_schema=self.ledger_schema)


class DropFilestoreTriggers(_Triggers):
    """Drops the triggers of one table; columns are needed only to create them again."""

    @classmethod
    def drop_filestore_triggers(
        cls, operations: Operations, table: str, *, schema: str | None = None, ledger_schema: str | None = None
    ) -> None:
        """Undo `create_filestore_triggers`.

        Args:
            operations: Alembic's; left out when called as ``op.drop_filestore_triggers(...)``.
            table: The table.
            schema: The same as for their creation.
            ledger_schema: The same as for their creation.

        Raises:
            UnsupportedOperationError: If the database is not PostgreSQL.
        """
        operations.invoke(cls(table, schema=schema, ledger_schema=ledger_schema))

    def statements(self) -> list[str]:
        """Return the SQL of the operation."""
        return drop_triggers_sql(self.table, schema=self.schema, ledger_schema=self.ledger_schema)

    def reverse(self) -> CreateFilestoreTriggers:
        """Return the operation that creates the triggers again."""
        return CreateFilestoreTriggers(self.table, self.columns, schema=self.schema, ledger_schema=self.ledger_schema)


def _execute(operations: Operations, operation: _Triggers) -> None:
    dialect = operations.migration_context.dialect.name
    if dialect != "postgresql":
        raise UnsupportedOperationError(
            f"The ledger's triggers are written for PostgreSQL, not for {dialect}: create them only there"
        )
    for statement in operation.statements():
        operations.execute(sa.text(statement))


def _upgrade(operations: Operations, operation: UpgradeFilestoreLedger) -> None:
    table, later, now, at_first = operation.tables()
    for each in later:
        _impl(operations).create_table(each)
    _impl(operations).add_column(table.name, table.c.counted, schema=table.schema)
    _replace(operations, at_first, now)


def _downgrade(operations: Operations, operation: DowngradeFilestoreLedger) -> None:
    table, later, now, at_first = operation.tables()
    _replace(operations, now, at_first)
    _impl(operations).drop_column(table.name, table.c.counted, schema=table.schema)
    for each in later:
        _impl(operations).drop_table(each)


def _impl(operations: Operations) -> Any:
    return operations.impl  # Alembic leaves out types of its arguments


def _replace(operations: Operations, before: Sequence[sa.Index], after: Sequence[sa.Index]) -> None:
    for index in after:  # first, so that there is one at any time
        _impl(operations).create_index(index)
    for index in before:
        _impl(operations).drop_index(index)


# Called, not used as decorators: those would hide the classes' types.
Operations.register_operation("create_filestore_triggers")(CreateFilestoreTriggers)
Operations.register_operation("drop_filestore_triggers")(DropFilestoreTriggers)
Operations.register_operation("upgrade_filestore_ledger")(UpgradeFilestoreLedger)
Operations.register_operation("downgrade_filestore_ledger")(DowngradeFilestoreLedger)
Operations.implementation_for(UpgradeFilestoreLedger)(_upgrade)
Operations.implementation_for(DowngradeFilestoreLedger)(_downgrade)
Operations.implementation_for(CreateFilestoreTriggers)(_execute)
Operations.implementation_for(DropFilestoreTriggers)(_execute)
