"""Django's `FileField` behind ASGI, with Django's defaults: large files pass through a temporary file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection, models
from django.http import FileResponse, HttpResponse
from django.urls import path

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("create_app",)

urlpatterns: list[Any] = []


def create_app(folder: Path) -> Any:
    """Return the application. There can be one in a process: Django's settings are global."""
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "rows.sqlite"}},
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        MEDIA_ROOT=folder / "media",
        ROOT_URLCONF=__name__,
        SECRET_KEY="of an application that ends with the benchmark",  # noqa: S106
    )
    django.setup()

    class Document(models.Model):  # type: ignore[misc]  # no types of Django are read
        file = models.FileField(upload_to="files")

        class Meta:
            app_label = "benchmarks"

        def __str__(self) -> str:
            return str(self.file)

    def create(request: Any) -> HttpResponse:
        document = Document.objects.create(file=request.FILES["file"])
        return HttpResponse(str(document.pk), status=201)

    def send(_request: Any, number: int) -> FileResponse:
        return FileResponse(Document.objects.get(pk=number).file.open("rb"))

    urlpatterns.extend((path("files", create), path("files/<int:number>", send)))
    # The server calls this on its event loop, where Django's database refuses to work.
    maker = threading.Thread(target=_make_table, args=(Document,))
    maker.start()
    maker.join()
    return get_asgi_application()


def _make_table(model: Any) -> None:
    with connection.schema_editor() as editor:
        editor.create_model(model)
    connection.close()
