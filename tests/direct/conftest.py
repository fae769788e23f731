"""Running applications whose clients put files into the store themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.tus.conftest import Serve, Site, serve
from tests.tus.tus_app import PATH

__all__ = ("Direct", "Serve", "Site", "direct", "serve")


@dataclass
class Direct:
    """A client of the routes for direct uploads."""

    site: Site
    user: str = "ann"

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to a route, or to the URL that an answer has named."""
        url = path if path.startswith("http") else PATH + path
        return self.site.client.request(method, url, headers={"x-user": self.user}, **options)

    def begin(self, size: int, filename: str = "a.txt", **more: Any) -> dict[str, Any]:
        """Begin an upload, and return the answer."""
        answer = self.ask("POST", "/begin", json={"filename": filename, "size": size, **more})
        assert answer.status_code == 201, answer.text
        begun: dict[str, Any] = answer.json()
        return begun

    def begin_in_parts(self, filename: str = "a.txt") -> str:
        """Begin an upload as Uppy does, and return the ticket."""
        answer = self.ask("POST", "/s3/multipart", json={"filename": filename, "type": "text/plain", "metadata": {}})
        assert answer.status_code == 200, answer.text
        assert answer.json()["uploadId"] == answer.json()["key"]
        return str(answer.json()["uploadId"])

    def put(self, ticket: str, number: int, content: bytes) -> httpx.Response:
        """Put a part where its URL says."""
        answer = self.ask("GET", f"/s3/multipart/{ticket}/{number}", params={"key": ticket})
        assert answer.status_code == 200, answer.text
        return self.put_to(answer.json()["url"], content)

    def put_to(self, url: str, content: bytes) -> httpx.Response:
        """Put a part to a URL of the application or of a store."""
        if url.startswith(str(self.site.client.base_url)):
            return self.ask("PUT", url, content=content)
        return httpx.put(url, content=content)

    def finish(self, ticket: str) -> httpx.Response:
        """Finish an upload."""
        return self.ask("POST", "/finish", json={"ticket": ticket})

    def upload(self, content: bytes, **more: Any) -> str:
        """Upload a file as a page does, and return its reference."""
        begun = self.begin(len(content), **more)
        for part in begun["parts"]:
            at = (part["number"] - 1) * begun["part_bytes"]
            assert self.put_to(part["url"], content[at : at + part["size"]]).status_code == 200
        answer = self.finish(begun["ticket"])
        assert answer.status_code == 200, answer.text
        return str(answer.json()["reference"])


@pytest.fixture
def direct(serve: Serve) -> Direct:
    """A client of an application with its files on disk."""
    return Direct(serve())
