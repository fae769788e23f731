"""File columns of SQLAlchemy models. Importing anything below starts the tracking of all sessions."""

from __future__ import annotations

from litestar_filestore.tracking import flush as _tracking  # noqa: F401  # pyright: ignore[reportUnusedImport]

__all__ = ()
