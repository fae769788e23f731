"""Asks the rules about one file: with its first bytes before anything is stored, and at the end with its size."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import msgspec

from litestar_filestore.core.rules import Candidate, CheckedType, FileRule, check_with, max_bytes
from litestar_filestore.errors import FileRejectedError, FileTooLargeError, UnsupportedOperationError
from litestar_filestore.validation.detect import default_detector
from litestar_filestore.validation.media_types import UNKNOWN, canonical, extension_for
from litestar_filestore.validation.sizes import too_large_message

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from litestar_filestore.core.rules import Rule
    from litestar_filestore.validation.detect import Detector

__all__ = ("CheckedType", "FileCheck")


class FileCheck:
    """The rules for one file on its way into a backend.

    Gather `head_bytes` of the content or all of it, `at_head`; then store while counting against `max_bytes`, and ask
    `at_end` before the object is finished or kept. `judge_head` and `judge_end` do the same where nothing can be
    awaited.
    """

    __slots__ = (
        "_candidate",
        "_declared",
        "_detector",
        "_filename",
        "_rules",
        "head_bytes",
        "judges_type",
        "max_bytes",
    )

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        filename: str,
        declared_type: str | None = None,
        detector: Detector | None = None,
    ) -> None:
        """Prepare to check one file.

        Args:
            rules: All that have to accept the file; they are asked in this order.
            filename: Name for people, as it is going to be kept.
            declared_type: What the sender called it; not believed.
            detector: Tells the type; ``None`` for the default one.
        """
        self._rules = tuple(rules)
        self._filename = filename
        self._declared = declared_type
        self._detector = detector or default_detector
        self._candidate: Candidate | None = None
        own = [rule for rule in self._rules if isinstance(rule, FileRule)]
        self.max_bytes: int | None = max_bytes(self._rules)
        """Longest content allowed in bytes, ``None`` for no limit."""
        self.head_bytes: int = max(self._detector.head_bytes, *(rule.head_bytes for rule in own), 0)
        """How many of the first bytes `at_head` needs."""
        self.judges_type: bool = any(rule.judges_type for rule in own)
        """Whether a rule goes by the media type."""

    async def at_head(self, head: bytes, *, complete: bool) -> CheckedType:
        """Check by name, type and first bytes.

        Args:
            head: `head_bytes` of the content or more, or all of it.
            complete: Whether that is all of it.

        Raises:
            FileTypeNotAllowedError: If the type is not allowed, or the name belies it.
            FileRejectedError: If another rule refuses.
            FileTooLargeError: If these bytes are too many already.
        """
        checked = self._begin(head, complete=complete)
        await self._ask_async(lambda rule: rule.at_head if isinstance(rule, FileRule) else rule)
        return checked

    async def at_end(self, size: int) -> None:
        """Check by the size of the whole content, in bytes.

        Raises:
            FileRejectedError: If a rule refuses.
            FileTooLargeError: If it is too long.
        """
        self._finish(size)
        await self._ask_async(lambda rule: rule.at_end if isinstance(rule, FileRule) else None)

    def judge_head(self, head: bytes, *, complete: bool) -> CheckedType:
        """`at_head` without waiting for anything.

        Raises:
            UnsupportedOperationError: If a rule is a coroutine function; beside those of `at_head`.
        """
        checked = self._begin(head, complete=complete)
        self._ask(lambda rule: rule.at_head if isinstance(rule, FileRule) else rule)
        return checked

    def judge_end(self, size: int) -> None:
        """`at_end` without waiting for anything.

        Raises:
            UnsupportedOperationError: If a rule is a coroutine function; beside those of `at_end`.
        """
        self._finish(size)
        self._ask(lambda rule: rule.at_end if isinstance(rule, FileRule) else None)

    # -- what is known

    def _begin(self, head: bytes, *, complete: bool) -> CheckedType:
        content_type = canonical(self._detector.detect(head, filename=self._filename)) or UNKNOWN
        declared = canonical(self._declared) if self._declared else None
        self._candidate = Candidate(
            filename=self._filename,
            content_type=content_type,
            declared_type=self._declared,
            head=head,
            size=len(head) if complete else None,
        )
        self._limit(len(head))
        return CheckedType(
            content_type,
            extension_for(content_type, self._filename),
            self._declared if declared not in {None, content_type} else None,
        )

    def _finish(self, size: int) -> None:
        self._limit(size)
        if self._candidate is None:
            self._candidate = Candidate(
                filename=self._filename, content_type=UNKNOWN, declared_type=self._declared, size=size
            )
        else:
            self._candidate = msgspec.structs.replace(self._candidate, size=size)

    def _limit(self, size: int) -> None:
        if self.max_bytes is not None and size > self.max_bytes:
            raise FileTooLargeError(too_large_message(self.max_bytes), max_bytes=self.max_bytes)

    # -- asking

    def _answers(self, pick: Callable[[Rule], Any]) -> Generator[tuple[Rule, Any], str | None, None]:
        """Ask rule by rule; yields what has to be awaited and is sent its outcome."""
        candidate = self._candidate
        for rule in self._rules:
            if (ask := pick(rule)) is None:
                continue
            answer = ask(candidate)
            if inspect.isawaitable(answer):
                answer = yield rule, answer
            if answer is not None:
                raise FileRejectedError(answer)

    async def _ask_async(self, pick: Callable[[Rule], Any]) -> None:
        answers = self._answers(pick)
        try:
            _, waiting = next(answers)
            while True:
                _, waiting = answers.send(await waiting)
        except StopIteration:
            return

    def _ask(self, pick: Callable[[Rule], Any]) -> None:
        for rule, waiting in self._answers(pick):
            if inspect.iscoroutine(waiting):
                waiting.close()  # or Python warns that nobody awaited it
            name = getattr(rule, "__name__", type(rule).__name__)
            raise UnsupportedOperationError(f"The rule {name} is asynchronous: it needs an AsyncSession or a request")


check_with(FileCheck)
