"""File columns in Alembic's migrations.

Alembic writes a user-defined type as it prints, and leaves it to the reader to import what it names. In ``env.py``::

    from litestar_filestore.orm.alembic import render_item

    context.configure(..., render_item=render_item)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from litestar_filestore.orm.stored_object import StoredObject

if TYPE_CHECKING:
    from typing import Any

__all__ = ("render_item",)


class _AutogenContext(Protocol):
    """The needed part of ``alembic.autogenerate.api.AutogenContext``; Alembic itself is not imported."""

    imports: set[str]


def render_item(type_: str, obj: Any, autogen_context: _AutogenContext) -> str | Literal[False]:
    """Write a file column into a migration, with the import that it needs; for Alembic's ``render_item``.

    No backend has to be registered. A callable `key` and other arguments that only matter at run time are left out.

    Args:
        type_: Kind of the item, ``"type"`` for column types.
        obj: The item.
        autogen_context: Alembic's; an import is added to its `imports`.

    Returns:
        Python code, or ``False`` for items that are Alembic's business. An application with a ``render_item`` of its
        own calls this one first.
    """
    if type_ != "type" or not isinstance(obj, StoredObject):
        return False
    autogen_context.imports.add("import litestar_filestore")
    return f"litestar_filestore.{obj!r}"
