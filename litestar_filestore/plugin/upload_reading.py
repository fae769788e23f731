"""Reads the forms of uploads for handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar.datastructures import UploadFile

from litestar_filestore.http.ownership import owned_by
from litestar_filestore.http.receive import adopt_form, read_form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Request

    from litestar_filestore.http.upload_routes import ReadForm
    from litestar_filestore.plugin.config import FilestoreConfig
    from litestar_filestore.plugin.uploads import PlannedForm

__all__ = ("upload_reader",)


def upload_reader(form: PlannedForm, config: FilestoreConfig, *, max_body_bytes: int | None) -> ReadForm:
    """Return what reads a handler's form and hands it on as Litestar expects it.

    Args:
        form: What the handler takes.
        config: Of the application.
        max_body_bytes: Longest body; ``None`` derives it from the form.
    """

    async def read(request: Request[Any, Any, Any], parsed: dict[str, Any] | None) -> dict[str, Any]:
        if parsed is None and form.shape.optional and "content-type" not in request.headers:
            return form.shape.shape({}, request)  # no body, which is no form
        storer = owned_by(request.scope).storer
        if parsed is not None:
            values = await adopt_form(
                request,
                parsed,
                form.plan,
                storer=storer,
                registry=config.registry,
                limits=config.limits,
                detector=config.detector,
            )
            await _close_others(parsed, values)
        else:
            values = await read_form(
                request,
                form.plan,
                storer=storer,
                registry=config.registry,
                limits=config.limits,
                detector=config.detector,
                max_body_bytes=max_body_bytes,
            )
        return form.shape.shape(values, request)

    return read


async def _close_others(parsed: dict[str, Any], values: dict[str, Any]) -> None:
    """Close the spooled files of a form that are not in the one that takes its place; Litestar closes the others."""
    kept = {id(each) for each in _uploads(values)}
    for each in _uploads(parsed):
        if id(each) not in kept:
            await each.close()


def _uploads(form: dict[str, Any]) -> Iterator[UploadFile]:
    for value in form.values():
        if isinstance(value, UploadFile):
            yield value
        elif isinstance(value, list):
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]  # of anything
            yield from (each for each in items if isinstance(each, UploadFile))
