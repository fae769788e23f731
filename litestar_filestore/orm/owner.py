"""Whose quota new objects count against."""

from __future__ import annotations

from litestar_filestore.core.owner import owner_of_new_objects

__all__ = ("owner_of_new_objects",)
