"""What a `FaultyDriver` is told to do wrong, and how that is applied to one call."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from litestar_filestore.core.types import Block

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

__all__ = ("Call", "Fault", "Operation", "Outcome", "cut", "cut_async")

BlockT = TypeVar("BlockT", bytes, Block)

Operation: TypeAlias = Literal["put", "get", "head", "delete", "list", "copy", "sign", "local_path", "clean"]
"""What can fail. The sync and the async form of an operation count as one."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Without `after_effect` and `after_bytes` it happens before the real driver is called.
    """

    operation: Operation
    """Which operation fails."""
    error: Exception | None = None
    """What is raised, a copy each time; ``None`` raises nothing, for faults that only wait or cut short."""
    call: int = 1
    """Which call of the operation fails, counted from 1 for this driver."""
    times: int | None = 1
    """How many calls fail from that one on; ``None`` for all."""
    delay_seconds: float = 0.0
    """Wait this long before anything else."""
    after_effect: bool = False
    """Let the real driver do its work first, and fail then: an answer that got lost."""
    after_bytes: int | None = None
    """For ``put`` and ``get``: fail after so many bytes have passed. Without an `error` a get just ends there, as if
    the object were shorter, and a put stores what it has so far."""

    def hits(self, operation: str, call: int) -> bool:
        """Return whether this fault belongs to the call with that number."""
        last = None if self.times is None else self.call + self.times
        return self.operation == operation and call >= self.call and (last is None or call < last)


@dataclass(frozen=True)
class Call:
    """One call of a driver."""

    operation: str
    """Name without ``_async``."""
    paths: tuple[str, ...]
    """Keys with their prefix; for ``list`` the prefix, for ``copy`` source and target."""
    is_async: bool
    """Whether it was the ``_async`` form."""
    details: tuple[object, ...] = ()
    """The other arguments: start and end of ``get``, options of ``put``, `overwrite` of ``copy`` and so on."""


@dataclass(frozen=True)
class Outcome:
    """What the plan says about one call."""

    hits: tuple[Fault, ...]

    @property
    def delay_seconds(self) -> float:
        """How long the call waits first."""
        return sum(fault.delay_seconds for fault in self.hits)

    def begin(self) -> None:
        """Raise what fails the call before its effect."""
        self._raise([fault for fault in self.hits if not fault.after_effect and fault.after_bytes is None])

    def end(self) -> None:
        """Raise what fails the call after its effect."""
        self._raise([fault for fault in self.hits if fault.after_effect])

    def limit(self) -> int | None:
        """Return how many bytes pass before the content is cut, or ``None``."""
        return min((fault.after_bytes for fault in self.hits if fault.after_bytes is not None), default=None)

    def cut(self) -> None:
        """Raise what breaks the content, if it is not just to end."""
        self._raise([fault for fault in self.hits if fault.after_bytes is not None])

    @staticmethod
    def _raise(faults: list[Fault]) -> None:
        for fault in faults:
            if fault.error is not None:
                raise copy(fault.error)  # what is raised gets a place and a trace, which the next call must not see


class _Budget:
    """How many bytes may still pass before the cut."""

    def __init__(self, limit: int) -> None:
        self.rest = limit

    def take(self, block: BlockT) -> BlockT:
        part = block[: self.rest]
        self.rest -= len(part)
        return part


def cut(blocks: Iterator[BlockT], outcome: Outcome) -> Iterator[BlockT]:
    """Pass `blocks` on up to the limit of `outcome`, then raise its error or just end."""
    limit = outcome.limit()
    if limit is None:
        yield from blocks
        return
    budget = _Budget(limit)
    while budget.rest:
        try:
            block = next(blocks)
        except StopIteration:
            return
        yield budget.take(block)
    outcome.cut()


async def cut_async(blocks: AsyncIterator[BlockT], outcome: Outcome) -> AsyncGenerator[BlockT, None]:
    """Do the same for the async half."""
    limit = outcome.limit()
    if limit is None:
        async for block in blocks:
            yield block
        return
    budget = _Budget(limit)
    while budget.rest:
        try:
            block = await anext(blocks)
        except StopAsyncIteration:
            return
        yield budget.take(block)
    outcome.cut()
