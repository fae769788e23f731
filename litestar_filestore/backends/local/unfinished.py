"""An object that is put in parts: a hidden file that gets the object's name at the end.

Its name in the reserved folder differs from those of other unfinished writes, so that ``clean`` spares it for longer.
Each step opens the file anew by that name and holds a lock meanwhile: a request that was stalled while another one
finished or abandoned the object finds the name gone, and cannot write into what has been published.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from litestar_filestore.backends.local.tree import sync_directory
from litestar_filestore.backends.local.writes import LocalWriter
from litestar_filestore.core.keys import RESERVED_SEGMENT
from litestar_filestore.core.part_objects import unknown_upload
from litestar_filestore.errors import ObjectChangedError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from litestar_filestore.backends.local.tree import Tree
    from litestar_filestore.core.types import Block

__all__ = ("Unfinished", "is_in_parts")

_UPLOAD = re.compile(r"[0-9a-f]{32}")
_HIDDEN = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{16}\.parts")
_FILE = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


def is_in_parts(name: str) -> bool:
    """Return whether a file in the reserved folder is an object that is put in parts."""
    return _HIDDEN.fullmatch(name) is not None


class Unfinished(LocalWriter):
    """An object that is put in parts. Every method blocks; none needs `discard` afterwards."""

    def __init__(self, tree: Tree, path: str, upload: str | None = None, **options: Any) -> None:
        """Use the unfinished object `upload`, or prepare a new one; see `LocalWriter` for the other arguments."""
        super().__init__(tree, path, **options)
        self.upload = upload or secrets.token_hex(16)
        """Name of the unfinished object."""
        # With the path in it, the name of an unfinished object opens nothing under another key.
        self._hidden = f"{self.upload}.{hashlib.blake2b(path.encode(), digest_size=8).hexdigest()}.parts"

    def create(self) -> None:
        """Create the hidden file.

        Raises:
            FileExistsError: If the path is taken and must not be replaced.
        """
        if not self._overwrite and self._published() is not None:
            raise FileExistsError(errno.EEXIST, "taken")
        with self._tree.open_folder([RESERVED_SEGMENT], create=True) as reserved:
            descriptor = os.open(self._hidden, _FILE | os.O_CREAT | os.O_EXCL, self._mode, dir_fd=reserved)
            try:
                os.fchmod(descriptor, self._mode)
            finally:
                os.close(descriptor)
            if self._fsync:
                sync_directory(reserved)

    def write_at(self, blocks: Sequence[Block], offset: int, *, sync: bool) -> None:
        """Write the whole blocks, and make durable what was written so far if these are the last ones.

        Raises:
            ObjectNotFoundError: If the object has been finished or abandoned.
        """
        with self._opened(fcntl.LOCK_SH) as descriptor:
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    written = os.pwrite(descriptor, rest, offset)
                    rest, offset = rest[written:], offset + written
            if sync and self._fsync:
                os.fsync(descriptor)

    def sync(self) -> None:
        """Make what was written durable.

        Raises:
            ObjectNotFoundError: If the object has been finished or abandoned.
        """
        self.write_at([], 0, sync=True)

    def finish(self, size: int) -> os.stat_result:
        """Cut the file to `size` bytes, give it the object's name, durably, and return its status.

        Raises:
            FileExistsError: If the path is taken and must not be replaced.
            ObjectNotFoundError: If the object has been finished or abandoned.
            ObjectChangedError: If the file is shorter.
        """
        with self._opened(fcntl.LOCK_EX) as descriptor:
            if os.fstat(descriptor).st_size < size:
                raise ObjectChangedError("The last part is not in the store: put it again")
            os.ftruncate(descriptor, size)
            os.utime(descriptor)  # the object is as old as its name, not as its last part
            try:
                self._parent = self._tree.walk(self._folders, create=True)
                self._descriptor, self._temporary = os.dup(descriptor), self._hidden  # `publish` closes it
                status = self.publish()
            finally:
                self._temporary = None  # what could not be published stays unfinished
                self.discard()
            self.remove()
            return status

    def remove(self) -> None:
        """Remove the hidden name, if it is there."""
        if _UPLOAD.fullmatch(self.upload):
            with suppress(FileNotFoundError), self._tree.open_folder([RESERVED_SEGMENT]) as reserved:
                os.unlink(self._hidden, dir_fd=reserved)

    @contextmanager
    def _opened(self, lock: int) -> Generator[int]:
        """Yield a descriptor of the hidden file; while it is open, nobody finishes the object."""
        if _UPLOAD.fullmatch(self.upload) is None:
            raise unknown_upload()
        with self._tree.open_folder([RESERVED_SEGMENT], create=True) as reserved:
            try:
                descriptor = os.open(self._hidden, _FILE, dir_fd=reserved)
            except FileNotFoundError as error:
                raise unknown_upload() from error
            try:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, lock)
                self._check_hidden(descriptor, reserved)
                yield descriptor
            finally:
                os.close(descriptor)

    def _check_hidden(self, descriptor: int, reserved: int) -> None:
        """Refuse a file that was published or removed while we waited for the lock."""
        status = os.fstat(descriptor)
        try:
            named = os.stat(self._hidden, dir_fd=reserved, follow_symlinks=False)
        except FileNotFoundError as error:
            raise unknown_upload() from error
        # Two names: a process was killed after it had published the object, and before it removed the hidden name.
        published = self._published() if status.st_nlink > 1 else None
        if not os.path.samestat(named, status) or (published is not None and os.path.samestat(published, status)):
            raise unknown_upload()

    def _published(self) -> os.stat_result | None:
        try:
            return self._tree.status("/".join((*self._folders, self._name)))
        except FileNotFoundError:
            return None
