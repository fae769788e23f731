"""Stored files as responses of handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from litestar.response import File, Response

from litestar_filestore.core.file_object import FileObject
from litestar_filestore.errors import InvalidArgumentError
from litestar_filestore.http.download_response import ASGIFileDownload, DownloadWish
from litestar_filestore.sansio.active_types import DEFAULT_CONTENT_TYPE
from litestar_filestore.sansio.disposition import safe_filename

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from litestar import Request
    from litestar.background_tasks import BackgroundTask, BackgroundTasks

    from litestar_filestore.core.backend import StorageBackend
    from litestar_filestore.core.linking import Disposition
    from litestar_filestore.http.download_config import Delivery

__all__ = ("FileDownload",)


class FileDownload(File):
    """A stored file as a response, for ``@get`` and ``@head``.

    Answers 200, 206, 304, 412 and 416 as RFC 9110 says. The content is read when the response is sent, only as far as
    it was asked for, and never held as a whole. Active content is saved by browsers, not shown, whatever `disposition`
    says. Cookies are never part of it.
    """

    def __init__(
        self,
        file: FileObject,
        *,
        disposition: Disposition = "attachment",
        filename: str | None = None,
        content_type: str | None = None,
        delivery: Delivery | None = None,
        cache_control: str | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> None:
        """Answer with `file`; nothing is read or looked up yet.

        Args:
            file: A stored file.
            disposition: ``"inline"`` to show it in place, if its type is among those that may be.
            filename: Name to save it under; ``None`` takes the file's.
            content_type: A verified type instead of the file's. Never one that a client chose.
            delivery: How the bytes travel; ``None`` as the application is configured.
            cache_control: Value of ``Cache-Control``; ``None`` as configured.
            headers: Further headers. They replace protective ones of the same name, and none that describe the content.
            background: Run after the response was sent.

        Raises:
            InvalidArgumentError: If the file was not saved yet.
        """
        if file.key is None:
            raise InvalidArgumentError("A file is stored before it is downloaded", backend=file.backend_key)
        # Not File's: its arguments are a path and a file system, and differ between versions of Litestar.
        cast("Any", Response).__init__(self, None, background=background, headers=dict(headers or {}))
        self.wish = DownloadWish(
            file=file,
            disposition=disposition,
            filename=filename if filename is not None else file.filename,
            content_type=content_type,
            delivery=delivery,
            cache_control=cache_control,
        )

    @classmethod
    def of(
        cls,
        backend: StorageBackend | str,
        key: str,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        **options: Any,
    ) -> Self:
        """Answer with an object that no row knows. It is looked up once for each response.

        Args:
            backend: A backend or its key.
            key: Of the object.
            filename: Name to save it under; ``None`` takes the last segment of the key.
            content_type: Its verified type; ``None`` is ``application/octet-stream``: neither a key nor what a store
                was told says what the bytes are.
            options: As `FileDownload` takes them.
        """
        name = safe_filename(filename if filename is not None else key)
        file = FileObject(backend, name, key, content_type=content_type or DEFAULT_CONTENT_TYPE)
        return cls(file, **options)

    def to_asgi_response(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # Litestar 3 has no `app`
        self,
        app: Any = None,
        request: Request[Any, Any, Any] | None = None,
        *,
        background: BackgroundTask | BackgroundTasks | None = None,
        headers: dict[str, str] | None = None,
        **_: Any,
    ) -> ASGIFileDownload:
        """Return the ASGI application that sends the file. Status and cookies of the handler have no say."""
        del app, request
        return ASGIFileDownload(self.wish, {**(headers or {}), **self.headers}, self.background or background)
