"""File columns of SQLAlchemy models.

`StoredObject` and `FileObjectList` are public and are loaded at their first use. For migrations see
`litestar_filestore.ledger.migrations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar_filestore.orm.stored_object import FileObjectList, StoredObject

__all__ = (
    "FileObjectList",
    "StoredObject",
)


def __getattr__(name: str) -> object:
    """Load a public name on first use, so that importing the package needs no SQLAlchemy."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from litestar_filestore.orm import stored_object  # see above

    return getattr(stored_object, name)
