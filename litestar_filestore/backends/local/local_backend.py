"""Objects as files in a local folder: durable, atomic, and never outside the folder."""

from __future__ import annotations

import asyncio
import math
import os
import time
from contextlib import aclosing, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from litestar_filestore.backends.local.reads import LocalReader, info_of
from litestar_filestore.backends.local.tree import Tree, sync_directory
from litestar_filestore.backends.local.unfinished import Unfinished, is_in_parts
from litestar_filestore.backends.local.writes import LocalWriter
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.driver import Driver
from litestar_filestore.core.keys import RESERVED_SEGMENT, is_unfinished
from litestar_filestore.core.sources import AsyncFeed
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import BLOCK_BYTES, PARTS_KEPT_SECONDS, Capability, ObjectInfo, Part, PartLimits
from litestar_filestore.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from litestar_filestore.core.types import Block, PutOptions

__all__ = (
    "LocalBackend",
    "LocalDriver",
)

_LIST_PAGE = 1000


class LocalDriver(Driver):
    """Files below one folder, one per object, the key as its path.

    A put writes to an unnamed file, syncs it, links it to its key and syncs the folder. Once the put has returned, the
    object survives a power cut. Symbolic links below the root are refused, not followed.
    """

    name: ClassVar[str] = "local"
    protocol = "file"
    capabilities = Capability.PUT_IF_ABSENT | Capability.LOCAL_PATH | Capability.PARTS
    part_limits = PartLimits(keeps_seconds=PARTS_KEPT_SECONDS)
    puts_in_thread = True

    def __init__(self, root: Path, *, fsync: bool = True, file_mode: int = 0o600, directory_mode: int = 0o700) -> None:
        """Use the folder `root`; it is created at the first use.

        Args:
            root: Absolute path, or one that starts with ``~``.
            fsync: Whether a put is on the disk when it returns. Turn it off only for tests and throw-away data.
            file_mode: Permission bits of objects. A web server that reads them itself needs more than the default.
            directory_mode: Permission bits of folders.

        Raises:
            ConfigurationError: If `root` is relative, and would depend on where the process was started.
        """
        if not root.expanduser().is_absolute():
            raise ConfigurationError(
                f"The root of local storage must be an absolute path, not {str(root)!r}, which depends on where the "
                f"process was started: write Path({str(root)!r}).absolute() or '/var/lib/app/{root.name}'"
            )
        self._tree = Tree(root, fsync=fsync, directory_mode=directory_mode)
        self._fsync = fsync
        self._file_mode = file_mode

    @property
    def root(self) -> Path:
        """The folder, with symbolic links in its own path resolved."""
        return self._tree.root

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.root)

    # -- writing

    def put(self, path: str, blocks: Iterator[Block], options: PutOptions) -> ObjectInfo:
        """Write to a hidden file, then link it into place."""
        writer = self._writer(path, overwrite=options.overwrite)
        try:
            writer.open()
            for block in blocks:
                writer.write(block)
            return info_of(path, writer.publish())
        finally:
            writer.discard()

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Write to a hidden file, one block per thread hop, then link it into place."""
        writer = self._writer(path, overwrite=options.overwrite)
        try:
            if not options.overwrite:
                await run_blocking(writer.open)
            async for block in blocks:
                await run_blocking(partial(writer.write, block))
            return info_of(path, await run_blocking(partial(_finished, writer)))
        except BaseException:
            await run_blocking(writer.discard)
            raise

    def _writer(self, path: str, *, overwrite: bool) -> LocalWriter:
        return LocalWriter(self._tree, path, overwrite=overwrite, fsync=self._fsync, file_mode=self._file_mode)

    async def begin_parts_async(self, path: str, options: PutOptions) -> str:
        """Create the hidden file that will be the object."""
        unfinished = self._unfinished(path, None, overwrite=options.overwrite)
        await run_blocking(unfinished.create)
        return unfinished.upload

    async def put_part_async(
        self, path: str, upload: str, number: int, offset: int, blocks: AsyncIterator[Block], *, size: int | None
    ) -> Part:
        """Write at the offset, and sync: all in one hop to a thread if it is in memory, otherwise block by block."""
        unfinished, done = self._unfinished(path, upload), 0
        if isinstance(blocks, AsyncFeed) and (held := blocks.take_all()) is not None:
            done = sum(len(block) for block in held)
            await run_blocking(partial(unfinished.write_at, held, offset, sync=True))
            return Part(number, offset, done)
        async for block in blocks:
            is_last = done + len(block) == size
            await run_blocking(partial(unfinished.write_at, [block], offset + done, sync=is_last))
            done += len(block)
        if done != size:
            await run_blocking(unfinished.sync)
        return Part(number, offset, done)

    async def finish_parts_async(
        self, path: str, upload: str, parts: Sequence[Part], options: PutOptions
    ) -> ObjectInfo:
        """Give the file its name."""
        size = sum(part.size for part in parts)
        unfinished = self._unfinished(path, upload, overwrite=options.overwrite)
        return info_of(path, await run_blocking(partial(unfinished.finish, size)))

    def abandon_parts(self, path: str, upload: str) -> None:
        """Remove the hidden file."""
        self._unfinished(path, upload).remove()

    async def abandon_parts_async(self, path: str, upload: str) -> None:
        """`abandon_parts` in a worker thread."""
        await run_blocking(partial(self.abandon_parts, path, upload))

    def _unfinished(self, path: str, upload: str | None, *, overwrite: bool = False) -> Unfinished:
        return Unfinished(self._tree, path, upload, overwrite=overwrite, fsync=self._fsync, file_mode=self._file_mode)

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy inside the kernel where the system can do so, without passing the bytes through Python."""
        with LocalReader.open(self._tree, source) as reader:
            writer = self._writer(target, overwrite=overwrite)
            try:
                writer.open()
                reader.copy_to(writer.descriptor)
                writer.publish()
            finally:
                writer.discard()

    async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
        """`copy` in a worker thread."""
        await run_blocking(partial(self.copy, source, target, overwrite=overwrite))

    def delete(self, paths: Sequence[str]) -> None:
        """Unlink the files, and remove folders that become empty."""
        folders: dict[str, list[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, []).append(name)
        for folder, names in folders.items():
            self._delete_in(folder.split("/") if folder else [], names)

    def _delete_in(self, folder: list[str], names: list[str]) -> None:
        try:
            with self._tree.open_folder(folder) as descriptor:
                for name in names:
                    with suppress(FileNotFoundError, IsADirectoryError):
                        os.unlink(name, dir_fd=descriptor)
                if self._fsync:
                    sync_directory(descriptor)
        except (FileNotFoundError, NotADirectoryError) as error:
            if isinstance(error, StorageError):
                raise
            return
        self._tree.prune(folder)

    async def delete_async(self, paths: Sequence[str]) -> None:
        """`delete` in a worker thread."""
        await run_blocking(partial(self.delete, paths))

    # -- reading

    def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Read one version of the object to its end, even if it is replaced meanwhile."""
        with LocalReader.open(self._tree, path) as reader:
            offset, stop = reader.bounds(start, end)
            while offset < stop:
                block = reader.read(offset, min(BLOCK_BYTES, stop - offset))
                offset += len(block)
                yield block

    async def get_async(self, path: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """`get` without blocking: reads cached blocks directly and the others in a worker thread."""
        with await self._open_async(path, start, end) as reader:
            async with aclosing(reader.blocks(start, end)) as blocks:
                async for block in blocks:
                    yield block

    async def _open_async(self, path: str, start: int, end: int | None) -> LocalReader:
        # At most one thread hop: what must be waited for is opened, described and begun to read in the same one.
        if (reader := LocalReader.at_hand(self._tree, path)) is not None:
            return reader
        return await run_blocking(partial(LocalReader.open_at, self._tree, path, start, end))

    def version_at_hand(self, path: str) -> LocalReader | None:
        """Open the file on the event loop if the system has all that this needs in memory."""
        return LocalReader.at_hand(self._tree, path) if self._is_read_as_here else None

    async def open_version_async(self, path: str, start: int, end: int | None) -> LocalReader | None:
        """Open the file, on the event loop or in a worker thread that reads the first block as well."""
        return await self._open_async(path, start, end) if self._is_read_as_here else None

    @property
    def _is_read_as_here(self) -> bool:
        # A subclass may change what is read: decrypt it, for example.
        return type(self).get_async is LocalDriver.get_async and type(self).head_async is LocalDriver.head_async

    def head(self, path: str) -> ObjectInfo:
        """Return the status of the file."""
        return info_of(path, self._tree.status(path))

    async def head_async(self, path: str) -> ObjectInfo:
        """`head` on the event loop where it need not wait, else in a worker thread."""
        if (reader := LocalReader.at_hand(self._tree, path)) is not None:
            with reader:
                await asyncio.sleep(0)  # whoever asks in a loop must not keep all others waiting
                return reader.info
        return await run_blocking(partial(self.head, path))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Walk the folders; one descriptor per level is open at a time."""
        try:
            yield from self._walk(tuple(prefix.split("/")) if prefix else ())
        except (FileNotFoundError, NotADirectoryError) as error:
            if isinstance(error, StorageError):
                raise

    def _walk(self, folder: tuple[str, ...]) -> Iterator[ObjectInfo]:
        with self._tree.open_folder(folder) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if not folder and entry.name == RESERVED_SEGMENT:
                    continue
                path = "/".join((*folder, entry.name))
                try:
                    if entry.is_dir(follow_symlinks=False):
                        yield from self._walk((*folder, entry.name))
                    elif entry.is_file(follow_symlinks=False):
                        yield info_of(path, entry.stat(follow_symlinks=False))
                except FileNotFoundError:  # deleted while we walked
                    continue

    async def list_async(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """`list` in pages of 1,000, each read in a worker thread."""
        infos = self.list(prefix)
        while page := await run_blocking(lambda: [*islice(infos, _LIST_PAGE)]):
            for info in page:
                yield info

    def local_path(self, path: str) -> Path:
        """Return the file of an object."""
        return self.root.joinpath(*path.split("/"))

    # -- life

    def start(self) -> None:
        """Create the root and check that it can be used."""
        os.close(self._tree.open_root())

    async def start_async(self) -> None:
        """`start` in a worker thread."""
        await run_blocking(self.start)

    def clean(self, older_than: float) -> int:
        """Remove temporary files that nobody has written to for `older_than` seconds.

        What is put in parts is spared for a week after its last part.
        """
        removed = 0
        with self._tree.open_folder([RESERVED_SEGMENT], create=True) as descriptor:
            for name in os.listdir(descriptor):  # noqa: PTH208  # of a descriptor, not of a path
                least = _least_age(name, older_than)
                with suppress(FileNotFoundError):
                    if time.time() - os.stat(name, dir_fd=descriptor).st_mtime >= least:
                        os.unlink(name, dir_fd=descriptor)
                        removed += 1
        return removed

    async def clean_async(self, older_than: float) -> int:
        """`clean` in a worker thread."""
        return await run_blocking(partial(self.clean, older_than))


def _least_age(name: str, older_than: float) -> float:
    """Return the age in seconds at which ``clean`` removes a file of the reserved folder; some stay forever."""
    if is_in_parts(name):
        return max(older_than, PARTS_KEPT_SECONDS)
    return older_than if is_unfinished(name) else math.inf


def _finished(writer: LocalWriter) -> os.stat_result:
    status = writer.publish()
    writer.discard()
    return status


class LocalBackend(StorageBackend):
    """A backend for a folder on this machine; needs no extra."""

    def __init__(
        self,
        key: str,
        root: str | os.PathLike[str],
        *,
        fsync: bool = True,
        file_mode: int = 0o600,
        directory_mode: int = 0o700,
        **options: Any,
    ) -> None:
        """Store below `root`; see `LocalDriver` for the other arguments and `StorageBackend` for the options."""
        driver = LocalDriver(Path(root), fsync=fsync, file_mode=file_mode, directory_mode=directory_mode)
        super().__init__(key, driver=driver, **options)
