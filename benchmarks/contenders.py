"""Ways of putting and getting one object that are compared: ours, system calls, obstore, Advanced Alchemy.

All of them are given bytes in memory, and put each object under a name of its own.
"""

from __future__ import annotations

import itertools
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from advanced_alchemy.types.file_object import FileObject as TheirFileObject
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend as TheirBackend
from obstore.store import LocalStore, S3Store

from benchmarks.places import make_backend, s3_options
from benchmarks.rounds import Contender
from litestar_filestore.core.file_object import FileObject

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable

    from obstore.store import ObjectStore

    from benchmarks.places import Place
    from litestar_filestore.core.backend import StorageBackend

__all__ = ("Setting", "getters", "putters")

BLOCK_BYTES = 1024 * 1024
_numbers = itertools.count()


class Setting:
    """One store, one half, one size: what a table is about."""

    def __init__(self, place: Place, store: str, half: str, content: bytes, loops: asyncio.Runner) -> None:
        """Prepare to put `content` into `store` (``"local"`` or ``"S3, obstore"``), ``"sync"`` or ``"async"``."""
        self.place = place
        self.store = store
        self.is_local = store == "local"
        self.is_async = half == "async"
        self.content = content
        self.loops = loops
        self.folder = Path(place.folder)

    def obstore(self) -> ObjectStore:
        """Return obstore's own store for the same place."""
        if self.is_local:
            return LocalStore(self.folder, mkdir=True)
        return S3Store(self.place.bucket, **s3_options(self.place))

    def ours(self, **options: Any) -> StorageBackend:
        """Return our backend."""
        return make_backend(self.store, self.place, **options)

    def theirs(self) -> TheirBackend:
        """Return Advanced Alchemy's backend, on obstore."""
        return TheirBackend(key="theirs", fs=self.obstore())

    def clean(self) -> None:
        """Remove all objects."""
        if self.is_local:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            return
        store = self.obstore()
        for page in obstore.list(store):
            obstore.delete(store, [meta["path"] for meta in page])

    def contender(self, name: str, sync: Callable[[], Any], async_: Callable[[], Awaitable[Any]]) -> Contender:
        """Return a contender that uses the half that this setting is about."""

        async def repeat(count: int) -> None:
            for _ in range(count):
                await async_()

        def run(count: int) -> None:
            if self.is_async:
                self.loops.run(repeat(count))
            else:
                for _ in range(count):
                    sync()

        return Contender(name, run)


def new_name() -> str:
    """Return a name that was never used."""
    return f"{next(_numbers)}.bin"


# -- put


def putters(setting: Setting) -> list[Contender]:
    """Return the ways of putting; on S3 the first one is obstore's, there is no plainer one."""
    found = [_put_obstore(setting), _put_theirs(setting), _put_ours(setting, "ours, sha256")]
    found.append(_put_ours(setting, "ours, no digest", digest=None))
    if setting.is_local:
        found.append(_put_ours(setting, "ours, no digest, no fsync", digest=None, fsync=False))
        plain = [_put_plain(setting, "write, fsync", fsync=True), _put_plain(setting, "write", fsync=False)]
        found = [*plain, *found]
    return [contender._replace(clean=setting.clean) for contender in found]


def _put_plain(setting: Setting, name: str, *, fsync: bool) -> Contender:
    def write() -> None:
        with (setting.folder / new_name()).open("xb", buffering=0) as file:
            view = memoryview(setting.content)
            for start in range(0, len(view), BLOCK_BYTES):
                file.write(view[start : start + BLOCK_BYTES])
            if fsync:
                os.fsync(file.fileno())

    def run(count: int) -> None:
        for _ in range(count):
            write()

    return Contender(name, run)


def _put_obstore(setting: Setting) -> Contender:
    store = setting.obstore()
    return setting.contender(
        "obstore put",
        lambda: obstore.put(store, new_name(), setting.content),
        lambda: obstore.put_async(store, new_name(), setting.content),
    )


def _put_theirs(setting: Setting) -> Contender:
    backend = setting.theirs()

    def new() -> TheirFileObject:
        return TheirFileObject(backend=backend, filename=new_name(), content=setting.content)

    return setting.contender("Advanced Alchemy, obstore", lambda: new().save(), lambda: new().save_async())


def _put_ours(setting: Setting, name: str, **options: Any) -> Contender:
    backend = setting.ours(**options)

    def new() -> FileObject:
        return FileObject(backend, "file.bin", content=setting.content)

    return setting.contender(name, lambda: new().save(), lambda: new().save_async())


# -- get


def getters(setting: Setting) -> list[Contender]:
    """Put one object and return the ways of getting it."""
    backend = setting.ours()
    file = setting.loops.run(FileObject(backend, "file.bin", content=setting.content).save_async())
    store = setting.obstore()
    found = [
        _get_obstore(setting, store, file.path),
        _get_stream(setting, store, file.path),
        _get_theirs(setting, file.path),
        setting.contender("ours, get_content", file.get_content, file.get_content_async),
        setting.contender("ours, stream", lambda: _drain(file.stream()), lambda: _drain_async(file.stream_async())),
    ]
    return [_get_plain(setting, file.path), *found] if setting.is_local else found


def _get_plain(setting: Setting, path: str) -> Contender:
    def read() -> None:
        with (setting.folder / path).open("rb", buffering=0) as file:
            _drain(iter(partial(file.read, BLOCK_BYTES), b""))

    def run(count: int) -> None:
        for _ in range(count):
            read()

    return Contender("read loop", run)


def _get_obstore(setting: Setting, store: ObjectStore, path: str) -> Contender:
    async def get() -> None:
        await (await obstore.get_async(store, path)).bytes_async()

    return setting.contender("obstore get", lambda: obstore.get(store, path).bytes(), get)


def _get_stream(setting: Setting, store: ObjectStore, path: str) -> Contender:
    async def stream() -> None:
        await _drain_async((await obstore.get_async(store, path)).stream())

    return setting.contender("obstore stream", lambda: _drain(obstore.get(store, path).stream()), stream)


def _get_theirs(setting: Setting, path: str) -> Contender:
    file = TheirFileObject(backend=setting.theirs(), filename=path)
    return setting.contender("Advanced Alchemy, obstore", file.get_content, file.get_content_async)


def _drain(blocks: Iterable[Any]) -> int:
    return sum(len(block) for block in blocks)


async def _drain_async(blocks: Any) -> int:
    return sum([len(block) async for block in blocks])
