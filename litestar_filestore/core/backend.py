"""The portable backend: the same calls for every store, sync and async, on top of a driver that does the work.

This module also holds the table of backends registered in this process, and the source that reads a stored object.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import msgspec

from litestar_filestore.core.advanced_alchemy import LegacyDriver
from litestar_filestore.core.keys import (
    DEFAULT_KEY_TEMPLATE,
    RESERVED_SEGMENT,
    check_key,
    check_key_template,
    check_prefix,
    join_prefix,
    make_key,
)
from litestar_filestore.core.part_objects import PartObjects, check_part, check_parts
from litestar_filestore.core.sources import AsyncFeed, Feed, Meter, check_digest, source_size
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import (
    BLOCK_BYTES,
    Capability,
    ObjectInfo,
    Part,
    PartLimits,
    PutOptions,
    SignedAnswer,
)
from litestar_filestore.core.watching import OperationEnded, outcome_of, tell
from litestar_filestore.errors import (
    BackendNotRegisteredError,
    ConfigurationError,
    FileTooLargeError,
    InvalidArgumentError,
    ObjectNotFoundError,
    StorageError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from litestar_filestore.core.driver import Driver, ObjectVersion
    from litestar_filestore.core.types import (
        AsyncDataLike,
        AsyncSource,
        DataLike,
        FormPolicy,
        PathLike,
        SignedForm,
        SignMethod,
        Source,
    )

__all__ = (
    "MAX_EXPIRES_SECONDS",
    "Guard",
    "ObjectCopy",
    "StorageBackend",
    "check_content_type",
    "find_backend",
    "portable_metadata",
    "registered",
)

_MAX_CONTENT_TYPE = 255
_CONTENT_TYPE = re.compile(r"[!-~]+/[!-~]+(?:[ \t]*;[ -~]*)?")
_OUTER_SPACES = re.compile(r"^ +| +$")
_METADATA_NAME = re.compile(r"[a-z0-9_-]{1,128}")


def check_content_type(content_type: str | None) -> str | None:
    """Return `content_type` if it is ``type/subtype`` with optional parameters, in printable ASCII (RFC 9110 §8.3.1).

    Raises:
        InvalidArgumentError: For anything else. CR and LF would inject a header, and they make obstore panic.
    """
    if content_type is not None and (
        len(content_type) > _MAX_CONTENT_TYPE or _CONTENT_TYPE.fullmatch(content_type) is None
    ):
        raise InvalidArgumentError(f"{content_type[:80]!r} is not a media type such as 'image/png'")
    return content_type


def portable_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return user metadata in a form that every store keeps: lower-case names, printable ASCII values.

    Values that are not text are written as JSON. Non-ASCII text, control characters and ``%`` are percent-encoded as
    UTF-8: S3 accepts raw non-ASCII values and then answers every read of the object with an error. Leading and
    trailing spaces are encoded as well, because they are not part of a header's value (RFC 9110 §5.5). Names with
    characters outside ``[a-z0-9_-]`` stay in the database only. So do names that could be taken for real headers
    (``content-type`` ...): user metadata must not decide how an object is served.
    """
    result: dict[str, str] = {}
    for name, value in metadata.items():
        lowered = name.lower()
        if _METADATA_NAME.fullmatch(lowered) is None or lowered.startswith(("content-", "cache-control", "x-")):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        encoded = quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
        result[lowered] = _OUTER_SPACES.sub(lambda spaces: "%20" * len(spaces[0]), encoded)
    return result


class Guard:
    """Wraps one operation: adds operation, backend and key to what the driver raises, and chains the cause."""

    __slots__ = ("_backend", "_driver", "_feed", "_key", "_operation")

    def __init__(
        self, driver: Driver, backend: str, operation: str, key: str | None, feed: Feed | AsyncFeed | None = None
    ) -> None:
        """Guard `operation` of `driver` on `key`; errors of `feed`'s source pass through as they were raised."""
        self._driver = driver
        self._backend = backend
        self._operation = operation
        self._key = key
        self._feed = feed

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Translate an ``Exception``; let cancellation and exit pass."""
        if not isinstance(error, Exception):
            return
        failure = self._feed.failure if self._feed is not None else None
        if failure is not None:
            # The source failed. Libraries wrap its error in their own; the caller wants the original.
            self._place(failure)
            if failure is not error:
                raise failure from None
            return
        translated = error if isinstance(error, StorageError) else self._driver.translate(error)
        if translated is None:
            return
        self._place(translated)
        if translated is not error:
            raise translated from error

    def _place(self, error: Exception) -> None:
        if isinstance(error, StorageError):
            error.operation = error.operation or self._operation
            error.backend = error.backend or self._backend
            error.key = self._key if self._key is not None else error.key


class WatchedGuard(Guard):
    """A guard that tells how the operation has ended, and how long it took."""

    __slots__ = ("_begin",)

    def __enter__(self) -> None:
        """Begin."""
        self._begin = time.monotonic()

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Tell, and do what every guard does."""
        seconds = time.monotonic() - self._begin
        raised = error
        try:
            super().__exit__(exc_type, error, traceback)
        except BaseException as translated:
            raised = translated
            raise
        finally:
            tell(OperationEnded(self._backend, self._operation, outcome_of(raised), seconds))


MAX_EXPIRES_SECONDS = 7 * 24 * 3600
"""Longest lifetime of a signed URL in seconds: the limit of S3 and GCS."""


class StorageBackend:
    """Stores, reads and deletes objects by key, with the same calls for every store.

    It checks keys, adds the prefix, counts, hashes and limits content, and translates errors; a `Driver` does the rest.
    Each operation has a sync form and an async one with the suffix ``_async``.

    Instead of passing a driver, a subclass can override Advanced Alchemy's methods (``save_object``, ``get_content``,
    ``delete_object``, ``sign`` and their ``_async`` twins).
    """

    key: str
    """Name of the backend in the registry, in columns and in stored rows."""
    fs: Any = None
    """The store or file system of the library underneath, where there is one."""
    driver: str = "custom"
    """Name of the library underneath, for example ``"obstore"``."""
    protocol: str = "unknown"
    """Name of the service, for example ``"s3"`` or ``"file"``."""
    options: Mapping[str, Any] = {}
    """Options passed to the library."""
    prefix: str | None = None
    """Folder inside the store that holds all keys."""
    key_template: str = DEFAULT_KEY_TEMPLATE
    """Template of the keys of new objects."""
    digest: str | None = "sha256"
    """Digest computed for new objects."""
    max_bytes: int | None = None
    """Largest object in bytes that a put accepts."""
    base_url: str | None = None
    """Public base URL under which the store serves its objects."""
    default_expires_in: int = 3600
    """Default lifetime of a signed URL in seconds. Subclasses and instances may set it."""
    guards: type[Guard] = Guard
    """What its operations run in; `WatchedGuard` while somebody watches them."""
    _storage_driver: Driver | None = None

    def __init__(
        self,
        key: str,
        fs: Any = None,
        *,
        driver: Driver | None = None,
        prefix: str | None = None,
        key_template: str = DEFAULT_KEY_TEMPLATE,
        digest: str | None = "sha256",
        max_bytes: int | None = None,
        base_url: str | None = None,
        **options: Any,
    ) -> None:
        """Set up a backend; nothing is opened or contacted.

        Args:
            key: Name of the backend in the registry, in columns and in stored rows.
            fs: The library's own store or file system, kept for callers that need it.
            driver: The driver that does the work; subclasses in Advanced Alchemy's form need none.
            prefix: Folder inside the store that holds all keys.
            key_template: Template of the keys of new objects; see `check_key_template`.
            digest: Digest of new objects: ``sha256``, ``sha512``, ``sha1``, ``md5``, ``blake2b`` or ``None``.
            max_bytes: Largest object in bytes that `put` accepts (inclusive); ``None`` for no limit.
            base_url: Public base URL under which the store serves its objects unsigned, for `public_url`.
            **options: Further options of the subclass; kept as `options`.

        Raises:
            ConfigurationError: If an argument cannot work.
        """
        if not key:
            raise ConfigurationError("The key of a backend must not be empty: it is its name, for example 'documents'")
        self.key = key
        self.fs = fs
        self.options = options
        self.prefix = check_prefix(prefix) if prefix else None
        self.key_template = check_key_template(key_template)
        self.digest = check_digest(digest)
        self.max_bytes = max_bytes
        self.base_url = base_url.rstrip("/") if base_url else None
        if driver is not None:
            self._storage_driver = driver
            self.driver = driver.name
            self.protocol = driver.protocol

    def __repr__(self) -> str:
        """Return class, key, protocol and prefix, but no options: they may hold secrets."""
        protocol = getattr(self, "protocol", None)
        return f"{type(self).__name__}(key={self.key!r}, protocol={protocol!r}, prefix={self.prefix!r})"

    @property
    def storage_driver(self) -> Driver:
        """The driver underneath; for subclasses in Advanced Alchemy's form, one that calls their methods."""
        if self._storage_driver is None:
            if type(self).save_object is StorageBackend.save_object:
                raise ConfigurationError(
                    f"{type(self).__name__} can do nothing: pass a driver to its __init__, or override save_object and "
                    "the other methods of Advanced Alchemy's backends",
                    backend=self.key,
                )
            self._storage_driver = LegacyDriver(self)
        return self._storage_driver

    @contextmanager
    def driven_by(self, driver: Driver) -> Generator[None]:
        """Return a context in which another driver does the work, for tests; key and settings stay."""
        before = self._storage_driver, self.driver, self.protocol
        self._storage_driver, self.driver, self.protocol = driver, driver.name, driver.protocol
        try:
            yield
        finally:
            self._storage_driver, self.driver, self.protocol = before

    @property
    def capabilities(self) -> Capability:
        """Abilities beyond the contract."""
        return self.storage_driver.capabilities

    def make_key(self, template: str | None = None, *, ext: str = "") -> str:
        """Make a new, unguessable key; see `litestar_filestore.core.keys.make_key`."""
        return make_key(template or self.key_template, ext=ext)

    def _path(self, key: str) -> str:
        try:
            return join_prefix(self.prefix or "", check_key(key))
        except StorageError as error:
            error.backend = self.key
            raise

    def _guard(self, operation: str, key: str | None, feed: Feed | AsyncFeed | None = None) -> Guard:
        return self.guards(self.storage_driver, self.key, operation, key, feed)

    def start(self) -> None:
        """Make the backend ready.

        Raises:
            StorageError: If the store cannot be used at all.
        """
        with self._guard("start", None):
            self.storage_driver.start()

    async def start_async(self) -> None:
        """`start` without blocking the event loop."""
        with self._guard("start", None):
            await self.storage_driver.start_async()

    def close(self) -> None:
        """Free connections and descriptors. The backend may be used again afterwards."""
        with self._guard("close", None):
            self.storage_driver.close()

    async def close_async(self) -> None:
        """`close` without blocking the event loop; frees what belongs to the running loop."""
        with self._guard("close", None):
            await self.storage_driver.close_async()

    def clean(self, *, older_than: float = 24 * 3600) -> int:
        """Remove what interrupted puts left behind, invisible but paid for: temporary files, pending multipart uploads.

        Args:
            older_than: Minimum age in seconds; younger ones may still be in use.

        Returns:
            How many were removed.
        """
        with self._guard("clean", None):
            return self.storage_driver.clean(older_than)

    async def clean_async(self, *, older_than: float = 24 * 3600) -> int:
        """`clean` without blocking the event loop."""
        with self._guard("clean", None):
            return await self.storage_driver.clean_async(older_than)

    def local_path(self, key: str) -> Path:
        """Return the file that holds an object, where `Capability.LOCAL_PATH` is set. Read only; it may be missing.

        The path is not checked: ``open`` would follow a symbolic link in it, which `get` and `head` refuse.

        Raises:
            UnsupportedOperationError: On stores without local files.
        """
        with self._guard("local_path", key):
            return self.storage_driver.local_path(self._path(key))

    def get(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` (inclusive) to `end` (exclusive) in blocks of at most a few MiB.

        Args:
            key: Which object.
            start: First byte, from 0.
            end: Byte after the last one; ``None`` or a value past the end of the object means its end.

        Raises:
            ObjectNotFoundError: At the first block, even for an empty range.
            RangeNotSatisfiableError: If `start` is not 0 and not below the size of the object.
            ObjectChangedError: If the object was replaced or became shorter while it was read.
        """
        path = self._check_range(key, start, end)
        with self._guard("get", key):
            if start == end:
                self.storage_driver.head(path)
            else:
                yield from self.storage_driver.get(path, start, end)

    async def get_async(
        self, key: str, start: int = 0, end: int | None = None, *, version: ObjectVersion | None = None
    ) -> AsyncGenerator[bytes, None]:
        """`get` without blocking the event loop. Closing the generator frees what it holds.

        Args:
            key: Which object.
            start: First byte, from 0.
            end: Byte after the last one.
            version: The object, if it is open already; the caller closes it.
        """
        path = self._check_range(key, start, end)
        with self._guard("get", key):
            if start == end:
                await self.storage_driver.head_async(path)
                return
            source = self.storage_driver.get_async(path, start, end) if version is None else version.blocks(start, end)
            async with aclosing(source) as blocks:
                async for block in blocks:
                    yield block

    def version_at_hand(self, key: str) -> ObjectVersion | None:
        """Open an object if nothing has to be waited for, else return ``None``; see `Driver.version_at_hand`."""
        return self.storage_driver.version_at_hand(self._path(key)) if self._reads_from_driver else None

    async def open_version_async(self, key: str, start: int = 0, end: int | None = None) -> ObjectVersion | None:
        """Open an object; ``None`` if `head_async` and `get_async` are the better way. See `Driver.open_version_async`.

        Raises:
            ObjectNotFoundError: If there is none.
        """
        path = self._check_range(key, start, end)
        with self._guard("get", key):
            return await self.storage_driver.open_version_async(path, start, end) if self._reads_from_driver else None

    @property
    def _reads_from_driver(self) -> bool:
        # A subclass may change what is read: decrypt it, for example.
        cls = type(self)
        return cls.get_async is StorageBackend.get_async and cls.head_async is StorageBackend.head_async

    def head(self, key: str) -> ObjectInfo:
        """Return what the store knows about an object.

        Raises:
            ObjectNotFoundError: If there is none.
        """
        path = self._path(key)
        with self._guard("head", key):
            return msgspec.structs.replace(self.storage_driver.head(path), key=key)

    async def head_async(self, key: str) -> ObjectInfo:
        """`head` without blocking the event loop."""
        path = self._path(key)
        with self._guard("head", key):
            return msgspec.structs.replace(await self.storage_driver.head_async(path), key=key)

    def exists(self, key: str) -> bool:
        """Return whether there is an object of that key."""
        try:
            self.head(key)
        except ObjectNotFoundError:
            return False
        return True

    async def exists_async(self, key: str) -> bool:
        """`exists` without blocking the event loop."""
        try:
            await self.head_async(key)
        except ObjectNotFoundError:
            return False
        return True

    def public_url(self, key: str) -> str:
        """Return the unsigned, percent-encoded URL of an object under `base_url`.

        Raises:
            UnsupportedOperationError: If the backend has no `base_url`.
        """
        path = self._path(key)
        if self.base_url is None:
            raise UnsupportedOperationError(
                "This backend has no base_url, so it has no public URLs: pass base_url= to it, or use sign()",
                operation="url",
                backend=self.key,
                key=key,
            )
        return f"{self.base_url}/{quote(path)}"

    def _check_range(self, key: str, start: int, end: int | None) -> str:
        if start < 0 or (end is not None and end < start):
            raise InvalidArgumentError(
                f"The range [{start}, {end}) is not valid: it needs 0 <= start <= end",
                operation="get",
                backend=self.key,
                key=key,
            )
        return self._path(key)

    def put(
        self,
        source: Source,
        *,
        key: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
        part_bytes: int | None = None,
        max_concurrency: int | None = None,
        before: Callable[[], object] | None = None,
    ) -> ObjectInfo:
        """Store what `source` yields as one object, atomically and with bounded memory.

        Args:
            source: Bytes, a `pathlib.Path`, a binary file (read from its position, not closed) or an iterable of
                bytes. Never a ``str``.
            key: Where to put it; ``None`` makes a new key.
            content_type: Media type for stores that keep one.
            metadata: User metadata for stores that keep it; see `portable_metadata` for what they keep.
            overwrite: Whether an object of that key may be replaced.
            max_bytes: Limit for this object; the backend's `max_bytes` applies as well.
            part_bytes: Size of the parts of a multipart upload in bytes; ``None`` lets the driver choose.
            max_concurrency: Parts in flight; ``None`` lets the driver choose.
            before: Called before anything is written, in the thread that writes if `puts_at_once`. It may block, and
                nothing is written if it raises.

        Returns:
            The stored object with size, etag, checksum and last_modified filled in.

        Raises:
            ObjectExistsError: If the key is taken and `overwrite` is false.
            FileTooLargeError: If the source is longer than the limit.
            SourceTypeError: If bytes cannot be read from `source`.
            Exception: Exceptions of the source itself, unchanged.
            StorageError: If the store fails. After any error the key holds what it held before.
        """
        target, path, meter, options = self._plan_put(
            source,
            key=key,
            content_type=content_type,
            metadata=metadata,
            overwrite=overwrite,
            max_bytes=max_bytes,
            part_bytes=part_bytes,
            max_concurrency=max_concurrency,
        )
        if before is not None:
            before()
        feed = Feed(source, meter)
        with self._guard("put", target, feed):
            info = self.storage_driver.put(path, feed, options)
            return self._stored(target, info, meter, is_whole=feed.exhausted)

    async def put_async(
        self,
        source: AsyncSource,
        *,
        key: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
        part_bytes: int | None = None,
        max_concurrency: int | None = None,
        before: Callable[[], object] | None = None,
    ) -> ObjectInfo:
        """`put` without blocking the event loop; takes async iterables and async files as well."""
        target, path, meter, options = self._plan_put(
            source,
            key=key,
            content_type=content_type,
            metadata=metadata,
            overwrite=overwrite,
            max_bytes=max_bytes,
            part_bytes=part_bytes,
            max_concurrency=max_concurrency,
        )
        if self.puts_at_once(source):
            content = cast("bytes", source)
            return await run_blocking(partial(self._put_whole, target, path, content, options, meter, before))
        if before is not None:
            await run_blocking(before)
        feed = AsyncFeed(source, meter)
        with self._guard("put", target, feed):
            info = await self.storage_driver.put_async(path, feed, options)
            return self._stored(target, info, meter, is_whole=feed.exhausted)

    def puts_at_once(self, source: object) -> bool:
        """Return whether an async put of a source is one call in a worker thread, digest and write together."""
        return isinstance(source, bytes) and len(source) <= BLOCK_BYTES and self.storage_driver.puts_in_thread

    def _put_whole(  # noqa: PLR0917  # a put on its way into a thread
        self,
        target: str,
        path: str,
        content: bytes,
        options: PutOptions,
        meter: Meter,
        before: Callable[[], object] | None,
    ) -> ObjectInfo:
        if before is not None:
            before()
        blocks = iter((content,) if content else ())
        if content:
            meter.update(content)
        with self._guard("put", target):
            info = self.storage_driver.put(path, blocks, options)
            return self._stored(target, info, meter, is_whole=next(blocks, None) is None)

    def delete(self, key: str | Sequence[str]) -> None:
        """Delete one object or several; missing ones are not an error."""
        keys = [key] if isinstance(key, str) else list(key)
        paths = [self._path(each) for each in keys]
        with self._guard("delete", keys[0] if len(keys) == 1 else None):
            self.storage_driver.delete(paths)

    async def delete_async(self, key: str | Sequence[str]) -> None:
        """`delete` without blocking the event loop."""
        keys = [key] if isinstance(key, str) else list(key)
        paths = [self._path(each) for each in keys]
        with self._guard("delete", keys[0] if len(keys) == 1 else None):
            await self.storage_driver.delete_async(paths)

    def copy(self, source: str, target: str | None = None, *, overwrite: bool = False) -> str:
        """Copy an object inside the store and return the key of the copy, a new one if `target` is ``None``.

        Raises:
            ObjectNotFoundError: If there is no object `source`.
            ObjectExistsError: If `target` is taken and `overwrite` is false.
        """
        new = target if target is not None else self.make_key()
        paths = self._path(source), self._path(new)
        with self._guard("copy", source):
            self.storage_driver.copy(*paths, overwrite=overwrite or target is None)
        return new

    async def copy_async(self, source: str, target: str | None = None, *, overwrite: bool = False) -> str:
        """`copy` without blocking the event loop."""
        new = target if target is not None else self.make_key()
        paths = self._path(source), self._path(new)
        with self._guard("copy", source):
            await self.storage_driver.copy_async(*paths, overwrite=overwrite or target is None)
        return new

    def _plan_put(
        self,
        source: object,
        *,
        key: str | None,
        content_type: str | None,
        metadata: Mapping[str, Any] | None,
        overwrite: bool,
        max_bytes: int | None,
        part_bytes: int | None,
        max_concurrency: int | None,
    ) -> tuple[str, str, Meter, PutOptions]:
        target = key if key is not None else self.make_key()
        path = self._path(target)
        limit = self.max_bytes
        if max_bytes is not None:
            limit = max_bytes if limit is None else min(limit, max_bytes)
        size = source.size if isinstance(source, ObjectCopy) else source_size(source)
        if limit is not None and size is not None and size > limit:
            raise FileTooLargeError(
                f"The file is larger than {limit} bytes: store a smaller one, or raise max_bytes",
                max_bytes=limit,
                operation="put",
                backend=self.key,
                key=target,
            )
        options = PutOptions(
            content_type=check_content_type(content_type),
            metadata=portable_metadata(metadata) if metadata else {},
            # A key made here is new: looking first, or a conditional write that buffers, would be wasted.
            overwrite=overwrite or key is None,
            size=size,
            part_bytes=part_bytes,
            max_concurrency=max_concurrency,
        )
        return target, path, Meter(digest=self.digest, max_bytes=limit), options

    @staticmethod
    def _stored(key: str, info: ObjectInfo, meter: Meter, *, is_whole: bool) -> ObjectInfo:
        if not is_whole:
            raise StorageError(
                "The driver returned before it had read the whole source: its put() must read every block"
            )
        return ObjectInfo(
            key=key,
            size=meter.size,
            last_modified=info.last_modified if info.last_modified is not None else time.time(),
            etag=meter.etag or info.etag,
            version_id=info.version_id,
            content_type=info.content_type,
            metadata=info.metadata,
            checksum=meter.checksum,
        )

    # -- objects put in parts

    @property
    def part_limits(self) -> PartLimits:
        """What the store demands of the parts of an object."""
        return self._parts.part_limits or PartLimits()

    @property
    def _parts(self) -> Driver | PartObjects:
        driver = self.storage_driver
        if isinstance(driver, LegacyDriver):
            raise UnsupportedOperationError(
                f"{type(self).__name__} cannot list objects, so parts could not be removed: pass a driver to its "
                "__init__",
                backend=self.key,
            )
        return driver if Capability.PARTS in driver.capabilities else PartObjects(driver)

    async def begin_parts_async(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> str:
        """Begin an object whose parts are put by different requests and processes. Nobody sees it until it is finished.

        Put the first part within a day: a store may take an unfinished object without parts for the remains of a crash.

        Args:
            key: Key of the object.
            content_type: Media type; pass the same one to `finish_parts_async`, because stores differ in when they take
                it. The same holds for `metadata`.
            metadata: User metadata.
            overwrite: Whether the finished object may replace another one.

        Returns:
            The name of the unfinished object: 1 to 1,024 characters of printable ASCII. Keep it and the parts.

        Raises:
            ObjectExistsError: If the key is taken and must not be, where the store tells so early.
        """
        path, options = self._path(key), self._part_options(content_type, metadata, overwrite=overwrite)
        with self._guard("begin_parts", key):
            return await self._parts.begin_parts_async(path, options)

    async def put_part_async(
        self, key: str, upload: str, number: int, offset: int, source: AsyncSource, *, size: int | None = None
    ) -> Part:
        """Store one part of an unfinished object. It is durable when this returns; only then may it be finished.

        Args:
            key: Key of the object.
            upload: What `begin_parts_async` returned.
            number: From 1; a later part has a higher number, and numbers may leave gaps. The same one again replaces
                the part, so number parts by their place: whoever continues then replaces what a killed process left.
            offset: First byte of the part in the object, from 0.
            source: Content of the part; see `put_async`. Stores without parts of any size hold it in memory.
            size: Length of the content in bytes, if known: any other length is an error then.

        Raises:
            ObjectNotFoundError: If the object has been finished or abandoned.
            InvalidArgumentError: If number, offset or size is not allowed; `part_limits` tells.
        """
        path, limits = self._path(key), self.part_limits
        with self._guard("put_part", key):
            check_part(number, offset, limits)
        meter = Meter(digest=None, max_bytes=limits.max_bytes if size is None else min(size, limits.max_bytes or size))
        feed = AsyncFeed(source, meter)
        with self._guard("put_part", key, feed):
            part = await self._parts.put_part_async(path, upload, number, offset, feed, size=size)
            if not feed.exhausted or not meter.size or (size is not None and size != meter.size):
                raise InvalidArgumentError(
                    f"Part {number} has {meter.size} bytes, not {size or '1 or more'}: put it again"
                )
        return msgspec.structs.replace(part, size=meter.size)

    async def finish_parts_async(
        self,
        key: str,
        upload: str,
        parts: Sequence[Part],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> ObjectInfo:
        """Make the object of exactly these parts, atomically, and drop all others.

        To continue where a process was killed, call this again. `ObjectNotFoundError` and `ObjectExistsError` then mean
        that it was finished before, if `head` finds the object with the right size. Then call `abandon_parts_async`,
        which removes what the killed process left.

        Args:
            key: Key of the object.
            upload: What `begin_parts_async` returned.
            parts: What `put_part_async` returned, in any order; none for an empty object.
            content_type: As at the beginning.
            metadata: As at the beginning.
            overwrite: As at the beginning.

        Returns:
            Info without a checksum: nobody has seen the content as a whole.

        Raises:
            InvalidArgumentError: If the parts leave a gap or overlap, or have sizes that are not allowed.
            ObjectNotFoundError: If there is no such unfinished object.
            ObjectExistsError: If the key is taken and must not be.
            ObjectChangedError: If a part has been replaced, or is gone. Some S3 servers, such as Ceph, refuse as well
                while there are parts that are not listed.
        """
        path, options = self._path(key), self._part_options(content_type, metadata, overwrite=overwrite)
        with self._guard("finish_parts", key):
            ordered = check_parts(parts, self.part_limits)
            size = sum(part.size for part in ordered)
            if self.max_bytes is not None and size > self.max_bytes:
                raise FileTooLargeError(
                    f"The file is larger than {self.max_bytes} bytes: store a smaller one, or raise max_bytes",
                    max_bytes=self.max_bytes,
                )
            info = await self._parts.finish_parts_async(
                path, upload, ordered, msgspec.structs.replace(options, size=size)
            )
        return msgspec.structs.replace(info, key=key, size=size, last_modified=info.last_modified or time.time())

    def abandon_parts(self, key: str, upload: str) -> None:
        """Remove an unfinished object with its parts. Nothing happens to a finished one, or if there is none."""
        path = self._path(key)
        with self._guard("abandon_parts", key):
            self._parts.abandon_parts(path, upload)

    async def abandon_parts_async(self, key: str, upload: str) -> None:
        """`abandon_parts` without blocking the event loop."""
        path = self._path(key)
        with self._guard("abandon_parts", key):
            await self._parts.abandon_parts_async(path, upload)

    async def sign_part_async(
        self, key: str, upload: str, number: int, *, expires_in: int, size: int | None = None
    ) -> str:
        """Return a URL of the store to PUT one part of an unfinished object; see `Driver.sign_part_async`.

        Raises:
            InvalidArgumentError: If the store takes no part of that number.
            UnsupportedOperationError: If the store does not sign parts; see `Capability.SIGN_PARTS`.
        """
        path = self._path(key)
        with self._guard("sign", key):
            check_part(number, 0, self.part_limits)
            return await self.storage_driver.sign_part_async(path, upload, number, expires_in=expires_in, size=size)

    async def list_parts_async(self, key: str, upload: str) -> Sequence[Part]:
        """Return the parts that clients have put; see `Driver.list_parts_async`.

        Raises:
            ObjectNotFoundError: If there is no such unfinished object.
            UnsupportedOperationError: As above.
        """
        path = self._path(key)
        with self._guard("list_parts", key):
            return await self.storage_driver.list_parts_async(path, upload)

    async def sign_form_async(self, key: str, policy: FormPolicy) -> SignedForm:
        """Return a form of the store that puts one object; see `Driver.sign_form_async`.

        Raises:
            UnsupportedOperationError: If the store takes no forms; see `Capability.SIGN_FORM`.
        """
        path = self._path(key)
        with self._guard("sign", key):
            return await self.storage_driver.sign_form_async(path, policy)

    async def cors_async(self, rules: Sequence[Mapping[str, Any]] | None = None) -> Sequence[Mapping[str, Any]]:
        """Return, and perhaps set, what the bucket permits to pages of other origins; see `Driver.cors_async`."""
        with self._guard("cors", None):
            return await self.storage_driver.cors_async(rules)

    @staticmethod
    def _part_options(content_type: str | None, metadata: Mapping[str, Any] | None, *, overwrite: bool) -> PutOptions:
        return PutOptions(
            content_type=check_content_type(content_type),
            metadata=portable_metadata(metadata or {}),
            overwrite=overwrite,
        )

    def sign_answer(self, key: str, answer: SignedAnswer) -> str:
        """Return a URL of the store to GET one object; the response has the headers of `answer`. May fetch credentials.

        Raises:
            UnsupportedOperationError: If the store cannot sign, or cannot sign this key or these headers.
        """
        path = self._path(key)
        with self._guard("sign", key):
            return self.storage_driver.sign_answer(path, answer)

    async def sign_answer_async(self, key: str, answer: SignedAnswer) -> str:
        """`sign_answer` without blocking the event loop."""
        path = self._path(key)
        with self._guard("sign", key):
            return await self.storage_driver.sign_answer_async(path, answer)

    @staticmethod
    def _to_path(path: PathLike) -> str:
        return path if isinstance(path, str) else os.fspath(path)

    def get_content(self, path: PathLike, *, options: dict[str, Any] | None = None) -> bytes:
        """Return a whole object in memory; `get` streams instead.

        Args:
            path: Key of the object.
            options: Accepted for compatibility and ignored.

        Raises:
            ObjectNotFoundError: If there is none.
        """
        del options
        return b"".join(self.get(self._to_path(path)))

    async def get_content_async(self, path: PathLike, *, options: dict[str, Any] | None = None) -> bytes:
        """`get_content` without blocking the event loop."""
        del options
        return b"".join([block async for block in self.get_async(self._to_path(path))])

    def save_object(
        self,
        file_object: Any,
        data: DataLike,
        *,
        use_multipart: bool | None = None,
        chunk_size: Any = None,
        max_concurrency: Any = None,
        before: Callable[[], object] | None = None,
    ) -> Any:
        """Store `data` under the key of `file_object` and complete its metadata.

        Some types are `Any` for the sake of overrides. Those written for Advanced Alchemy take and return a
        `FileObject`, and take numbers that are never ``None``; they receive only numbers that a caller has passed.

        Args:
            file_object: A `FileObject`, a class of a layer above this module; it has key, content type and metadata.
            data: See `put`.
            use_multipart: Accepted for compatibility; the driver decides by size.
            chunk_size: Size of the parts of a multipart upload in bytes, an ``int``; ``None`` lets the driver choose.
            max_concurrency: Parts in flight, an ``int``; ``None`` lets the driver choose.
            before: See `put`; only this package passes it, and not to overrides.

        Returns:
            The same `file_object`.

        Raises:
            ObjectExistsError: If the key is taken; new content always has a new key.
        """
        del use_multipart
        arguments = _put_arguments(file_object, chunk_size, max_concurrency)
        return file_object.complete(self.put(data, before=before, **arguments))

    async def save_object_async(
        self,
        file_object: Any,
        data: AsyncDataLike,
        *,
        use_multipart: bool | None = None,
        chunk_size: Any = None,
        max_concurrency: Any = None,
        before: Callable[[], object] | None = None,
    ) -> Any:
        """`save_object` without blocking the event loop; takes async sources as well."""
        del use_multipart
        arguments = _put_arguments(file_object, chunk_size, max_concurrency)
        return file_object.complete(await self.put_async(data, before=before, **arguments))

    def delete_object(self, paths: PathLike | Sequence[PathLike]) -> None:
        """Delete one object or several; missing ones are not an error."""
        self.delete(self._keys(paths))

    async def delete_object_async(self, paths: PathLike | Sequence[PathLike]) -> None:
        """`delete_object` without blocking the event loop."""
        await self.delete_async(self._keys(paths))

    def sign(
        self, paths: PathLike | Sequence[PathLike], *, expires_in: int | None = None, for_upload: bool = False
    ) -> str | list[str]:
        """Return the store's signed URL of an object, or a list of them for a list of keys.

        Args:
            paths: Key or keys.
            expires_in: Lifetime in seconds, 1 to 604,800 (7 days); ``None`` means `default_expires_in`.
            for_upload: ``False`` for a URL to GET, ``True`` for one to PUT.

        Raises:
            UnsupportedOperationError: If this store cannot sign; the error is also a ``NotImplementedError``.
            InvalidArgumentError: If `expires_in` is out of bounds.
        """
        method, seconds = self._sign_arguments(expires_in, for_upload=for_upload)
        urls: list[str] = []
        for key in self._keys(paths):
            with self._guard("sign", key):
                urls.append(self.storage_driver.sign(self._path(key), method=method, expires_in=seconds))
        return urls[0] if isinstance(paths, (str, os.PathLike)) else urls

    async def sign_async(
        self, paths: PathLike | Sequence[PathLike], *, expires_in: int | None = None, for_upload: bool = False
    ) -> str | list[str]:
        """`sign` without blocking the event loop."""
        method, seconds = self._sign_arguments(expires_in, for_upload=for_upload)
        urls: list[str] = []
        for key in self._keys(paths):
            with self._guard("sign", key):
                urls.append(await self.storage_driver.sign_async(self._path(key), method=method, expires_in=seconds))
        return urls[0] if isinstance(paths, (str, os.PathLike)) else urls

    def _keys(self, paths: PathLike | Sequence[PathLike]) -> list[str]:
        if isinstance(paths, (str, os.PathLike)):
            return [self._to_path(paths)]
        return [self._to_path(path) for path in paths]

    def _sign_arguments(self, expires_in: int | None, *, for_upload: bool) -> tuple[SignMethod, int]:
        seconds = self.default_expires_in if expires_in is None else expires_in
        if not 1 <= seconds <= MAX_EXPIRES_SECONDS:
            raise InvalidArgumentError(
                f"expires_in must be 1 to {MAX_EXPIRES_SECONDS} seconds, not {seconds}",
                operation="sign",
                backend=self.key,
            )
        return ("PUT" if for_upload else "GET"), seconds

    # These come last: after a method of this name, list[...] in the class body means the method.

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object below `prefix` (whole segments), in no promised order and with bounded memory."""
        path = join_prefix(self.prefix or "", check_prefix(prefix))
        with self._guard("list", prefix):
            for info in self.storage_driver.list(path):
                if (listed := self._listed(info)) is not None:
                    yield listed

    async def list_async(self, prefix: str = "") -> AsyncGenerator[ObjectInfo, None]:
        """`list` without blocking the event loop."""
        path = join_prefix(self.prefix or "", check_prefix(prefix))
        with self._guard("list", prefix):
            async with aclosing(self.storage_driver.list_async(path)) as infos:
                async for info in infos:
                    if (listed := self._listed(info)) is not None:
                        yield listed

    def _listed(self, info: ObjectInfo) -> ObjectInfo | None:
        key = info.key[len(self.prefix) + 1 :] if self.prefix else info.key
        if key.split("/", 1)[0] == RESERVED_SEGMENT:
            return None
        return msgspec.structs.replace(info, key=key)


def _put_arguments(file_object: Any, part_bytes: int | None, max_concurrency: int | None) -> dict[str, Any]:
    return {
        "key": file_object.path,
        "content_type": file_object.content_type,
        "metadata": file_object.metadata,
        "overwrite": file_object.key_is_new,
        "part_bytes": part_bytes,
        "max_concurrency": max_concurrency,
    }


registered: dict[str, StorageBackend] = {}
"""The backends of this process by key, as registered by `storages`. Columns and files look them up here."""


def find_backend(key: str, backends: Mapping[str, StorageBackend] = registered) -> StorageBackend:
    """Return the backend registered under `key`.

    Raises:
        BackendNotRegisteredError: If there is none.
    """
    try:
        return backends[key]
    except KeyError:
        known = ", ".join(map(repr, backends)) or "none"
        raise BackendNotRegisteredError(
            f'No storage backend registered with key "{key}"; registered: {known}. Register it in '
            "FilestoreConfig(backends=[...])",
            backend=key,
        ) from None


@dataclass(frozen=True, slots=True)
class ObjectCopy:
    """A source that reads a stored object, but not before it is stored again, and not at all within one store.

    You can read it any number of times while the object exists.
    """

    place: str | StorageBackend
    """The backend of the object, or its key."""
    key: str
    """Key of the object."""
    size: int | None = None
    """Its length in bytes, if known."""
    checksum: str | None = None
    """Its digest, if known."""
    etag: str | None = None
    """Its entity tag, if known."""

    @property
    def backend(self) -> StorageBackend:
        """The backend, looked up in `registered` if it was given by key.

        Raises:
            BackendNotRegisteredError: If no backend of that key is registered.
        """
        return find_backend(self.place) if isinstance(self.place, str) else self.place

    def __iter__(self) -> Iterator[bytes]:
        """Read the object."""
        return self.backend.get(self.key)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the object without blocking the event loop."""
        return self.backend.get_async(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the key of the backend, which must be registered where the source is used again."""
        key = self.place if isinstance(self.place, str) else self.place.key
        return ObjectCopy, (key, self.key, self.size, self.checksum, self.etag)
