"""Reads the forms of requests: files go into backends while they arrive, everything else becomes text."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException

from litestar_filestore.core.rule import max_files
from litestar_filestore.uploads.intake import FileIntake
from litestar_filestore.uploads.limits import form_limits
from litestar_filestore.uploads.parts import MultipartStream
from litestar_filestore.uploads.plan import owned_by
from litestar_filestore.uploads.raw import open_body
from litestar_filestore.uploads.refusals import refused, too_large
from litestar_filestore.validation.sizes import too_large_message

if TYPE_CHECKING:
    from litestar import Request

    from litestar_filestore.core.registry import StorageRegistry
    from litestar_filestore.plugin.config import FilestoreConfig
    from litestar_filestore.uploads.forms import PlannedForm
    from litestar_filestore.uploads.hooks import ReadForm
    from litestar_filestore.uploads.limits import UploadLimits
    from litestar_filestore.uploads.parts import Part
    from litestar_filestore.uploads.plan import PlannedFile, Storer, UploadPlan
    from litestar_filestore.validation.detect import Detector

__all__ = (
    "is_url_encoded",
    "open_parts",
    "read_form",
    "read_url_encoded",
    "upload_reader",
)


async def read_form(
    request: Request[Any, Any, Any],
    plan: UploadPlan,
    *,
    storer: Storer,
    registry: StorageRegistry,
    limits: UploadLimits,
    detector: Detector | None = None,
    max_body_bytes: int | None = None,
) -> dict[str, Any]:
    """Read a request's form part by part.

    Args:
        request: Whose form it is, be it still to come or read by Litestar.
        plan: What the handler expects.
        storer: Stores files.
        registry: Knows the backends.
        limits: Of uploads.
        detector: Tells types; ``None`` for the default one.
        max_body_bytes: Longest body; ``None`` derives it from the plan.

    Returns:
        Values by name, a list where a name came several times: a `FileObject` for a file that is planned, an
        ``UploadFile`` for one that is spooled, ``""`` for a file input without a file, text for everything else.
        A field that is sent as a file, as ``FormData.append`` sends a ``Blob``, is text as well. Files of other names
        are read and thrown away.

    Raises:
        HTTPException: If the form is refused; the files that were stored before are the request's, and given up by it.
        StorageError: If a file is refused or cannot be stored.
    """
    intake = FileIntake(request, storer=storer, registry=registry, limits=limits, detector=detector)
    parts = open_parts(request, plan, intake=intake, limits=limits, max_body_bytes=max_body_bytes)
    async with aclosing(parts), AsyncExitStack() as on_failure:
        reader = _FormReader(plan, limits, on_failure)
        async for part in parts:
            await reader.take(part)
        on_failure.pop_all()
        return reader.form()


def is_url_encoded(request: Request[Any, Any, Any]) -> bool:
    """Return whether the body of a request is a form of texts, as a page without ``enctype`` sends it."""
    types = request.headers.getall("content-type", [])
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == RequestEncodingType.URL_ENCODED


async def read_url_encoded(
    request: Request[Any, Any, Any], plan: UploadPlan, *, limits: UploadLimits, max_body_bytes: int | None = None
) -> dict[str, Any]:
    """Return what `read_form` would, of a form of texts (``application/x-www-form-urlencoded``).

    An input for a file is in it by its file name, which is no file, or empty.

    Raises:
        HTTPException: As `read_form`.
    """
    limit = limits.max_fields_bytes if max_body_bytes is None else min(limits.max_fields_bytes, max_body_bytes)
    async with open_body(request, limits=limits, max_bytes=limit) as body:
        content = b"".join([block async for block in body])
    try:
        texts = parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=limits.max_parts)
    except UnicodeDecodeError as error:
        raise refused("Text has to be UTF-8") from error
    except ValueError as error:
        raise too_large(f"The form holds more than {limits.max_parts} fields") from error
    values = _Values(plan)
    for name, text in texts:
        if len(text.encode()) > limits.max_field_bytes:
            raise too_large(f"The field is larger than {limits.max_field_bytes} bytes", name)
        if name not in plan.spooled:
            values.add(name, text)
    return values.form()


def open_parts(
    request: Request[Any, Any, Any],
    plan: UploadPlan,
    *,
    intake: FileIntake,
    limits: UploadLimits,
    max_body_bytes: int | None = None,
) -> MultipartStream:
    """Return the parts of a form, of which nothing is read yet. The caller closes them with ``aclose``."""
    form = form_limits(plan, limits)
    if max_body_bytes is not None:
        form = form._replace(total_bytes=max_body_bytes)
    return MultipartStream(request, intake, limits, form)


# Far wider than what references look like; it is not what checks them.
_REFERENCE = re.compile(r"[A-Za-z0-9_.~-]{1,65536}")


def _nameless(part: Part) -> HTTPException:
    return refused(
        "This part is no file, as its Content-Disposition has no filename, and no reference of a file either", part.name
    )


class _Values:
    """The values of a form, and how many files its fields have."""

    def __init__(self, plan: UploadPlan) -> None:
        self._plan = plan
        self._values: dict[str, list[Any]] = {}
        self._counts: dict[str, int] = {}

    def planned(self, name: str) -> PlannedFile | None:
        """Return what is planned for files of a name."""
        return self._plan.files.get(name) or (None if name in self._plan.spooled else self._plan.any_name)

    def count_file(self, name: str, planned: PlannedFile) -> None:
        """Count a file of a field, under whichever of its names.

        Raises:
            HTTPException: If it is one too many.
        """
        count = self._counts[planned.name] = self._counts.get(planned.name, 0) + 1
        if not planned.many and count > 1:
            raise refused("Only one file is allowed here", name)
        allowed = max_files(planned.rules)
        if allowed is not None and count > allowed:
            raise refused(f"Only {allowed} files are allowed here", name)

    def add(self, name: str, value: Any) -> None:
        """Add a value."""
        self._values.setdefault(name, []).append(value)

    def form(self) -> dict[str, Any]:
        """Return the form as Litestar has it."""
        return {name: each if len(each) > 1 else each[0] for name, each in self._values.items()}


class _FormReader:
    """Reads parts into values."""

    def __init__(self, plan: UploadPlan, limits: UploadLimits, on_failure: AsyncExitStack) -> None:
        self._plan = plan
        self._limits = limits
        self._on_failure = on_failure
        self._values = _Values(plan)
        self._text_bytes = 0

    def form(self) -> dict[str, Any]:
        """Return the values."""
        return self._values.form()

    async def take(self, part: Part) -> None:
        """Read one part to its end."""
        planned = self._values.planned(part.name)
        if part.filename is not None and planned is not None:
            self._values.count_file(part.name, planned)
            self._values.add(part.name, await part.store_as(planned))
        elif part.filename is not None and part.name in self._plan.spooled:
            self._values.add(part.name, await self._spool(part))
        elif part.name in self._plan.files:
            self._values.add(part.name, await self._reference(part))
        elif part.filename is None or part.name in self._plan.texts:
            self._values.add(part.name, await self._text(part))

    async def _reference(self, part: Part) -> str:
        """Read the text that stands for a file: a reference, or nothing. Some clients forget to say that it is one."""
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
        self._on_failure.push_async_callback(upload.close)
        size, limit = 0, self._limits.max_file_bytes
        while (block := await anext(part, None)) is not None:
            size += len(block)
            if size > limit:
                raise too_large(too_large_message(limit), part.name)
            await upload.write(block)
        await upload.seek(0)
        return upload


def upload_reader(form: PlannedForm, config: FilestoreConfig, *, max_body_bytes: int | None) -> ReadForm:
    """Return what reads a handler's form and hands it on as Litestar expects it.

    Args:
        form: What the handler takes.
        config: Of the application.
        max_body_bytes: Longest body; ``None`` derives it from the form.
    """

    async def read(request: Request[Any, Any, Any]) -> dict[str, Any]:
        if form.shape.optional and "content-type" not in request.headers:
            return form.shape.shape({}, request)  # no body, which is no form
        if form.shape.needs_no_file and is_url_encoded(request):
            texts = await read_url_encoded(request, form.plan, limits=config.limits, max_body_bytes=max_body_bytes)
            return form.shape.shape(texts, request)
        values = await read_form(
            request,
            form.plan,
            storer=owned_by(request.scope).storer,
            registry=config.registry,
            limits=config.limits,
            detector=config.detector,
            max_body_bytes=max_body_bytes,
        )
        return form.shape.shape(values, request)

    return read
