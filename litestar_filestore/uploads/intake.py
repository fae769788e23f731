"""Takes one file from a request into a backend: counts, checks and stores it, and lets the request own it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from litestar_filestore.core.new_file import NewFile
from litestar_filestore.core.registry import StorageRegistry, storages
from litestar_filestore.core.sources import LiveSource
from litestar_filestore.errors import BackendUnavailableError, ConfigurationError, FileRejectedError, FileTooLargeError
from litestar_filestore.uploads.limits import UploadLimits, file_limit
from litestar_filestore.validation.checking import FileCheck
from litestar_filestore.validation.rules import effective_rules, too_large_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator, Iterator, Sequence

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.rule import Rule
    from litestar_filestore.core.types import AsyncDataLike, Block
    from litestar_filestore.uploads.arrivals import Arrivals
    from litestar_filestore.uploads.plan import PlannedFile
    from litestar_filestore.uploads.storing import ApplicationStorer
    from litestar_filestore.validation.detect import Detector

__all__ = ("RequestFiles", "UploadSettings", "owned_by")

_SCOPE_KEY = "litestar_filestore.files"
_STORE_SECONDS = 1.0
"""How much longer than a client a store may take."""


@dataclass(frozen=True, kw_only=True)
class UploadSettings:
    """The part of an application's configuration that uploads need; built when the application starts."""

    registry: StorageRegistry = storages
    """Knows the backends."""
    backends: Sequence[StorageBackend] = ()
    """The application's own backends; a field that names none takes the only one."""
    limits: UploadLimits = field(default_factory=UploadLimits)
    """Limits that apply where no rule does."""
    rules: tuple[Rule, ...] = ()
    """Rules for every file; the rules of a field or column come first."""
    detector: Detector | None = None
    """Detects the types of files; ``None`` for the default detector."""


class RequestFiles:
    """Stores the files of one request, and owns each until a row takes it."""

    __slots__ = ("_files", "settings", "storer")

    def __init__(self, storer: ApplicationStorer, settings: UploadSettings) -> None:
        """Start empty.

        Args:
            storer: Stores content for the request, and gives up what is left at the end.
            settings: The application's settings for uploads.
        """
        self._files: list[FileObject] = []
        self.storer = storer
        self.settings = settings

    def attach(self, scope: Any) -> None:
        """Make `owned_by` return this object for a connection."""
        scope[_SCOPE_KEY] = self

    async def store(
        self, source: LiveSource, planned: PlannedFile, *, filename: str, declared_type: str | None, arrivals: Arrivals
    ) -> FileObject:
        """Store one file.

        Args:
            source: Its content.
            planned: Where it goes, and which rules apply.
            filename: The client's name of the file, made safe to show.
            declared_type: The type that the client declares.
            arrivals: The body that contains `source`.

        Raises:
            FileRejectedError: If a rule refuses the file; `field` names the form field.
            FileTooLargeError: If the file is too large; `field` as above.
            ObjectExistsError: If `planned` names a key that is taken.
            StorageError: If the backend fails.
        """
        settings = self.settings
        rules = effective_rules(planned.rules, settings.rules)
        check = FileCheck(rules, filename=filename, declared_type=declared_type, detector=settings.detector)
        content = _Checked(source, check, max_bytes=file_limit(rules, settings.limits, planned.max_bytes))
        backend = self.backend_for(planned)
        try:
            arrivals.go_to(backend.key)
            await content.read_head(check.head_bytes)
            checked = await check.at_head(content.head, complete=content.complete)
            new = NewFile(
                filename=filename,
                content_type=checked.content_type,
                ext=checked.ext,
                metadata=checked.metadata,
                key_template=planned.key_template,
                key=planned.key,
                link=planned.link,
                model=planned.model,
            )
            if content.complete:
                # What is here as a whole is judged before it is stored, and stored at once.
                await check.at_end(len(content.head))
                file = await self._store(backend, content.head, new, arrivals)
            else:
                async with arrivals.part_memory(backend.storage_driver.part_buffers, content.max_bytes) as concurrency:
                    file = await self._store(backend, content, replace(new, max_concurrency=concurrency), arrivals)
        except (FileRejectedError, FileTooLargeError) as error:
            error.field = planned.name
            raise
        # The end of a file may tell more than its beginning: the directory of an archive is there.
        if check.checked is not None and check.checked.content_type != checked.content_type:
            file.content_type = check.checked.content_type
        file.passed_rules = rules
        self.add(file)
        return file

    def _store(
        self, backend: StorageBackend, content: AsyncDataLike, new: NewFile, arrivals: Arrivals
    ) -> Awaitable[FileObject]:
        if backend.puts_at_once(content):  # a deadline would not end the call
            return self.storer.store(backend, content, new)
        return self._store_in_time(backend, content, new, arrivals)

    async def _store_in_time(
        self, backend: StorageBackend, content: AsyncDataLike, new: NewFile, arrivals: Arrivals
    ) -> FileObject:
        async with _deadline(backend, arrivals.deadline):
            return await self.storer.store(backend, content, new)

    def backend_for(self, planned: PlannedFile) -> StorageBackend:
        """Return the backend that a planned file goes to.

        Raises:
            ConfigurationError: If it is not clear which one that is.
        """
        registry = self.settings.registry
        if planned.backend is not None:
            return registry.get_backend(planned.backend)
        backends = registry.all()
        if len(backends) != 1:
            known = ", ".join(registry.registered_backends()) or "none"
            raise ConfigurationError(
                f"It is not clear where the file {planned.name!r} goes; registered: {known}. Choose one with "
                "FileField(backend=...)"
            )
        return backends[0]

    def add(self, file: FileObject) -> None:
        """Take over a file as soon as it is stored."""
        self._files.append(file)

    def knows(self, backend: str) -> bool:
        """Return whether files that the handler itself stores in a backend belong to the request."""
        return self.storer.knows(backend)

    @contextmanager
    def saving(self, file: FileObject) -> Generator[None]:
        """Let the request own a file that the handler itself stores."""
        if not self.knows(file.backend_key):
            yield
            return
        with self.storer.saving(file):
            yield
        self.add(file)

    @asynccontextmanager
    async def saving_async(self, file: FileObject) -> AsyncGenerator[None]:
        """`saving` without blocking the event loop."""
        if not self.knows(file.backend_key):
            yield
            return
        async with self.storer.saving_async(file):
            yield
        self.add(file)

    def __iter__(self) -> Iterator[FileObject]:
        """Iterate over the files in the order in which they arrived."""
        return iter(tuple(self._files))

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._files)

    async def keep(self, file: FileObject) -> None:
        """Keep a file beyond the request; see `ApplicationStorer.keep`."""
        await self.storer.keep(file)
        self._files = [each for each in self._files if each != file]

    async def hand_over(self, file: FileObject) -> None:
        """Release a file that the client will put into a row with another request, before the file's lease runs out."""
        await self.storer.hand_over(file)
        self._files = [each for each in self._files if each != file]

    async def discard(self, file: FileObject) -> bool:
        """Give up a file that was kept; see `ApplicationStorer.discard`."""
        return await self.storer.discard(file)

    def let_go_of_taken(self) -> int:
        """Leave files to the rows that have taken them, and return how many the request still owns."""
        self._files = [file for file in self._files if not self.storer.has_row(file)]
        return len(self._files)

    async def release(self) -> int:
        """Give up the files that no row has taken and that were not kept, and return their number."""
        files, self._files = self._files, []
        return await self.storer.release(files) if files else 0


def owned_by(scope: Any) -> RequestFiles:
    """Return the files of a connection.

    Raises:
        ConfigurationError: If the plugin's middleware has not seen the connection, so nothing would give the files up.
    """
    found = scope.get(_SCOPE_KEY)
    if not isinstance(found, RequestFiles):
        raise ConfigurationError(
            "Uploads need FilestorePlugin, which deletes files that no row takes: add it to Litestar(plugins=[...])"
        )
    return found


@asynccontextmanager
async def _deadline(backend: StorageBackend, deadline: float | None) -> AsyncGenerator[None]:
    """Return a context that ends when the request's time is up: a store that hangs must not keep its slot."""
    # Later than the client's own limit, so that a slow client gets the error about itself.
    limit = asyncio.timeout_at(deadline + _STORE_SECONDS if deadline is not None else None)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise BackendUnavailableError(
            "The store did not take the file within UploadLimits.request_seconds; try again later, or allow more "
            "seconds",
            operation="put",
            backend=backend.key,
        ) from error


class _Checked(LiveSource):
    """Counts content as it passes, and checks it before signalling its end: a refused object never exists."""

    def __init__(self, source: LiveSource, check: FileCheck, *, max_bytes: int) -> None:
        self._source = source
        self._check = check
        self.max_bytes = max_bytes
        """Largest size of the content."""
        self._blocks: list[Block] = []
        self._size = 0
        self._judged = False
        self.has_ended = False
        self.head = b""
        """The first bytes."""
        self.complete = False
        """Whether `head` is the whole content."""

    async def read_head(self, size: int) -> None:
        """Read `size` bytes, or all that are left, if they are here already."""
        while not self.complete and (self._size < size or self._source.ends_here):
            block = await anext(self._source, None)
            if block is None:
                self.complete = True
            else:
                self._count(block)
                self._blocks.append(block)
        self.head = b"".join(self._blocks) if len(self._blocks) != 1 else bytes(self._blocks[0])
        self._blocks = [self.head] if self.head else []

    async def __anext__(self) -> Block:
        if self._blocks:
            self.head = b""  # already checked; it need not stay in memory while the rest is stored
            return self._blocks.pop()
        block = None if self.complete else await anext(self._source, None)
        if block is not None:
            self._count(block)
            if self._check.watching:
                self._check.feed(block)
            return block
        self.complete = True
        if not self._judged:
            self._judged = True
            await self._check.at_end(self._size)
        self.has_ended = True
        raise StopAsyncIteration

    def _count(self, block: Block) -> None:
        self._size += len(block)
        if self._size > self.max_bytes:
            raise FileTooLargeError(too_large_message(self.max_bytes), max_bytes=self.max_bytes)
