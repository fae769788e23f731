"""What tokens say about files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.file_record import Referred
from litestar_filestore.errors import InvalidTokenError

if TYPE_CHECKING:
    from litestar_filestore.core.backend import StorageBackend

__all__ = ("DownloadClaims", "ReferenceClaims", "UploadClaims", "read_claims", "stored_file", "write_claims")

_NOT_OF_FILES = frozenset({"backend", "disposition", "referred"})

C = TypeVar("C", bound=msgspec.Struct)


class DownloadClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One object to GET, with everything that the headers of the answer need: the store is not asked for it again."""

    backend: str = msgspec.field(name="st")
    key: str = msgspec.field(name="ky")
    filename: str = msgspec.field(name="fn")
    content_type: str = msgspec.field(name="ct")
    disposition: Literal["attachment", "inline"] = msgspec.field(default="attachment", name="cd")
    size: int | None = msgspec.field(default=None, name="sz")
    etag: str | None = msgspec.field(default=None, name="et")
    last_modified: int | None = msgspec.field(default=None, name="lm")
    """POSIX time in seconds: HTTP's dates know no fractions."""


class UploadClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One object to PUT, once."""

    backend: str = msgspec.field(name="st")
    key: str = msgspec.field(name="ky")
    filename: str = msgspec.field(name="fn")
    max_bytes: int = msgspec.field(name="mx")
    owner: str | None = msgspec.field(default=None, name="ow")
    """Whose quota counts it."""


class ReferenceClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One stored file, with what its row is going to keep; not the metadata: tokens can be read by who has them."""

    backend: str = msgspec.field(name="st")
    key: str = msgspec.field(name="ky")
    filename: str = msgspec.field(name="fn")
    content_type: str = msgspec.field(name="ct")
    size: int | None = msgspec.field(default=None, name="sz")
    etag: str | None = msgspec.field(default=None, name="et")
    last_modified: float | None = msgspec.field(default=None, name="lm")
    checksum: str | None = msgspec.field(default=None, name="cs")
    version_id: str | None = msgspec.field(default=None, name="vi")
    referred: Referred = msgspec.field(default=Referred.FREE, name="rf")


def write_claims(claims: msgspec.Struct) -> dict[str, Any]:
    """Return what a token holds."""
    written: dict[str, Any] = msgspec.to_builtins(claims)
    return written


def read_claims(type_: type[C], written: Mapping[str, Any]) -> C:
    """Return the claims of a token whose signature was right.

    Raises:
        InvalidTokenError: If a release with other claims has signed it.
    """
    try:
        return msgspec.convert(written, type_)
    except msgspec.ValidationError as error:
        raise InvalidTokenError from error


def stored_file(claims: DownloadClaims | ReferenceClaims, backend: StorageBackend) -> FileObject:
    """Return the file that claims describe."""
    known = {name: getattr(claims, name) for name in claims.__struct_fields__ if name not in _NOT_OF_FILES}
    return FileObject.from_dict({**known, "to_filename": known.pop("key")}, backend)
