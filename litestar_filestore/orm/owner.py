"""Whose quota new objects count against."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ("owner_of_new_objects",)

owner_of_new_objects: ContextVar[str | None] = ContextVar("litestar_filestore_owner", default=None)
"""Set it for a request or task; objects that are staged meanwhile carry it in the ledger."""
