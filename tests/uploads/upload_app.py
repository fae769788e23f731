"""An application that takes files in every way that there is, to be run by real servers and in tests."""

import asyncio
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, Request, get, post, put
from litestar.datastructures import UploadFile
from litestar.params import FromPath, MultipartBody

from litestar_filestore import (
    FileField,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MaxSize,
    ObstoreBackend,
    Parts,
    RawBody,
    StorageBackend,
    Storages,
    UploadLimits,
)

__all__ = ("BACKEND", "create_app", "create_app_from_environment", "environment")

BACKEND = "received"
ANY_SIZE = MaxSize(16 * 1024**3)


@dataclass
class Form:
    file: FileObject | None = None
    more: list[FileObject] = field(default_factory=list)
    big: Annotated[FileObject | None, FileField(rules=(ANY_SIZE,))] = None
    spooled: UploadFile | None = None
    text: str = ""
    texts: list[str] = field(default_factory=list)


def describe(file: FileObject) -> dict[str, Any]:
    """Return what a test wants to know of a stored file."""
    return {
        "filename": file.filename,
        "type": file.content_type,
        "size": file.size,
        "checksum": file.checksum,
        "metadata": file.metadata,
    }


@post("/form", status_code=200)
async def form(data: MultipartBody[Form]) -> dict[str, Any]:
    """Say what came."""
    files = [each for each in (data.file, data.big, *data.more) if each is not None]
    spooled = None if data.spooled is None else (await data.spooled.read()).decode()
    return {"files": [describe(each) for each in files], "spooled": spooled, "text": data.text, "texts": data.texts}


@post("/kept")
async def kept(data: MultipartBody[FileObject], storages: Storages) -> str:
    """Keep a file."""
    await storages.keep(data)
    return data.filename


@post("/parts", status_code=200)
async def parts(parts: Parts) -> list[Any]:
    """Take the parts one by one: store those called ``file``, read those called ``text``, skip all others."""
    answer: list[Any] = []
    async for part in parts:
        if part.name == "file":
            answer.append(describe(await part.store(BACKEND)))
        elif part.name == "text":
            answer.append(await part.text())
        else:
            answer.append(None)
    return answer


@put("/raw/{name:str}", status_code=200)
async def raw(name: FromPath[str], raw_upload: RawBody) -> dict[str, Any]:
    """Store the body."""
    return describe(await raw_upload.store(BACKEND, filename=name, rules=[MaxSize("100 MB")]))


@get("/state")
async def state(request: Request[Any, Any, Any], storages: Storages) -> dict[str, Any]:
    """Say what the process holds."""
    limits = request.app.plugins.get(FilestorePlugin).config.limits
    return {
        "pid": os.getpid(),
        "uploads": limits.slots.taken,
        "held": limits.buffer_bytes - limits.budget.free_bytes,
        "part_uploads": limits.part_budget.holders,
        "tasks": len(asyncio.all_tasks()),
        "objects": [each.key async for each in storages[BACKEND].list_async()],
    }


def create_app(backend: StorageBackend, limits: UploadLimits | None = None, **options: Any) -> Litestar:
    """Return the application on a backend whose key is `BACKEND`, with more arguments of Litestar."""
    config = FilestoreConfig(backends=[backend], limits=limits or UploadLimits(), ledger=None)
    return Litestar([form, kept, parts, raw, state], plugins=[FilestorePlugin(config)], openapi_config=None, **options)


def create_app_from_environment() -> Litestar:
    """Return the application as `environment` describes it, for a server in a process of its own."""
    limits = UploadLimits(**json.loads(os.environ["UPLOAD_LIMITS"]))
    bucket: dict[str, Any] | None = json.loads(os.environ["UPLOAD_BUCKET"])
    local = LocalBackend(BACKEND, os.environ["UPLOAD_FOLDER"])
    return create_app(local if bucket is None else ObstoreBackend(BACKEND, **bucket), limits)


def environment(folder: Path, bucket: dict[str, Any] | None = None, **limits: Any) -> dict[str, str]:
    """Return the variables that `create_app_from_environment` reads; `bucket` are the arguments of an object store."""
    return {
        "UPLOAD_FOLDER": str(folder),
        "UPLOAD_BUCKET": json.dumps(bucket),
        "UPLOAD_LIMITS": json.dumps(limits),
    }
