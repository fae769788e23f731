"""fsspec's memory file system: one dictionary per process, which all its instances share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

from litestar_filestore.backends.fsspec.fsspec_errors import FOLDER
from litestar_filestore.backends.fsspec.running import Inline
from litestar_filestore.backends.fsspec.store import Page, Reader, Store, Upload
from litestar_filestore.core.types import BLOCK_BYTES, Capability, ObjectInfo
from litestar_filestore.errors import (
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar_filestore.backends.fsspec.running import Runner
    from litestar_filestore.core.types import Block, PutOptions

__all__ = ("MemoryStore",)

_publishing = threading.Lock()
"""The store is shared by all instances, so the lock is as well."""


class MemoryStore(Store):
    """Objects in fsspec's shared memory, for tests. `PUT_IF_ABSENT` holds among the backends of this package."""

    runner: ClassVar[type[Runner]] = Inline
    capabilities: ClassVar[Capability] = Capability.PUT_IF_ABSENT | Capability.NATIVE_ASYNC

    def full(self, path: str) -> str:
        """Return the name of an object in fsspec's dictionary."""
        return "/" + f"{self.place.root}{path}".lstrip("/")

    def load(self, path: str) -> Any:
        """Return the current object; a put replaces it and never writes into it."""
        try:
            return self.fs.store[self.full(path)]
        except KeyError:
            raise ObjectNotFoundError("There is no such object: check the key and the backend's prefix") from None

    def publish(self, path: str, content: bytes, *, overwrite: bool) -> ObjectInfo:
        """Store `content` at once."""
        full = self.full(path)
        with _publishing:
            if not overwrite and full in self.fs.store:
                raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
            try:
                self.fs.pipe_file(full, content)
            except (FileExistsError, IsADirectoryError) as error:
                raise InvalidKeyError(FOLDER) from error
            return self.head(path)

    def upload(self, path: str, options: PutOptions) -> Upload:
        """Begin a put, which collects the blocks."""
        return _MemoryUpload(self, path, overwrite=options.overwrite)

    def reader(self, path: str, start: int, end: int | None) -> Reader:
        """Begin a read of the current version."""
        return _MemoryReader(self.load(path), start, end)

    def head(self, path: str) -> ObjectInfo:
        """Return size and time."""
        return _info(path, self.load(path))

    def delete(self, paths: Sequence[str]) -> None:
        """Forget the objects."""
        for path in paths:
            self.fs.store.pop(self.full(path), None)

    def page(self, prefix: str, rest: Any) -> Page:
        """List everything below `prefix`."""
        del rest
        cut = len(self.full(""))
        below = self.full(f"{prefix}/" if prefix else "")
        items = tuple(self.fs.store.items())  # at once: other threads go on writing
        return Page([_info(name[cut:], file) for name, file in items if name.startswith(below)], None)

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Store the same content under another key."""
        self.publish(target, self.load(source).getvalue(), overwrite=overwrite)

    def clean(self, older_than: float) -> int:
        """Do nothing: unfinished writes are not in the store."""
        del older_than
        return 0

    def close(self) -> None:
        """Do nothing: the objects belong to the process."""


class _MemoryUpload(Upload):
    def __init__(self, store: MemoryStore, path: str, *, overwrite: bool) -> None:
        self._store = store
        self._path = path
        self._overwrite = overwrite
        self._content = bytearray()

    def write(self, block: Block) -> None:
        self._content += block

    def commit(self) -> ObjectInfo:
        return self._store.publish(self._path, bytes(self._content), overwrite=self._overwrite)

    def abort(self) -> None:
        self._content.clear()


class _MemoryReader(Reader):
    def __init__(self, file: Any, start: int, end: int | None) -> None:
        self._content = file.getbuffer()  # not read(): all users of the object share its position
        size = len(self._content)
        if start and start >= size:
            raise RangeNotSatisfiableError("The range starts behind the end of the object: start before it", size=size)
        self._offset = start
        self._end = size if end is None else min(end, size)

    def next(self) -> bytes:
        block = bytes(self._content[self._offset : min(self._offset + BLOCK_BYTES, self._end)])
        self._offset += len(block)
        return block

    def close(self) -> None:
        self._content.release()


def _info(path: str, file: Any) -> ObjectInfo:
    return ObjectInfo(key=path, size=file.size, last_modified=file.modified.timestamp())
