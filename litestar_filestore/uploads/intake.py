"""The way of one file from a sender into a backend: counted, checked, stored, and owned by its request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.new_file import NewFile
from litestar_filestore.core.sources import LiveSource
from litestar_filestore.errors import BackendUnavailableError, ConfigurationError, FileRejectedError, FileTooLargeError
from litestar_filestore.sansio.disposition import safe_filename
from litestar_filestore.uploads.limits import file_limit, parts_reserved
from litestar_filestore.uploads.plan import owned_by
from litestar_filestore.uploads.refusals import refuse_part_of_file
from litestar_filestore.validation.checking import FileCheck
from litestar_filestore.validation.rules import effective_rules
from litestar_filestore.validation.sizes import too_large_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from litestar import Request

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.core.rule import CheckedType
    from litestar_filestore.core.types import Block
    from litestar_filestore.uploads.arrivals import Arrivals
    from litestar_filestore.uploads.limits import UploadLimits
    from litestar_filestore.uploads.plan import PlannedFile, Storer
    from litestar_filestore.validation.detect import Detector

__all__ = ("FileIntake",)

_STORE_SECONDS = 1.0
"""How much longer than a client a store may take."""


class FileIntake:
    """Stores the files of one request."""

    def __init__(
        self,
        request: Request[Any, Any, Any],
        *,
        storer: Storer,
        registry: StorageRegistry,
        limits: UploadLimits,
        detector: Detector | None = None,
    ) -> None:
        """Store for `request`, which owns the files until a row takes them.

        Args:
            request: Seen by the plugin's middleware, which gives up what nobody takes.
            storer: Stores, and keeps account of what is stored.
            registry: Knows the backends.
            limits: The longest file where no rule says anything.
            detector: Tells types; ``None`` for the application's.
        """
        self._request = request
        self._storer = storer
        self._registry = registry
        self._limits = limits
        self._detector = detector

    async def store(
        self,
        source: LiveSource,
        planned: PlannedFile,
        *,
        filename: str,
        declared_type: str | None,
        arrivals: Arrivals | None = None,
    ) -> FileObject:
        """Store one file.

        Args:
            source: Its content.
            planned: Where it goes, and what it has to be.
            filename: What the client calls it.
            declared_type: What the client says it is.
            arrivals: The body that `source` is a part of, if it is on its way still.

        Raises:
            ValidationException: If the request says that it brings a part of a file.
            FileRejectedError: If a rule refuses it; `field` names the form field.
            FileTooLargeError: If it is too long; likewise.
            ObjectExistsError: If `planned` names a key, and it is taken.
            StorageError: If the backend fails.
        """
        refuse_part_of_file(self._request)
        name = safe_filename(filename)
        files = owned_by(self._request.scope)
        rules = effective_rules(planned.rules, files.rules)
        check = FileCheck(rules, filename=name, declared_type=declared_type, detector=self._detector or files.detector)
        content = _Checked(source, check, max_bytes=file_limit(rules, self._limits, planned.max_bytes))
        try:
            if arrivals is not None:
                arrivals.go_to(self._backend(planned).key)
            await content.read_head(check.head_bytes)
            checked = await check.at_head(content.head, complete=content.complete)
            backend = self._backend(planned)
            async with self._memory(backend, content, arrivals) as max_concurrency:
                new = NewFile(
                    filename=name,
                    content_type=checked.content_type,
                    ext=checked.ext,
                    metadata=checked.metadata,
                    key_template=planned.template_for(FileObject(backend, name, content_type=checked.content_type)),
                    key=planned.key,
                    link=planned.link,
                    model=planned.model,
                    max_concurrency=max_concurrency,
                )
                async with _deadline(backend, arrivals):
                    file = await self._storer.store(backend, content, new)
            self._settle(file, checked, check)
        except (FileRejectedError, FileTooLargeError) as error:
            error.field = planned.name
            raise
        file.passed_rules = rules
        files.add(file)
        return file

    @staticmethod
    def _settle(file: FileObject, checked: CheckedType, check: FileCheck) -> None:
        """Call the file what it has turned out to be: the directory of an archive, for one, stands at its end."""
        if check.checked is not None and check.checked.content_type != checked.content_type:
            file.content_type = check.checked.content_type

    def _memory(
        self, backend: StorageBackend, content: _Checked, arrivals: Arrivals | None
    ) -> AbstractAsyncContextManager[int | None]:
        """Return a context in which there is memory for what the backend holds of the content."""
        # What is here as a whole need not wait for those of whom most is still to come.
        buffers = None if content.complete else backend.storage_driver.part_buffers
        max_bytes = content.max_bytes if arrivals is None else min(content.max_bytes, arrivals.left_bytes)
        return parts_reserved(self._limits.part_budget, buffers, max_bytes, arrivals)

    def _backend(self, planned: PlannedFile) -> StorageBackend:
        if planned.backend is not None:
            return self._registry.get_backend(planned.backend)
        backends = self._registry.all()
        if len(backends) != 1:
            known = ", ".join(self._registry.registered_backends()) or "none"
            raise ConfigurationError(f"It is not clear where the file {planned.name!r} goes; registered: {known}")
        return backends[0]


@asynccontextmanager
async def _deadline(backend: StorageBackend, arrivals: Arrivals | None) -> AsyncGenerator[None]:
    """Return a context that ends with the time that the request has: a store that hangs must not keep its slot."""
    deadline = arrivals.deadline if arrivals is not None else None
    # Later than that of the client, who is told what he did.
    limit = asyncio.timeout_at(deadline + _STORE_SECONDS if deadline is not None else None)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise BackendUnavailableError(
            "The store did not take the file in the time that a request has", operation="put", backend=backend.key
        ) from error


class _Checked(LiveSource):
    """Content that is counted on its way, and judged before its end is told: an object that is refused never exists."""

    def __init__(self, source: LiveSource, check: FileCheck, *, max_bytes: int) -> None:
        self._source = source
        self._check = check
        self.max_bytes = max_bytes
        """Longest that it may be."""
        self._blocks: list[Block] = []
        self._size = 0
        self._judged = False
        self.has_ended = False
        self.head = b""
        """The first bytes."""
        self.complete = False
        """Whether that is all of them."""

    async def read_head(self, size: int) -> None:
        """Read `size` bytes, or all there are."""
        while self._size < size and not self.complete:
            block = await anext(self._source, None)
            if block is None:
                self.complete = True
            else:
                self._count(block)
                self._blocks.append(block)
        self.head = b"".join(self._blocks)
        self._blocks = [self.head] if self.head else []

    async def __anext__(self) -> Block:
        if self._blocks:
            self.head = b""  # what has been judged need not stay in memory while the rest is stored
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
