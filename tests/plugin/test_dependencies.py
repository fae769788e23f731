"""Handlers are given the registry, under the name and with the annotation they like."""

from litestar import get
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide

from litestar_filestore import FilestoreConfig, LocalBackend, StorageRegistry, Storages
from tests.plugin.conftest import Serve


@get("/alias")
async def alias(storages: Storages) -> list[str]:
    """Ask with the alias."""
    return storages.registered_backends()


@get("/named")
async def named(storages: NamedDependency[StorageRegistry]) -> list[str]:
    """Ask with Litestar's marker."""
    return storages.registered_backends()


@get("/mine")
async def mine(files: Storages) -> list[str]:
    """Ask under a name of the application's own."""
    return files.registered_backends()


@get("/nested")
async def nested(count: NamedDependency[int]) -> int:
    """Ask for something that needs the registry itself."""
    return count


@get("/state")
async def state(state: State) -> list[str]:
    """Look in the application's state."""
    registry: StorageRegistry = state.filestore_registry
    return registry.registered_backends()


def count_backends(storages: Storages) -> int:
    """Provide a number that depends on the registry."""
    return len(storages)


def test_get_is_given_the_registry_by_the_alias(serve: Serve) -> None:
    """`Storages` is the annotation of the dependency."""
    assert serve([alias]).get("/alias").json() == ["documents"]


def test_get_is_given_the_registry_by_the_marker(serve: Serve) -> None:
    """`NamedDependency[StorageRegistry]` is the same."""
    assert serve([named]).get("/named").json() == ["documents"]


def test_get_is_given_the_registry_by_another_name(backend: LocalBackend, serve: Serve) -> None:
    """`registry_dependency_key` renames the argument."""
    config = FilestoreConfig([backend], registry_dependency_key="files")
    assert serve([mine], config=config).get("/mine").json() == ["documents"]


def test_dependency_is_given_the_registry(serve: Serve) -> None:
    """A dependency of the application can ask for the registry too."""
    client = serve([nested], dependencies={"count": Provide(count_backends, sync_to_thread=False)})
    assert client.get("/nested").json() == 1


def test_registry_is_in_the_state(serve: Serve) -> None:
    """What has no handler around it finds the registry in the application's state."""
    assert serve([state]).get("/state").json() == ["documents"]


def test_dependency_of_the_application_wins(serve: Serve) -> None:
    """An application that provides `storages` itself is not overruled."""
    own = StorageRegistry()
    client = serve([named], dependencies={"storages": Provide(lambda: own, sync_to_thread=False)})
    assert client.get("/named").json() == []
