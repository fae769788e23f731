"""Uploads whose type or dimensions stand far behind their beginning, and those made to keep a server busy."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from litestar import Litestar, get, post
from litestar.params import MultipartBody

from litestar_filestore import (
    ContentTypes,
    FileField,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    ImageSize,
    MemoryBackend,
    Storages,
)
from tests.validation.samples.archives import zipped
from tests.validation.samples.documents import OPEN_XML, content_types, open_xml
from tests.validation.samples.images import jpeg, png, tiff
from tests.validation.test_detect import HOSTILE as HOSTILE_FILES
from tests.validation.test_images import HOSTILE as HOSTILE_IMAGES

DOCX = OPEN_XML + "wordprocessingml.document"
BIG = os.urandom(200_000)
DOCUMENT = open_xml(content_types(f"{DOCX}.main+xml"), before=BIG, after=BIG)
BOUNDARY = b"boundary"


@post("/any")
async def take_any(
    data: MultipartBody[Annotated[FileObject, FileField()]], storages: Storages
) -> dict[str, str | None]:
    """Keep a file of any type."""
    return await kept(data, storages)


@post("/documents")
async def take_document(
    data: MultipartBody[Annotated[FileObject, ContentTypes(DOCX)]], storages: Storages
) -> dict[str, str | None]:
    """Keep a document."""
    return await kept(data, storages)


@post("/images")
async def take_image(
    data: MultipartBody[Annotated[FileObject, ImageSize(max_width=3), ContentTypes("image/*")]], storages: Storages
) -> dict[str, str | None]:
    """Keep an image."""
    return await kept(data, storages)


@get("/ping")
async def ping() -> str:
    """Answer at once."""
    return "pong"


async def kept(file: FileObject, storages: Storages) -> dict[str, str | None]:
    """Keep a file and say what it is."""
    await storages.keep(file)
    return {"type": file.content_type, "key": file.path, "name": file.filename}


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[httpx.AsyncClient, MemoryBackend]]:
    """Serve these handlers, and say where the files go."""
    backend = MemoryBackend("files")
    app: Any = Litestar(  # httpx and Litestar spell ASGI's types differently
        [take_any, take_document, take_image, ping], plugins=[FilestorePlugin(FilestoreConfig(backends=[backend]))]
    )
    async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
        yield client, backend


def form(name: str, content: bytes, size: int) -> AsyncIterator[bytes]:
    """A form with one file, in pieces of this size."""
    head = f'--boundary\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body = head + content + b"\r\n--boundary--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    return pieces()


async def send(client: httpx.AsyncClient, path: str, name: str, content: bytes, size: int = 65_536) -> Any:
    """Post one file."""
    headers = {"Content-Type": "multipart/form-data; boundary=boundary"}
    return await client.post(path, content=form(name, content, size), headers=headers)


@pytest.mark.parametrize("size", [1_000, 65_536, 10**9])
async def test_post_verdict_does_not_depend_on_the_pieces(size: int) -> None:
    """Documents and images are accepted or refused for what they are, however they arrive."""
    async with serving() as (client, _):
        assert (await send(client, "/documents", "a.docx", DOCUMENT, size)).status_code == 201
        assert (await send(client, "/images", "a.jpg", jpeg(metadata_bytes=557_000), size)).status_code == 201
        assert (await send(client, "/images", "a.tif", tiff(pixels=300_000), size)).status_code == 201
        assert (await send(client, "/documents", "a.docx", DOCUMENT[:-100], size)).status_code == 415
        assert (await send(client, "/images", "a.jpg", jpeg(4, metadata_bytes=557_000), size)).status_code == 400
        assert (await send(client, "/images", "a.tif", tiff(4, pixels=300_000), size)).status_code == 400


async def test_post_refused_at_its_end_stores_nothing() -> None:
    """A file that is refused when it has passed was never an object."""
    async with serving() as (client, backend):
        answer = await send(client, "/documents", "a.docx", zipped("a.txt", members={"b.bin": BIG}))
        assert (answer.status_code, answer.json()["extra"][0]["key"]) == (415, "file")
        assert list(backend.list()) == []


async def test_post_type_that_turns_out_at_the_end() -> None:
    """Where no rule goes by the type, the file is called what it has turned out to be."""
    async with serving() as (client, _):
        answer = await send(client, "/any", "a.docx", zipped("a.txt", members={"b.bin": BIG}))
    assert (answer.status_code, answer.json()["type"]) == (201, "application/zip")


async def test_post_image_under_the_name_of_a_program() -> None:
    """A PNG that is called a program is refused by a rule for types, and else stored as the PNG that it is."""
    async with serving() as (client, _):
        assert (await send(client, "/images", "shell.php", png())).status_code == 415
        found = (await send(client, "/any", "shell.php", png())).json()
    assert (found["type"], found["key"].rpartition(".")[2]) == ("image/png", "png")


async def test_post_hostile_files_keep_nobody_waiting() -> None:
    """While files arrive that are made to keep parsers busy, other requests are answered."""
    hostile = [("/documents", "a.docx", each) for each in HOSTILE_FILES.values()]
    hostile += [("/images", "a.avif", each) for _, each in HOSTILE_IMAGES.values()]
    longest, slots = 0.0, asyncio.Semaphore(16)

    async def attack(client: httpx.AsyncClient, path: str, name: str, content: bytes) -> int:
        async with slots:
            answer = await send(client, path, name, content, size=16_384)
        return int(answer.status_code)

    async with serving() as (client, _):
        uploads = asyncio.gather(*(attack(client, *each) for each in hostile))
        while not uploads.done():
            begin = time.monotonic()
            assert (await client.get("/ping")).text == "pong"
            longest = max(longest, time.monotonic() - begin)
            await asyncio.sleep(0)  # a request that waits for nothing lets nobody else run
        assert set(await uploads) <= {400, 415}
    assert longest < 20  # a parser whose time grows with the square of its input takes minutes
