"""What a process remembers does not grow with what it serves."""

from __future__ import annotations

import gc
import logging
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import pytest

from litestar_filestore import FileObject, MemoryBackend, storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault, FaultyBackend
from litestar_filestore.tracking import deletes
from litestar_filestore.tracking.deletes import Target, delete_targets, retry_deletes
from tests.links.conftest import Serve
from tests.links.unledgered import World, running

CONTAINERS = (dict, list, set, deque, WeakKeyDictionary, WeakSet, WeakValueDictionary)
ROUNDS = 10


def containers() -> dict[str, int]:
    """Return how much each container holds that a module of the package has for itself, caches without bound too."""
    found: dict[str, int] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "litestar_filestore":
            continue
        for attribute, value in vars(module).items():
            if isinstance(value, CONTAINERS) and attribute != "__builtins__":
                held: Collection[object] = value
                found[f"{name}.{attribute}"] = len(held)
            elif (info := _cache_info(value)) is not None and info.maxsize is None:
                found[f"{name}.{attribute}"] = info.currsize
    return found


def _cache_info(function: Any) -> Any:
    ask = getattr(function, "cache_info", None)
    return ask() if callable(ask) else None


@pytest.fixture
def world(serve: Serve, memory: MemoryBackend, tmp_path: Path) -> Iterator[World]:
    """An application without a ledger."""
    with running(serve, memory, tmp_path) as world:
        yield world


def upload_and_leave(world: World) -> None:
    """Upload through a link, and never send the reference."""
    assert world.put(link()).status_code == 201


def upload_and_take(world: World) -> None:
    """Upload through a link, put the file into a row, and delete the row."""
    answer = world.take(world.put(link()).json()["reference"])
    assert answer.status_code == 201, answer.text
    assert world.served.client.delete(f"/{answer.json()}").status_code == 204


def post_form(world: World) -> None:
    """Upload with a form into a row, to be kept, and for nothing."""
    statuses = [
        world.served.client.post(path, files={"data": ("a.txt", b"abc")}).status_code
        for path in ("/form", "/form/kept", "/form/unwanted")
    ]
    assert statuses == [201, 201, 400]


def download(world: World) -> None:
    """Download through a link of its own name."""
    file = FileObject("documents", "a.txt", content=b"abc").save()
    assert world.served.client.get(storages.url_for(file, filename=f"{file.key}.txt")).status_code == 200


def fail(world: World) -> None:
    """Put a file into a row that is rolled back, and break an upload off."""
    assert world.take(world.put(link()).json()["reference"], refuse="no").status_code == 500
    assert world.put(link(max_bytes=1)).status_code == 413


def link(max_bytes: int = 100) -> str:
    """Return a link to upload."""
    return storages.url_for(FileObject("documents", "a.txt"), for_upload=True, max_bytes=max_bytes)


@pytest.mark.parametrize("serve_one", [upload_and_leave, upload_and_take, post_form, download, fail])
def test_no_container_of_a_module_grows_with_traffic(world: World, serve_one: Callable[[World], None]) -> None:
    """After ten requests more of a kind, no container of any module holds an entry for each of them."""
    serve_one(world)
    gc.collect()
    before = containers()
    for _ in range(ROUNDS):
        serve_one(world)
    gc.collect()
    grown = {name: size for name, size in containers().items() if size >= before.get(name, 0) + ROUNDS}
    assert grown == {}


def test_deletes_that_fail_are_remembered_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In an outage without an end the oldest delete is given up, and the log names it."""
    monkeypatch.setattr(deletes, "MAX_WAITING", 3)
    down = Fault("delete", BackendUnavailableError("down"), times=None)
    backend = FaultyBackend(MemoryBackend("documents"), [down])
    with caplog.at_level(logging.ERROR, "litestar_filestore"):
        for number in range(5):
            delete_targets([Target(backend, f"{number}.txt")])
    assert len(caplog.records) == 2
    assert retry_deletes() == 3
    backend.faulty.plan.clear()
    assert retry_deletes() == 0
