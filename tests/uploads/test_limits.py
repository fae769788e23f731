"""Limits of uploads, counted while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from litestar_filestore import MaxSize, UploadLimits
from litestar_filestore.core.rule import Rule
from litestar_filestore.errors import ConfigurationError
from litestar_filestore.uploads.limits import form_limits
from litestar_filestore.uploads.plan import PlannedFile, UploadForm
from litestar_filestore.validation.rules import MaxFiles
from tests.uploads.conftest import Receiving
from tests.uploads.multipart_bodies import Piece, body_of
from tests.uploads.scripted import Script, messages, sending

KIB = 1024
MIB = 1024 * 1024


def in_messages(body: bytes, size: int = 64 * KIB) -> list[bytes]:
    """Cut a body as servers do."""
    return [body[start : start + size] for start in range(0, len(body), size)]


async def test_file_above_the_limit_is_refused_before_its_end(receiving: Receiving) -> None:
    """A file that is too long is not read to its end, and the answer names its field."""
    pieces = in_messages(body_of(Piece("file", b"x" * 20 * MIB, "a.bin")))
    async with receiving(max_file_bytes=2 * MIB, max_total_bytes=100 * MIB) as receiver:
        script = Script(messages(*pieces))
        answer = await script.run(receiver.app)
    assert (answer.status, answer.keys) == (413, ["file"])
    assert script.taken < len(pieces) // 4


async def test_file_of_exactly_the_limit_is_taken(receiving: Receiving) -> None:
    """The limit is inclusive."""
    async with receiving(max_file_bytes=1000) as receiver:
        assert (await receiver.send_form(Piece("file", b"x" * 1000, "a.bin"))).status == 200
        assert (await receiver.send_form(Piece("file", b"x" * 1001, "a.bin"))).status == 413


async def test_spooled_file_above_the_limit_is_refused(receiving: Receiving) -> None:
    """Litestar's own files have the same limit; what was spooled of them is closed."""
    async with receiving(max_file_bytes=1000) as receiver:
        answer = await receiver.send_form(Piece("spooled", b"x", "a"), Piece("spooled", b"x" * 2 * MIB, "b"))
    assert (answer.status, answer.keys) == (413, ["spooled"])


async def test_announced_length_above_the_limit_is_refused_unread(receiving: Receiving) -> None:
    """A body that says that it is too long is not asked for."""
    async with receiving(max_total_bytes=1000) as receiver:
        script = Script(messages(body_of(Piece("text", b"x"))))
        answer = await script.run(receiver.app, headers={"content-length": "1001"})
    assert (answer.status, script.taken) == (413, 0)


@pytest.mark.parametrize("length", ["-5", "+5", "1_0", "٣", "0x10", "", "1" * 20, "1 2"])
async def test_length_that_is_no_number_is_refused(receiving: Receiving, length: str) -> None:
    """Python's int takes spellings of numbers that HTTP does not have."""
    async with receiving() as receiver:
        script = Script(messages(b""))
        answer = await script.run(receiver.app, headers={"content-length": length.encode().decode("latin-1")})
    assert (answer.status, script.taken) == (400, 0)


async def test_body_above_the_limit_is_refused_whatever_it_announces(receiving: Receiving) -> None:
    """All bytes count together, those of files that are thrown away as well."""
    async with receiving(max_total_bytes=MIB) as receiver:
        script = Script(messages(*in_messages(body_of(Piece("other", b"x" * 20 * MIB, "a.bin")))))
        answer = await script.run(receiver.app, headers={"content-length": "10"})
    assert answer.status == 413
    assert script.taken < 80


async def test_text_above_the_limit_is_refused_before_it_is_read(receiving: Receiving) -> None:
    """A text field of 100 MB is refused after 64 KiB."""
    pieces = in_messages(body_of(Piece("text", b"x" * 100_000_000)))
    async with receiving(max_total_bytes=10**9) as receiver:
        script = Script(messages(*pieces))
        answer = await script.run(receiver.app)
    assert (answer.status, answer.keys) == (413, ["text"])
    assert script.taken < 80


async def test_texts_above_the_limit_together_are_refused(receiving: Receiving) -> None:
    """Many fields, none of which is too long, are too long together."""
    fields = [Piece("texts", b"x" * 60 * KIB)] * 20
    async with receiving() as receiver:
        assert (await receiver.send_form(*fields[:17])).status == 200
        answer = await receiver.send_form(*fields)
    assert (answer.status, answer.keys) == (413, ["texts"])


async def test_too_many_parts_are_refused(receiving: Receiving) -> None:
    """Of 10,000 parts the first hundred are read."""
    async with receiving() as receiver:
        assert (await receiver.send_form(*[Piece("texts", b"")] * 10_000)).status == 413


async def test_too_many_files_are_refused(receiving: Receiving) -> None:
    """Files of any name count together."""
    files = [Piece("other", b"x", f"{each}.txt") for each in range(30)]
    async with receiving(max_files=5) as receiver:
        answer = await receiver.send_form(*files)
    assert (answer.status, answer.keys) == (413, ["other"])


async def test_too_long_header_of_a_part_is_refused(receiving: Receiving) -> None:
    """A header of one megabyte is refused."""
    async with receiving() as receiver:
        assert (await receiver.send_form(Piece("text", b"", headers=("X-Long: " + "x" * MIB,)))).status == 413


async def test_client_that_sends_nothing_is_given_up(receiving: Receiving) -> None:
    """A stalled client is answered 408, and its connection is not used again."""
    body = body_of(Piece("file", b"x" * 100_000, "a.bin"))
    start = {"type": "http.request", "body": body[:70_000], "more_body": True}
    async with receiving(idle_seconds=0.05) as receiver:
        answer = await receiver.send(start)
    assert (answer.status, answer.headers["connection"]) == (408, "close")


async def test_client_that_sends_drops_is_given_up(receiving: Receiving) -> None:
    """A client that is never idle, but sends a byte now and then, is given up for its rate."""

    async def drops() -> AsyncIterator[dict[str, Any]]:
        for each in body_of(Piece("file", b"x" * 10_000, "a.bin")):
            yield {"type": "http.request", "body": bytes([each]), "more_body": True}
            await asyncio.sleep(0.005)

    async with receiving(idle_seconds=10, rate_seconds=0.1, min_bytes_per_second=100_000) as receiver:
        script = Script(drops())
        answer = await script.run(receiver.app)
    assert answer.status == 408
    assert script.taken < 1000


async def test_time_of_a_slow_backend_is_not_the_client_s(receiving: Receiving) -> None:
    """While the backend is busy, the client may wait as long as it takes."""
    body = body_of(Piece("file", b"x" * 3 * MIB, "a.bin"))
    async with receiving(idle_seconds=0.1, rate_seconds=0.1, min_bytes_per_second=MIB) as receiver:
        receiver.driver.gate.clear()
        async with sending(Script(messages(*in_messages(body))), receiver.app) as answer:
            await receiver.driver.wait_for(1)
            await asyncio.sleep(0.3)  # three times what the client may be idle
            receiver.driver.gate.set()
            assert (await answer).status == 200


async def test_upload_too_many_is_asked_to_come_back(receiving: Receiving) -> None:
    """Beyond the number of uploads that a process reads at a time, there is 503; then there is room again."""
    body = body_of(Piece("file", b"x" * 100_000, "a.bin"))
    start = {"type": "http.request", "body": body[:70_000], "more_body": True}
    async with receiving(max_uploads=1, retry_after_seconds=7) as receiver:
        async with sending(Script(messages(start)), receiver.app):
            await receiver.driver.wait_for(1)
            refused = await receiver.send(body)
        taken = await receiver.send(body)
    assert (refused.status, refused.headers["retry-after"]) == (503, "7")
    assert taken.status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_file_bytes", -1),
        ("max_total_bytes", -1),
        ("max_field_bytes", -1),
        ("max_parts", 0),
        ("max_uploads", 0),
        ("idle_seconds", 0),
        ("rate_seconds", -1.0),
        ("buffer_bytes", 1000),
        ("part_buffer_bytes", -1),
        ("busy_bytes_per_second", -1),
    ],
)
def test_limit_that_cannot_work_is_refused(name: str, value: float) -> None:
    """A wrong limit is an error when it is written, not when somebody uploads."""
    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=name):
        UploadLimits(**options)


def planned(*rules: Rule, many: bool = False) -> PlannedFile:
    """Return a planned field."""
    return PlannedFile("file", many=many, rules=rules)


@pytest.mark.parametrize(
    ("form", "files", "file_bytes"),
    [
        (UploadForm((planned(),)), 10, 25 * MIB),
        (UploadForm((planned(MaxSize(1000)),)), 10, 1000),
        (UploadForm((planned(MaxSize(1000), many=True),)), 10, 10 * 1000),
        (UploadForm((planned(MaxSize(1000), MaxFiles(50), many=True),)), 50, 50 * 1000),
        (UploadForm(spooled=frozenset({"a", "b"})), 10, 50 * MIB),
        (UploadForm((planned(MaxSize("1 GB")),), whole=True), 10, 10**9),
    ],
)
def test_body_limit_follows_from_what_the_form_holds(form: UploadForm, files: int, file_bytes: int) -> None:
    """Where nobody has limited the body, it is as long as its files and fields may be together."""
    limits = form_limits(form, UploadLimits())
    assert limits.files == files
    assert limits.total_bytes == file_bytes + MIB + 64 * KIB


def test_field_of_two_names_counts_once() -> None:
    """A field that clients may call by another name is still one field."""
    one = planned(MaxSize(1000))
    two_names = UploadForm((replace(one, aliases=("other",)),))
    assert form_limits(two_names, UploadLimits()) == form_limits(UploadForm((one,)), UploadLimits())
