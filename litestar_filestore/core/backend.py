"""The portable backend: what users hold, whatever store is underneath."""

from __future__ import annotations

from litestar_filestore.core.compat import AdvancedAlchemyMethods
from litestar_filestore.core.lifecycle import Lifecycle
from litestar_filestore.core.reading import Reading
from litestar_filestore.core.signing import Signing
from litestar_filestore.core.writing import Writing

__all__ = ("StorageBackend",)


class StorageBackend(AdvancedAlchemyMethods, Writing, Reading, Signing, Lifecycle):
    """Stores, reads and deletes objects by key. The same calls work on every store.

    Checks keys, adds the prefix, counts, hashes and limits content, translates errors; a `Driver` does the rest.
    Each operation has a sync form and one with the suffix ``_async``.

    A subclass may instead override Advanced Alchemy's methods (``save_object``, ``get_content``, ``delete_object``,
    ``sign`` and their ``_async`` twins) and bring no driver.
    """
