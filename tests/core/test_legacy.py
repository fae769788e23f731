"""Backends of an application's own that were written for Advanced Alchemy's interface."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.types import AsyncDataLike, DataLike, PathLike
from litestar_filestore.errors import (
    ObjectExistsError,
    ObjectNotFoundError,
    RangeNotSatisfiableError,
    UnsupportedOperationError,
)


class DictBackend(StorageBackend):
    """A backend as users of Advanced Alchemy write it: the eight methods, and nothing else."""

    def __init__(self, key: str = "legacy") -> None:
        super().__init__(key)
        self.files: dict[str, bytes] = {}

    def get_content(self, path: PathLike, *, options: dict[str, Any] | None = None) -> bytes:
        try:
            return self.files[self._to_path(path)]
        except KeyError as error:
            raise FileNotFoundError(path) from error

    async def get_content_async(self, path: PathLike, *, options: dict[str, Any] | None = None) -> bytes:
        return self.get_content(path)

    def save_object(self, file_object: FileObject, data: DataLike, **options: Any) -> FileObject:
        assert isinstance(data, bytes)
        self.files[file_object.path] = data
        file_object.size = len(data)
        file_object.etag = f'"{len(data)}"'
        return file_object

    async def save_object_async(self, file_object: FileObject, data: AsyncDataLike, **options: Any) -> FileObject:
        assert isinstance(data, bytes)
        return self.save_object(file_object, data)

    def delete_object(self, paths: PathLike | Sequence[PathLike]) -> None:
        for path in [paths] if isinstance(paths, (str, os.PathLike)) else list(paths):
            if self.files.pop(self._to_path(path), None) is None:
                raise FileNotFoundError(path)

    async def delete_object_async(self, paths: PathLike | Sequence[PathLike]) -> None:
        self.delete_object(paths)

    def sign(
        self, paths: PathLike | Sequence[PathLike], *, expires_in: int | None = None, for_upload: bool = False
    ) -> str | list[str]:
        return f"https://example.com/{paths}?upload={for_upload}"

    async def sign_async(
        self, paths: PathLike | Sequence[PathLike], *, expires_in: int | None = None, for_upload: bool = False
    ) -> str | list[str]:
        return self.sign(paths, expires_in=expires_in, for_upload=for_upload)


@pytest.fixture
def backend() -> DictBackend:
    """Make an empty one."""
    return DictBackend()


def test_file_objects_use_the_methods_directly(backend: DictBackend) -> None:
    """Saving, loading, signing and deleting a file go through the overridden methods."""
    file = FileObject(backend, "a.txt", content=b"abc").save()
    assert backend.files == {file.path: b"abc"}
    assert file.get_content() == b"abc"
    assert file.sign().startswith("https://example.com/")
    file.delete()
    assert backend.files == {}


async def test_async_file_objects_use_the_methods_directly(backend: DictBackend) -> None:
    """The same for the async half."""
    file = await FileObject(backend, "a.txt", content=b"abc").save_async()
    assert await file.get_content_async() == b"abc"
    assert await file.sign_async(for_upload=True) == f"https://example.com/{file.path}?upload=True"
    await file.delete_async()
    assert backend.files == {}


async def test_portable_operations_work_on_top(backend: DictBackend) -> None:
    """Put, get with a range, head, exists, copy and delete are made of the old methods."""
    info = backend.put([b"abc", b"def"], key="a")
    assert (info.size, info.checksum is not None) == (6, True)
    assert b"".join(backend.get("a", 1, 3)) == b"bc"
    assert backend.head("a").size == 6
    assert backend.exists("a")
    assert backend.copy("a", "b") == "b"
    backend.delete(["a", "missing", "b"])
    assert not await backend.exists_async("a")


async def test_async_portable_operations_work_on_top(backend: DictBackend) -> None:
    """The same for the async half."""
    await backend.put_async([b"abc", b"def"], key="a")
    assert [block async for block in backend.get_async("a", 4)] == [b"ef"]
    assert (await backend.head_async("a")).size == 6
    assert await backend.copy_async("a", "b") == "b"
    await backend.delete_async(["a", "missing", "b"])
    assert backend.files == {}


async def test_streaming_and_files_work_on_top(backend: DictBackend) -> None:
    """A stored file can be streamed and opened, although the old interface knows neither."""
    file = FileObject(backend, "a.txt", content=b"abcdef").save()
    assert b"".join(file.stream(2)) == b"cdef"
    with file.open() as opened:
        opened.seek(-1, 2)
        assert opened.read() == b"f"
    async with file.open_async() as opened_async:
        assert await opened_async.read(2) == b"ab"


async def test_missing_objects_are_told_in_our_words(backend: DictBackend) -> None:
    """The ``FileNotFoundError`` of the old methods becomes `ObjectNotFoundError`."""
    with pytest.raises(ObjectNotFoundError):
        list(backend.get("missing"))
    with pytest.raises(ObjectNotFoundError):
        await backend.head_async("missing")


async def test_overwriting_is_refused(backend: DictBackend) -> None:
    """The check for a taken key is made on top, as the old methods have none."""
    backend.put(b"abc", key="a")
    with pytest.raises(ObjectExistsError):
        backend.put(b"def", key="a")
    with pytest.raises(ObjectExistsError):
        await backend.put_async(b"def", key="a")
    with pytest.raises(ObjectExistsError):
        await backend.copy_async("a", "a")
    assert backend.files == {"a": b"abc"}


def test_range_behind_the_end(backend: DictBackend) -> None:
    """A range behind the end is refused as everywhere."""
    backend.put(b"abc", key="a")
    with pytest.raises(RangeNotSatisfiableError):
        list(backend.get("a", 3))


async def test_there_is_no_listing(backend: DictBackend) -> None:
    """What the old interface cannot do at all is said."""
    with pytest.raises(UnsupportedOperationError):
        list(backend.list())
    with pytest.raises(UnsupportedOperationError):
        assert [info async for info in backend.list_async()]


async def test_there_are_no_parts(backend: DictBackend) -> None:
    """Without listings, nobody could remove what is left of an object in parts."""
    with pytest.raises(UnsupportedOperationError, match="list"):
        await backend.begin_parts_async("a")


class Choosing(DictBackend):
    """One with Advanced Alchemy's own defaults, which notes what it is asked for."""

    asked: tuple[int, int] | None = None

    def save_object(
        self, file_object: FileObject, data: DataLike, *, chunk_size: int = 5, max_concurrency: int = 12, **options: Any
    ) -> FileObject:
        self.asked = chunk_size, max_concurrency
        return super().save_object(file_object, data)


def test_defaults_of_the_old_methods_are_their_own() -> None:
    """What the caller does not say is not passed on, so a backend's own default holds; what he says is."""
    backend = Choosing()
    FileObject(backend, "a.txt", content=b"abc").save()
    assert backend.asked == (5, 12)
    FileObject(backend, "a.txt", content=b"abc").save(max_concurrency=3)
    assert backend.asked == (5, 3)


def test_content_put_by_key_comes_as_a_file() -> None:
    """For content that is put by key, ``save_object`` is given a file with what the old interface reads of one."""
    seen: list[Any] = []

    class Looking(DictBackend):
        def save_object(self, file_object: FileObject, data: DataLike, **options: Any) -> FileObject:
            file_object.update_metadata({"seen": "yes"})
            seen.append(file_object)
            return super().save_object(file_object, data)

    looking = Looking()
    looking.put(b"abc", key="folder/a.txt", metadata={"author": "me"})
    (file,) = seen
    assert (file.backend, file.path, file.filename, file.to_filename) == (looking, *["folder/a.txt"] * 3)
    assert (file.content_type, file.metadata) == ("text/plain", {"author": "me", "seen": "yes"})
