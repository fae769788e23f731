"""The owner whose quota new objects count against."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ("owner_of_new_objects",)

owner_of_new_objects: ContextVar[str | None] = ContextVar("litestar_filestore_owner", default=None)
"""Set it for a request or task; what is stored meanwhile carries it in the ledger, and links to upload carry it to what
comes through them. A row that takes an object of nobody makes it this owner's."""
