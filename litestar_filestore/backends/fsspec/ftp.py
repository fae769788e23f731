"""FTP (RFC 959, 3659): uses the connection of fsspec's file system for commands, and a separate one per transfer.

fsspec's own files open a new data connection for every 64 KiB, and end a read with a command that servers answer in
different ways. Here a transfer is one stream, and to give it up closes its connection.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from litestar_filestore.backends.fsspec.folders import FileReader, FileStore, FileUpload
from litestar_filestore.backends.fsspec.fsspec_errors import is_named
from litestar_filestore.backends.fsspec.store import FoundFile
from litestar_filestore.errors import ObjectExistsError

if TYPE_CHECKING:
    from collections.abc import Generator

    from litestar_filestore.backends.fsspec.store import Place
    from litestar_filestore.core.types import Block, PutOptions

__all__ = ("FtpStore",)

_IDLE_SECONDS = 5.0
"""After a pause this long, the connection is tested before it is used: servers close idle connections."""
_KINDS = {"dir": "directory", "file": "file"}


class FtpStore(FileStore):
    """Files on an FTP server.

    On Unix servers, a rename replaces the target. Others may refuse it; nothing can be overwritten there.
    """

    @classmethod
    def complete_options(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Add a timeout, and ask the server instead of using a cached listing."""
        return {"timeout": 15, "use_listings_cache": False, **options}

    def __init__(self, fs: Any, place: Place) -> None:
        """Store objects of the instance `fs` in `place`."""
        super().__init__(fs, place)
        self._turn = threading.Lock()
        self._used = time.monotonic()

    def full(self, path: str) -> str:
        """Return the absolute name of a file."""
        return "/" + super().full(path).lstrip("/")

    @contextmanager
    def commands(self) -> Generator[Any]:
        """Lend the open command connection to one thread at a time."""
        with self._turn:
            if time.monotonic() - self._used > _IDLE_SECONDS and not self._is_open():
                self.fs.ftp.close()
                self.fs._connect()  # noqa: SLF001  # as fsspec itself does after an error
            try:
                yield self.fs.ftp
            finally:
                self._used = time.monotonic()

    def _is_open(self) -> bool:
        try:
            self.fs.ftp.voidcmd("NOOP")
        except Exception as error:
            if isinstance(error, (EOFError, OSError)) or is_named(error, "Error"):
                return False
            raise
        return True

    def connect(self) -> Any:
        """Return a file system with a connection for one transfer, in binary mode."""
        options = {**self.fs.storage_options, "skip_instance_cache": True}
        fs = type(self.fs)(*self.fs.storage_args, **options)
        fs.ftp.voidcmd("TYPE I")
        return fs

    def look(self, full: str) -> FoundFile | None:
        """Request the facts of one name (MLST), or search its folder if the server lacks that command."""
        with self.commands() as ftp:
            try:
                answer: str = ftp.sendcmd(f"MLST {full}")
            except Exception as error:
                if _code(error) == "550":
                    return None
                if _code(error) not in {"500", "502", "504"}:
                    raise
            else:
                return FoundFile(_facts(answer.splitlines()[1].strip()))
            return super().look(full)

    def entries(self, full: str) -> list[tuple[str, FoundFile]]:
        """List a folder."""
        with self.commands():
            return super().entries(full)

    def remove(self, full: str) -> None:
        """Remove a file; a missing one is fine."""
        try:
            with self.commands() as ftp:
                ftp.delete(full)
        except Exception as error:
            if _code(error) != "550" or self.look(full) is not None:
                raise

    def move(self, source: str, target: str, *, overwrite: bool) -> None:
        """Rename a file."""
        if not overwrite and self.look(target) is not None:
            raise ObjectExistsError("There is already an object of that key: choose another, or overwrite=True")
        with self.commands() as ftp:
            ftp.rename(source, target)

    def make_one_folder(self, full: str) -> None:
        """Make a folder."""
        with self.commands() as ftp:
            ftp.mkd(full)

    def says_missing(self, error: Exception) -> bool:
        """Return whether an error may mean that a folder is missing."""
        return _code(error) in {"550", "553"}

    def upload(self, path: str, options: PutOptions) -> FileUpload:
        """Begin a put."""
        return _FtpUpload(self, path, overwrite=options.overwrite)

    def reader(self, path: str, start: int, end: int | None) -> FileReader:
        """Begin a read."""
        return _FtpReader(self, path, start, end)

    def close(self) -> None:
        """Close the connection for commands."""
        with self._turn:
            self.fs.ftp.close()


class _FtpUpload(FileUpload):
    store: FtpStore
    _transfer: Any = None

    def open(self) -> None:
        self._transfer = self.store.connect()
        self._file = self.store.in_folder(self.hidden, lambda: self._transfer.ftp.transfercmd(f"STOR {self.hidden}"))

    def append(self, block: Block) -> None:
        try:
            self._file.sendall(block)
        except OSError:
            self._transfer.ftp.voidresp()  # says why the server stopped the transfer
            raise

    def finish(self) -> None:
        if hasattr(self._file, "unwrap"):
            self._file.unwrap()  # TLS: without a proper close, anybody could have cut the stream
        self._file.close()
        self._transfer.ftp.voidresp()
        self._transfer.ftp.close()

    def discard(self) -> None:
        super().discard()
        if self._transfer is not None:
            self._transfer.ftp.close()


class _FtpReader(FileReader):
    store: FtpStore
    _transfer: Any = None

    def open(self) -> FoundFile:
        found = self.store.find(self.path)
        if self.offset < found.size:
            self._transfer = self.store.connect()
            full = self.store.full(self.path)
            self._file = self._transfer.ftp.transfercmd(f"RETR {full}", rest=self.offset or None)
        return found

    def read(self, size: int) -> bytes:
        block = bytearray()
        while len(block) < size and (piece := self._file.recv(size - len(block))):
            block += piece
        return bytes(block)

    def shut(self) -> None:
        super().shut()
        if self._transfer is not None:
            self._transfer.ftp.close()


def _code(error: Exception) -> str:
    return str(error)[:3] if is_named(error, "error_perm", "error_temp") else ""


def _facts(line: str) -> dict[str, Any]:
    """Return the facts of a line of MLST (RFC 3659 §7.2) as fsspec has them."""
    facts = dict(fact.lower().split("=", 1) for fact in line.partition(" ")[0].split(";") if "=" in fact)
    return {**facts, "type": _KINDS.get(facts.get("type", ""), "other")}
