"""Gives handlers the parts of a form one by one, while they arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from litestar import Request
from litestar.datastructures import UploadFile
from litestar.di import Provide

from litestar_filestore.core.sources import LiveSource
from litestar_filestore.core.types import BLOCK_BYTES
from litestar_filestore.errors import InvalidArgumentError, MultipartLimitError
from litestar_filestore.sansio.digests import DIGEST_HEADERS, AnnouncedDigests
from litestar_filestore.sansio.disposition import DEFAULT_FILENAME, safe_filename
from litestar_filestore.sansio.multipart import FormParser, PartHead, form_boundary, part_head
from litestar_filestore.uploads.arrivals import Arrivals, form_before, form_values
from litestar_filestore.uploads.intake import owned_by
from litestar_filestore.uploads.layers import body_limit
from litestar_filestore.uploads.limits import form_limits
from litestar_filestore.uploads.plan import ANY_FORM, PlannedFile
from litestar_filestore.uploads.refusals import malformed, not_a_form, refuse_part_of_file, refused, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from litestar_filestore.core.file_object import FileObject
    from litestar_filestore.core.rule import Rule
    from litestar_filestore.sansio.multipart import Event
    from litestar_filestore.uploads.limits import FormLimits, UploadLimits

__all__ = ("MultipartStream", "Part", "parts_provider")

_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class Part(LiveSource):
    """One part of a form: an async iterator over its content, consumed once.

    It is a source: ``backend.put_async(part)`` works. It ends when the next part is requested.
    """

    def __init__(self, stream: MultipartStream, head: PartHead, digests: AnnouncedDigests | None) -> None:
        """Hold one part; `MultipartStream` makes it."""
        self._stream = stream
        self._digests = digests
        self.has_ended = False
        self.name: str = head.name
        """Name of the form field."""
        self.filename: str | None = None if not head.filename else safe_filename(head.filename)
        """The client's name of the file, made safe to show; ``None`` for a field and for a file input without a
        file."""
        self.is_file: bool = head.filename is not None
        """Whether it is a file input, even one without a file: browsers send that as an empty part."""
        self.declared_type: str | None = head.content_type
        """The media type that the client declares, lower case and without parameters; not verified."""
        self.charset: str | None = head.charset
        """The text encoding that the client declares."""
        self.headers: tuple[tuple[str, str], ...] = head.headers
        """All its headers."""

    async def __anext__(self) -> bytes:
        """Return the next piece of the content.

        Raises:
            HTTPException: If the body breaks off, is no form, or a digest in the part's headers does not match the
                content.
        """
        if self.has_ended:
            raise StopAsyncIteration
        event = await self._stream.next_event()
        if isinstance(event, bytes):
            if self._digests is not None:
                self._digests.update(event)
            return event
        self.has_ended = True
        if self._digests is not None and not self._digests.verify():
            raise refused("The content does not have the digest that its header announces: send it again", self.name)
        raise StopAsyncIteration

    @property
    def ends_here(self) -> bool:
        """Whether the last piece was the last one."""
        return self.has_ended or self._stream.ends_part

    async def read(self, max_bytes: int | None = None) -> bytes:
        """Return the content, or the rest of it.

        Args:
            max_bytes: Largest number of bytes to read into memory; ``None`` for the limit of fields.

        Raises:
            HTTPException: 413 if there are more.
        """
        limit = self._stream.limits.max_field_bytes if max_bytes is None else max_bytes
        pieces: list[bytes] = []
        size = 0
        while (piece := await anext(self, None)) is not None:
            size += len(piece)
            if size > limit:
                raise too_large(f"The field is larger than {limit} bytes: shorten its text", self.name)
            pieces.append(piece)
        return b"".join(pieces)

    async def text(self, max_bytes: int | None = None) -> str:
        """Return the content as text; see `read`.

        Raises:
            HTTPException: 400 if it is not UTF-8, or declares another encoding.
        """
        # A client that chooses the codec chooses what a filter sees: UTF-7 hides markup, and rot13 is a codec too.
        if self.charset is not None and self.charset.lower() not in _CHARSETS:
            raise refused("The text is not UTF-8: send it in that encoding", self.name)
        try:
            return (await self.read(max_bytes)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise refused("The text is not UTF-8: send it in that encoding", self.name) from error

    async def discard(self) -> None:
        """Read on to the end of the part."""
        async for _ in self:
            pass

    async def store(
        self, backend: str | None = None, *, rules: tuple[Rule, ...] = (), key_template: str | None = None
    ) -> FileObject:
        """Store the content. The file belongs to the request until a row takes it or ``storages.keep`` keeps it.

        Args:
            backend: Key of the backend; ``None`` for the only one.
            rules: Rules for the file.
            key_template: Key template, instead of the backend's.

        Raises:
            FileRejectedError: If a rule refuses it.
            FileTooLargeError: If it is too long.
            StorageError: If the backend fails.
        """
        planned = PlannedFile(self.name, backend=backend, rules=tuple(rules), key_template=key_template)
        return await self.store_as(planned)

    def store_as(self, planned: PlannedFile) -> Awaitable[FileObject]:
        """Like `store`, for a planned field."""
        return self._stream.store(self, planned)


class MultipartStream:
    """The parts of a request's form, in order; iterate once.

    Nothing is read before the first part is requested. If a part is not read to its end, the rest is skipped.
    """

    def __init__(self, request: Request[Any, Any, Any], form: FormLimits) -> None:
        """Prepare to read.

        Args:
            request: The request with the form. If Litestar has parsed it already, its files are on disk.
            form: The fields that the form may hold.
        """
        self._request = request
        self._form = form
        self._files = owned_by(request.scope)
        self.limits: UploadLimits = self._files.settings.limits
        """Limits that apply to every upload."""
        self._arrivals = Arrivals(request, self.limits, max_bytes=form.total_bytes)
        self._adopted: AsyncGenerator[Event] | None = None
        self._parser: FormParser | None = None
        self._events: Iterator[Event] = iter(())
        self._part: Part | None = None
        self._file_count = 0

    def __aiter__(self) -> MultipartStream:
        """Return itself."""
        return self

    async def __anext__(self) -> Part:
        """Return the next part.

        Raises:
            HTTPException: 400 if the form is malformed, 408, 413 or 503 because of a limit, 415 if the body is no form.
        """
        if self._part is not None and not self._part.has_ended:
            await self._part.discard()
        event = await self.next_event()
        if not isinstance(event, PartHead):
            raise StopAsyncIteration
        self._count(event)
        self._part = Part(self, event, _announced(event))
        return self._part

    async def next_event(self) -> Event:
        """Return the next event of the form; ``None`` at its end."""
        try:
            parser = self._parser or self._begin()
            if self._adopted is not None:
                return await anext(self._adopted, None)
            while parser is not None:
                for event in self._events:
                    return event
                block = await anext(self._arrivals, None)
                if block is None:
                    parser.finish()
                    return None
                self._events = parser.feed(block)
        except InvalidArgumentError as error:
            raise malformed(error) from error
        return None

    @property
    def ends_part(self) -> bool:
        """Whether the end of the part follows the last piece of its content."""
        return self._parser is not None and self._parser.ends_part

    def store(self, part: Part, planned: PlannedFile) -> Awaitable[FileObject]:
        """Store a part; see `Part.store`."""
        refuse_part_of_file(self._request)
        return self._files.store(
            part,
            planned,
            filename=part.filename or DEFAULT_FILENAME,
            declared_type=part.declared_type,
            arrivals=self._arrivals,
        )

    async def aclose(self) -> None:
        """Stop reading."""
        if self._adopted is not None:
            await self._adopted.aclose()
        await self._arrivals.aclose()

    def _begin(self) -> FormParser | None:
        """Begin with the body, or with the form if Litestar has parsed it."""
        if self._adopted is not None:
            return None
        if (form := form_before(self._request)) is not None:
            self._adopted = _adopted(form, self._form.parts)
            return None
        types = self._request.headers.getall("content-type", [])
        boundary = form_boundary(types[0]) if len(types) == 1 else None
        if boundary is None:
            raise not_a_form()
        self._arrivals.start()
        self._parser = FormParser(
            boundary,
            max_parts=self._form.parts,
            max_headers=self.limits.max_headers,
            max_header_bytes=self.limits.max_header_bytes,
        )
        return self._parser

    def _count(self, head: PartHead) -> None:
        self._file_count += bool(head.filename)
        if self._file_count > self._form.files:
            raise too_large(f"The form holds more than {self._form.files} files: send fewer", head.name)


def _announced(head: PartHead) -> AnnouncedDigests | None:
    """Return the digests that a part announces, ``None`` if it announces none."""
    if DIGEST_HEADERS.isdisjoint([name.lower() for name, _ in head.headers]):
        return None
    try:
        return AnnouncedDigests(head.headers)
    except InvalidArgumentError as error:
        raise malformed(error) from error


async def _adopted(form: Mapping[str, Any], max_parts: int) -> AsyncGenerator[Event]:
    """Yield the events of a form that Litestar has parsed; it groups the parts by name."""
    values = list(form_values(form))
    try:
        if len(values) > max_parts:
            raise MultipartLimitError("The form is too large: it has too many parts; send fewer fields and files")
        for name, each in values:
            if isinstance(each, UploadFile):
                headers = {key: value for key, value in each.headers.items() if key != "Content-Disposition"}
                yield part_head(name, each.filename, tuple(headers.items()))
                await each.seek(0)  # the code that asked for the form may have read its files too
                while block := await each.read(BLOCK_BYTES):
                    yield block
            else:
                yield part_head(name, None, ())
                # Litestar decodes texts as the client declares: UTF-7 may yield lone surrogates, which are no text.
                if text := str(each).encode("utf-8", "surrogatepass"):
                    yield text
            yield None
    finally:
        for _, each in values:
            if isinstance(each, UploadFile):
                await each.close()  # Litestar closes only those of its own handlers


def parts_provider(limits: UploadLimits) -> Provide:
    """Return a provider of a `MultipartStream` for the current request."""
    any_form = form_limits(ANY_FORM, limits)

    async def provide(request: Request[Any, Any, Any]) -> AsyncGenerator[MultipartStream, None]:
        said = body_limit(request.route_handler)
        form = any_form if said is None else any_form._replace(total_bytes=said)
        async with aclosing(MultipartStream(request, form)) as parts:
            yield parts

    return Provide(provide)
