"""What a handler expects of an upload."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping, MutableMapping

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.file_object import FileObject, Saver
    from litestar_filestore.core.new_file import NewFile, UsedLink
    from litestar_filestore.core.rule import Rule
    from litestar_filestore.core.types import AsyncDataLike
    from litestar_filestore.validation.detect import Detector

__all__ = (
    "ANY_FORM",
    "PlannedFile",
    "RequestFiles",
    "Storer",
    "UploadPlan",
    "owned_by",
)


@dataclass(frozen=True)
class PlannedFile:
    """One file field of a form."""

    name: str
    """Name of its parts on the wire."""
    many: bool = False
    """Whether several parts may have it."""
    required: bool = True
    """Whether the form is refused without it."""
    backend: str | None = None
    """Key of the backend; ``None`` for the only one that is registered."""
    rules: tuple[Rule, ...] = ()
    """What each file has to be."""
    max_bytes: int | None = None
    """Longest that it may be, beside what `rules` say: the smaller of both holds."""
    key_template: str | None = None
    """Where to put it instead of the backend's template."""
    key_maker: Callable[[FileObject], str | None] | None = None
    """Makes the template of each file instead, from its name and type."""
    key: str | None = None
    """Where to put it, once, instead of under a new key."""
    link: UsedLink | None = None
    """The link that it comes through."""
    model: type | None = None
    """The mapped class whose row is going to hold it, where known."""

    def template_for(self, file: FileObject) -> str | None:
        """Return the key template of a new file, ``None`` for the backend's own."""
        return self.key_template if self.key_maker is None else self.key_maker(file)


@dataclass(frozen=True)
class UploadPlan:
    """The file fields of one handler's form."""

    files: Mapping[str, PlannedFile] = field(default_factory=dict[str, PlannedFile])
    """By name on the wire."""
    spooled: frozenset[str] = frozenset()
    """Names of the fields that are Litestar's own ``UploadFile``."""
    texts: frozenset[str] = frozenset()
    """Names of all other fields: their values are text, also where they are sent as files."""
    any_name: PlannedFile | None = None
    """Takes files of names that are not in `files`; for a body that is nothing but files."""


ANY_FORM: Final = UploadPlan(any_name=PlannedFile("file", many=True))
"""For a form of which nobody has said what it holds: it may be as many files as any form may have."""


class Storer(Protocol):
    """Stores content for rows that come later, or never."""

    async def store(self, backend: StorageBackend, source: AsyncDataLike, new: NewFile) -> FileObject:
        """Store content under a new key, or once under a given one.

        After an error or a cancellation nothing stays, or what stays is known and swept.

        Args:
            backend: Where to store.
            source: Content; what it raises comes out unchanged.
            new: What it becomes.

        Returns:
            The stored file. It is the caller's, who hands it to a row, keeps it or releases it.

        Raises:
            ObjectExistsError: If the key of `new` is taken.
            StorageError: If it cannot be stored.
        """
        ...

    async def release(self, files: Iterable[FileObject]) -> int:
        """Give up those of `files` that no row has taken and nobody has kept.

        Those in the hands of a transaction that is still open are left alone.

        Returns:
            How many were given up.
        """
        ...

    def hand_over(self, file: FileObject) -> None:
        """Leave a file that another request is going to put into a row, or nobody: it is not released.

        What is known of it outlives the process, or is forgotten here.
        """
        ...

    async def keep(self, file: FileObject) -> None:
        """Keep a file that no row holds; it is kept when this returns, whatever happens then.

        Raises:
            LinkLostError: If it was given up already.
        """
        ...

    async def discard(self, file: FileObject) -> bool:
        """Give up a file that was kept. One that a row holds is the row's, and stays.

        Returns:
            Whether it was given up now; ``False`` if somebody else was faster, or it is not one of those that were
            kept. Where nobody keeps account, it is always ``True``.
        """
        ...


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
