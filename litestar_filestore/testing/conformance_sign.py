"""Signed URLs, used as a stranger would use them: by a plain HTTP client without credentials."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pytest

from litestar_filestore.core.types import Capability
from litestar_filestore.errors import InvalidArgumentError, UnsupportedOperationError
from litestar_filestore.testing.contents import content
from litestar_filestore.testing.harness import Harness, in_loop, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("SignConformance", "request", "tampered", "wait_until_refused")

ODD_NAMES = ("a b+c", "a%2Fb", "ü/日本語", "a&b=c;d", "it's (1)", "a#b", "a?b", "~a*")
REQUEST_SECONDS = 30
EXPIRY_POLLS = 50


async def request(method: str, url: str, **options: Any) -> httpx.Response:
    """Send a request as a stranger would, with the options of httpx."""
    import httpx

    # trust_env: a proxy in the environment must not see test traffic.
    async with httpx.AsyncClient(trust_env=False, timeout=REQUEST_SECONDS) as client:
        return await client.request(method, url, **options)


async def wait_until_refused(send: Callable[[], Awaitable[httpx.Response]]) -> None:
    """Send the same request until its signature has expired."""
    for _ in range(EXPIRY_POLLS):
        if (await send()).is_client_error:
            return
        await asyncio.sleep(0.1)
    pytest.fail("the signature still works seconds after its end")


class SignConformance(Harness):
    """Signed URLs allow one thing each."""

    @in_loop
    async def test_signed_get(self, storage: AsyncHalf) -> None:
        """A signed URL reads the object."""
        require(storage, Capability.SIGN_GET)
        await storage.put(content(), key=storage.key("a"))
        answer = await request("GET", await storage.sign(storage.key("a")))
        assert (answer.status_code, answer.content) == (HTTPStatus.OK, content())

    @in_loop
    async def test_signed_get_of_a_range(self, storage: AsyncHalf) -> None:
        """A signed URL reads a part of the object."""
        require(storage, Capability.SIGN_GET)
        await storage.put(content(), key=storage.key("a"))
        url = await storage.sign(storage.key("a"), expires_in=60)
        answer = await request("GET", url, headers={"Range": "bytes=5-14"})
        assert (answer.status_code, answer.content) == (HTTPStatus.PARTIAL_CONTENT, content()[5:15])

    @in_loop
    async def test_signed_get_of_odd_keys(self, storage: AsyncHalf) -> None:
        """A signed URL names an odd key correctly, or signing it is refused; it never names another object."""
        require(storage, Capability.SIGN_GET)
        for name in ODD_NAMES:
            await storage.put(name.encode(), key=storage.key(name))
            try:
                url = await storage.sign(storage.key(name))
            except UnsupportedOperationError:
                continue
            answer = await request("GET", url)
            assert (answer.status_code, answer.content) == (HTTPStatus.OK, name.encode())

    @in_loop
    async def test_signed_put(self, storage: AsyncHalf) -> None:
        """A signed URL for upload writes the object."""
        require(storage, Capability.SIGN_PUT)
        url = await storage.sign(storage.key("a"), for_upload=True)
        answer = await request("PUT", url, content=content(), headers=self.signed_put_headers)
        assert answer.is_success
        assert await storage.read(storage.key("a")) == content()

    @in_loop
    async def test_signed_urls_of_several_keys(self, storage: AsyncHalf) -> None:
        """A list of keys gives a list of URLs in the same order."""
        require(storage, Capability.SIGN_GET)
        for name in "ab":
            await storage.put(name.encode(), key=storage.key(name))
        urls = await storage.sign([storage.key("a"), storage.key("b")])
        assert [(await request("GET", url)).content for url in urls] == [b"a", b"b"]

    @pytest.mark.parametrize("for_upload", [False, True], ids=["GET", "PUT"])
    @in_loop
    async def test_signing_is_unsupported_without_the_flag(self, storage: AsyncHalf, *, for_upload: bool) -> None:
        """A driver that does not claim to sign says so, with an error that is also a ``NotImplementedError``."""
        flag = Capability.SIGN_PUT if for_upload else Capability.SIGN_GET
        if flag in storage.backend.capabilities:
            pytest.skip(f"the driver claims {flag.name}")
        await storage.put(b"abc", key=storage.key("a"))
        with pytest.raises(UnsupportedOperationError) as caught:
            await storage.sign(storage.key("a"), for_upload=for_upload)
        assert isinstance(caught.value, NotImplementedError)

    @pytest.mark.parametrize("expires_in", [0, -1, 7 * 24 * 3600 + 1])
    @in_loop
    async def test_expiry_out_of_bounds(self, storage: AsyncHalf, expires_in: int) -> None:
        """A lifetime of zero or of more than seven days is a caller error."""
        with pytest.raises(InvalidArgumentError):
            await storage.sign(storage.key("a"), expires_in=expires_in)

    @in_loop
    async def test_tampered_url_is_refused(self, storage: AsyncHalf) -> None:
        """A URL of which any part of the signature, expiry or scope was changed opens nothing."""
        self.require_checks(storage, Capability.SIGN_GET)
        await storage.put(b"secret", key=storage.key("a"))
        url = await storage.sign(storage.key("a"))
        answers = [(name, await request("GET", changed)) for name, changed in tampered(url)]
        assert answers
        assert [name for name, answer in answers if answer.is_success or b"secret" in answer.content] == []

    @in_loop
    async def test_url_without_signature_is_refused(self, storage: AsyncHalf) -> None:
        """The store refuses requests without a signature."""
        self.require_checks(storage, Capability.SIGN_GET)
        await storage.put(b"secret", key=storage.key("a"))
        bare, _, _ = (await storage.sign(storage.key("a"))).partition("?")
        assert (await request("GET", bare)).is_client_error

    @in_loop
    async def test_signature_of_another_key_is_refused(self, storage: AsyncHalf) -> None:
        """A signature for one object does not open its neighbour."""
        self.require_checks(storage, Capability.SIGN_GET)
        for name in ("mine", "your"):
            await storage.put(name.encode(), key=storage.key(name))
        url = await storage.sign(storage.key("mine"))
        moved = url.replace("/mine?", "/your?")
        assert moved != url
        assert (await request("GET", moved)).is_client_error

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    @in_loop
    async def test_signature_of_get_allows_nothing_else(self, storage: AsyncHalf, method: str) -> None:
        """A URL to read neither writes nor deletes."""
        self.require_checks(storage, Capability.SIGN_GET)
        await storage.put(b"abc", key=storage.key("a"))
        url = await storage.sign(storage.key("a"))
        answer = await request(method, url, content=b"evil", headers=self.signed_put_headers)
        assert answer.is_client_error
        assert await storage.read(storage.key("a")) == b"abc"

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    @in_loop
    async def test_signature_of_put_allows_nothing_else(self, storage: AsyncHalf, method: str) -> None:
        """A URL to write neither reads nor deletes."""
        self.require_checks(storage, Capability.SIGN_PUT)
        await storage.put(b"abc", key=storage.key("a"))
        answer = await request(method, await storage.sign(storage.key("a"), for_upload=True))
        assert answer.is_client_error
        assert await storage.exists(storage.key("a"))

    @in_loop
    async def test_url_expires(self, storage: AsyncHalf) -> None:
        """A URL stops working when it expires."""
        self.require_checks(storage, Capability.SIGN_GET)
        await storage.put(b"abc", key=storage.key("a"))
        url = await storage.sign(storage.key("a"), expires_in=1)
        await wait_until_refused(lambda: request("GET", url))


def tampered(url: str) -> list[tuple[str, str]]:
    """Return URLs with one character changed in the middle of each parameter of the query in turn, by its name.

    Not the last character: in base64 it may hold bits that do not count.
    """
    parts = urlsplit(url)
    changed: list[tuple[str, str]] = []
    for name, _ in parse_qsl(parts.query):
        start = f"&{parts.query}".index(f"&{name}=") + len(name) + 1
        end = parts.query.find("&", start)
        value = parts.query[start : end if end >= 0 else None]
        middle = start + len(value) // 2
        other = "1" if parts.query[middle] != "1" else "2"
        query = parts.query[:middle] + other + parts.query[middle + 1 :]
        changed.append((name, urlunsplit(parts._replace(query=query))))
    return changed
