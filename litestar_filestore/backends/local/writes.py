"""One atomic write to a local folder: invisible until it is complete and on the disk.

Where the file system supports it, content goes to an unnamed file (``O_TMPFILE``, Linux), so a killed process leaves
nothing behind. Elsewhere it goes to a file in the reserved folder, which ``clean`` empties.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from litestar_filestore.backends.local.tree import sync_directory
from litestar_filestore.core.keys import RESERVED_SEGMENT

if TYPE_CHECKING:
    from litestar_filestore.backends.local.tree import Tree
    from litestar_filestore.core.types import Block

__all__ = ("LocalWriter",)

# ENOENT or, on ext4, EPERM: a delete has just removed the opened folder, because it was empty.
_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EPERM})
_NO_LINK = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_ATTEMPTS = 100
_DESCRIPTORS = "/proc/self/fd"


@cache
def _has_unnamed() -> bool:
    return hasattr(os, "O_TMPFILE") and Path(_DESCRIPTORS).is_dir()


class LocalWriter:
    """Writes one object. Every method blocks. Always call `discard` at the end, whatever happened."""

    def __init__(self, tree: Tree, path: str, *, overwrite: bool, fsync: bool, file_mode: int) -> None:
        """Prepare to write `path`; nothing is touched before `open`.

        Args:
            tree: The folder to write in.
            path: Path of the object in it.
            overwrite: Whether an object of that path may be replaced.
            fsync: Whether the object is on the disk when `publish` returns.
            file_mode: Permission bits of the object.
        """
        self._tree = tree
        self._path = path
        *self._folders, self._name = path.split("/")
        self._overwrite = overwrite
        self._fsync = fsync
        self._mode = file_mode
        self._descriptor = -1
        self._parent = -1
        self._temporary: str | None = None

    def open(self) -> None:
        """Create the file that receives the content; the first `write` does it otherwise.

        Raises:
            FileExistsError: If the path is taken and must not be replaced. This is raised before any content is read.
        """
        self._parent = parent = self._tree.walk(self._folders, create=True)
        if not self._overwrite and _is_there(self._name, parent):
            raise FileExistsError(errno.EEXIST, "taken")
        self._descriptor = self._unnamed(parent)
        if self._descriptor < 0:
            self._temporary = secrets.token_hex(16)
            with self._tree.open_folder([RESERVED_SEGMENT], create=True) as reserved:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._temporary, flags, self._mode, dir_fd=reserved)
        # Restore the configured bits that the umask has removed.
        os.fchmod(self._descriptor, self._mode)

    def _unnamed(self, parent: int) -> int:
        if not _has_unnamed():
            return -1
        try:
            return os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, self._mode, dir_fd=parent)
        except OSError as error:
            if error.errno in _NO_TMPFILE:
                return -1
            raise

    @property
    def descriptor(self) -> int:
        """The open file, for copies inside the kernel."""
        return self._descriptor

    def write(self, block: Block) -> None:
        """Append the whole block."""
        if self._descriptor < 0:
            self.open()
        written = os.write(self._descriptor, block)
        if written < len(block):
            self.write(memoryview(block)[written:])

    def publish(self) -> os.stat_result:
        """Give the content its name, durably, and return its status.

        Raises:
            FileExistsError: If the path was taken meanwhile and must not be replaced.
        """
        if self._descriptor < 0:
            self.open()
        if self._fsync:
            os.fsync(self._descriptor)
        for attempt in range(_ATTEMPTS):
            try:
                if self._parent < 0:
                    self._parent = self._tree.walk(self._folders, create=True)
                self._name_it(self._parent)
                if self._fsync:
                    sync_directory(self._parent)
                break
            except FileNotFoundError:
                # A delete pruned the folder after we opened it and before we linked into it: create it again.
                if attempt == _ATTEMPTS - 1:
                    raise
            finally:
                self._leave_folder()
        return os.fstat(self._descriptor)

    def _leave_folder(self) -> None:
        parent, self._parent = self._parent, -1
        if parent >= 0:
            os.close(parent)

    def _name_it(self, parent: int) -> None:
        if self._temporary is not None:
            self._name_temporary(parent, self._temporary)
            return
        try:
            self._link_unnamed(self._name, parent)
        except FileExistsError:
            if not self._overwrite:
                raise
            # link() never replaces: give the file a hidden name first, then rename that over the old object.
            self._temporary = secrets.token_hex(16)
            with self._tree.open_folder([RESERVED_SEGMENT], create=True) as reserved:
                self._link_unnamed(self._temporary, reserved)
            self._name_temporary(parent, self._temporary)

    def _link_unnamed(self, name: str, folder: int) -> None:
        os.link(f"{_DESCRIPTORS}/{self._descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)

    def _name_temporary(self, parent: int, temporary: str) -> None:
        with self._tree.open_folder([RESERVED_SEGMENT]) as reserved:
            if self._overwrite or not self._linked(parent, temporary, reserved):
                os.rename(temporary, self._name, src_dir_fd=reserved, dst_dir_fd=parent)
                self._temporary = None

    def _linked(self, parent: int, temporary: str, reserved: int) -> bool:
        try:
            os.link(temporary, self._name, src_dir_fd=reserved, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            # No hard links here (FAT, some network file systems), so look, then rename; two creators may both win.
            if _is_there(self._name, parent):
                raise FileExistsError(errno.EEXIST, "taken") from error
            return False
        return True

    def discard(self) -> None:
        """Close the file and remove its hidden name. Safe to call twice, and after `publish`."""
        self._leave_folder()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            with suppress(FileNotFoundError), self._tree.open_folder([RESERVED_SEGMENT]) as reserved:
                os.unlink(temporary, dir_fd=reserved)


def _is_there(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
