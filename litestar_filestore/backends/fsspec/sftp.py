"""SFTP, through sshfs (asyncssh) or through fsspec's own file system (paramiko).

Neither can be used as it is. sshfs copies files with a shell command, which SFTP-only servers lack, and reads a whole
file where only a range was requested. paramiko's connection must not be used by two threads at a time.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

from litestar_filestore.backends.fsspec.folders import FileReader, FileStore, FileUpload
from litestar_filestore.backends.fsspec.fsspec_errors import is_named
from litestar_filestore.backends.fsspec.running import InLoop, InTurn
from litestar_filestore.backends.fsspec.store import FoundFile
from litestar_filestore.errors import ObjectExistsError, UnsupportedOperationError

if TYPE_CHECKING:
    from litestar_filestore.backends.fsspec.running import Runner
    from litestar_filestore.backends.fsspec.store import Place
    from litestar_filestore.core.types import Block, PutOptions

__all__ = (
    "AsyncsshStore",
    "ParamikoStore",
)

_ANSWER_SECONDS = 30.0
_CANNOT_REPLACE = (
    "This SFTP server cannot replace a file in one step (posix-rename@openssh.com): delete the old one first"
)


class AsyncsshStore(FileStore):
    """Files on an SFTP server, through sshfs.

    ``posix-rename@openssh.com`` replaces a file. If the target must not be replaced, the protocol's own rename is used,
    which refuses an existing target; OpenSSH does that in one step.
    """

    protocol: ClassVar[str | None] = "sftp"

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Add timeouts."""
        return {"connect_timeout": 10, "login_timeout": 20, "keepalive_interval": 15, **options}

    @property
    def is_usable(self) -> bool:
        """Whether the connection is still open."""
        return not self.fs.client.is_closed()

    def open(self, full: str, mode: str) -> Any:
        """Open a file; the sizes of requests are negotiated with the server."""
        return self.fs.open(full, mode)

    def reader(self, path: str, start: int, end: int | None) -> FileReader:
        """Begin a read."""
        return _AsyncsshReader(self, path, start, end)

    def says_missing(self, error: Exception) -> bool:
        """Return whether an error may mean that a folder is missing."""
        return super().says_missing(error) or is_named(error, "SFTPNoSuchFile", "SFTPNoSuchPath")

    def move(self, source: str, target: str, *, overwrite: bool) -> None:
        """Rename a file."""
        if not overwrite and self.look(target) is not None:
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
        try:
            self.call("posix_rename" if overwrite else "rename", source, target)
        except Exception as error:
            if not is_named(error, "SFTPOpUnsupported"):
                raise
            if self.look(target) is not None:
                raise UnsupportedOperationError(_CANNOT_REPLACE) from error
            self.call("rename", source, target)

    def call(self, name: str, *arguments: str) -> Any:
        """Call a method of asyncssh's client."""

        async def request() -> Any:
            async with self.fs._pool.get() as channel:  # noqa: SLF001  # sshfs has no other way to it
                return await getattr(channel, name)(*arguments)

        return InLoop(self.fs.loop).call(request)

    def close(self) -> None:
        """Close the connection."""

        async def close() -> Any:
            await self.fs._pool.close()  # noqa: SLF001  # sshfs does this only when it is collected
            await self.fs._stack.aclose()  # noqa: SLF001

        InLoop(self.fs.loop).call(close)


class _AsyncsshReader(FileReader):
    store: AsyncsshStore

    def open(self) -> FoundFile:
        full = self.store.full(self.path)
        try:
            self._file = self.store.open(full, "rb")
        except Exception:
            found = self.store.look(full)
            if found is None or found.is_file:
                raise
            return found
        attributes = InLoop(self.store.fs.loop).call(self._file._file.stat)  # noqa: SLF001  # of the open file
        return FoundFile(self.store.fs._decode_attributes(attributes))  # noqa: SLF001

    def check(self, found: FoundFile) -> None:
        """Do nothing: an open file stays the same when another one takes its name."""


class ParamikoStore(FileStore):
    """Files on an SFTP server, through paramiko; see `AsyncsshStore` for how they are moved."""

    runner: ClassVar[type[Runner]] = InTurn

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Add timeouts."""
        return {"timeout": 10, "banner_timeout": 20, "auth_timeout": 20, **options}

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`."""
        super().__init__(fs, place)
        fs.ftp.get_channel().settimeout(_ANSWER_SECONDS)  # otherwise it waits forever

    @property
    def is_usable(self) -> bool:
        """Whether the connection is still open."""
        transport = self.fs.client.get_transport()
        return transport is not None and transport.is_active()

    def open(self, full: str, mode: str) -> Any:
        """Open a file, unbuffered."""
        return self.fs.ftp.open(full, mode, bufsize=0)

    def upload(self, path: str, options: PutOptions) -> FileUpload:
        """Begin a put."""
        return _ParamikoUpload(self, path, overwrite=options.overwrite)

    def reader(self, path: str, start: int, end: int | None) -> FileReader:
        """Begin a read."""
        return _ParamikoReader(self, path, start, end)

    def remove(self, full: str) -> None:
        """Remove a file; a missing one is fine."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.ftp.remove(full)

    def make_one_folder(self, full: str) -> None:
        """Make a folder."""
        self.fs.ftp.mkdir(full)

    def move(self, source: str, target: str, *, overwrite: bool) -> None:
        """Rename a file."""
        if not overwrite:
            if self.look(target) is not None:
                raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
            self.fs.ftp.rename(source, target)
        else:
            self.fs.ftp.posix_rename(source, target)

    def close(self) -> None:
        """Close the connection."""
        self.fs.client.close()


class _ParamikoUpload(FileUpload):
    def open(self) -> None:
        super().open()
        self._file.set_pipelined(True)  # or each 32 KiB would wait for a reply; errors are reported at the end

    def append(self, block: Block) -> None:
        self._file.write(bytes(block))


class _ParamikoReader(FileReader):
    store: ParamikoStore

    def open(self) -> FoundFile:
        full = self.store.full(self.path)
        try:
            self._file = self.store.open(full, "rb")
        except OSError:
            found = self.store.look(full)
            if found is None or found.is_file:
                raise
            return found
        return FoundFile(self.store.fs._decode_stat(self._file.stat()))  # noqa: SLF001  # of the open file

    def read(self, size: int) -> bytes:
        block: bytes = next(iter(self._file.readv([(self.offset, size)])))
        return block

    def check(self, found: FoundFile) -> None:
        """Do nothing: an open file stays the same when another one takes its name."""
