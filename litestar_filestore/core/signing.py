"""The store's own links to an object with the headers of the answer fixed."""

from __future__ import annotations

import msgspec

from litestar_filestore.core.setup import BackendSetup

__all__ = ("SignedAnswer", "Signing")


class SignedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a link to GET an object fixes about the answer, so that its holder cannot change it."""

    content_type: str
    """Value of Content-Type."""
    content_disposition: str
    """Value of Content-Disposition."""
    signed_at: int
    """POSIX time in seconds (UTC) at which the life of the link begins; not in the future."""
    expires_in: int
    """Its life in seconds."""


class Signing(BackendSetup):
    """The part of `StorageBackend` that signs more than Advanced Alchemy's ``sign`` can."""

    def sign_answer(self, key: str, answer: SignedAnswer) -> str:
        """Return a URL of the store to GET one object, with the headers of `answer`. It may fetch credentials.

        Raises:
            UnsupportedOperationError: If the store cannot sign, or not this key or these headers.
        """
        path = self._path(key)
        with self._guard("sign", key):
            return self.storage_driver.sign_answer(path, answer)

    async def sign_answer_async(self, key: str, answer: SignedAnswer) -> str:
        """`sign_answer` without blocking the event loop."""
        path = self._path(key)
        with self._guard("sign", key):
            return await self.storage_driver.sign_answer_async(path, answer)
