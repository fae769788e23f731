"""Asking rules about one file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from litestar_filestore import ContentTypes, ImageSize, MaxSize, MinSize
from litestar_filestore.core.rule import Answer, Candidate, FileRule
from litestar_filestore.errors import FileRejectedError, FileTooLargeError, UnsupportedOperationError
from litestar_filestore.validation.checking import FileCheck
from tests.validation.samples.images import png


class Noting(FileRule):
    """Accepts everything and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None]] = []

    def at_head(self, file: Candidate) -> Answer:
        self.asked.append((file.content_type, file.size))
        return None

    def at_end(self, file: Candidate) -> Answer:
        self.asked.append((file.content_type, file.size))
        return None


class Detecting:
    """Takes everything for one type."""

    head_bytes = 7

    def detect(self, head: bytes, *, filename: str) -> str:
        del head, filename
        return "Application/X-Own; a=b"


async def slow(file: Candidate) -> Answer:
    """Refuse by name, after waiting for nothing."""
    return "too slow" if file.filename == "slow.txt" else None


def no_secrets(file: Candidate) -> Answer:
    """Refuse by content."""
    return "There is a secret in it" if b"secret" in file.head else None


async def test_type_comes_from_the_content() -> None:
    """What is checked and kept is the type of the content; what the sender said is kept beside it."""
    checked = await FileCheck([], filename="a.txt", declared_type="text/plain").at_head(png(), complete=True)
    assert (checked.content_type, checked.ext) == ("image/png", ".png")
    assert checked.metadata == {"declared_type": "text/plain"}


async def test_declared_type_that_is_right_is_not_kept() -> None:
    """Another name of the same type says nothing new."""
    checked = await FileCheck([], filename="a.js", declared_type="application/x-javascript; charset=utf-8").at_head(
        b"let a", complete=True
    )
    assert (checked.content_type, checked.metadata) == ("text/javascript", {})


@pytest.mark.parametrize(
    ("filename", "content", "ext"),
    [
        ("photo.JPEG", b"\xff\xd8\xff\xe0", ".jpeg"),
        ("photo.html", png(), ".png"),
        ("photo", png(), ".png"),
        ("notes.unheardof", b"words", ".txt"),
        ("../../etc/passwd.png/", png(), ".png"),
        ("a.bin", b"\x00\x01", ""),
        ("a.exe", b"\x00\x01", ""),
    ],
)
async def test_extension_is_that_of_the_type(filename: str, content: bytes, ext: str) -> None:
    """Keys never end in an extension that the content does not have."""
    assert (await FileCheck([], filename=filename).at_head(content, complete=True)).ext == ext


async def test_another_detector() -> None:
    """A detector of the application decides, and says how much it wants to see."""
    check = FileCheck([], filename="a", detector=Detecting())
    assert check.head_bytes == 7
    assert (await check.at_head(b"", complete=True)).content_type == "application/x-own"


def test_needs_of_all_rules() -> None:
    """The strictest limit and the longest beginning count."""

    class Long(FileRule):
        head_bytes = 200_000

    check = FileCheck([MaxSize(20), MaxSize(10), Long(), ImageSize(max_width=1)], filename="a")
    assert (check.max_bytes, check.head_bytes) == (10, 200_000)
    assert (FileCheck([MinSize(1)], filename="a").max_bytes, FileCheck([], filename="a").judges_type) == (None, False)
    assert FileCheck([ContentTypes("image/*")], filename="a").judges_type


async def test_size_is_known_where_the_beginning_is_all() -> None:
    """Rules see the size as soon as it is known, and at the end in any case."""
    noting = Noting()
    check = FileCheck([noting], filename="a.txt")
    await check.at_head(b"abc", complete=False)
    await check.at_end(5)
    await FileCheck([noting], filename="a.txt").at_head(b"abc", complete=True)
    assert noting.asked == [("text/plain", None), ("text/plain", 5), ("text/plain", 3)]


async def test_too_long_already() -> None:
    """What is too long is refused with the first bytes if those are too many."""
    with pytest.raises(FileTooLargeError) as caught:
        await FileCheck([MaxSize(2)], filename="a").at_head(b"abc", complete=False)
    assert caught.value.max_bytes == 2


@pytest.mark.parametrize("rule", [no_secrets, lambda file: "no" if file.filename else None, slow])
async def test_any_callable_is_a_rule(rule: Callable[[Candidate], Answer | Awaitable[Answer]]) -> None:
    """Functions and coroutine functions refuse with what they return."""
    with pytest.raises(FileRejectedError):
        await FileCheck([rule], filename="slow.txt").at_head(b"my secret", complete=True)


async def test_rules_are_asked_in_their_order() -> None:
    """The first rule that refuses is the one that is told."""
    with pytest.raises(FileRejectedError, match=r"^There is a secret in it"):
        await FileCheck([no_secrets, slow], filename="slow.txt").at_head(b"secret", complete=True)
    with pytest.raises(FileRejectedError, match=r"^too slow"):
        await FileCheck([slow, no_secrets], filename="slow.txt").at_head(b"secret", complete=True)


async def test_error_of_a_rule_comes_out() -> None:
    """A rule that breaks is an error of the application, not a refusal."""

    def broken(_: Candidate) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await FileCheck([broken], filename="a").at_head(b"", complete=True)


def test_coroutine_function_where_nothing_can_be_awaited() -> None:
    """Without an event loop an asynchronous rule is an error that names it, never skipped."""
    with pytest.raises(UnsupportedOperationError, match="slow"):
        FileCheck([slow], filename="a").judge_head(b"", complete=True)


def test_functions_where_nothing_can_be_awaited() -> None:
    """Synchronous rules need no event loop."""
    check = FileCheck([no_secrets, MinSize(3)], filename="a.txt")
    assert check.judge_head(b"ab", complete=False).content_type == "text/plain"
    with pytest.raises(FileRejectedError, match="smaller"):
        check.judge_end(2)
