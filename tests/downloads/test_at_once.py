"""Downloads that are answered at once: what is in memory is sent without a thread, as any other answer would be."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from litestar import Litestar, get
from litestar.params import FromPath

from litestar_filestore import (
    DownloadConfig,
    FileDownload,
    FileObject,
    FilestoreConfig,
    FilestorePlugin,
    LocalBackend,
    MemoryBackend,
    storages,
)
from litestar_filestore.testing import FaultyBackend
from tests.uploads.scripted import Script, messages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from litestar_filestore.core.backend import StorageBackend

MIB = 1024 * 1024


@asynccontextmanager
async def site(backend: StorageBackend, *handlers: Any, **options: Any) -> AsyncIterator[Litestar]:
    """Run an application with one backend."""
    config = FilestoreConfig([backend], ledger=None, downloads=DownloadConfig(**options))
    app = Litestar([*handlers], plugins=[FilestorePlugin(config)])
    async with app.lifespan():
        yield app
    storages.unregister_backend(backend.key)


async def ask(app: Litestar, path: str, **headers: str) -> Script:
    """Return the client that has asked for `path`, with all that was sent to it."""
    client = Script(messages())
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    await client.run(app, path, method="GET", headers=given)
    return client


@pytest.mark.parametrize("size", [1, 1000, 100_000, MIB, 3 * MIB])
async def test_the_first_answer_and_the_second_are_the_same(tmp_path: Path, size: int) -> None:
    """Whether a thread opens the file or the event loop: headers and bytes are the same, for every size and range."""
    backend = LocalBackend("files", tmp_path, fsync=False)
    content = os.urandom(size)
    file = await FileObject(backend, "a.bin", content=content).save_async()

    @get("/row")
    async def row() -> FileDownload:
        return FileDownload(file)

    @get("/key")
    async def key() -> FileDownload:
        return FileDownload.of(backend, file.path)

    async with site(backend, row, key) as app:
        for path in ("/row", "/key"):
            for wanted, part in (("", content), ("bytes=-7", content[-7:]), ("bytes=0-", content)):
                answers = [(await ask(app, path, **({"range": wanted} if wanted else {}))).answer for _ in range(2)]
                assert answers[0].content == part
                assert answers[1] == answers[0]


async def test_a_known_version_is_answered_from_the_row() -> None:
    """The store is not asked for anything if the client has the file already, or asks only about it."""
    backend = FaultyBackend(MemoryBackend("files"))
    file = await FileObject(backend, "a.txt", content=b"abc").save_async()
    assert file.etag is not None

    @get("/file")
    async def read() -> FileDownload:
        return FileDownload(file)

    async with site(backend, read) as app:
        backend.faulty.calls.clear()
        assert (await ask(app, "/file", if_none_match=file.etag)).answer.status == 304
        assert (await ask(app, "/file", if_match='"other"')).answer.status == 412
        assert (await ask(app, "/file", range="bytes=9-")).answer.status == 416
        assert backend.faulty.calls == []


async def test_a_backend_that_changes_what_is_read_is_never_passed_by(tmp_path: Path) -> None:
    """Only the backend knows how to decrypt: the file itself is not what the client gets."""

    class Decrypting(LocalBackend):
        async def get_async(
            self, key: str, start: int = 0, end: int | None = None, **_: Any
        ) -> AsyncGenerator[bytes, None]:
            yield b"".join(self.get(key))[::-1][start:end]

    backend = Decrypting("files", tmp_path, fsync=False)
    file = await FileObject(backend, "a.txt", content=b"abc").save_async()

    @get("/file")
    async def read() -> FileDownload:
        return FileDownload(file)

    async with site(backend, read) as app:
        for _ in range(2):
            assert (await ask(app, "/file")).answer.content == b"cba"


async def test_headers_of_one_answer_stay_with_it(tmp_path: Path) -> None:
    """What one handler adds for one file is not remembered for the next answer with that file."""
    backend = LocalBackend("files", tmp_path, fsync=False)
    file = await FileObject(backend, "a.png", content=b"abc", content_type="image/png").save_async()
    wishes: list[dict[str, Any]] = [
        {},
        {"headers": {"X-One": "1", "Set-Cookie": "a=b", "Content-Type": "text/html"}},
        {"disposition": "inline", "cache_control": "public, max-age=9"},
        {"content_type": "text/plain", "filename": "b.txt"},
        {},
    ]

    @get("/{number:int}")
    async def read(number: FromPath[int]) -> FileDownload:
        return FileDownload(file, **wishes[number])

    async with site(backend, read, headers={"X-All": "yes"}) as app:
        answers = [(await ask(app, f"/{number}")).answer.headers for number in range(len(wishes))]
    assert answers[0] == answers[4]
    assert answers[0]["content-disposition"].startswith("attachment")
    assert answers[0]["cache-control"] == "private, no-cache"
    assert answers[1] == {**answers[0], "x-one": "1"}
    assert answers[2]["content-disposition"] == 'inline; filename="a.png"'
    assert answers[2]["cache-control"] == "public, max-age=9"
    assert answers[3]["content-type"] == "text/plain; charset=utf-8"
    assert all(each["x-all"] == "yes" for each in answers)


async def test_a_small_body_is_one_message(tmp_path: Path) -> None:
    """A body that a server takes at once is sent at once; after a larger one, the server says when it has room."""
    backend = LocalBackend("files", tmp_path, fsync=False)
    small = await FileObject(backend, "a.bin", content=bytes(1000)).save_async()
    large = await FileObject(backend, "a.bin", content=bytes(MIB)).save_async()

    @get("/{name:str}")
    async def read(name: FromPath[str]) -> FileDownload:
        return FileDownload(small if name == "small" else large)

    async with site(backend, read) as app:
        await ask(app, "/small")
        assert (await ask(app, "/small")).bodies == [1000]
        assert (await ask(app, "/large")).bodies in ([MIB, 0], [MIB])
