"""Subclasses of `StorageBackend` written for Advanced Alchemy work as they are, and with the new methods."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from litestar_filestore import Capability, FileObject, MemoryBackend, StorageBackend, StoredObject, storages
from litestar_filestore.errors import ObjectNotFoundError, UnsupportedOperationError

KEY = "legacy"


class Legacy(StorageBackend):
    """A dictionary behind the methods that Advanced Alchemy asks for."""

    driver = "dictionary"
    protocol = "dict"

    def __init__(self, key: str = KEY, fs: Any = None, **kwargs: Any) -> None:
        super().__init__(key=key, fs={} if fs is None else fs, **kwargs)

    def get_content(self, path: Any, *, options: dict[str, Any] | None = None) -> bytes:
        try:
            content: bytes = self.fs[self._to_path(path)]
        except KeyError as error:
            raise FileNotFoundError(path) from error
        return content

    async def get_content_async(self, path: Any, *, options: dict[str, Any] | None = None) -> bytes:
        return self.get_content(path, options=options)

    def save_object(self, file_object: FileObject, data: Any, **options: Any) -> FileObject:
        self.fs[file_object.path] = data if isinstance(data, bytes) else b"".join(data)
        file_object.size = len(self.fs[file_object.path])
        file_object.etag = '"legacy"'
        return file_object

    async def save_object_async(self, file_object: FileObject, data: Any, **options: Any) -> FileObject:
        return self.save_object(file_object, data, **options)

    def delete_object(self, paths: Any) -> None:
        for path in [paths] if isinstance(paths, str) else paths:
            if self.fs.pop(self._to_path(path), None) is None:
                raise FileNotFoundError(path)

    async def delete_object_async(self, paths: Any) -> None:
        self.delete_object(paths)

    def sign(self, paths: Any, *, expires_in: int | None = None, for_upload: bool = False) -> Any:
        urls = [f"dict://{path}?for_upload={for_upload}" for path in ([paths] if isinstance(paths, str) else paths)]
        return urls[0] if isinstance(paths, str) else urls

    async def sign_async(self, paths: Any, *, expires_in: int | None = None, for_upload: bool = False) -> Any:
        return self.sign(paths, expires_in=expires_in, for_upload=for_upload)


class WithoutSuper(Legacy):
    """One that never calls ``super().__init__``."""

    def __init__(self) -> None:
        self.key = KEY
        self.fs: dict[str, bytes] = {}


class CannotSign(Legacy):
    """One that signs nothing, in the manner of Advanced Alchemy's own."""

    def sign(self, paths: Any, *, expires_in: int | None = None, for_upload: bool = False) -> Any:
        raise NotImplementedError("This backend cannot sign")

    async def sign_async(self, paths: Any, *, expires_in: int | None = None, for_upload: bool = False) -> Any:
        raise NotImplementedError("This backend cannot sign")


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(KEY))


@pytest.fixture(params=[Legacy, WithoutSuper])
def backend(request: pytest.FixtureRequest) -> Any:
    """A backend of the old form, registered."""
    backend = request.param()
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend(KEY)


def a_file(content: bytes = b"content") -> FileObject:
    """Make a new file."""
    return FileObject(KEY, "a.txt", content=content)


def test_file_object(backend: Legacy) -> None:
    """Save, read, sign and delete go through the methods of the subclass."""
    file = a_file().save()
    assert backend.fs == {file.path: b"content"}
    assert (file.size, file.etag, file.protocol) == (7, '"legacy"', "dict")
    assert file.get_content() == b"content"
    assert file.sign(for_upload=True) == f"dict://{file.path}?for_upload=True"
    file.delete()
    assert backend.fs == {}


async def test_file_object_async(backend: Legacy) -> None:
    """So do the async methods."""
    file = await a_file().save_async()
    assert backend.fs == {file.path: b"content"}
    assert await file.get_content_async() == b"content"
    assert await file.sign_async() == f"dict://{file.path}?for_upload=False"
    await file.delete_async()
    assert backend.fs == {}


def test_column(backend: Legacy) -> None:
    """A model stores, replaces, rolls back and deletes."""
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(document := Document(id=1, file=a_file()))
        session.commit()
        document.file = a_file(b"rolled back")
        session.flush()
        session.rollback()
        document.file = new = a_file(b"new")
        session.commit()
        assert new.get_content() == b"new"
        session.delete(document)
        session.commit()
    engine.dispose()


async def test_column_async(backend: Legacy) -> None:
    """An async session does the same."""
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add(document := Document(id=1, file=a_file()))
        await session.commit()
        document.file = new = a_file(b"new")
        await session.commit()
        assert await new.get_content_async() == b"new"
    await engine.dispose()


def test_new_methods(backend: Legacy) -> None:
    """Stream, open, exists, head and copy work on what the old methods offer."""
    file = a_file(b"0123456789").save()
    assert b"".join(file.stream(2, 5)) == b"234"
    with file.open() as opened:
        opened.seek(8)
        assert opened.read() == b"89"
    assert file.exists()
    assert file.head().size == 10
    copy = file.copy().save()
    assert copy.path != file.path
    assert copy.get_content() == b"0123456789"
    file.delete()
    assert not file.exists()


async def test_new_methods_async(backend: Legacy) -> None:
    """So do their async twins."""
    file = await a_file(b"0123456789").save_async()
    assert b"".join([block async for block in file.stream_async(2, 5)]) == b"234"
    async with file.open_async() as opened:
        await opened.seek(8)
        assert await opened.read() == b"89"
    assert (await file.head_async()).size == 10
    copy = await file.copy().save_async()
    assert await copy.get_content_async() == b"0123456789"
    await file.delete_async()
    assert not await file.exists_async()


def test_portable_operations(backend: Legacy) -> None:
    """`put`, `get` and `delete` of the portable type work too, with its checks."""
    info = backend.put([b"ab", b"c"], key="folder/key")
    assert (info.key, info.size) == ("folder/key", 3)
    assert b"".join(backend.get("folder/key")) == b"abc"
    with pytest.raises(FileExistsError):
        backend.put(b"", key="folder/key")
    backend.delete("folder/key")
    backend.delete("folder/key")
    with pytest.raises(ObjectNotFoundError):
        list(backend.get("folder/key"))


def test_listing_is_not_to_be_had(backend: Legacy) -> None:
    """The old interface has none, and the error says so."""
    with pytest.raises(UnsupportedOperationError, match="cannot list objects"):
        list(backend.list())


def test_capabilities_are_those_of_the_old_form(backend: Legacy) -> None:
    """It may sign, and promises nothing else."""
    assert backend.capabilities == Capability.SIGN_GET | Capability.SIGN_PUT


@pytest.mark.parametrize(
    "make",
    [lambda: CannotSign("nosign"), lambda: MemoryBackend("nosign")],
    ids=["old form", "memory"],
)
async def test_store_that_cannot_sign(make: Any) -> None:
    """The error is a `NotImplementedError`, as there."""
    file = FileObject(make(), "a.txt")
    with pytest.raises(NotImplementedError):
        file.sign()
    with pytest.raises(NotImplementedError):
        await file.sign_async()
