"""Parts and forms that clients send to the store themselves: by a plain HTTP client without credentials."""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from litestar_filestore.core.types import Capability, FormPolicy
from litestar_filestore.errors import InvalidArgumentError, ObjectNotFoundError, UnsupportedOperationError
from litestar_filestore.testing.conformance_parts import Unfinished
from litestar_filestore.testing.conformance_sign import request, tampered, wait_until_refused
from litestar_filestore.testing.harness import Harness, async_forms, async_once, in_loop, require

if TYPE_CHECKING:
    import httpx

    from litestar_filestore.core.types import SignedForm
    from litestar_filestore.testing.halves import AsyncHalf

__all__ = ("DirectConformance",)

LIFE_SECONDS = 60
MAX_BYTES = 100


async def _sign(whole: Unfinished, number: int, size: int | None = None, *, expires_in: int = LIFE_SECONDS) -> str:
    return await whole.backend.sign_part_async(whole.key, whole.upload, number, expires_in=expires_in, size=size)


async def _put(whole: Unfinished, place: int) -> httpx.Response:
    """Let a client put the part in that place, from 0."""
    data = whole.piece(place)
    return await request("PUT", await _sign(whole, place + 1, len(data)), content=data)


async def _arrived(whole: Unfinished) -> list[tuple[int, int]]:
    """Return number and size of the parts that have come."""
    return [(part.number, part.size) for part in await whole.backend.list_parts_async(whole.key, whole.upload)]


async def _form(storage: AsyncHalf, *, expires_in: int = LIFE_SECONDS, redirect: str | None = None) -> SignedForm:
    policy = FormPolicy(content_type="text/plain", max_bytes=MAX_BYTES, expires_in=expires_in, redirect=redirect)
    return await storage.backend.sign_form_async(storage.key("a"), policy)


async def _send(form: SignedForm, content: bytes, **changed: str) -> httpx.Response:
    """Send a form as a browser does: its fields, and then the file."""
    fields: dict[str, Any] = {**form.fields, **changed}
    return await request("POST", form.url, data=fields, files={"file": ("a.html", content, "text/html")})


class DirectConformance(Harness):
    """Drivers that claim `Capability.SIGN_PARTS` or `Capability.SIGN_FORM` let clients write one thing each."""

    # -- parts

    @async_forms
    @in_loop
    async def test_parts_of_clients_make_an_object(self, storage: AsyncHalf) -> None:
        """What clients have put is listed in its order, whenever it came, and becomes the object."""
        require(storage, Capability.SIGN_PARTS)
        whole = await Unfinished.begin(storage)
        assert await _arrived(whole) == []
        answers = [await _put(whole, place) for place in (1, 0)]
        assert [answer.status_code for answer in answers] == [HTTPStatus.OK, HTTPStatus.OK]
        assert all(answer.headers["etag"] for answer in answers)
        parts = await whole.backend.list_parts_async(whole.key, whole.upload)
        assert [(part.number, part.offset, part.size) for part in parts] == [
            (1, 0, whole.size),
            (2, whole.size, whole.size),
        ]
        assert not await storage.exists(whole.key)
        assert (await whole.finish(*parts)).size == 2 * whole.size
        assert await storage.read(whole.key) == whole.content[: 2 * whole.size]
        assert await storage.names() == ["a"]

    @async_once
    @in_loop
    async def test_missing_part_shows(self, storage: AsyncHalf) -> None:
        """A part that has not come is not made up for by the next one: the numbers have a gap."""
        require(storage, Capability.SIGN_PARTS)
        whole = await Unfinished.begin(storage)
        for number in (1, 3):
            assert (await request("PUT", await _sign(whole, number), content=b"abc")).is_success
        assert await _arrived(whole) == [(1, 3), (3, 3)]
        await whole.abandon()

    @async_once
    @in_loop
    async def test_part_of_a_client_again(self, storage: AsyncHalf) -> None:
        """Until the end a URL may be used again, as a client does whose connection broke; the later content counts."""
        require(storage, Capability.SIGN_PARTS)
        whole = await Unfinished.begin(storage)
        url = await _sign(whole, 1, 3)
        for content in (b"old", b"new"):
            assert (await request("PUT", url, content=content)).is_success
        await whole.finish(*await whole.backend.list_parts_async(whole.key, whole.upload))
        assert await storage.read(whole.key) == b"new"

    @async_once
    @in_loop
    async def test_url_of_a_part_after_the_end(self, storage: AsyncHalf) -> None:
        """What has been finished does not change, and what has been abandoned does not come back."""
        require(storage, Capability.SIGN_PARTS)
        self.require_upload_ids()
        whole, gone = await Unfinished.begin(storage), await Unfinished.begin(storage, "b")
        urls = [await _sign(whole, 1, 3), await _sign(gone, 1, 3)]
        assert (await request("PUT", urls[0], content=b"old")).is_success
        await whole.finish(*await whole.backend.list_parts_async(whole.key, whole.upload))
        await gone.abandon()
        answers = [await request("PUT", url, content=b"new") for url in urls]
        assert [answer.status_code for answer in answers] == [HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND]
        with pytest.raises(ObjectNotFoundError):
            await _arrived(gone)
        assert await storage.read(whole.key) == b"old"
        assert await storage.names() == ["a"]

    @async_forms
    @in_loop
    async def test_part_of_another_length_is_refused(self, storage: AsyncHalf) -> None:
        """A URL that was signed for a length takes no other."""
        self.require_checks(storage, Capability.SIGN_PARTS)
        whole = await Unfinished.begin(storage)
        url = await _sign(whole, 1, 3)
        for content in (b"long", b"sh", b""):
            assert (await request("PUT", url, content=content)).is_client_error
        assert await _arrived(whole) == []
        await whole.abandon()

    @async_forms
    @in_loop
    async def test_url_of_a_part_opens_nothing_else(self, storage: AsyncHalf) -> None:
        """It puts neither another part nor one of another object, and it does not read, finish or abandon."""
        self.require_checks(storage, Capability.SIGN_PARTS)
        whole, other = await Unfinished.begin(storage), await Unfinished.begin(storage, "b")
        url, theirs = await _sign(whole, 1), await _sign(other, 1)
        of_other_key = theirs.partition("?")[0] + "?" + url.partition("?")[2]
        for changed in (of_other_key, *(changed for _, changed in tampered(url))):
            assert (await request("PUT", changed, content=b"evil")).is_client_error, changed
        for method in ("GET", "POST", "DELETE"):
            assert (await request(method, url)).is_client_error
        assert await _arrived(whole) == await _arrived(other) == []
        for each in (whole, other):
            await each.abandon()

    @async_once
    @in_loop
    async def test_url_of_a_part_expires(self, storage: AsyncHalf) -> None:
        """A URL of a part stops working when it expires."""
        self.require_checks(storage, Capability.SIGN_PARTS)
        whole = await Unfinished.begin(storage)
        url = await _sign(whole, 1, expires_in=1)
        await wait_until_refused(lambda: request("PUT", url, content=b"abc"))
        await whole.abandon()

    @async_once
    @in_loop
    async def test_numbers_that_the_store_does_not_take(self, storage: AsyncHalf) -> None:
        """No URL is made for a part that could not be finished."""
        require(storage, Capability.SIGN_PARTS)
        whole, most = await Unfinished.begin(storage), storage.backend.part_limits.max_parts
        for number in (0, -1, *(() if most is None else (most + 1,))):
            with pytest.raises(InvalidArgumentError):
                await _sign(whole, number)
        await whole.abandon()

    # -- forms

    @async_forms
    @in_loop
    async def test_form_puts_an_object(self, storage: AsyncHalf) -> None:
        """A form puts up to so many bytes, of the type that was signed; again it replaces the object."""
        require(storage, Capability.SIGN_FORM)
        form = await _form(storage)
        for content in (b"abc", b"", b"x" * MAX_BYTES):
            assert (await _send(form, content)).is_success
            assert await storage.read(storage.key("a")) == content
        assert (await storage.head(storage.key("a"))).content_type == "text/plain"
        assert await storage.names() == ["a"]

    @async_forms
    @in_loop
    async def test_form_takes_nothing_else(self, storage: AsyncHalf) -> None:
        """More bytes, another key and another type are refused."""
        self.require_checks(storage, Capability.SIGN_FORM)
        form = await _form(storage)
        (key,) = (value for value in form.fields.values() if value.endswith(storage.key("a")))
        (name,) = (name for name, value in form.fields.items() if value == key)
        (kind,) = (name for name, value in form.fields.items() if value == "text/plain")
        answers = [
            await _send(form, b"x" * (MAX_BYTES + 1)),
            await _send(form, b"abc", **{name: key[:-1] + "b"}),
            await _send(form, b"abc", **{kind: "text/html"}),
        ]
        assert [answer.is_client_error for answer in answers] == [True, True, True]
        assert await storage.names() == []

    @async_once
    @in_loop
    async def test_form_without_its_fields_is_refused(self, storage: AsyncHalf) -> None:
        """Each field counts: a form that lacks one, or in which one was changed, puts nothing."""
        self.require_checks(storage, Capability.SIGN_FORM)
        form = await _form(storage)
        for name, value in form.fields.items():
            without = {other: text for other, text in form.fields.items() if other != name}
            changed = {**form.fields, name: ("A" if value[0] != "A" else "B") + value[1:]}
            for fields in (without, changed):
                answer = await request("POST", form.url, data=fields, files={"file": ("a", b"evil", "text/plain")})
                assert answer.is_client_error, name
        assert await storage.names() == []

    @async_once
    @in_loop
    async def test_form_redirects(self, storage: AsyncHalf) -> None:
        """The store sends the browser where the policy says, and nowhere else."""
        require(storage, Capability.SIGN_FORM)
        form = await _form(storage, redirect="https://www.example.com/sent")
        answer = await _send(form, b"abc")
        assert answer.status_code == HTTPStatus.SEE_OTHER
        assert answer.headers["location"].partition("?")[0] == "https://www.example.com/sent"
        assert await storage.read(storage.key("a")) == b"abc"
        self.require_checks(storage, Capability.SIGN_FORM)
        (name,) = (name for name, value in form.fields.items() if value == "https://www.example.com/sent")
        assert (await _send(form, b"evil", **{name: "https://evil.example.com/"})).is_client_error

    @async_once
    @in_loop
    async def test_form_expires(self, storage: AsyncHalf) -> None:
        """A form stops working when it expires."""
        self.require_checks(storage, Capability.SIGN_FORM)
        form = await _form(storage, expires_in=1)
        await wait_until_refused(lambda: _send(form, b"abc"))

    # -- neither

    @async_once
    @in_loop
    async def test_signing_of_parts_and_forms_is_unsupported_without_the_flags(self, storage: AsyncHalf) -> None:
        """A driver that does not claim them says so, with an error that is also a ``NotImplementedError``."""
        if (Capability.SIGN_PARTS | Capability.SIGN_FORM) in storage.backend.capabilities:
            pytest.skip("the driver claims both")
        if Capability.SIGN_PARTS not in storage.backend.capabilities:
            whole = await Unfinished.begin(storage)
            for call in (_sign(whole, 1), _arrived(whole)):
                with pytest.raises(UnsupportedOperationError) as caught:
                    await call
                assert isinstance(caught.value, NotImplementedError)
            await whole.abandon()
        if Capability.SIGN_FORM not in storage.backend.capabilities:
            with pytest.raises(UnsupportedOperationError):
                await _form(storage)
