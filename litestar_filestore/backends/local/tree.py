"""A folder as a tree of descriptors: no key can lead out of it, whatever the folder contains.

Each step opens one segment relative to the descriptor of its parent with ``O_NOFOLLOW``. To check a path first and open
it afterwards would leave a gap in which an attacker can swap a folder for a symbolic link (compare GHSA advisories on
``startswith`` and ``realpath`` checks in static file servers).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from litestar_filestore.core.keys import RESERVED_SEGMENT
from litestar_filestore.errors import BucketNotFoundError, ConfigurationError, InvalidKeyError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

__all__ = (
    "Tree",
    "sync_directory",
)

_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# O_NONBLOCK: opening a planted FIFO would otherwise wait for a writer forever.
_FILE = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_ENCODING, _ENCODE_ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()

# openat2(2), for which Python has no function. RESOLVE_CACHED (Linux 5.12) fails rather than wait; the other flags
# refuse symbolic links, mounts below the root, and ways out of it.
_OPENAT2 = 437
_AT_FDCWD = -100
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH, _CACHED = 0x01, 0x02, 0x04, 0x08, 0x20
_UNKNOWN = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG})
"""Errors of a kernel, or of a filter around a container, that does not know the call."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES = ctypes.sizeof(_OpenHow)
_ROOT_HOW = _OpenHow(_DIRECTORY | getattr(os, "O_PATH", 0), 0, _CACHED | _NO_MAGICLINKS)
_FILE_HOW = _OpenHow(_FILE, 0, _CACHED | _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _NO_XDEV)


@cache
def _system_call() -> Callable[..., int]:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
    return call


_ATTEMPTS = 100
"""How often to recreate a folder that others keep removing."""


def sync_directory(descriptor: int) -> None:
    """Make the entries of a folder durable, on file systems that can sync a folder."""
    with suppress(OSError):
        os.fsync(descriptor)


class Tree:
    """The folder that holds all objects of a local driver."""

    def __init__(self, root: Path, *, fsync: bool, directory_mode: int) -> None:
        """Use `root`, which is created at the first use.

        Args:
            root: Folder; symbolic links in its own path are resolved once, here.
            fsync: Whether to make new folders durable.
            directory_mode: Permission bits of new folders.

        Raises:
            ConfigurationError: On systems without descriptor-relative calls, such as Windows.
        """
        if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
            raise ConfigurationError(
                "Local storage needs a POSIX system: this one cannot open files relative to folders"
            )
        self.root = root.expanduser().resolve()
        self._root = str(self.root)
        self._fsync = fsync
        self._mode = directory_mode
        self._seen = False
        self._root_name = os.fsencode(self.root)
        self._knows_openat2 = sys.platform == "linux" and hasattr(os, "RWF_NOWAIT")
        self._prompt_device: int | None = None

    def open_root(self) -> int:
        """Return a descriptor of the root, which the caller closes; the first use creates it.

        Raises:
            ConfigurationError: If the root, or what leads to it, is a file.
            BucketNotFoundError: If the root existed before and is gone: an unmounted disk must not look like an empty
                store.
        """
        if not self._seen:
            try:
                self.root.mkdir(mode=self._mode, parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise ConfigurationError(
                    f"The root of local storage is a folder, but {self.root.name!r}, or a folder above it, is a file: "
                    "name another folder, or move the file away"
                ) from error
            self._seen = True
        try:
            return os.open(self._root, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BucketNotFoundError("The root folder of this backend is gone; is its disk mounted?") from error

    @contextmanager
    def open_folder(self, segments: Sequence[str], *, create: bool = False) -> Generator[int]:
        """Yield a descriptor of the folder that `segments` lead to.

        Raises:
            FileNotFoundError: If it does not exist and `create` is false.
            InvalidKeyError: If a segment is a symbolic link.
        """
        descriptor = self.walk(segments, create=create)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def walk(self, segments: Sequence[str], *, create: bool) -> int:
        """`open_folder` for a caller that closes the descriptor itself."""
        for _ in range(_ATTEMPTS if create else 0):
            try:
                return self._walk_once(segments, create=True)
            except BucketNotFoundError:
                raise
            except FileNotFoundError:  # a delete removed a folder that had just become empty
                continue
        return self._walk_once(segments, create=create)

    def _walk_once(self, segments: Sequence[str], *, create: bool) -> int:
        current = self.open_root()
        try:
            for segment in segments:
                following = self._step(current, segment, create=create)
                os.close(current)
                current = following
        except BaseException:
            os.close(current)
            raise
        return current

    def _step(self, parent: int, segment: str, *, create: bool) -> int:
        try:
            return os.open(segment, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
            with suppress(FileExistsError):  # another writer was faster
                os.mkdir(segment, self._mode, dir_fd=parent)
            if self._fsync:
                sync_directory(parent)
            return os.open(segment, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            _refuse_link(parent, segment, error)
            raise

    @contextmanager
    def _open_parent(self, path: str) -> Generator[tuple[int, str]]:
        *folders, name = path.split("/")
        try:
            with self.open_folder(folders) as descriptor:
                yield descriptor, name
        except NotADirectoryError as error:  # "a/b" where "a" is an object: does not exist, as in any other store
            raise FileNotFoundError(errno.ENOENT, "no such object") from error

    def open_file(self, path: str) -> tuple[int, os.stat_result]:
        """Return a readable descriptor of an object, which the caller must close, and its status.

        Raises:
            FileNotFoundError: If there is none.
            InvalidKeyError: If it is a symbolic link.
        """
        with self._open_parent(path) as (parent, name):
            try:
                descriptor = os.open(name, _FILE, dir_fd=parent)
            except OSError as error:
                _refuse_link(parent, name, error)
                raise
        try:
            status = os.fstat(descriptor)
            check_regular(status)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor, status

    def watch_promptness(self, descriptor: int, status: os.stat_result) -> None:
        """Find out with an open object whether `open_at_hand` may be asked for others; blocks.

        On a file system of the network, or of another process, an open may wait for an answer even if its names are
        cached. Such file systems do not say which bytes are in memory, either, and that is what is asked here.
        """
        if self._prompt_device is not None or not self._knows_openat2 or self.root.stat().st_dev != status.st_dev:
            return
        try:
            os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            pass
        except OSError:  # EOPNOTSUPP
            self._knows_openat2 = False
            return
        self._prompt_device = status.st_dev

    def open_at_hand(self, path: str) -> tuple[int, os.stat_result] | None:
        """Return what `open_file` returns, if the system has all of it in memory and need not wait; else ``None``.

        ``None`` says nothing about the object: `open_file` says what is wrong.
        """
        if self._prompt_device is None:
            return None
        root = self._openat2(_AT_FDCWD, self._root_name, _ROOT_HOW)
        if root < 0:
            return None
        descriptor = self._openat2(root, path.encode(_ENCODING, _ENCODE_ERRORS), _FILE_HOW)
        os.close(root)
        if descriptor < 0:
            return None
        status = os.fstat(descriptor)
        if status.st_dev == self._prompt_device and stat.S_ISREG(status.st_mode):
            return descriptor, status
        os.close(descriptor)
        if status.st_dev != self._prompt_device:  # another disk is mounted at the root by now
            self._prompt_device = None
        return None

    def _openat2(self, parent: int, name: bytes, how: _OpenHow) -> int:
        descriptor = _system_call()(_OPENAT2, parent, name, how, _HOW_BYTES)
        if descriptor < 0 and ctypes.get_errno() in _UNKNOWN:
            self._knows_openat2, self._prompt_device = False, None
        return descriptor

    def status(self, path: str) -> os.stat_result:
        """Return the status of an object.

        Raises:
            FileNotFoundError: If there is none.
            InvalidKeyError: If it is a symbolic link.
        """
        with self._open_parent(path) as (parent, name):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        check_regular(status)
        return status

    def prune(self, folders: Sequence[str]) -> None:
        """Remove folders that became empty, the deepest first. A writer that needs one creates it again."""
        while folders and folders[0] != RESERVED_SEGMENT:
            try:
                with self.open_folder(folders[:-1]) as parent:
                    os.rmdir(folders[-1], dir_fd=parent)
            except OSError:  # not empty, gone, or not ours to remove
                return
            folders = folders[:-1]


def check_regular(status: os.stat_result) -> None:
    """Raise unless `status` belongs to a regular file.

    Raises:
        InvalidKeyError: For a symbolic link.
        ObjectNotFoundError: For a folder, FIFO, socket or device.
    """
    if stat.S_ISLNK(status.st_mode):
        raise InvalidKeyError(
            "A symbolic link stands in the place of this object, and links are not followed: remove it"
        )
    if not stat.S_ISREG(status.st_mode):
        raise ObjectNotFoundError("There is no such object: check the key and the backend's prefix")


def _refuse_link(parent: int, segment: str, error: OSError) -> None:
    # O_NOFOLLOW gives ELOOP; with O_DIRECTORY, Linux gives ENOTDIR for a link as well as for a file.
    if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
        return
    if error.errno == errno.ENOTDIR and not stat.S_ISLNK(os.lstat(segment, dir_fd=parent).st_mode):
        return
    raise InvalidKeyError(
        "A symbolic link stands in the path of this key, and links are not followed: remove it"
    ) from error
