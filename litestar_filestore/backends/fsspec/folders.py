"""File systems with folders, through fsspec's blocking interface.

An upload goes to a hidden folder and is moved to its key when it is complete, because all of these file systems show a
file while it is being written, and keep a partial file if the writer fails.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, TypeVar

from litestar_filestore.backends.fsspec.fsspec_errors import FOLDER
from litestar_filestore.backends.fsspec.store import READ_BYTES, FoundFile, Page, Place, Reader, Store, Upload
from litestar_filestore.core.keys import RESERVED_SEGMENT, is_unfinished
from litestar_filestore.errors import (
    BackendUnavailableError,
    InvalidKeyError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar_filestore.core.types import Block, ObjectInfo, PutOptions

__all__ = (
    "FileReader",
    "FileStore",
    "FileUpload",
)


class FileUpload(Upload):
    """A file in the hidden folder that is moved to its key.

    Subclasses can override `open`, `append`, `finish` and `discard` to write in their own way.
    """

    def __init__(self, store: FileStore, path: str, *, overwrite: bool) -> None:
        """Prepare to write `path`."""
        self.store = store
        self.path = path
        self.hidden = store.hidden_name()
        self.size = 0
        """Bytes written so far."""
        self._overwrite = overwrite
        self._is_begun = False
        self._file: Any = None

    def open(self) -> None:
        """Open the hidden file."""
        self._file = self.store.in_folder(self.hidden, lambda: self.store.open(self.hidden, "wb"))

    def append(self, block: Block) -> None:
        """Write a block to the hidden file."""
        self._file.write(bytes(block))

    def finish(self) -> None:
        """Send what is still buffered, and close the hidden file."""
        self._file.close()

    def discard(self) -> None:
        """Close the hidden file before its removal. It may already be closed."""
        if self._file is not None:
            self._file.close()

    def write(self, block: Block) -> None:
        """Append a block."""
        self._begin()
        self.append(block)
        self.size += len(block)

    def commit(self) -> ObjectInfo:
        """Close the hidden file, check that it is complete, and move it to its key."""
        self._begin()
        self.finish()
        found = self.store.look(self.hidden)
        if found is None or found.size != self.size:
            raise BackendUnavailableError("The store did not keep all bytes that it was sent: store the file again")
        target = self.store.full(self.path)
        self.store.in_folder(target, lambda: self._move(target))
        return found.info(self.path)

    def abort(self) -> None:
        """Remove the hidden file."""
        if self._is_begun:
            try:
                self.discard()
            finally:
                self.store.remove(self.hidden)

    def _begin(self) -> None:
        if not self._is_begun:
            if not self._overwrite and self.store.look(self.store.full(self.path)) is not None:
                raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
            self._is_begun = True
            self.open()

    def _move(self, target: str) -> None:
        try:
            self.store.move(self.hidden, target, overwrite=self._overwrite)
        except Exception as error:
            found = self.store.look(target)
            if found is not None and found.is_folder:
                raise InvalidKeyError(FOLDER) from error
            if found is not None and not self._overwrite:
                raise ObjectExistsError(
                    "There is already an object of that key: choose another, or overwrite=True"
                ) from error
            raise


class FileReader(Reader):
    """Reads a file from a position on.

    Subclasses can override `open`, `read` and `shut` to read in their own way.
    """

    def __init__(self, store: FileStore, path: str, start: int, end: int | None) -> None:
        """Prepare to read the bytes in [`start`, `end`) of `path`."""
        self.store = store
        self.path = path
        self.offset = start
        """Offset of the first unread byte."""
        self.end = end
        self._found: FoundFile | None = None
        self._file: Any = None

    def open(self) -> FoundFile:
        """Open the file and return what it is.

        Raises:
            ObjectNotFoundError: If there is no file of that name.
        """
        found = self.store.find(self.path)
        self._file = self.store.open(self.store.full(self.path), "rb")
        return found

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end of the file."""
        if self._file.tell() != self.offset:
            self._file.seek(self.offset)
        return bytes(self._file.read(size))

    def check(self, found: FoundFile) -> None:
        """Check that the file is still the one that was opened; called before the last block is returned.

        Raises:
            ObjectChangedError: If it is another one.
        """
        now = self.store.look(self.store.full(self.path))
        if now is None or now.stamp != found.stamp:
            raise ObjectChangedError("The object was replaced while it was read: read it again")

    def shut(self) -> None:
        """Close the file, if it was opened."""
        if self._file is not None:
            self._file.close()

    def next(self) -> bytes:
        """Return the next block."""
        found = self._found
        if found is None:
            found = self._found = self._begin()
        stop = found.size if self.end is None else min(self.end, found.size)
        wanted = min(READ_BYTES, stop - self.offset)
        if wanted <= 0:
            return b""
        block = self.read(wanted)
        if len(block) != wanted:
            raise ObjectChangedError("The object became shorter while it was read: read it again")
        self.offset += wanted
        if self.offset == stop:
            self.check(found)
        return block

    def close(self) -> None:
        """Close the file."""
        self.shut()

    def _begin(self) -> FoundFile:
        found = self.open()
        if not found.is_file:
            raise ObjectNotFoundError("There is no such object: check the key and the backend's prefix")
        if self.offset and self.offset >= found.size:
            raise RangeNotSatisfiableError(
                "The range starts behind the end of the object: start before it", size=found.size
            )
        return found


T = TypeVar("T")

_BUFFER_BYTES = 4 * 1024 * 1024
"""Bytes that fsspec's file objects buffer before they send."""


class FileStore(Store):
    """Any file system that can move a file. Subclasses override what their protocol does better."""

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`."""
        super().__init__(fs, place)
        self.hidden = self.full(f"{place.prefix}/{RESERVED_SEGMENT}" if place.prefix else RESERVED_SEGMENT)
        """Folder of unfinished writes."""
        self._mover = _find_mover(fs)

    # -- names

    def full(self, path: str) -> str:
        """Return the name of a file for fsspec."""
        return self.place.root + path

    def hidden_name(self) -> str:
        """Return a new name in the hidden folder."""
        return f"{self.hidden}/{secrets.token_hex(16)}"

    # -- what the file system does; subclasses override this part

    def look(self, full: str) -> FoundFile | None:
        """Return what has this name, ``None`` if nothing does."""
        self.fs.invalidate_cache()
        try:
            return FoundFile(self.fs.info(full))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def entries(self, full: str) -> list[tuple[str, FoundFile]]:
        """Return the names in a folder and what they are; an empty list if the folder is gone."""
        self.fs.invalidate_cache()
        try:
            listed = self.fs.ls(full.rstrip("/") or full, detail=True)
        except FileNotFoundError:
            return []
        return [(entry["name"].rstrip("/").rpartition("/")[2], FoundFile(entry)) for entry in listed]

    def open(self, full: str, mode: str) -> Any:
        """Open a file of fsspec without read-ahead, which would cost memory and fetch bytes that nobody requested."""
        return self.fs.open(full, mode, block_size=_BUFFER_BYTES, cache_type="none")

    def remove(self, full: str) -> None:
        """Remove a file; a missing one is fine."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(full)

    def move(self, source: str, target: str, *, overwrite: bool) -> None:
        """Rename a file; it replaces an existing one only if `overwrite` is true."""
        self.refuse_taken(target, overwrite=overwrite)
        self.mover(source, target)

    @property
    def mover(self) -> Callable[[str, str], Any]:
        """The function that moves a file; it takes source and target.

        Raises:
            UnsupportedOperationError: If the file system has none.
        """
        if self._mover is None:
            raise UnsupportedOperationError(
                f"{type(self.fs).__name__} cannot move files, so a file could be read half-written: use another file "
                "system"
            )
        return self._mover

    def refuse_taken(self, target: str, *, overwrite: bool) -> None:
        """Raise if the target must not be replaced, or is a folder, which some servers would replace."""
        found = self.look(target)
        if found is not None and found.is_folder:
            raise InvalidKeyError(FOLDER)
        if found is not None and not overwrite:
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")

    def make_one_folder(self, full: str) -> None:
        """Make a folder whose parent exists; this may also make missing parents."""
        self.fs.makedirs(full, exist_ok=True)

    def close(self) -> None:
        """Do nothing; subclasses with a connection close it."""

    # -- what the driver asks for

    def upload(self, path: str, options: PutOptions) -> FileUpload:
        """Begin a put."""
        _ = self.mover  # fails now instead of at the end
        return FileUpload(self, path, overwrite=options.overwrite)

    def reader(self, path: str, start: int, end: int | None) -> FileReader:
        """Begin a read."""
        return FileReader(self, path, start, end)

    def head(self, path: str) -> ObjectInfo:
        """Return the info of a file."""
        return self.find(path).info(path)

    def delete(self, paths: Sequence[str]) -> None:
        """Remove files. Each is checked first: on some servers, removing a folder also removes everything in it."""
        failure: Exception | None = None
        for path in paths:
            full = self.full(path)
            try:
                found = self.look(full)
                if found is not None and found.is_file:
                    self.remove(full)
            except Exception as error:  # noqa: BLE001  # raised below, when all were tried
                failure = failure or error
        if failure is not None:
            raise failure

    def page(self, prefix: str, rest: Any) -> Page:
        """List one folder; the folders in it are for the next pages."""
        # Nothing lies below a file or a missing name; many file systems would list the file itself.
        if rest is None and prefix and not self.is_folder(self.full(prefix)):
            return Page([], None)
        waiting: list[str] = list(rest or [prefix])
        folder = waiting.pop()
        page = Page([], waiting)
        for name, found in self.entries(self.full(folder)):
            path = f"{folder}/{name}" if folder else name
            if found.is_file:
                page.infos.append(found.info(path))
            elif found.is_folder and self.full(path) != self.hidden:
                waiting.append(path)
        return page if waiting else Page(page.infos, None)

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy through this process: hardly any of these protocols can copy on the server."""
        upload = FileUpload(self, target, overwrite=overwrite)
        reader = self.reader(source, 0, None)
        try:
            while block := reader.next():
                upload.write(block)
            upload.commit()
        except BaseException:
            upload.abort()
            raise
        finally:
            reader.close()

    def clean(self, older_than: float) -> int:
        """Remove unfinished writes from the hidden folder."""
        if not self.is_folder(self.hidden):
            return 0
        before = time.time() - older_than
        old = [
            name
            for name, found in self.entries(self.hidden)
            if is_unfinished(name) and found.is_file and found.modified is not None and found.modified <= before
        ]
        for name in old:
            self.remove(f"{self.hidden}/{name}")
        return len(old)

    # -- folders

    def find(self, path: str) -> FoundFile:
        """Return a file.

        Raises:
            ObjectNotFoundError: If there is none; a folder does not count.
        """
        found = self.look(self.full(path))
        if found is None or not found.is_file:
            raise ObjectNotFoundError("There is no such object: check the key and the backend's prefix")
        return found

    def is_folder(self, full: str) -> bool:
        """Return whether there is a folder of that name."""
        found = self.look(full)
        return found is not None and found.is_folder

    def in_folder(self, full: str, action: Callable[[], T]) -> T:
        """Do something with a file; if it fails because the file's folder is missing, make the folder and try again."""
        try:
            return action()
        except Exception as error:
            folder = full.rpartition("/")[0]
            # The folder may exist by now, because another put made it.
            if not folder or not (self.says_missing(error) or self.look(folder) is None):
                raise
            self.make_folder(folder)
        return action()

    def says_missing(self, error: Exception) -> bool:
        """Return whether an error may mean that a folder is missing."""
        return isinstance(error, FileNotFoundError)

    def make_folder(self, full: str) -> None:
        """Make a folder and its parents; it is fine if somebody else was quicker.

        Raises:
            InvalidKeyError: If one of them is a file.
        """
        above = [full[:end] for end, char in enumerate(full) if char == "/" and end] + [full]
        for folder in above:
            found = self.look(folder)
            if found is None:
                self._make_or_find(folder)
            elif not found.is_folder:
                raise InvalidKeyError(FOLDER)

    def _make_or_find(self, folder: str) -> None:
        try:
            self.make_one_folder(folder)
        except Exception:
            if not self.is_folder(folder):
                raise


def _find_mover(fs: Any) -> Callable[[str, str], Any] | None:
    """Return the function with which `fs` moves one file, if any; never fsspec's fallback, which expands wildcards."""
    for name in ("mv_file", "mv"):
        if _is_own(fs, name) or _is_own(fs, f"_{name}"):
            mover: Callable[[str, str], Any] | None = getattr(fs, name, None)
            if mover is not None:
                return mover
    if _is_own(fs, "cp_file") or _is_own(fs, "_cp_file"):

        def copy_and_remove(source: str, target: str) -> None:
            fs.cp_file(source, target)
            fs.rm_file(source)

        return copy_and_remove
    return None


def _is_own(fs: Any, name: str) -> bool:
    owner = next((cls for cls in type(fs).__mro__ if name in vars(cls)), None)
    return owner is not None and owner.__name__ not in {"AbstractFileSystem", "AsyncFileSystem"}
