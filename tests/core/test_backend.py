"""The portable backend: what it does so that no driver has to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from litestar_filestore.backends.memory import MemoryBackend, MemoryDriver
from litestar_filestore.core.backend import StorageBackend
from litestar_filestore.core.file_object import FileObject
from litestar_filestore.core.types import Block, Capability, ObjectInfo, PutOptions
from litestar_filestore.errors import (
    BackendUnavailableError,
    ConfigurationError,
    FileTooLargeError,
    InvalidArgumentError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    UnsupportedOperationError,
)
from litestar_filestore.testing import Fault, FaultyBackend


@pytest.fixture
def backend() -> FaultyBackend:
    """Make an empty backend that records what its driver is asked."""
    return FaultyBackend(MemoryBackend("documents", prefix="folder"))


def options_of(backend: FaultyBackend) -> PutOptions:
    """Return the options of the last put."""
    options = next(call for call in reversed(backend.faulty.calls) if call.operation == "put").details[0]
    assert isinstance(options, PutOptions)
    return options


# -- set-up


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"key": ""}, "documents"),
        ({"key": "a", "key_template": "fixed"}, "random"),
        ({"key": "a", "digest": "crc32"}, "sha256"),
    ],
)
def test_wrong_set_up_is_refused(arguments: dict[str, Any], word: str) -> None:
    """A set-up that cannot work is told when the backend is made, with what would be right."""
    with pytest.raises(ConfigurationError, match=word):
        MemoryBackend(**arguments)


def test_repr_holds_no_secret() -> None:
    """Options may be credentials, and are not shown."""
    backend = MemoryBackend("documents", password="hunter2")
    assert "hunter2" not in repr(backend)
    assert "documents" in repr(backend)
    assert backend.options == {"password": "hunter2"}


def test_backend_without_driver_or_methods_is_refused() -> None:
    """A subclass that brings neither a driver nor Advanced Alchemy's methods could not do anything."""
    with pytest.raises(ConfigurationError, match="driver"):
        StorageBackend("documents").put(b"abc")


# -- prefix and keys


def test_prefix_is_added_for_the_driver(backend: FaultyBackend) -> None:
    """The driver gets paths, the caller sees keys."""
    info = backend.put(b"abc", key="a")
    backend.head("a")
    assert info.key == "a"
    assert {call.paths for call in backend.faulty.calls} == {("folder/a",)}


def test_objects_outside_the_prefix_are_not_seen() -> None:
    """Two backends on one store with different prefixes do not see each other."""
    whole = MemoryBackend("whole")
    part = StorageBackend("part", driver=whole.storage_driver, prefix="part")
    part.put(b"abc", key="a")
    whole.put(b"def", key="partly")
    assert [info.key for info in part.list()] == ["a"]
    assert sorted(info.key for info in whole.list()) == ["part/a", "partly"]


def test_made_keys_follow_the_template() -> None:
    """A put without a key uses the template of the backend."""
    backend = MemoryBackend("documents", key_template="inbox/{random}{ext}")
    assert backend.put(b"abc").key.startswith("inbox/")
    assert backend.make_key("x/{random}", ext=".pdf").startswith("x/")


def test_made_key_needs_no_condition(backend: FaultyBackend) -> None:
    """For a key that was never used the driver need not look first, nor buffer for a conditional write."""
    backend.put(b"abc")
    assert options_of(backend).overwrite
    backend.put(b"abc", key="a")
    assert not options_of(backend).overwrite


@pytest.mark.parametrize("prefix", ["a/../b", "..", "a\\b"])
def test_hostile_prefix_is_refused(prefix: str) -> None:
    """A prefix that leaves its place is refused when the backend is made."""
    with pytest.raises(StorageError):
        MemoryBackend("documents", prefix=prefix)


# -- put


def test_known_size_is_checked_before_anything_is_sent(backend: FaultyBackend) -> None:
    """Content that tells its size is refused before the driver is asked."""
    with pytest.raises(FileTooLargeError) as caught:
        backend.put(b"abcd", key="a", max_bytes=3)
    assert (caught.value.max_bytes, caught.value.key, caught.value.operation) == (3, "a", "put")
    assert backend.faulty.calls == []


@pytest.mark.parametrize(("backend_limit", "call_limit"), [(3, None), (None, 3), (3, 10), (10, 3)])
async def test_both_limits_hold(backend_limit: int | None, call_limit: int | None) -> None:
    """The smaller of the backend's and the call's limit counts."""
    backend = MemoryBackend("documents", max_bytes=backend_limit)
    with pytest.raises(FileTooLargeError):
        await backend.put_async([b"ab", b"cd"], key="a", max_bytes=call_limit)
    assert (await backend.put_async([b"ab", b"c"], key="a", max_bytes=call_limit)).size == 3


@pytest.mark.parametrize("digest", ["md5", None])
def test_digest_is_chosen_by_the_backend(digest: str | None) -> None:
    """The checksum is computed with the backend's algorithm, or not at all."""
    info = MemoryBackend("documents", digest=digest).put(b"abc")
    assert info.checksum == (f"md5:{hashlib.md5(b'abc').hexdigest()}" if digest else None)  # noqa: S324 - not for security
    assert info.etag is not None


def test_size_is_passed_on_as_a_hint(backend: FaultyBackend, tmp_path: Path) -> None:
    """The driver learns the size where it is known."""
    path = tmp_path / "a"
    path.write_bytes(b"abcd")
    backend.put(path)
    assert options_of(backend).size == 4
    backend.put(iter([b"abc"]))
    assert options_of(backend).size is None


def test_options_reach_the_driver_checked(backend: FaultyBackend) -> None:
    """Content type and metadata are checked and made portable on their way."""
    backend.put(
        b"abc", content_type="text/plain", metadata={"Author": "Zoë", "a b": 1}, part_bytes=7, max_concurrency=2
    )
    options = options_of(backend)
    assert (options.content_type, dict(options.metadata)) == ("text/plain", {"author": "Zo%C3%AB"})
    assert (options.part_bytes, options.max_concurrency) == (7, 2)


async def test_saved_file_chooses_parts_as_said(backend: FaultyBackend) -> None:
    """Part size and concurrency reach the driver as they were given, 5 MiB and 12 too; unsaid, the driver chooses."""
    size = 5 * 1024 * 1024
    FileObject(backend, "a", content=b"abc").save(chunk_size=size, max_concurrency=12)
    assert (options_of(backend).part_bytes, options_of(backend).max_concurrency) == (size, 12)
    await FileObject(backend, "a", content=b"abc").save_async()
    assert (options_of(backend).part_bytes, options_of(backend).max_concurrency) == (None, None)
    await FileObject(backend, "a", content=b"abc").save_async(chunk_size=size, max_concurrency=12)
    assert (options_of(backend).part_bytes, options_of(backend).max_concurrency) == (size, 12)


def test_content_type_that_is_none_is_refused(backend: FaultyBackend) -> None:
    """A content type with a line end never reaches a driver."""
    with pytest.raises(InvalidArgumentError):
        backend.put(b"abc", content_type="text/plain\r\nX-Evil: 1")
    assert backend.faulty.calls == []


async def test_source_error_comes_out_although_the_library_wraps_it() -> None:
    """What the source raised is raised, not what a library made of it."""

    class Wrapping(MemoryDriver):
        async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
            try:
                return await super().put_async(path, blocks, options)
            except LookupError as error:
                raise OSError("upload failed") from error

    broken = LookupError("gone")

    def source() -> Iterator[bytes]:
        yield b"abc"
        raise broken

    wrapped = StorageBackend("wrapped", driver=Wrapping())
    with pytest.raises(LookupError) as caught:
        await wrapped.put_async(source(), key="a")
    assert caught.value is broken


# -- errors


async def test_library_error_is_translated_with_its_place() -> None:
    """An error of the operating system becomes ours, with operation, backend and key, and is chained."""
    cause = ConnectionResetError("reset")
    memory = MemoryBackend("documents")
    backend = FaultyBackend(memory, [Fault("head", cause, times=None)])
    with pytest.raises(BackendUnavailableError) as caught:
        await backend.head_async("a")
    assert (caught.value.operation, caught.value.backend, caught.value.key) == ("head", "documents", "a")
    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_unknown_exception_passes() -> None:
    """What the driver does not recognise, such as a defect, is not disguised."""
    backend = FaultyBackend(MemoryBackend("documents"), [Fault("head", ZeroDivisionError())])
    with pytest.raises(ZeroDivisionError):
        backend.head("a")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (FileNotFoundError(2, "no", "/srv/secret"), "ObjectNotFoundError"),
        (FileExistsError(17, "yes", "/srv/secret"), "ObjectExistsError"),
        (PermissionError(13, "no", "/srv/secret"), "AccessDeniedError"),
        (OSError(30, "read-only", "/srv/secret"), "AccessDeniedError"),
        (OSError(28, "full", "/srv/secret"), "StorageFullError"),
        (OSError(122, "quota", "/srv/secret"), "StorageFullError"),
        (TimeoutError("slow"), "BackendUnavailableError"),
        (OSError(113, "no route"), "BackendUnavailableError"),
        (OSError(5, "broken", "/srv/secret"), "StorageError"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}-{value.args[0]}",
)
def test_errors_of_the_operating_system(error: OSError, name: str) -> None:
    """Each kind has its class, and no message shows a path of the server."""
    backend = FaultyBackend(MemoryBackend("documents"), [Fault("delete", error)])
    with pytest.raises(StorageError) as caught:
        backend.delete("a")
    assert type(caught.value).__name__ == name
    assert "/srv" not in str(caught.value)


def test_delete_of_several_names_no_single_key() -> None:
    """A failure of a delete of several objects does not blame one of them."""
    backend = FaultyBackend(MemoryBackend("documents"), [Fault("delete", BackendUnavailableError("down"))])
    with pytest.raises(BackendUnavailableError) as caught:
        backend.delete(["a", "b"])
    assert caught.value.key is None


# -- reading


def test_empty_range_of_a_missing_object(backend: FaultyBackend) -> None:
    """Also a range of no bytes asks whether the object is there."""
    with pytest.raises(ObjectNotFoundError):
        list(backend.get("a", 5, 5))


def test_nothing_is_asked_before_the_first_block(backend: FaultyBackend) -> None:
    """A get begins when it is iterated."""
    backend.get("a")
    assert backend.faulty.calls == []


def test_driver_stream_is_closed_with_ours() -> None:
    """Closing a stream closes the driver's."""
    closed: list[str] = []

    class Telling(MemoryDriver):
        def get(self, path: str, start: int, end: int | None) -> Iterator[bytes]:
            try:
                yield from super().get(path, start, end)
            finally:
                closed.append(path)

    told = StorageBackend("told", driver=Telling())
    told.put(b"x" * 3_000_000, key="a")
    blocks: Any = told.get("a")
    next(blocks)
    blocks.close()
    assert closed == ["a"]


def test_reserved_folder_is_not_listed() -> None:
    """What drivers keep in the folder of unfinished writes is nobody's object."""
    backend = MemoryBackend("documents")
    driver = backend.storage_driver
    driver.put(".filestore/x", iter([b"abc"]), PutOptions())
    driver.put("a", iter([b"abc"]), PutOptions())
    assert [info.key for info in backend.list()] == ["a"]


# -- links


@pytest.mark.parametrize(
    ("base_url", "key", "url"),
    [
        ("https://cdn.example.com/", "a/b.txt", "https://cdn.example.com/folder/a/b.txt"),
        ("https://cdn.example.com/x", "a b?#%ü", "https://cdn.example.com/x/folder/a%20b%3F%23%25%C3%BC"),
    ],
)
def test_public_url(base_url: str, key: str, url: str) -> None:
    """A public URL is the base, the prefix and the key, percent-encoded."""
    assert MemoryBackend("documents", prefix="folder", base_url=base_url).public_url(key) == url


def test_public_url_without_a_base() -> None:
    """A backend that has no public address says so."""
    with pytest.raises(UnsupportedOperationError):
        MemoryBackend("documents").public_url("a")


def test_capabilities_are_the_driver_s() -> None:
    """The backend claims what its driver claims."""
    assert MemoryBackend("documents").capabilities & Capability.PUT_IF_ABSENT


# -- Advanced Alchemy's methods


def test_paths_are_taken_for_keys(backend: FaultyBackend) -> None:
    """Where Advanced Alchemy takes a path, a path is a key."""
    backend.put(b"abc", key="a/b")
    assert backend.get_content(Path("a/b")) == b"abc"
    backend.delete_object([Path("a/b"), "missing"])
    assert not backend.exists("a/b")


async def test_async_paths_are_taken_for_keys(backend: FaultyBackend) -> None:
    """The same for the async half."""
    backend.put(b"abc", key="a")
    assert await backend.get_content_async(os.fspath(Path("a"))) == b"abc"
    await backend.delete_object_async(Path("a"))
    assert not backend.exists("a")


@pytest.mark.parametrize("expires_in", [0, -5, 604_801])
async def test_expiry_is_bounded(backend: FaultyBackend, expires_in: int) -> None:
    """A life that no store grants is refused before the driver is asked."""
    with pytest.raises(InvalidArgumentError):
        backend.sign("a", expires_in=expires_in)
    with pytest.raises(InvalidArgumentError):
        await backend.sign_async("a", expires_in=expires_in)
    assert backend.faulty.calls == []


def test_copy_refusal_is_told_as_one_of_the_copy(backend: FaultyBackend) -> None:
    """A taken target is a failure of the copy."""
    backend.put(b"abc", key="a")
    backend.put(b"def", key="b")
    with pytest.raises(ObjectExistsError) as caught:
        backend.copy("a", "b")
    assert caught.value.operation == "copy"
