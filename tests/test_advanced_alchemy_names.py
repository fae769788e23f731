"""Users of Advanced Alchemy move by changing an import: names, parameters and answers are its own."""

from __future__ import annotations

import inspect
from typing import Any

import pydantic
import pytest
from advanced_alchemy.types import file_object as theirs
from advanced_alchemy.types.file_object.backends.fsspec import FSSpecBackend as TheirFSSpecBackend
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend as TheirObstoreBackend

import litestar_filestore as ours
from litestar_filestore import FileObject, MemoryBackend, StorageBackend, StorageRegistry, storages
from litestar_filestore.errors import BackendNotRegisteredError, ConfigurationError, SourceTypeError

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (theirs.FileObject, ours.FileObject),
    (theirs.StorageBackend, ours.StorageBackend),
    (theirs.StorageRegistry, ours.StorageRegistry),
    (theirs.StoredObject, ours.StoredObject),
    (TheirFSSpecBackend, ours.FSSpecBackend),
    (TheirObstoreBackend, ours.ObstoreBackend),
]


def public_names(cls: type[Any]) -> list[str]:
    """Return the public names that a class of Advanced Alchemy defines itself."""
    return sorted(
        name
        for each in cls.__mro__
        if each.__module__.startswith("advanced_alchemy")
        for name in {**vars(each), **inspect.get_annotations(each)}
        if not name.startswith("_")
    )


NAMES = [
    pytest.param(their, our, name, id=f"{their.__name__}.{name}")
    for their, our in PAIRS[:4]
    for name in dict.fromkeys(public_names(their))
]
CALLABLES = [
    pytest.param(getattr(their, name), getattr(our, name), id=f"{their.__name__}.{name}")
    for their, our in PAIRS
    for name in ("__init__", *dict.fromkeys(public_names(their)))
    if inspect.isfunction(inspect.getattr_static(their, name, None))
]


@pytest.mark.parametrize("name", sorted({*theirs.__all__} - {"FileObjectSessionTracker", "StorageBackendT"}))
def test_name_of_the_package_is_exported(name: str) -> None:
    """Everything that an application imports is there; the tracker and a type variable are not for applications."""
    assert name in ours.__all__
    assert hasattr(ours, name)


@pytest.mark.parametrize(("their", "our", "name"), NAMES)
def test_public_name_exists(their: type[Any], our: type[Any], name: str) -> None:
    """Every public attribute of the types that applications hold has its counterpart."""
    assert hasattr(our, name) or name in {name for each in our.__mro__ for name in inspect.get_annotations(each)}


@pytest.mark.parametrize(("their", "our"), CALLABLES)
def test_signature_accepts_the_same_calls(their: Any, our: Any) -> None:
    """Every parameter is there under its name, in its place, with its default, and further ones are optional."""
    theirs_ = inspect.signature(their).parameters
    ours_ = inspect.signature(our).parameters
    for place, (name, parameter) in enumerate(theirs_.items()):
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        assert name in ours_, name
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            assert list(ours_)[place] == name
            assert ours_[name].kind is parameter.POSITIONAL_OR_KEYWORD
        if parameter.default is not parameter.empty and not callable(parameter.default):
            assert ours_[name].default is not parameter.empty, name
    for name, parameter in ours_.items():
        variable = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        assert name in theirs_ or variable or parameter.default is not parameter.empty, name
    assert inspect.iscoroutinefunction(our) == inspect.iscoroutinefunction(their)


# -- FileObject


@pytest.fixture
def memory() -> Any:
    """A registered store."""
    backend = MemoryBackend("names")
    storages.register_backend(backend)
    yield backend
    storages.unregister_backend("names")


def test_content_and_source_path_exclude_each_other() -> None:
    """The error is a `ValueError`, as there."""
    with pytest.raises(ValueError, match="Cannot provide both"):
        FileObject("names", "a", content=b"", source_path="a")


def test_nothing_to_save(memory: MemoryBackend) -> None:
    """The error is a `TypeError`, with the words of Advanced Alchemy."""
    with pytest.raises(TypeError, match="No data provided and no pending content/path found to save"):
        FileObject("names", "a").save()


async def test_nothing_to_save_async(memory: MemoryBackend) -> None:
    """The same for the async method."""
    with pytest.raises(TypeError, match="No data provided and no pending content/path found to save"):
        await FileObject("names", "a").save_async()


@pytest.mark.parametrize(
    "arguments", [{"filename": ""}, {"size": -1}, {"content": "text"}], ids=["no name", "negative size", "text"]
)
def test_arguments_that_never_work(arguments: dict[str, Any]) -> None:
    """The constructor refuses them, where Advanced Alchemy fails later or not at all."""
    with pytest.raises((ValueError, SourceTypeError)):
        FileObject(**{"backend": "names", "filename": "a", **arguments})


def test_to_dict_has_the_same_names(memory: MemoryBackend) -> None:
    """What other programs read in the rows keeps its names; the key is one more."""
    theirs.storages.register_backend(TheirObstoreBackend(key="names", fs="memory://"))
    their = theirs.FileObject("names", "a.txt", metadata={"k": 1}, size=3).to_dict()
    theirs.storages.unregister_backend("names")
    assert FileObject("names", "a.txt", metadata={"k": 1}, size=3).to_dict() == their
    assert FileObject("names", "a.txt", "b.txt").to_dict().keys() == {*their, "to_filename"}


def test_equality_and_hash() -> None:
    """Backend and key decide, as there, for files that have a key."""
    file, same, other = FileObject("names", "a"), FileObject("names", "b", "a"), FileObject("else", "a")
    assert file == same
    assert hash(file) == hash(same)
    assert file != other
    assert file != "a"
    assert len({file, same, other}) == 2


def test_backend_is_looked_up_when_it_is_needed() -> None:
    """A file can be made, compared and shown before its backend is registered."""
    file = FileObject("later", "a.txt", size=1)
    assert "later" in repr(file)
    with pytest.raises(BackendNotRegisteredError):
        _ = file.backend
    backend = MemoryBackend("later")
    storages.register_backend(backend)
    assert file.backend is backend
    storages.unregister_backend("later")


def test_field_of_a_pydantic_model(memory: MemoryBackend) -> None:
    """It takes a file and writes JSON, without key and backend."""

    class Model(pydantic.BaseModel):
        file: FileObject

    file = FileObject("names", "a.txt", content=b"abc").save()
    model = Model(file=file)
    assert model.file is file
    written = model.model_dump(mode="json")["file"]
    assert (written["filename"], written["content_type"], written["size"]) == ("a.txt", "text/plain", 3)
    assert not {"backend", "to_filename"} & written.keys()


def test_types_in_the_json_schema_of_a_pydantic_model() -> None:
    """The schema names what is written."""

    class Model(pydantic.BaseModel):
        file: FileObject

    assert "filename" in str(Model.model_json_schema(mode="serialization"))


# -- the registry


def test_registry_answers_as_there() -> None:
    """Register, ask, forget."""
    registry = StorageRegistry()
    backend = MemoryBackend("one")
    registry.register_backend(backend)
    assert registry.is_registered("one")
    assert registry.get_backend("one") is backend
    assert registry.registered_backends() == ["one"]
    registry.unregister_backend("one")
    registry.unregister_backend("one")
    registry.register_backend(backend)
    registry.clear_backends()
    assert registry.registered_backends() == []


def test_registry_builds_the_default_backend_for_a_url() -> None:
    """A bare URL with a key."""
    registry = StorageRegistry()
    registry.set_default_backend("litestar_filestore.backends.obstore.obstore_backend.ObstoreBackend")
    registry.register_backend("memory://", key="one")
    backend = registry.get_backend("one")
    assert isinstance(backend, ours.ObstoreBackend)
    assert backend.key == "one"


def test_registry_refuses_a_url_without_a_key() -> None:
    """The error says what is missing."""
    with pytest.raises(ConfigurationError, match="key is required"):
        StorageRegistry().register_backend("memory://")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def test_registry_refuses_a_key_beside_a_backend() -> None:
    """A backend has its own."""
    with pytest.raises(ConfigurationError, match="key is not allowed"):
        StorageRegistry().register_backend(MemoryBackend("one"), key="two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_unknown_backend_is_named() -> None:
    """The words of Advanced Alchemy, and those that are there."""
    with pytest.raises(LookupError, match='No storage backend registered with key "nowhere"'):
        StorageRegistry().get_backend("nowhere")


def test_backend_is_abstract_in_effect() -> None:
    """A backend with neither driver nor methods of its own says so when it is used."""
    with pytest.raises(ConfigurationError, match="can do nothing: pass a driver"):
        StorageBackend("empty").put(b"")
