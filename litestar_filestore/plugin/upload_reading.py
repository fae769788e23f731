"""Reads the forms of uploads for handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar_filestore.http.ownership import owned_by
from litestar_filestore.http.receive import is_url_encoded, read_form, read_url_encoded

if TYPE_CHECKING:
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
