"""Writing and reading files of a file system with folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar_filestore.backends.fsspec_errors import FOLDER
from litestar_filestore.backends.fsspec_store import READ_BYTES, Reader, Upload
from litestar_filestore.errors import (
    BackendUnavailableError,
    InvalidKeyError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
)

if TYPE_CHECKING:
    from litestar_filestore.backends.fsspec_files import FileStore
    from litestar_filestore.backends.fsspec_found import FoundFile
    from litestar_filestore.core.types import Block, ObjectInfo

__all__ = ("FileReader", "FileUpload")


class FileUpload(Upload):
    """A file in the hidden folder that is moved to its key.

    Subclasses write in their own way by overriding `open`, `append`, `finish` and `discard`.
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
        """Send what is still here, and close the hidden file."""
        self._file.close()

    def discard(self) -> None:
        """Close the hidden file, which is going to be removed. It may be closed already."""
        if self._file is not None:
            self._file.close()

    def write(self, block: Block) -> None:
        """Append a block."""
        self._begin()
        self.append(block)
        self.size += len(block)

    def commit(self) -> ObjectInfo:
        """Close the hidden file, see that it is complete, and move it to its key."""
        self._begin()
        self.finish()
        found = self.store.look(self.hidden)
        if found is None or found.size != self.size:
            raise BackendUnavailableError("The store did not keep all bytes that it was sent")
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
                raise ObjectExistsError("There is already an object of that key")
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
                raise ObjectExistsError("There is already an object of that key") from error
            raise


class FileReader(Reader):
    """Reads a file from a position on.

    Subclasses read in their own way by overriding `open`, `read` and `shut`.
    """

    def __init__(self, store: FileStore, path: str, start: int, end: int | None) -> None:
        """Prepare to read the bytes in [`start`, `end`) of `path`."""
        self.store = store
        self.path = path
        self.offset = start
        """First byte that is not read yet."""
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
        """Return the next `size` bytes, fewer at the end of the file only."""
        if self._file.tell() != self.offset:
            self._file.seek(self.offset)
        return bytes(self._file.read(size))

    def check(self, found: FoundFile) -> None:
        """See whether the file is still the one that was opened; called before the last block is returned.

        Raises:
            ObjectChangedError: If it is another one.
        """
        now = self.store.look(self.store.full(self.path))
        if now is None or now.stamp != found.stamp:
            raise ObjectChangedError("The object was replaced while it was read")

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
            raise ObjectChangedError("The object became shorter while it was read")
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
            raise ObjectNotFoundError("There is no such object")
        if self.offset and self.offset >= found.size:
            raise RangeNotSatisfiableError("The range starts behind the end of the object", size=found.size)
        return found
