"""The contract between the portable backend and a driver, which you implement for one kind of store."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from litestar_filestore.core.types import Capability
from litestar_filestore.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from litestar_filestore.core.types import (
        Block,
        FormPolicy,
        ObjectInfo,
        Part,
        PartBuffers,
        PartLimits,
        PutOptions,
        SignedAnswer,
        SignedForm,
        SignMethod,
    )

__all__ = (
    "Driver",
    "ObjectVersion",
    "translate_os_error",
)


class ObjectVersion(ABC):
    """One version of an object, open for reading. Whoever opened it closes it."""

    @property
    @abstractmethod
    def info(self) -> ObjectInfo:
        """What the store knows about it, with its path as the key."""

    @abstractmethod
    def read_at_hand(self, start: int, end: int) -> bytes:
        """Return all bytes of a range if they need not be waited for and are few, else ``b""``."""

    @abstractmethod
    def blocks(self, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a range as `Driver.get_async` does, from this version."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds. Closing it twice is no error."""


class Driver(ABC):
    """One kind of store as seven operations, each sync and async. Users call it through a `StorageBackend`.

    What the backend has done before it calls a driver
        Keys are checked, joined with the prefix and never hostile. Ranges are non-negative and not empty. Content is
        counted, hashed and limited on its way. Content types and metadata are printable ASCII. Expiry is within bounds.

    What a driver always guarantees
        * ``put`` is atomic. Nobody sees partial content at any time. If the blocks raise, the task is cancelled or the
          process dies, the key still holds the old object or none, and ``clean`` removes hidden leftovers.
        * ``get`` reads exactly the requested range, in blocks of at most a few MiB, and raises
          `ObjectChangedError` rather than mix two versions of an object or end early.
        * A missing object is `ObjectNotFoundError` or an error that ``translate`` turns into it. ``delete`` of a
          missing object is a success.
        * The async half neither blocks the event loop nor leaves anything running behind, and works from any loop.

    ``litestar_filestore.testing.conformance`` defines these guarantees as tests; run it for a new driver.
    """

    name: ClassVar[str]
    """Name of the library or technique underneath, for example ``"obstore"``."""
    protocol: str
    """Name of the service, for example ``"s3"`` or ``"file"``."""
    capabilities: Capability = Capability.NONE
    """Abilities beyond the contract."""
    part_buffers: PartBuffers | None = None
    """Memory that an async put uses; ``None`` if each block is sent before the next one is read."""
    part_limits: PartLimits | None = None
    """What the store demands of parts, for `Capability.PARTS`; ``None`` without it."""
    puts_in_thread: bool = False
    """Whether `put_async` does its work in worker threads. Content that is in memory then goes to `put`, in one call
    there."""

    @property
    def place(self) -> str:
        """Where the objects are, for operators: a folder, or ``bucket/folder``; ``""`` if the driver cannot tell.

        It contains no secret. Nothing is contacted.
        """
        return ""

    @abstractmethod
    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Store all blocks under `path`, atomically, and return the store's info about the object.

        Args:
            path: Key with its prefix.
            blocks: Buffers of 1 to `BLOCK_BYTES` bytes, each valid until the next is requested; none for an empty
                object. Let the iterator's exceptions pass.
            options: See `PutOptions`.

        Returns:
            Info with `key` equal to `path`; `etag`, `version_id` and `last_modified` where they cost no extra request.

        Raises:
            ObjectExistsError: If the key is taken and ``options.overwrite`` is false.
        """

    @abstractmethod
    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """`put` without blocking the event loop."""

    @abstractmethod
    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Yield the bytes of a range in order, in blocks of 1 byte to a few MiB.

        Args:
            path: Key with its prefix.
            start: First byte, from 0.
            end: Byte after the last one (exclusive), greater than `start`; ``None`` or a value past the end of the
                object means its end.

        Raises:
            ObjectNotFoundError: Before the first block.
            RangeNotSatisfiableError: If `start` is not 0 and not below the size of the object.
            ObjectChangedError: If the object was replaced or became shorter meanwhile.
        """

    @abstractmethod
    def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """`get` without blocking the event loop. This is an async generator; closing it frees its resources."""

    def version_at_hand(self, path: str) -> ObjectVersion | None:
        """Open an object on the event loop if nothing has to be waited for.

        Returns:
            The object, or ``None``, which says nothing about it: `open_version_async` or `head_async` says why.
        """
        del path
        return None

    async def open_version_async(self, path: str, start: int, end: int | None) -> ObjectVersion | None:
        """Open an object for a caller that needs its info, and then bytes from `start` to `end`.

        Args:
            path: Key with its prefix.
            start: First byte, from 0.
            end: Byte after the last one (exclusive), ``None`` for the end of the object; equal to `start` if it is not
                known yet whether bytes will be read.

        Returns:
            The object, or ``None`` if this costs the store more than `head_async` or `get_async` alone.

        Raises:
            ObjectNotFoundError: If there is none.
        """
        del path, start, end
        return None

    @abstractmethod
    def head(self, path: str) -> ObjectInfo:
        """Return the store's info about an object.

        Raises:
            ObjectNotFoundError: If there is none.
        """

    @abstractmethod
    async def head_async(self, path: str) -> ObjectInfo:
        """`head` without blocking the event loop."""

    @abstractmethod
    def delete(self, paths: Sequence[str]) -> None:
        """Delete exactly these objects; missing ones are not an error. Try all of them before raising an error."""

    @abstractmethod
    async def delete_async(self, paths: Sequence[str]) -> None:
        """`delete` without blocking the event loop."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the info of every object below `prefix`, in no promised order and with bounded memory.

        Args:
            prefix: Whole segments without a trailing slash (``"a/b"`` covers ``"a/b/c"``, not ``"a/bc"``), or ``""``.
        """

    @abstractmethod
    def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """`list` without blocking the event loop. An async generator."""

    @abstractmethod
    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy an object inside the store, atomically, on the server side where the store can do so.

        Raises:
            ObjectNotFoundError: If `source` is missing.
            ObjectExistsError: If `target` is taken and `overwrite` is false.
        """

    @abstractmethod
    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """`copy` without blocking the event loop."""

    def sign(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """Return a URL that allows its holder to use `method` on one object for `expires_in` seconds.

        Raises:
            UnsupportedOperationError: If the store cannot sign, or cannot sign this key correctly.
        """
        del path, method, expires_in
        raise UnsupportedOperationError(
            f"{self.protocol} storage has no signed URLs of its own; use storages.url_for(), which links to the "
            "application"
        )

    async def sign_async(self, path: str, *, method: SignMethod, expires_in: int) -> str:
        """`sign` without blocking the event loop."""
        return self.sign(path, method=method, expires_in=expires_in)

    def sign_answer(self, path: str, answer: SignedAnswer) -> str:
        """Return a URL to GET one object; the response has the headers of `answer`.

        Raises:
            UnsupportedOperationError: If the store cannot sign, or cannot sign this key or these headers.
        """
        del path, answer
        raise UnsupportedOperationError(
            f"{self.protocol} storage cannot set headers of the answer in a signed URL; use storages.url_for(), which "
            "links to the application"
        )

    async def sign_answer_async(self, path: str, answer: SignedAnswer) -> str:
        """`sign_answer` without blocking the event loop."""
        return self.sign_answer(path, answer)

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Begin an object that is put in parts, for `Capability.PARTS`. Nobody sees anything of it under `path`.

        A key may have several unfinished objects at a time. A driver that gives each of them its own content type and
        metadata takes them from here; the others take them when the object is finished.

        Returns:
            The name of the unfinished object: 1 to 1,024 characters of printable ASCII, opaque to the caller.

        Raises:
            ObjectExistsError: If the key is taken and ``options.overwrite`` is false, where that is known already.
        """
        del path, options
        raise self._without_parts()

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Store one part. It is durable when this returns.

        The same number again replaces the part. If this raises or is cancelled, the part must not be finished; what
        was sent of it is dropped at the end.

        Args:
            path: Key with its prefix.
            upload: What `begin_parts_async` returned, perhaps in another process.
            number: From 1 to ``part_limits.max_parts``.
            offset: First byte of the part in the object. Different parts do not overlap, unless one of them is dropped.
            blocks: As in `put`; not empty.
            size: Length of the part in bytes, where known beforehand; a hint, not a promise.

        Raises:
            ObjectNotFoundError: If the object has been finished or abandoned. Nothing of the part is kept then.
        """
        del path, upload, number, offset, blocks, size
        raise self._without_parts()

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Make the object of exactly these parts, atomically; parts that are not listed are dropped.

        No part that is put later changes the object.

        Args:
            path: Key with its prefix.
            upload: What `begin_parts_async` returned.
            parts: The parts in their order: numbers rise, each begins where the last one ended, and sizes are within
                the limits. Empty for an object of no bytes.
            options: The same as at the beginning. `overwrite` is what counts here.

        Raises:
            ObjectNotFoundError: If there is no such unfinished object, as after it has been finished or abandoned.
            ObjectExistsError: If the key is taken and ``options.overwrite`` is false; perhaps by this very object, if
                the process that finished it was killed before it had tidied up.
            ObjectChangedError: If a part is not there, or has been replaced. Some S3 servers, such as Ceph, refuse as
                well while there are parts that are not listed.
        """
        del path, upload, parts, options
        raise self._without_parts()

    def abandon_parts(self, path: str, upload: str) -> None:
        """Remove an unfinished object and its parts. Nothing happens if there is none, or to a finished one."""
        del path, upload
        raise self._without_parts()

    async def abandon_parts_async(self, path: str, upload: str) -> None:
        """`abandon_parts` without blocking the event loop."""
        self.abandon_parts(path, upload)

    async def sign_part_async(self, path: str, upload: str, number: int, *, expires_in: int, size: int | None) -> str:
        """Return a URL to PUT one part, for `Capability.SIGN_PARTS`; the answer has an ``ETag``.

        Args:
            path: Key with its prefix.
            upload: What `begin_parts_async` returned.
            number: From 1 to ``part_limits.max_parts``.
            expires_in: Lifetime of the URL in seconds.
            size: The only length in bytes that the store takes; ``None`` for any.
        """
        del path, upload, number, expires_in, size
        raise self._without_parts()

    async def list_parts_async(self, path: str, upload: str) -> Sequence[Part]:
        """Return the parts that have come, by their numbers, for `Capability.SIGN_PARTS`.

        Each begins where the one before it ends; the numbers show whether one is missing between them.

        Raises:
            ObjectNotFoundError: If there is no such unfinished object.
        """
        del path, upload
        raise self._without_parts()

    async def sign_form_async(self, path: str, policy: FormPolicy) -> SignedForm:
        """Return a form that puts an object, for `Capability.SIGN_FORM`.

        Until it expires, the form can be sent again and then replaces the object.
        """
        del path, policy
        raise UnsupportedOperationError(
            f"{self.protocol} storage takes no forms: put parts, or send the file to the application"
        )

    async def cors_async(self, rules: Sequence[Mapping[str, Any]] | None = None) -> Sequence[Mapping[str, Any]]:
        """Return what the bucket permits to pages of other origins, in the form of S3.

        Args:
            rules: Rules to set instead of those that there are; ``None`` changes nothing.
        """
        del rules
        raise UnsupportedOperationError(f"{self.protocol} storage has no rules for origins that could be set here")

    def _without_parts(self) -> UnsupportedOperationError:
        return UnsupportedOperationError(
            f"{self.protocol} storage does not join parts itself: call the methods of the backend, which joins them"
        )

    def local_path(self, path: str) -> Path:
        """Return the file that holds an object, for `Capability.LOCAL_PATH`. The file may be missing.

        Nothing is checked here. Before another program opens the path, the caller must call ``head``, which refuses
        what ``get`` refuses: a symbolic link or a folder.
        """
        del path
        raise UnsupportedOperationError(
            f"{self.protocol} storage has no local files; read the object with get() or FileObject.open()"
        )

    def start(self) -> None:  # noqa: B027  # most drivers have nothing to do here
        """Prepare what the first operation would otherwise set up; called at most once, before use."""

    async def start_async(self) -> None:  # noqa: B027  # most drivers have nothing to do here
        """`start` without blocking the event loop."""

    def close(self) -> None:  # noqa: B027  # most drivers have nothing to do here
        """Free connections and descriptors. A closed driver can be used again; it then reopens what it needs."""

    async def close_async(self) -> None:  # noqa: B027  # most drivers have nothing to do here
        """`close` without blocking the event loop; frees what belongs to the running loop."""

    def clean(self, older_than: float) -> int:
        """Remove what interrupted puts left in hidden places (temporary files, pending multipart uploads).

        Args:
            older_than: Minimum age in seconds; younger ones may still be in use.

        Returns:
            How many were removed.
        """
        del older_than
        return 0

    async def clean_async(self, older_than: float) -> int:
        """`clean` without blocking the event loop."""
        return self.clean(older_than)

    def translate(self, error: Exception) -> StorageError | None:
        """Return the error of this package that corresponds to an exception of the library underneath.

        Returns:
            An error without operation, backend and key (the backend fills them in), or ``None`` for an exception that
            is not the library's; that one reaches the caller unchanged.
        """
        return translate_os_error(error)


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def translate_os_error(error: Exception) -> StorageError | None:
    """Return the storage error that corresponds to an ``OSError``, or ``None`` for other exceptions.

    The messages only name the kind of error, because those of the operating system contain absolute paths.
    """
    if not isinstance(error, OSError):
        return None
    result: StorageError
    if isinstance(error, FileNotFoundError):
        result = ObjectNotFoundError("There is no such object: check the key and the backend's prefix")
    elif isinstance(error, FileExistsError):
        result = ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
    elif isinstance(error, (IsADirectoryError, NotADirectoryError)):
        result = InvalidKeyError("Another key uses this one as a folder, or the other way round")
    elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
        result = AccessDeniedError("The store does not allow this operation; check its permissions")
    elif error.errno in _FULL:
        result = StorageFullError("No space is left in the store")
    elif isinstance(error, (ConnectionError, TimeoutError)) or error.errno in _UNREACHABLE:
        result = BackendUnavailableError("The store cannot be reached or did not answer in time")
    else:
        result = StorageError(f"The store failed with {errno.errorcode.get(error.errno or 0, type(error).__name__)}")
    return result
