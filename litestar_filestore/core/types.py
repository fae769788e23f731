"""Plain records and types that all layers share."""

from __future__ import annotations

import enum
import os
from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import IO, Literal, Protocol, TypeAlias

import msgspec

__all__ = (
    "BLOCK_BYTES",
    "PARTS_KEPT_SECONDS",
    "AsyncDataLike",
    "AsyncReadable",
    "AsyncSource",
    "Block",
    "Capability",
    "DataLike",
    "FormPolicy",
    "ObjectInfo",
    "Part",
    "PartBuffers",
    "PartLimits",
    "PathLike",
    "PutOptions",
    "SignMethod",
    "SignedAnswer",
    "SignedForm",
    "Source",
)

BLOCK_BYTES = 1024 * 1024
"""Size in bytes to which small pieces are gathered before a thread hop or a library call.

Smaller blocks cost too many hops; larger ones do not fit in the processor's cache.
"""

PARTS_KEPT_SECONDS = 7 * 24 * 3600.0
"""Time in seconds for which ``clean`` spares an unfinished object, counted from its last part where the store tells."""

Block: TypeAlias = bytes | bytearray | memoryview
"""A piece of content on its way into a driver. Valid until the next one is requested."""

PathLike: TypeAlias = str | Path | os.PathLike[str]
"""A key written as text or as a path, as Advanced Alchemy's backends take it."""

SignMethod: TypeAlias = Literal["GET", "PUT"]
"""The HTTP method that a signed URL allows."""


class AsyncReadable(Protocol):
    """An object whose ``read`` is a coroutine, such as Litestar's ``UploadFile``."""

    async def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, ``b""`` at the end."""
        ...


Source: TypeAlias = Block | os.PathLike[str] | IO[bytes] | Iterable[Block]
"""Content of a sync put. Never a ``str``: text is not bytes, and must not be taken for a path by accident."""

AsyncSource: TypeAlias = Source | AsyncIterable[Block] | AsyncReadable
"""Content of an async put."""

DataLike: TypeAlias = Source
"""Advanced Alchemy's name of `Source`."""

AsyncDataLike: TypeAlias = AsyncSource
"""Advanced Alchemy's name of `AsyncSource`."""


class Capability(enum.Flag):
    """Abilities that differ between drivers. Everything else is part of the contract and has no flag."""

    NONE = 0
    SIGN_GET = enum.auto()
    """`sign` makes URLs that read an object."""
    SIGN_PUT = enum.auto()
    """`sign` makes URLs that write an object."""
    PUT_IF_ABSENT = enum.auto()
    """Of many concurrent puts with ``overwrite=False`` to one key, exactly one wins.

    Without the flag, the driver first looks and then puts. Drivers state up to which size they keep the promise.
    """
    METADATA = enum.auto()
    """The store keeps content type and user metadata with the object, and `head` returns them."""
    LOCAL_PATH = enum.auto()
    """`local_path` names a file that the operating system can send."""
    NATIVE_ASYNC = enum.auto()
    """The ``_async`` half runs on the event loop and holds no thread."""
    PARTS = enum.auto()
    """The store itself joins parts of an object that are put by different requests and processes.

    Without the flag, the backend stores the parts as objects and reads them all again to join them.
    """
    SIGN_PARTS = enum.auto()
    """Clients put parts into the store themselves, with URLs that `sign_part` makes; `list_parts` tells what came."""
    SIGN_FORM = enum.auto()
    """Plain HTML forms put an object into the store, with fields that `sign_form` makes."""


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend knows about one stored object."""

    key: str
    """Key inside the backend, without its prefix."""
    size: int
    """Length in bytes."""
    last_modified: float | None = None
    """POSIX time in seconds (UTC) of the last write."""
    etag: str | None = None
    """Entity tag with its quotes (RFC 9110 §8.8.3): made from the digest after a put that has one, else the store's."""
    version_id: str | None = None
    """Version of the object in a versioned bucket."""
    content_type: str | None = None
    """Media type kept by the store; ``None`` where the driver lacks `Capability.METADATA`."""
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """User metadata kept by the store."""
    checksum: str | None = None
    """Digest of the content as ``algorithm:hex``, where one was computed."""


class PartBuffers(msgspec.Struct, frozen=True, kw_only=True):
    """Memory that an async put uses when the driver gathers content in parts before it sends them."""

    part_bytes: int
    """Size of a part in bytes; shorter content is gathered as a whole."""
    max_concurrency: int
    """Parts in flight by default."""
    copies: int = 1
    """Number of copies of a part in flight that are in memory, those of the library underneath included."""

    def bytes_of(self, max_bytes: int, *, max_concurrency: int | None = None) -> int:
        """Return the most bytes that a put of up to `max_bytes` holds in memory at a time.

        Args:
            max_bytes: Length of the content.
            max_concurrency: Parts in flight; ``None`` for as many as the driver chooses.
        """
        in_flight = self.part_bytes * (max_concurrency or self.max_concurrency)
        return min(max_bytes, in_flight + self.part_bytes) + (self.copies - 1) * min(max_bytes, in_flight)


class PartLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a store demands of the parts of an object."""

    min_bytes: int = 1
    """Least size in bytes of each part but the last one."""
    max_bytes: int | None = None
    """Largest size of a part in bytes (inclusive); ``None`` for no limit."""
    max_parts: int | None = None
    """Highest number of a part, and most parts of one object; ``None`` for no limit."""
    equal_sizes: bool = False
    """Whether all parts but the last one must have the same size, as Cloudflare's R2 wants them."""
    keeps_seconds: float | None = None
    """How long the store keeps an unfinished object in seconds; ``None`` until it is abandoned."""


class Part(msgspec.Struct, frozen=True):
    """A stored part of an unfinished object. Keep it to finish the object, in this process or in another one."""

    number: int
    """Number of the part, from 1. Numbers rise with the offset, and may leave gaps."""
    offset: int
    """Its first byte in the object, from 0."""
    size: int
    """Length in bytes."""
    receipt: str = ""
    """What the store answered, printable ASCII; it names exactly this content of the part, where the store can."""


class PutOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a put besides key and content. Drivers ignore those that their store cannot keep."""

    content_type: str | None = None
    """Media type, printable ASCII; already checked."""
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    """User metadata: lower-case ASCII names, printable ASCII values; already checked."""
    overwrite: bool = True
    """``False``: raise `ObjectExistsError` if the key is taken."""
    size: int | None = None
    """Length of the content in bytes, where known beforehand; a hint, not a promise."""
    part_bytes: int | None = None
    """Size of a part of a multipart upload in bytes; ``None`` lets the driver choose."""
    max_concurrency: int | None = None
    """Parts in flight at a time; ``None`` lets the driver choose."""


class SignedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Response headers of a link to GET an object, signed so that the holder of the link cannot change them."""

    content_type: str
    """Value of Content-Type."""
    content_disposition: str
    """Value of Content-Disposition."""
    signed_at: int
    """POSIX time in seconds (UTC) from which the link is valid; not in the future."""
    expires_in: int
    """Lifetime of the link in seconds."""


class FormPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a form may put into a store, signed so that its sender cannot change it."""

    content_type: str
    """The only media type."""
    max_bytes: int
    """Largest length in bytes."""
    expires_in: int
    """Lifetime of the form in seconds. Until then it can be sent again, and replaces the object."""
    redirect: str | None = None
    """URL to which the store sends the browser afterwards, with parameters of its own; ``None`` for no redirect."""


class SignedForm(msgspec.Struct, frozen=True, kw_only=True):
    """A form that puts one object into a store."""

    url: str
    """Its ``action``; the method is POST and the ``enctype`` is ``multipart/form-data``."""
    fields: Mapping[str, str]
    """Its hidden fields, before the field ``file``."""
