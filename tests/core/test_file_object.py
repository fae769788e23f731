"""The value of a file column."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from advanced_alchemy.types.file_object import FileObject as AdvancedAlchemyFileObject
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend as AdvancedAlchemyBackend

from litestar_filestore.backends.memory import MemoryBackend, MemoryDriver
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import Answering, FileObject, answering, public_file
from litestar_filestore.core.registry import storages
from litestar_filestore.errors import (
    BackendNotRegisteredError,
    BackendUnavailableError,
    InvalidArgumentError,
    ObjectExistsError,
    ObjectNotFoundError,
    SourceTypeError,
    UnsupportedOperationError,
)
from litestar_filestore.testing import Fault, FaultyBackend
from litestar_filestore.testing.contents import AsyncFile


@pytest.fixture
def backend() -> Iterator[MemoryBackend]:
    """Register an empty backend."""
    backend = MemoryBackend("documents")
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend("documents")


@pytest.fixture
def stored(backend: MemoryBackend) -> FileObject:
    """Store one file."""
    return FileObject(backend, "report.pdf", content=b"abcdef", metadata={"author": "x"}).save()


def pickled(file: FileObject) -> FileObject:
    """Send a file through pickle."""
    twin: FileObject = pickle.loads(pickle.dumps(file))  # noqa: S301 - our own
    return twin


# -- what it is


def test_needs_a_filename() -> None:
    """A file without a name is an error of the caller."""
    with pytest.raises(InvalidArgumentError):
        FileObject("documents", "")


def test_takes_one_source_only() -> None:
    """Content and path at once could only contradict; a ``ValueError`` as in Advanced Alchemy."""
    with pytest.raises(ValueError, match="both"):
        FileObject("documents", "a.txt", content=b"abc", source_path="a.txt")


def test_refuses_text_as_content() -> None:
    """Text is refused at once: a library would take it for the name of a local file."""
    text: Any = "/etc/passwd"
    with pytest.raises(SourceTypeError):
        FileObject("documents", "a.txt", content=text)


def test_refuses_a_negative_size() -> None:
    """A size is not negative."""
    with pytest.raises(InvalidArgumentError):
        FileObject("documents", "a.txt", size=-1)


@pytest.mark.parametrize(
    ("filename", "given", "expected"),
    [
        ("a.png", None, "image/png"),
        ("a", None, "application/octet-stream"),
        ("a.png", "text/plain", "text/plain"),
    ],
)
def test_content_type(filename: str, given: str | None, expected: str) -> None:
    """The type is what was given, else guessed by the name."""
    assert FileObject("documents", filename, content_type=given).content_type == expected


def test_nothing_is_looked_up_before_it_is_needed() -> None:
    """A file may name a backend that is registered later."""
    file = FileObject("later", "a.txt")
    assert file.backend_key == "later"
    assert "later" in repr(file)
    with pytest.raises(BackendNotRegisteredError):
        file.get_content()


# -- equality


def test_equality_is_backend_and_key() -> None:
    """Two handles of one object are equal, whatever else they know."""
    first = FileObject("documents", "a.txt", to_filename="k", size=1)
    second = FileObject("documents", "other.txt", to_filename="k", size=2)
    assert first == second
    assert hash(first) == hash(second)
    assert first != FileObject("images", "a.txt", to_filename="k")
    assert first != FileObject("documents", "a.txt", to_filename="l")
    assert first != "a.txt"


def test_files_without_a_key_are_different() -> None:
    """New content is equal to itself only, also under one name."""
    first, second = (FileObject("documents", "a.txt", content=b"abc") for _ in range(2))
    assert first != second
    assert first == first  # noqa: PLR0124 - the point of the test
    assert len({first, second}) == 2


# -- saving


CONTENTS = {"bytes": b"abc", "bytearray": bytearray(b"abc"), "BytesIO": io.BytesIO(b"abc"), "list": [b"a", b"bc"]}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_save(backend: MemoryBackend, content: Any) -> None:
    """Saving stores the content, completes the metadata and leaves nothing pending."""
    file = FileObject("documents", "a.txt", content=content)
    assert file.has_pending_data
    assert file.key is None
    assert file.save() is file
    assert (file.has_pending_data, file.size) == (False, 3)
    assert file.checksum is not None
    assert file.etag is not None
    assert file.last_modified is not None
    assert file.get_content() == b"abc"


async def test_save_async(backend: MemoryBackend) -> None:
    """The async half also takes async sources."""
    file = await FileObject(backend, "a.txt", content=AsyncFile(b"abc")).save_async()
    assert await file.get_content_async() == b"abc"


def test_save_from_a_path(backend: MemoryBackend, tmp_path: Path) -> None:
    """A local file is stored from its path."""
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert FileObject(backend, "a.txt", source_path=path).save().get_content() == b"abc"


def test_empty_content_is_a_file(backend: MemoryBackend) -> None:
    """Zero bytes are content like any other."""
    file = FileObject(backend, "a.txt", content=b"")
    assert file.has_pending_data
    assert file.save().size == 0
    assert file.exists()


def test_nothing_to_save(backend: MemoryBackend) -> None:
    """Saving without content is a ``TypeError`` as in Advanced Alchemy."""
    with pytest.raises(TypeError):
        FileObject(backend, "a.txt").save()


def test_key_is_new_and_not_the_name(backend: MemoryBackend) -> None:
    """Two uploads of one name are two objects."""
    first = FileObject(backend, "a.txt", content=b"1").save()
    second = FileObject(backend, "a.txt", content=b"2").save()
    assert first.key != second.key
    assert (first.filename, first.get_content(), second.get_content()) == ("a.txt", b"1", b"2")


def test_saving_again_takes_a_new_key(backend: MemoryBackend, stored: FileObject) -> None:
    """New content of a stored file is a new object; the old one is not touched."""
    old = stored.key
    stored.save(b"new")
    assert old is not None
    assert stored.key != old
    assert backend.get_content(old) == b"abcdef"


def test_pinned_key_is_kept(backend: MemoryBackend) -> None:
    """`to_filename` pins the key on purpose."""
    file = FileObject(backend, "a.txt", to_filename="invoices/1", content=b"abc").save()
    assert (file.key, file.filename) == ("invoices/1", "a.txt")


def test_pinned_key_is_not_overwritten(backend: MemoryBackend) -> None:
    """A pinned key that is taken is refused."""
    backend.put(b"old", key="invoices/1")
    file = FileObject(backend, "a.txt", to_filename="invoices/1", content=b"new")
    with pytest.raises(ObjectExistsError):
        file.save()
    assert backend.get_content("invoices/1") == b"old"


async def test_failed_save_changes_nothing(backend: MemoryBackend) -> None:
    """After a failure the file is as before and can be saved again."""
    broken = FaultyBackend(backend, [Fault("put", BackendUnavailableError("down"), times=2)])
    file = FileObject(broken, "a.txt", content=b"abc")
    with pytest.raises(BackendUnavailableError):
        file.save()
    with pytest.raises(BackendUnavailableError):
        await file.save_async()
    assert (file.key, file.has_pending_data, file.size) == (None, True, None)
    assert file.save().get_content() == b"abc"


def test_template_of_the_column_is_used(backend: MemoryBackend) -> None:
    """A column may say where its files go."""
    file = FileObject(backend, "a.txt", content=b"abc")
    file.key_template = "invoices/{random}"
    assert (file.save().key or "").startswith("invoices/")


def test_change_is_announced(stored: FileObject) -> None:
    """Whoever holds the file learns of changes in place."""
    seen: list[str] = []
    stored.on_change = lambda _file: seen.append("changed")
    stored.update_metadata({"a": 1})
    stored.metadata = {"b": 2}
    stored.content_type = "text/plain"
    stored.save(b"new")
    assert len(seen) == 4


# -- reading


async def test_reading(stored: FileObject) -> None:
    """Content can be had whole, as a stream and as a file, in both halves."""
    assert stored.get_content() == await stored.get_content_async() == b"abcdef"
    assert b"".join(stored.stream(1, 3)) == b"bc"
    assert [block async for block in stored.stream_async(4)] == [b"ef"]
    with stored.open() as file:
        assert file.read(2) == b"ab"
    async with stored.open_async() as file_async:
        assert await file_async.read(2) == b"ab"


async def test_looking_up(stored: FileObject) -> None:
    """Head and exists ask the store."""
    assert stored.head().size == (await stored.head_async()).size == 6
    assert stored.exists()
    assert await stored.exists_async()
    await stored.delete_async()
    assert not stored.exists()
    with pytest.raises(ObjectNotFoundError):
        stored.head()


async def test_unsaved_file_does_not_exist(backend: MemoryBackend) -> None:
    """Pending content has no object, even if its name is the key of one."""
    backend.put(b"other", key="a.txt")
    file = FileObject(backend, "a.txt", content=b"abc")
    assert not file.exists()
    assert not await file.exists_async()


def test_delete_is_idempotent(stored: FileObject) -> None:
    """Deleting twice is fine."""
    stored.delete()
    stored.delete()
    assert not stored.exists()


async def test_copy(stored: FileObject) -> None:
    """A copy is another object with the same content and metadata, once it is saved."""
    for twin in (stored.copy().save(), await stored.copy().save_async()):
        assert twin != stored
        assert twin.is_made_here
        assert (twin.filename, twin.size, twin.metadata) == ("report.pdf", 6, {"author": "x"})
        assert (twin.checksum, twin.etag) == (stored.checksum, stored.etag)
        assert twin.head().size == 6
        assert twin.get_content() == b"abcdef"


def test_copy_stores_nothing(stored: FileObject) -> None:
    """Before it is saved a copy is no object; it knows of its origin what is known of the content."""
    twin = stored.copy()
    assert twin.has_pending_data
    assert twin.key is None
    assert not twin.exists()
    assert (twin.size, twin.checksum, twin.content_type) == (6, stored.checksum, stored.content_type)
    twin.delete()
    assert [info.key for info in stored.backend.list()] == [stored.key]


async def test_unsaved_copy_reads_its_origin(stored: FileObject) -> None:
    """The content of a copy that is still to be made is that of its origin, whatever way it is read."""
    twin = stored.copy()
    assert twin.get_content() == await twin.get_content_async() == b"abcdef"
    assert b"".join(twin.stream(2, 4)) == b"".join([block async for block in twin.stream_async(2, 4)]) == b"cd"
    assert twin.head().size == (await twin.head_async()).size == 6
    with twin.open() as opened:
        assert opened.read() == b"abcdef"
    async with twin.open_async() as opened_async:
        assert await opened_async.read() == b"abcdef"


async def test_copy_of_a_missing_object(stored: FileObject) -> None:
    """Where the origin is gone before the copy is saved, that fails, and leaves the copy as it was."""
    twin = stored.copy()
    stored.delete()
    with pytest.raises(ObjectNotFoundError):
        twin.save()
    with pytest.raises(ObjectNotFoundError):
        await twin.save_async()
    assert twin.has_pending_data
    assert twin.key is None


async def test_copy_to_another_backend(stored: FileObject) -> None:
    """Between two backends the content is read and stored; the copy names the other one."""
    other = MemoryBackend("other")
    for twin in (stored.copy(other).save(), await stored.copy(other).save_async()):
        assert (twin.backend_key, twin.size, twin.checksum) == ("other", 6, stored.checksum)
        assert twin.get_content() == b"abcdef"
    with pytest.raises(ObjectNotFoundError):
        FileObject(stored.backend, "gone.txt", "gone").copy(other).save()
    with pytest.raises(ObjectNotFoundError):
        await FileObject(stored.backend, "gone.txt", "gone").copy(other).save_async()
    assert len(list(other.list())) == 2


async def test_copy_where_the_driver_cannot() -> None:
    """A driver without copies gets the content."""

    class Uncopying(MemoryDriver):
        def copy(self, source: str, target: str, *, overwrite: bool) -> None:
            raise UnsupportedOperationError("no copies here")

        async def copy_async(self, source: str, target: str, *, overwrite: bool) -> None:
            raise UnsupportedOperationError("no copies here")

    file = FileObject(StorageBackend("uncopying", driver=Uncopying()), "a.txt", content=b"abc").save()
    for twin in (file.copy().save(), await file.copy().save_async()):
        assert twin.get_content() == b"abc"
        assert twin != file


def test_copy_of_unknown_size(stored: FileObject) -> None:
    """Where the row of the origin says nothing of its size, as Advanced Alchemy's do, the store does."""
    bare = FileObject(stored.backend, "report.pdf", stored.key)
    twin = bare.copy().save()
    assert twin.size == 6
    assert twin.etag is not None


def test_copy_of_pending_content(backend: MemoryBackend) -> None:
    """Content that can be read again makes two files; content that cannot is refused."""
    file = FileObject(backend, "a.txt", content=b"abc")
    twin = file.copy().save()
    file.save()
    assert twin != file
    assert twin.get_content() == file.get_content() == b"abc"
    with pytest.raises(SourceTypeError, match="only once"):
        FileObject(backend, "a.txt", content=iter([b"abc"])).copy()


def test_unsaved_copy_is_pickled(stored: FileObject) -> None:
    """A copy that is still to be made names its origin, which another process can copy as well."""
    twin = pickle.loads(pickle.dumps(stored.copy()))  # noqa: S301
    assert twin.size == 6
    assert twin.save().get_content() == b"abcdef"


def test_unsaved_file_deletes_nothing(backend: MemoryBackend) -> None:
    """Pending content has no object to delete, even if its name is the key of one."""
    backend.put(b"other", key="a.txt")
    FileObject(backend, "a.txt", content=b"abc").delete()
    assert backend.exists("a.txt")


async def test_url(stored: FileObject) -> None:
    """A file has the public URL of its backend, else a signed one, else none."""
    with pytest.raises(UnsupportedOperationError):
        stored.url()
    stored.backend.base_url = "https://cdn.example.com"
    assert stored.url() == await stored.url_async() == f"https://cdn.example.com/{stored.key}"


# -- as data


def test_row_form_loads_again(stored: FileObject) -> None:
    """What a row keeps is JSON, and loads to an equal file that knows the same."""
    data = json.loads(json.dumps(stored.to_dict()))
    again = FileObject.from_dict(data)
    assert again == stored
    assert again.to_dict() == stored.to_dict()
    assert again.get_content() == b"abcdef"


def test_file_of_a_row_lacks_nothing(stored: FileObject) -> None:
    """A row's file does not pass `__init__`, but knows what any file knows."""
    made = FileObject("documents", "a.txt")
    again = FileObject.from_dict(made.to_dict())
    unlike = {
        name for name in FileObject.__slots__ if name != "__weakref__" and getattr(again, name) != getattr(made, name)
    }
    assert unlike == set()


def test_loaded_key_is_not_pinned(stored: FileObject) -> None:
    """New content of a file from a row gets a new key, and does not collide with the old object."""
    again = FileObject.from_dict(stored.to_dict())
    again.save(b"new")
    assert again.key != stored.key


def test_rows_of_advanced_alchemy_load(backend: MemoryBackend) -> None:
    """JSON that Advanced Alchemy wrote stands for the object that its file name names."""
    backend.put(b"abc", key="report.pdf")
    theirs = AdvancedAlchemyFileObject(
        backend=AdvancedAlchemyBackend(key="documents", fs="memory:///"),
        filename="report.pdf",
        size=3,
        etag='"x"',
        metadata={"a": 1},
        content_type="application/pdf",
    )
    ours = FileObject.from_dict(theirs.to_dict())
    assert (ours.key, ours.filename, ours.content_type) == ("report.pdf", "report.pdf", "application/pdf")
    assert (ours.size, ours.etag, ours.metadata) == (3, '"x"', {"a": 1})
    assert ours.get_content() == b"abc"


def test_row_without_a_backend_takes_the_column_s() -> None:
    """Very old rows name no backend."""
    assert FileObject.from_dict({"filename": "a.txt"}, "documents").backend_key == "documents"


def test_data_without_a_filename_is_no_file() -> None:
    """A damaged row fails where it is loaded, and not when its file is read."""
    with pytest.raises(KeyError, match="filename"):
        FileObject.from_dict({"backend": "documents", "size": 3})


def test_public_form_hides_the_key(stored: FileObject) -> None:
    """Clients see name, type, size, tag and URL, nothing of backend, key or metadata."""
    stored.metadata = {"internal": True}
    public = msgspec.to_builtins(public_file(stored))
    assert set(public) == {"filename", "content_type", "size", "etag", "url"}
    assert stored.key is not None
    assert stored.key not in json.dumps(public)


def test_public_url_is_made_by_the_application(stored: FileObject) -> None:
    """The URL comes from whoever answers the request."""
    token = answering.set(Answering(build_url=lambda file: f"/files/{file.filename}"))
    try:
        assert public_file(stored).url == "/files/report.pdf"
    finally:
        answering.reset(token)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled], ids=["copy", "deepcopy", "pickle"])
def test_handles_can_be_copied(stored: FileObject, again: Any) -> None:
    """Copies of the value are further handles of the same object."""
    twin = again(stored)
    assert twin is not stored
    assert twin == stored
    assert twin.to_dict() == stored.to_dict()


@pytest.mark.parametrize("again", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
def test_pending_content_is_kept_in_copies(backend: MemoryBackend, again: Any) -> None:
    """Content that was not saved yet goes along."""
    twin = again(FileObject("documents", "a.txt", to_filename="k", content=b"abc"))
    assert twin.save().get_content() == b"abc"
    assert twin.key == "k"


def test_pending_stream_cannot_be_pickled(backend: MemoryBackend) -> None:
    """A stream cannot cross a process, and is not lost silently."""
    with pytest.raises(SourceTypeError):
        pickle.dumps(FileObject("documents", "a.txt", content=iter([b"abc"])))


@pytest.mark.parametrize("convert", ["msgspec", "pydantic"])
def test_mapping_of_a_client_makes_no_file(convert: str) -> None:
    """A client's JSON cannot name an object of a backend, whatever decodes it."""
    import pydantic

    data = {"filename": "x", "to_filename": "invoices/42.pdf", "backend": "private"}
    if convert == "msgspec":
        with pytest.raises((msgspec.ValidationError, TypeError)):
            msgspec.convert(data, FileObject)
    else:
        with pytest.raises(pydantic.ValidationError, match="uploaded file"):
            pydantic.TypeAdapter(FileObject).validate_python(data)


def test_pydantic_writes_the_public_form(stored: FileObject) -> None:
    """Models with files serialise and describe the public form."""
    import pydantic

    adapter = pydantic.TypeAdapter(FileObject)
    assert adapter.validate_python(stored) is stored
    assert json.loads(adapter.dump_json(stored)) == msgspec.to_builtins(public_file(stored))
    assert set(adapter.json_schema()["properties"]) == {"filename", "content_type", "size", "etag", "url", "id"}


@pytest.mark.parametrize("third", [b"x", Path("a.txt"), 3])
def test_content_in_the_place_of_the_key(third: Any) -> None:
    """``FileObject("documents", "a.txt", b"x")`` would make the bytes the key."""
    with pytest.raises(
        InvalidArgumentError, match=r"to_filename, a key, and not the content: .*content=.*source_path="
    ):
        FileObject("documents", "a.txt", third)


def test_content_that_was_not_saved_cannot_be_read(backend: StorageBackend) -> None:
    """The error says that the content is not stored yet, not that an object is missing."""
    file = FileObject(backend, "a.txt", content=b"x")
    with pytest.raises(ObjectNotFoundError, match=r"not stored yet: call save\(\), or .*flush\(\)"):
        file.get_content()
    with pytest.raises(ObjectNotFoundError, match="not stored yet"):
        list(file.stream())
    with pytest.raises(ObjectNotFoundError, match="not stored yet"):
        file.head()
    assert file.save().get_content() == b"x"


def test_answer_with_a_file_that_was_not_flushed(backend: StorageBackend, caplog: pytest.LogCaptureFixture) -> None:
    """An answer with a file that has neither size nor URL yet is explained in the log."""
    public_file(FileObject(backend, "a.txt", content=b"x"))
    assert "not stored yet" in caplog.text
    assert "await session.flush()" in caplog.text
