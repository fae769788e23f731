"""A handler sends a client on to a link."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import get
from litestar.di import NamedDependency, Provide
from openapi_spec_validator import OpenAPIV31SpecValidator

from litestar_filestore import FileObject, FileRedirect, MemoryBackend, storages
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError
from tests.links.conftest import Serve, Served, put


@get("/go", sync_to_thread=False)
def go(file: NamedDependency[FileObject]) -> FileRedirect:
    """Send the client on to the file."""
    return FileRedirect(file, expires_in=100, disposition="inline", filename="b.pdf")


@get("/see", sync_to_thread=False, status_code=303)
def see(file: NamedDependency[FileObject]) -> FileRedirect:
    """Send the client on to a link that was made before."""
    return FileRedirect(storages.url_for(file, expires_in=60), expires_in=60, status_code=303)


@pytest.fixture
def served(memory: MemoryBackend, serve: Serve) -> Served:
    """An application that redirects."""
    file = put(memory)
    made = serve(memory, [go, see], dependencies={"file": Provide(lambda: file, sync_to_thread=False)})
    made.client.follow_redirects = False
    return made


@pytest.mark.parametrize(("path", "status", "seconds"), [("/go", 302, 50), ("/see", 303, 30)])
def test_get_redirects_for_less_than_the_link_lives(served: Served, path: str, status: int, seconds: int) -> None:
    """The redirect is kept by the browser alone, and forgotten before the link ends."""
    answer = served.client.get(path)
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["cache-control"] == f"private, max-age={seconds}"
    assert answer.headers["referrer-policy"] == "no-referrer"
    end = served.clock.now + seconds
    served.clock.now = end
    assert served.client.get(answer.headers["location"]).status_code == 200


def test_documents_show_the_redirect(served: Served) -> None:
    """OpenAPI has the status and the header of the redirect."""
    document: dict[str, Any] = served.client.get("/schema/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    found = {path: document["paths"][path]["get"]["responses"] for path in ("/go", "/see")}
    assert {path: set(each) for path, each in found.items()} == {"/go": {"302"}, "/see": {"303"}}
    assert "location" in found["/go"]["302"]["headers"]


def test_link_that_was_made_has_its_headers(served: Served) -> None:
    """What a link says cannot be changed afterwards."""
    with pytest.raises(InvalidArgumentError):
        FileRedirect("https://example.com/x", disposition="inline")


def test_redirect_needs_links(memory: MemoryBackend) -> None:
    """Without an application with a secret there is nowhere to send a client."""
    with pytest.raises(ConfigurationError):
        FileRedirect(put(memory))
