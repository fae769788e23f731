"""A reference is the one way in which a request's text can name a file."""

from __future__ import annotations

from typing import Any

import pytest

from litestar_filestore import FileObject, MemoryBackend, storages
from litestar_filestore.core.file_object import LinkWish
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError, InvalidTokenError
from tests.links.conftest import OTHER_SECRET, Serve, put
from tests.plugin.test_decoding import Bodies

PATHS = ("dataclass", "struct", "optional", "attrs", "pydantic", "model-dto", "dataclass-dto", "struct-dto")


def body(file: Any) -> dict[str, Any]:
    """Return what a client sends in a body that has one file."""
    return {"file": file}


@pytest.mark.parametrize("path", PATHS)
def test_post_takes_a_reference(memory: MemoryBackend, serve: Serve, path: str) -> None:
    """Where a file is expected, the reference of one will do, in every class that a body may have."""
    client = serve(memory, [Bodies]).client
    answer = client.post(f"/{path}", json=body(storages.reference_for(put(memory))))
    assert answer.status_code == 201, answer.text
    assert "report.pdf" in answer.text


def test_post_takes_a_bare_reference(memory: MemoryBackend, serve: Serve) -> None:
    """A body may be nothing but a reference."""
    client = serve(memory, [Bodies]).client
    assert client.post("/bare", json=storages.reference_for(put(memory))).text == "report.pdf"


@pytest.mark.parametrize("path", ["list", "tracked-list"])
def test_post_takes_a_list_of_references(memory: MemoryBackend, serve: Serve, path: str) -> None:
    """Lists of files take references as well."""
    client = serve(memory, [Bodies]).client
    answer = client.post(f"/{path}", json=body([storages.reference_for(put(memory)) for _ in range(2)]))
    assert (answer.status_code, answer.text) == (201, "2")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("trick", ["changed", "ended", "foreign", "download link", "text", "key", "mapping", "number"])
def test_post_refuses_everything_else(memory: MemoryBackend, serve: Serve, path: str, trick: str) -> None:
    """What only looks like a reference is a 400 that tells nothing about the file."""
    foreign = serve(memory, secret=OTHER_SECRET).config.signer
    served = serve(memory, [Bodies])
    file = put(memory)
    good = storages.reference_for(file, expires_in=60)
    assert foreign is not None
    value = {
        "changed": good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        "ended": good,
        "foreign": foreign.reference_for(file, None),
        "download link": storages.url_for(file).rpartition("/")[2],
        "text": "report.pdf",
        "key": file.key,
        "mapping": {"filename": "x", "to_filename": file.key, "backend": "documents"},
        "number": 7,
    }[trick]
    served.clock.now += 60 if trick == "ended" else 0
    answer = served.client.post(f"/{path}", json=body(value))
    assert (answer.status_code, str(file.key) in answer.text) == (400, False)


def test_reference_keeps_what_the_row_keeps(memory: MemoryBackend, serve: Serve) -> None:
    """Name, type, size, etag, checksum and time come back; so does the object."""
    serve(memory)
    file = put(memory)
    found = storages.file_for(storages.reference_for(file))
    assert found == file
    assert found.to_dict() == file.to_dict()


def test_reference_does_not_tell_the_metadata(memory: MemoryBackend, serve: Serve) -> None:
    """Who has a reference can read it, and metadata may be the application's own business."""
    serve(memory)
    file = FileObject(memory, "a.txt", content=b"abc", metadata={"note": "private"}).save()
    assert storages.file_for(storages.reference_for(file)).metadata == {}


def test_reference_ends(memory: MemoryBackend, serve: Serve) -> None:
    """After its life a reference names nothing."""
    clock = serve(memory).clock
    reference = storages.reference_for(put(memory), expires_in=10)
    clock.now += 10
    with pytest.raises(InvalidTokenError):
        storages.file_for(reference)


def test_reference_to_a_backend_that_is_gone_is_refused(memory: MemoryBackend, serve: Serve) -> None:
    """A reference outlives a configuration without naming its parts."""
    serve(memory)
    reference = storages.reference_for(put(memory))
    storages.unregister_backend("documents")
    with pytest.raises(InvalidTokenError):
        storages.file_for(reference)


def test_file_that_was_not_saved_has_no_reference(memory: MemoryBackend, serve: Serve) -> None:
    """There is nothing yet that a row could hold."""
    serve(memory)
    with pytest.raises(InvalidArgumentError):
        storages.reference_for(FileObject(memory, "a.txt", content=b"abc"))


def test_references_need_an_application(memory: MemoryBackend) -> None:
    """Without a secret there are none."""
    with pytest.raises(ConfigurationError):
        storages.reference_for(put(memory))


def test_application_without_a_secret_takes_no_reference(memory: MemoryBackend, serve: Serve) -> None:
    """A reference of a neighbour in the same process is refused by an application without links."""
    from litestar import Litestar
    from litestar.testing import TestClient

    from litestar_filestore import FilestoreConfig, FilestorePlugin

    served = serve(memory)
    assert served.config.signer is not None
    reference = served.config.signer.reference_for(put(memory), None)
    with TestClient(Litestar([Bodies], plugins=[FilestorePlugin(FilestoreConfig([memory]))])) as client:
        assert client.post("/struct", json=body(reference)).status_code == 400


def test_link_and_reference_are_not_the_same(memory: MemoryBackend, serve: Serve) -> None:
    """Who may read a file may not therefore put it into a row, and the other way round."""
    served = serve(memory)
    assert served.config.signer is not None
    link = served.config.signer.url_for(put(memory), LinkWish(native=False)).rpartition("/")[2]
    with pytest.raises(InvalidTokenError):
        storages.file_for(link)
    reference = storages.reference_for(put(memory))
    assert served.client.get(f"/filestore/{reference}").status_code == 403
