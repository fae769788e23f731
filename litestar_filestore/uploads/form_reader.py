"""Reads typed forms: files go into backends while they arrive; everything else becomes text, as Litestar expects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException, ValidationException

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.rule import max_files
from litestar_filestore.uploads.limits import form_limits
from litestar_filestore.uploads.parts import MultipartStream
from litestar_filestore.uploads.raw import open_body
from litestar_filestore.uploads.refusals import refused, too_large
from litestar_filestore.validation.rules import too_large_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from litestar import Request

    from litestar_filestore.uploads.limits import FormLimits, UploadLimits
    from litestar_filestore.uploads.parts import Part
    from litestar_filestore.uploads.plan import PlannedFile, UploadForm

__all__ = ("REMOVE", "ReadForm", "WholeBody", "form_reader", "invalid_form")

ReadForm: TypeAlias = "Callable[[Request[Any, Any, Any]], Awaitable[dict[str, Any]]]"
"""Reads the form of a request."""

REMOVE = "remove"
"""The text that removes a file. No reference looks like it."""

# Much wider than real references; their signature is checked elsewhere.
_REFERENCE = re.compile(r"[A-Za-z0-9_.~-]{1,65536}")


class WholeBody(dict[str, Any]):
    """A form that consists of one file, for handlers whose body is a `FileObject`.

    Litestar passes such a form unchanged to the decoder of the body's type. A separate class lets the decoder tell it
    from a mapping that a client has written.
    """

    @property
    def file(self) -> Any:
        """The file, or its reference."""
        return next(iter(self.values()))


def form_reader(form: UploadForm, limits: UploadLimits, max_body_bytes: int | None) -> ReadForm:
    """Return a function that reads a handler's form and returns it as Litestar expects it.

    It returns values by name, or a list if a name came several times: a `FileObject` for a planned file, an
    ``UploadFile`` for a spooled one, and text for everything else. A text field that is sent as a file, as
    ``FormData.append`` sends a ``Blob``, is text as well. Files of other names are read and discarded.

    It raises ``HTTPException`` if the form is refused, and `StorageError` if a file is refused or cannot be stored. The
    files that were stored before belong to the request, which gives them up.

    Args:
        form: The fields that the handler takes.
        limits: Of the application.
        max_body_bytes: Longest body that is set for the handler; ``None`` derives it from the form.
    """
    of_form = form_limits(form, limits, max_body_bytes)
    text_bytes = limits.max_fields_bytes if max_body_bytes is None else min(limits.max_fields_bytes, max_body_bytes)

    async def read(request: Request[Any, Any, Any]) -> dict[str, Any]:
        if form.optional and "content-type" not in request.headers:
            values: dict[str, Any] = {}  # there is no body, and so no form
        elif form.needs_no_file and _is_url_encoded(request):
            values = await _read_url_encoded(request, form, limits, text_bytes)
        else:
            values = await _read_parts(request, form, limits, of_form)
        return _shaped(form, values, request)

    return read


async def _read_parts(
    request: Request[Any, Any, Any], form: UploadForm, limits: UploadLimits, of_form: FormLimits
) -> dict[str, Any]:
    parts = MultipartStream(request, of_form)
    reader = _PartReader(form, limits)
    try:
        async for part in parts:
            await reader.take(part)
        return reader.values.by_name()
    except BaseException:
        await reader.close()
        raise
    finally:
        await parts.aclose()


def _is_url_encoded(request: Request[Any, Any, Any]) -> bool:
    """Return whether the body of a request is a text form, as a page without ``enctype`` sends it."""
    types = request.headers.getall("content-type", [])
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == RequestEncodingType.URL_ENCODED


async def _read_url_encoded(
    request: Request[Any, Any, Any], form: UploadForm, limits: UploadLimits, max_bytes: int
) -> dict[str, Any]:
    """Read a text form (``application/x-www-form-urlencoded``).

    In such a form, a file input is either empty or only the name of a file.
    """
    async with open_body(request, max_bytes=max_bytes) as body:
        content = b"".join([block async for block in body])
    try:
        texts = parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=limits.max_parts)
    except UnicodeDecodeError as error:
        raise refused("The text is not UTF-8: send it in that encoding") from error
    except ValueError as error:
        raise too_large(f"The form holds more than {limits.max_parts} fields: send fewer") from error
    values = _Values()
    for name, text in texts:
        if len(text.encode()) > limits.max_field_bytes:
            raise too_large(f"The field is larger than {limits.max_field_bytes} bytes: shorten its text", name)
        if name not in form.spooled:
            field, file_id = form.entry(name)
            values.add(field, text, file_id)
    return values.by_name()


class _Values:
    """The values of a form, and the number of files in each field."""

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {}
        self._counts: dict[str, int] = {}

    def count_file(self, name: str, planned: PlannedFile) -> None:
        """Count a file of a field, whichever of its names the part has.

        Raises:
            HTTPException: If it is one too many.
        """
        count = self._counts[planned.name] = self._counts.get(planned.name, 0) + 1
        if not planned.many and count > 1:
            raise refused("Only one file is allowed here", name)
        allowed = max_files(planned.rules)
        if allowed is not None and count > allowed:
            raise refused(f"Only {allowed} files are allowed here", name)

    def add(self, name: str, value: Any, file_id: str | None = None) -> None:
        """Add the value of a part; of a part about one file of a list, what JSON has in its place.

        Without a file, as a page sends an untouched input, it keeps the one that is there.
        """
        if file_id is not None:
            value = {"id": file_id, "file": None if value == "" else value}
        self._values.setdefault(name, []).append(value)

    def by_name(self) -> dict[str, Any]:
        return {name: each if len(each) > 1 else each[0] for name, each in self._values.items()}


class _PartReader:
    """Reads parts into values."""

    def __init__(self, form: UploadForm, limits: UploadLimits) -> None:
        self._form = form
        self._limits = limits
        self._spooled: list[UploadFile] = []
        self._text_bytes = 0
        self.values = _Values()

    async def close(self) -> None:
        """Close the files that are spooled, because nobody gets them."""
        for each in self._spooled:
            await each.close()

    async def take(self, part: Part) -> None:
        """Read one part to its end."""
        form = self._form
        name, file_id = form.entry(part.name)
        planned = form.planned(name)
        if part.filename is not None and planned is not None:
            self.values.count_file(name, planned)
            self.values.add(name, await part.store_as(planned), file_id)
        elif part.filename is not None and name in form.spooled:
            self.values.add(name, await self._spool(part))
        elif name in form.by_name:
            self.values.add(name, await self._reference(part), file_id)
        elif part.filename is None or name in form.texts:
            self.values.add(name, await self._text(part))

    async def _reference(self, part: Part) -> str:
        """Read the text in the place of a file: a reference, an id, or nothing. Some clients do not call it text."""
        try:
            text = await self._text(part)
        except HTTPException as error:
            raise _nameless(part) from error
        if text and _REFERENCE.fullmatch(text) is None:
            raise _nameless(part)
        return text

    async def _text(self, part: Part) -> str:
        limits = self._limits
        content = await part.text(min(limits.max_field_bytes, limits.max_fields_bytes - self._text_bytes))
        self._text_bytes += len(content.encode())
        return content

    async def _spool(self, part: Part) -> UploadFile:
        upload = UploadFile(
            content_type=part.declared_type or "application/octet-stream",
            filename=part.filename or "",
            headers=dict(part.headers),
        )
        self._spooled.append(upload)
        size, limit = 0, self._limits.max_file_bytes
        while (block := await anext(part, None)) is not None:
            size += len(block)
            if size > limit:
                raise too_large(too_large_message(limit), part.name)
            await upload.write(block)
        await upload.seek(0)
        return upload


def _nameless(part: Part) -> HTTPException:
    return refused(
        "This part is no file, as its Content-Disposition has no filename, and no reference of a file either", part.name
    )


# -- the form as Litestar expects it


def _shaped(form: UploadForm, values: dict[str, Any], request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return the values of a form as Litestar expects them.

    Raises:
        ValidationException: If a file is missing. Litestar would report it too, but not name the field.
    """
    if form.whole:
        return _shaped_whole(form, values, request)
    if not values and form.optional:
        return values
    for each in form.files:
        for name in each.names:
            if name in values:
                _settle(each, name, values)
    missing = [each.name for each in form.files if each.required and values.keys().isdisjoint(each.names)]
    if missing:
        raise invalid_form(request, [("This file is required", each) for each in missing])
    for name in form.lists & values.keys():
        if values[name] is not None and not isinstance(values[name], list):
            values[name] = [values[name]]
    return values


def _shaped_whole(form: UploadForm, values: dict[str, Any], request: Request[Any, Any, Any]) -> dict[str, Any]:
    files = [
        each
        for name, value in values.items()
        for each in _flat([value])
        if isinstance(each, FileObject) or (name in form.by_name and each != "")
    ]
    if not files and not form.optional:
        raise invalid_form(request, [("This file is required", form.files[0].name)])
    if form.files[0].many:
        # Litestar takes the form's values as the list, and fails on the first of none.
        return {str(number): each for number, each in enumerate(files)} or {"": []}
    return WholeBody(file=files[0]) if files else {}


def _settle(planned: PlannedFile, name: str, values: dict[str, Any]) -> None:
    """Replace the values of a field by what its parts mean.

    A file input without a file (HTML, "constructing the entry list") counts as not sent, and so does an empty text:
    scripts write ``file ?? ""``. If the field may be missing, its default applies: in a partial form, the row keeps its
    file. Only `REMOVE` removes a file, one of a list if the part has its id.
    """
    if isinstance(values[name], FileObject):
        return  # as nearly always
    given = [each for each in _flat([values[name]]) if each != ""]
    removed: list[Any] = [each for each in given if isinstance(each, dict) and each["file"] == REMOVE]
    dropped: list[Any] = [REMOVE, *removed, *({**each, "file": None} for each in removed)]
    files = [each for each in given if each not in dropped]
    if given and not files and (planned.nullable or planned.many):
        values[name] = None if planned.nullable else []
    elif given:
        kept = files or given
        values[name] = kept[0] if len(kept) == 1 else kept
    elif planned.required and planned.nullable:
        values[name] = None
    else:
        del values[name]


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        if isinstance(each, list):
            items: list[Any] = each  # pyright: ignore[reportUnknownVariableType]  # of anything
            yield from items
        else:
            yield each


def invalid_form(request: Request[Any, Any, Any], errors: Iterable[tuple[str, str]]) -> ValidationException:
    """Return the error with which Litestar refuses a body, from pairs of a message and a field's name."""
    return ValidationException(
        f"Validation failed for {request.method} {request.url.path}",
        extra=[{"message": message, "key": key, "source": "body"} for message, key in errors],
    )
