"""Refusals that depend on the present file, as Litestar's exceptions: with headers and in the application's format."""

from __future__ import annotations

from litestar.exceptions import ClientException

__all__ = ("PreconditionFailedException", "RangeNotSatisfiableException")


class PreconditionFailedException(ClientException):
    """The file is not as a condition of the request wants it, for example ``If-Match`` (RFC 9110 section 13.1)."""

    status_code = 412


class RangeNotSatisfiableException(ClientException):
    """No range of the request begins within the file."""

    status_code = 416
