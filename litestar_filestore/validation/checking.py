"""Asks the rules about one file: about its first bytes before anything is stored, while it passes, and at its end."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from litestar_filestore.core.rule import Candidate, FileRule, max_bytes
from litestar_filestore.errors import FileRejectedError, FileTooLargeError, UnsupportedOperationError
from litestar_filestore.validation.detect import default_detector
from litestar_filestore.validation.media_types import UNKNOWN, canonical, extension_for
from litestar_filestore.validation.reading import Passage
from litestar_filestore.validation.rules import too_large_message

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from litestar_filestore.core.rule import Answer, Piece, Reading, Rule, Wanted
    from litestar_filestore.core.types import Block
    from litestar_filestore.validation.detect import Detector

__all__ = ("CheckedType", "FileCheck")


class CheckedType(NamedTuple):
    """The type that a file turned out to have."""

    content_type: str
    """Media type detected from the content; keep and serve the file with this one."""
    ext: str
    """Extension of that type with its dot, for the key; ``""`` if none is known."""
    declared_type: str | None = None
    """The type that the sender declared, if it differs."""

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata to keep with the file: ``declared_type``, if there is one."""
        return {} if self.declared_type is None else {"declared_type": self.declared_type}


class FileCheck:
    """The rules for one file on its way into a backend.

    Gather `head_bytes` of the content, or all of it, and call `at_head`. Then store the content: count it against
    `max_bytes`, pass the blocks to `feed` as long as the check is `watching`, and call `at_end` before you finish or
    keep the object. `judge_head` and `judge_end` do the same for sync code. If you can read the content in place,
    `give` the bytes that are `wanted` instead of feeding blocks.

    Verdict and type depend only on the content, not on the pieces in which it arrives.
    """

    __slots__ = (
        "_candidate",
        "_declared",
        "_detector",
        "_filename",
        "_passages",
        "_rules",
        "_type",
        "checked",
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
            rules: The rules that must all accept the file; they are asked in this order.
            filename: Name shown to people, as it will be kept.
            declared_type: The type that the sender declared; not trusted.
            detector: Detects the type; ``None`` for the default one.
        """
        self._rules = rules if isinstance(rules, tuple) else tuple(rules)
        self._filename = filename
        self._declared = declared_type
        self._detector = detector or default_detector
        self._candidate: Candidate | None = None
        self._type: Passage[str] | None = None
        self._passages: list[Passage[Answer]] = []
        own = [rule for rule in self._rules if isinstance(rule, FileRule)] if rules else []
        self.max_bytes: int | None = max_bytes(own) if own else None
        """Longest content allowed, in bytes; ``None`` for no limit."""
        self.head_bytes: int = max([self._detector.head_bytes, *[rule.head_bytes for rule in own]])
        """Number of first bytes that `at_head` needs."""
        self.judges_type: bool = bool(own) and any(rule.judges_type for rule in own)
        """Whether a rule depends on the media type."""
        self.checked: CheckedType | None = None
        """The type as far as it is known; it depends only on the first bytes until `at_end` has returned."""

    async def at_head(self, head: bytes, *, complete: bool) -> CheckedType:
        """Check by name, type and first bytes.

        Args:
            head: At least `head_bytes` of the content, or all of it.
            complete: Whether `head` is the whole content.

        Returns:
            The type. If the content is longer than `head_bytes`, the final type may differ; see `checked`.

        Raises:
            FileTypeNotAllowedError: If the type is not allowed, or the name does not match it.
            FileRejectedError: If another rule refuses.
            FileTooLargeError: If these bytes already exceed the limit.
        """
        checked = self._begin(head, complete=complete)
        if self._rules:
            await self._ask_async(_at_head)
        self._watch(head, complete=complete)
        return checked

    async def at_end(self, size: int) -> None:
        """Check by everything that is known about the whole content.

        Args:
            size: Its length in bytes.

        Raises:
            FileTypeNotAllowedError: If later bytes show that it is another type, which is not allowed.
            FileRejectedError: If a rule refuses.
            FileTooLargeError: If it is too long.
        """
        if self._finish(size):
            await self._ask_async(_at_head)
        if self._rules:
            self._end_readings()
            await self._ask_async(_at_end)

    def judge_head(self, head: bytes, *, complete: bool) -> CheckedType:
        """`at_head` for sync code.

        Raises:
            UnsupportedOperationError: If a rule is a coroutine function. Also raises what `at_head` raises.
        """
        checked = self._begin(head, complete=complete)
        self._ask(_at_head)
        self._watch(head, complete=complete)
        return checked

    def judge_end(self, size: int) -> None:
        """`at_end` for sync code.

        Raises:
            UnsupportedOperationError: If a rule is a coroutine function. Also raises what `at_end` raises.
        """
        if self._finish(size):
            self._ask(_at_head)
        self._end_readings()
        self._ask(_at_end)

    # -- what passes

    @property
    def watching(self) -> bool:
        """Whether the blocks after the first bytes must be fed."""
        return bool(self._passages) or self._type is not None

    @property
    def wanted(self) -> Wanted | None:
        """The next bytes to read after the first ones, if content can be read in place; then `give` them."""
        for passage in self._open():
            if passage.wanted is not None:
                return passage.wanted
        return None

    def feed(self, block: Block) -> None:
        """Check a block that passes after the first bytes.

        Raises:
            FileRejectedError: If a rule has seen enough and refuses.
        """
        for passage in self._open():
            passage.feed(block)
        self._collect()

    def give(self, piece: Piece) -> None:
        """Hand over what is `wanted`.

        Raises:
            FileRejectedError: If a rule has seen enough and refuses.
        """
        for passage in self._open():
            if passage.wanted is not None:
                passage.give(piece)
                break
        self._collect()

    def _open(self) -> list[Passage[Any]]:
        return [*self._passages, *([] if self._type is None else [self._type])]

    def _watch(self, head: bytes, *, complete: bool) -> None:
        """Start the rules that read on. Content that is short enough has been read completely when this returns."""
        readings = self._readings() if self._rules else []
        if not readings and self._type is None:
            return
        kept, rest = head[: self.head_bytes], head[self.head_bytes :]
        self._passages = [Passage(each, kept) for each in readings]
        for passage in self._passages:
            passage.feed(rest)
            if complete and not rest:
                passage.end()
        if self._type is not None:
            self._type.feed(head[self._detector.head_bytes :])
        self._collect()

    def _readings(self) -> list[Reading[Answer]]:
        candidate = self._candidate
        if candidate is None:
            return []
        asked = [rule.read(candidate) for rule in self._rules if isinstance(rule, FileRule)]
        return [each for each in asked if each is not None]

    def _collect(self) -> None:
        """Collect the verdicts of rules that have seen enough."""
        if not self._passages:
            return
        ended = [each for each in self._passages if each.wanted is None]
        if ended:
            self._passages = [each for each in self._passages if each.wanted is not None]
            for each in ended:
                if each.result is not None:
                    raise FileRejectedError(each.result)

    # -- what is known

    def _begin(self, head: bytes, *, complete: bool) -> CheckedType:
        own = head[: self._detector.head_bytes]
        found = self._detector.detect(own, filename=self._filename)
        if not complete or len(head) >= self._detector.head_bytes:
            self._type = self._confirming(own)
        size = len(head) if complete else None
        self._limit(len(head))
        return self._become(found, head=head[: self.head_bytes], size=size)

    def _confirming(self, head: bytes) -> Passage[str] | None:
        confirm = getattr(self._detector, "confirm", None)
        reading = None if confirm is None else confirm(head, filename=self._filename)
        passage = None if reading is None else Passage(reading, head)
        return None if passage is None or passage.wanted is None else passage

    def _become(self, found: str, *, head: bytes, size: int | None) -> CheckedType:
        content_type = canonical(found) or UNKNOWN
        declared = canonical(self._declared) if self._declared else None
        self._candidate = Candidate(
            filename=self._filename, content_type=content_type, declared_type=self._declared, head=head, size=size
        )
        # Give the key no extension that the end of the content may contradict, unless the name has it anyway.
        ext = extension_for(content_type, self._filename)
        if self._type is not None and not self._filename.lower().endswith(ext):
            ext = ""
        self.checked = CheckedType(content_type, ext, self._declared if declared not in {None, content_type} else None)
        return self.checked

    def _finish(self, size: int) -> bool:
        """Record the size, and return whether the type turned out to be another one."""
        self._limit(size)
        changed = self._settle()
        if self._candidate is None:
            self._candidate = Candidate(
                filename=self._filename, content_type=UNKNOWN, declared_type=self._declared, size=size
            )
        else:
            self._candidate = msgspec.structs.replace(self._candidate, size=size)
        return changed

    def _end_readings(self) -> None:
        for passage in self._passages:
            passage.end()
        self._collect()

    def _settle(self) -> bool:
        passage, self._type = self._type, None
        candidate, checked = self._candidate, self.checked
        if passage is None or candidate is None or checked is None:
            return False
        passage.end()
        content_type = canonical(passage.result or UNKNOWN)
        if content_type == candidate.content_type:
            return False
        self._become(content_type, head=candidate.head, size=None)
        return True

    def _limit(self, size: int) -> None:
        if self.max_bytes is not None and size > self.max_bytes:
            raise FileTooLargeError(too_large_message(self.max_bytes), max_bytes=self.max_bytes)

    # -- asking

    def _answers(self, pick: Callable[[Rule], Any]) -> Generator[tuple[Rule, Any], str | None, None]:
        """Ask rule by rule: yields each awaitable and is sent its result."""
        candidate = self._candidate
        for rule in self._rules:
            if (ask := pick(rule)) is None:
                continue
            answer = ask(candidate)
            if answer is not None and inspect.isawaitable(answer):
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
            raise UnsupportedOperationError(
                f"The rule {name} is asynchronous: use an AsyncSession or a request, or make the rule a plain function"
            )


def _at_head(rule: Rule) -> Callable[[Candidate], Any]:
    return rule.at_head if isinstance(rule, FileRule) else rule


def _at_end(rule: Rule) -> Callable[[Candidate], Any] | None:
    return rule.at_end if isinstance(rule, FileRule) else None
