"""The application of the download tests: the same objects in memory, in a folder and in S3.

``FILESTORE_DOWNLOADS`` holds its settings as JSON: ``root``, ``endpoint``, ``bucket``, and the `DownloadConfig` by
keywords; ``nginx`` and ``x_sendfile`` are the server in front.
"""

import json
import os
from pathlib import Path
from typing import Any

from litestar import Litestar, get, head
from litestar.params import FromPath, FromQuery

from litestar_filestore import (
    DownloadConfig,
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MemoryBackend,
    Nginx,
    ObstoreBackend,
    StorageBackend,
    XSendfile,
)
from tests.downloads.content import OBJECTS
from tests.downloads.in_browsers import IN_MEMORY

SETTINGS: dict[str, Any] = json.loads(os.environ["FILESTORE_DOWNLOADS"])


def _backends() -> list[StorageBackend]:
    root = Path(SETTINGS["root"])
    local = LocalBackend("local", root, fsync=False, file_mode=0o644, directory_mode=0o755)
    backends: list[StorageBackend] = [MemoryBackend("memory"), local]
    if endpoint := SETTINGS.get("endpoint"):
        backends.append(
            ObstoreBackend(
                "s3",
                f"s3://{SETTINGS['bucket']}",
                prefix=SETTINGS.get("prefix"),
                aws_endpoint=endpoint,
                aws_access_key_id=SETTINGS["access_key"],
                aws_secret_access_key=SETTINGS["secret_key"],
                aws_region="us-east-1",
                client_options={"allow_http": True},
            )
        )
    return backends


BACKENDS = {backend.key: backend for backend in _backends()}
FILES: dict[tuple[str, str], FileObject] = {}
NOT_ASCII = "Übersicht „2026“.txt"


async def store_objects(_app: Litestar) -> None:
    """Store every object in every backend."""
    for backend in BACKENDS.values():
        objects = {**OBJECTS, **IN_MEMORY} if backend.key == "memory" else OBJECTS
        for name, (content, content_type) in objects.items():
            file = FileObject(backend, name, content=content, content_type=content_type)
            FILES[backend.key, name] = await file.save_async()


def _described(file: FileObject, **changes: Any) -> FileObject:
    return FileObject.from_dict({**file.to_dict(), **changes}, file.backend)


@get("/{backend:str}/{name:str}")
async def read(
    backend: FromPath[str],
    name: FromPath[str],
    disposition: FromQuery[str] = "attachment",
    delivery: FromQuery[str | None] = None,
) -> FileDownload:
    """Send the file of a row."""
    kind: Any = disposition
    how: Any = delivery
    return FileDownload(FILES[backend, name], disposition=kind, delivery=how)


@head("/{backend:str}/{name:str}")
async def look(backend: FromPath[str], name: FromPath[str]) -> FileDownload:
    """Answer without a body."""
    return FileDownload(FILES[backend, name])


@get("/{backend:str}/{name:str}/unknown")
async def read_unknown(backend: FromPath[str], name: FromPath[str]) -> FileDownload:
    """Send an object that no row knows."""
    file = FILES.get((backend, name))
    return FileDownload.of(backend, file.path if file is not None else name, filename=NOT_ASCII)


@get("/{backend:str}/{name:str}/longer-row")
async def read_longer(backend: FromPath[str], name: FromPath[str]) -> FileDownload:
    """Send the file of a row that promises a byte too much."""
    file = FILES[backend, name]
    return FileDownload(_described(file, size=(file.size or 0) + 1))


@get("/{backend:str}/{name:str}/gone")
async def read_gone(backend: FromPath[str], name: FromPath[str]) -> FileDownload:
    """Send the file of a row whose object is gone."""
    return FileDownload(_described(FILES[backend, name], to_filename="no/such/object"))


def _config() -> DownloadConfig:
    options: dict[str, Any] = dict(SETTINGS.get("downloads", {}))
    if (nginx := SETTINGS.get("nginx")) is not None:
        options["front_server"] = Nginx(**nginx)
    if (roots := SETTINGS.get("x_sendfile")) is not None:
        options["front_server"] = XSendfile(tuple(roots))
    if (types := options.get("inline_types")) is not None:
        options["inline_types"] = frozenset(types)
    return DownloadConfig(**options)


app = Litestar(
    [read, look, read_unknown, read_longer, read_gone],
    plugins=[FilestorePlugin(FilestoreConfig(backends=list(BACKENDS.values()), ledger=None, downloads=_config()))],
    on_startup=[store_objects],
)
