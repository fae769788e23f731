"""A small client of "Resumable Uploads for HTTP", and an application that a test can ask by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from tests.tus.tus_app import PATH

__all__ = ("DRAFT", "PARTIAL", "HttpUploads", "problem_of")

DRAFT = {"Upload-Draft-Interop-Version": "8"}
PARTIAL = "application/partial-upload"


class Sender(Protocol):
    """What sends requests: httpx, or a test client."""

    def request(self, method: str, url: str, *, headers: Any, content: Any) -> httpx.Response:
        """Send one."""
        ...


@dataclass(frozen=True)
class HttpUploads:
    """Speaks the draft with a server."""

    sender: Sender
    base: str = PATH

    def ask(self, method: str, url: str | None = None, content: Any = b"", **headers: str) -> httpx.Response:
        """Send a request; underscores in names of headers stand for hyphens."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.sender.request(method, url or self.base, content=content, headers={**DRAFT, **said})

    def create(self, content: Any = b"", *, ends: bool = False, **headers: str) -> httpx.Response:
        """Create an upload, with its first bytes."""
        return self.ask("POST", None, content, Upload_Complete=f"?{ends:d}", **headers)

    def begin(self, length: int | None = None, **headers: str) -> str:
        """Create an upload without bytes, and return its URL."""
        told = {} if length is None else {"Upload_Length": str(length)}
        answer = self.create(b"", ends=False, **told, **headers)
        assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?0"), answer.text
        return str(answer.headers["location"])

    def append(self, url: str, offset: int, content: Any, *, ends: bool, **headers: str) -> httpx.Response:
        """Send bytes; those of an iterator have no announced length."""
        said = {"Upload_Offset": str(offset), "Upload_Complete": f"?{ends:d}", "Content_Type": PARTIAL, **headers}
        return self.ask("PATCH", url, content, **said)

    def look(self, url: str) -> tuple[int, str, str | None]:
        """Return offset, completeness and length of an upload."""
        answer = self.ask("HEAD", url)
        assert (answer.status_code, answer.headers["cache-control"]) == (204, "no-store"), answer.status_code
        assert "max-size=" in answer.headers["upload-limit"]
        told = answer.headers
        return int(told["upload-offset"]), told["upload-complete"], told.get("upload-length")

    def go_on(self, url: str, content: bytes, sizes: Iterable[int]) -> str:
        """Send what is missing in pieces, then the rest, and return the reference."""
        offset, _, _ = self.look(url)
        for size in sizes:
            answer = self.append(url, offset, content[offset : offset + size], ends=False)
            assert (answer.status_code, answer.headers["upload-complete"]) == (204, "?0"), answer.text
            offset += size
            assert answer.headers["upload-offset"] == str(offset)
        answer = self.append(url, offset, content[offset:], ends=True)
        assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1"), answer.text
        return str(answer.headers["filestore-reference"])


def problem_of(answer: httpx.Response) -> tuple[int, str | None]:
    """Return status and type of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert (document["status"], bool(document["detail"])) == (answer.status_code, True)
    assert answer.headers["cache-control"] == "no-store"
    type_: str | None = document.get("type")
    return answer.status_code, None if type_ is None else type_.partition("#")[2]
