"""Evaluates the preconditions of requests that change a file, in the same way for all routes (RFC 9110 §13)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from litestar.status_codes import HTTP_200_OK

from litestar_filestore.downloads.answer import PreconditionFailedException, object_facts
from litestar_filestore.errors import ConflictError, ObjectExistsError, ObjectNotFoundError
from litestar_filestore.sansio.conditional import check_preconditions, has_preconditions, joined_headers

if TYPE_CHECKING:
    from collections.abc import Generator

    from litestar import Request

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.sansio.conditional import Validators

__all__ = ("Preconditions",)


class Preconditions:
    """The preconditions of one request, such as ``If-Match``. False if it has none, so there is nothing to look up."""

    __slots__ = ("_headers", "_method")

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        """Read the headers of `request`."""
        self._method = str(request.method)
        self._headers = joined_headers(request.scope["headers"])

    def __bool__(self) -> bool:
        """Return whether the request has preconditions."""
        return has_preconditions(self._headers)

    @property
    def creates_only(self) -> bool:
        """Whether the request is for a file that does not exist yet: ``If-None-Match: *`` (section 13.1.2)."""
        return self._headers.get("if-none-match", "").strip(" \t") == "*"

    async def check(self, file: FileObject | None) -> None:
        """Evaluate the preconditions against the current file, with the validators that a download of it would have.

        Args:
            file: The current file; ``None`` if there is none. Lock it first, so that the answer stays true.

        Raises:
            PreconditionFailedException: If the request is for another version.
        """
        if self and check_preconditions(self._method, self._headers, await _validators(file)) != HTTP_200_OK:
            raise self.failed()

    @contextmanager
    def deciding(self) -> Generator[None]:
        """Answer 412 if the change itself finds that another request was faster.

        Raises:
            PreconditionFailedException: If the request has preconditions, and the file has changed since they were
                checked.
        """
        try:
            yield
        except ConflictError as error:
            if self:
                raise self.failed() from error
            raise
        except ObjectExistsError as error:
            if self.creates_only:
                raise self.failed() from error
            raise

    @staticmethod
    def failed() -> PreconditionFailedException:
        """Return the refusal."""
        return PreconditionFailedException(detail="The file was changed meanwhile: fetch it again before you change it")


async def _validators(file: FileObject | None) -> Validators | None:
    if file is None:
        return None
    try:
        return (await object_facts(file)).validators
    except ObjectNotFoundError:
        return None  # a download would be a 404, so no client can have seen a version
