"""The two refusals that only downloads know, as Litestar's exceptions: with headers and in the application's format."""

from __future__ import annotations

from litestar.exceptions import ClientException

__all__ = ("PreconditionFailedException", "RangeNotSatisfiableException")


class PreconditionFailedException(ClientException):
    """The file is not as ``If-Match`` or ``If-Unmodified-Since`` wants it."""

    status_code = 412


class RangeNotSatisfiableException(ClientException):
    """No range of the request begins within the file."""

    status_code = 416
