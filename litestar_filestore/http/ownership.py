"""What a request has stored belongs to the request, until a row takes it or the handler keeps it."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, MutableMapping

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.keeping import Saver
    from litestar_filestore.core.rules import Rule
    from litestar_filestore.http.storing import Storer
    from litestar_filestore.validation.detect import Detector

__all__ = ("RequestFiles", "owned_by")

_SCOPE_KEY = "litestar_filestore.files"


class RequestFiles:
    """The files that one request has stored."""

    __slots__ = ("_files", "_saver", "detector", "rules", "storer")

    def __init__(
        self,
        storer: Storer,
        *,
        rules: Iterable[Rule] = (),
        detector: Detector | None = None,
        saver: Saver | None = None,
    ) -> None:
        """Start empty.

        Args:
            storer: Stores content for the request, and gives up what is left in the end.
            rules: Of the application; nearer ones come first.
            detector: Tells the types of files; ``None`` for the default one.
            saver: Knows of what the handler stores by hand; ``None`` if nobody does.
        """
        self._saver = saver
        self._files: list[FileObject] = []
        self.storer = storer
        self.rules = tuple(rules)
        self.detector = detector

    def attach(self, scope: MutableMapping[str, Any]) -> None:
        """Become what `owned_by` returns for a connection."""
        scope[_SCOPE_KEY] = self

    def add(self, file: FileObject) -> None:
        """Take a stored file over, at once after it was stored."""
        self._files.append(file)

    def knows(self, backend: str) -> bool:
        """Return whether what the handler stores by hand in a backend belongs to the request."""
        return self._saver is not None and self._saver.knows(backend)

    @contextmanager
    def saving(self, file: FileObject) -> Generator[None]:
        """Let a file that is stored by hand belong to the request."""
        if self._saver is None or not self._saver.knows(file.backend_key):
            yield
            return
        with self._saver.saving(file):
            yield
        self.add(file)

    @asynccontextmanager
    async def saving_async(self, file: FileObject) -> AsyncGenerator[None]:
        """`saving` without blocking the event loop."""
        if self._saver is None or not self._saver.knows(file.backend_key):
            yield
            return
        async with self._saver.saving_async(file):
            yield
        self.add(file)

    def __iter__(self) -> Iterator[FileObject]:
        """Iterate over the files in the order in which they came."""
        return iter(tuple(self._files))

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self._files)

    async def keep(self, file: FileObject) -> None:
        """Keep a file beyond the request; see `Storer.keep`."""
        await self.storer.keep(file)
        self._files = [each for each in self._files if each != file]

    def hand_over(self, file: FileObject) -> None:
        """Leave a file that the client is going to put into a row with another request, before its lease runs out."""
        self.storer.hand_over(file)
        self._files = [each for each in self._files if each != file]

    async def discard(self, file: FileObject) -> bool:
        """Give up a file that was kept; see `Storer.discard`."""
        return await self.storer.discard(file)

    async def release(self) -> int:
        """Give up what no row has taken and nobody has kept, and return how many files that were."""
        files, self._files = self._files, []
        return await self.storer.release(files) if files else 0


def owned_by(scope: object) -> RequestFiles:
    """Return the files of a connection.

    Raises:
        ConfigurationError: If the plugin's middleware has not seen the connection: nobody would give them up.
    """
    found = cast("MutableMapping[str, Any]", scope).get(_SCOPE_KEY)
    if not isinstance(found, RequestFiles):
        raise ConfigurationError("Uploads need FilestorePlugin: its middleware gives up what no row takes")
    return found
