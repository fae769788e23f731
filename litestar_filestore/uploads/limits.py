"""Limits of uploads: those of one file, of one form, and those that all uploads of a process share.

Slots count the uploads, and budgets count the bytes that they hold in memory. A store that hangs must leave room for
the others: each store has its own slots, and if there are several stores, none holds more than half of the memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

from litestar_filestore.core.rule import max_bytes, max_files
from litestar_filestore.errors import ConfigurationError

if TYPE_CHECKING:
    from litestar_filestore.core.rule import Rule
    from litestar_filestore.uploads.plan import PlannedFile, UploadForm

__all__ = (
    "ByteBudget",
    "FormLimits",
    "PartBudget",
    "Slot",
    "UploadLimits",
    "UploadSlots",
    "client_address",
    "file_limit",
    "form_limits",
)

_KIB = 1024
_MIB = 1024 * 1024
_HEADERS_BYTES = 64 * _KIB
"""Room for boundaries and headers in a limit that is derived from the size of the content."""

_NOT_NEGATIVE = (
    "max_file_bytes",
    "max_field_bytes",
    "max_fields_bytes",
    "min_bytes_per_second",
    "busy_bytes_per_second",
    "part_buffer_bytes",
)
_AT_LEAST_ONE = (
    "max_parts",
    "max_files",
    "max_headers",
    "max_header_bytes",
    "max_uploads",
    "max_uploads_per_address",
    "retry_after_seconds",
)


@dataclass
class UploadLimits:
    """Limits of uploads. Sizes are in bytes and inclusive, times in seconds."""

    max_file_bytes: int = 25 * _MIB
    """Largest file if no rule (`MaxSize`) applies; the nearest rule wins, whether it is higher or lower."""
    max_total_bytes: int | None = None
    """Longest body. ``None`` derives it for each handler from what its files and fields may hold together. A handler's
    ``request_max_body_size`` wins."""
    max_field_bytes: int = 64 * _KIB
    """Longest value of a field that is not a file."""
    max_fields_bytes: int = _MIB
    """Total length of all such values."""
    max_parts: int = 100
    """Number of parts of a form, files and fields together."""
    max_files: int = 10
    """Number of files of a form, unless a rule (`MaxFiles`) allows more."""
    max_headers: int = 8
    """Number of headers of a part; browsers send two."""
    max_header_bytes: int = 4 * _KIB
    """Length of one header of a part, including its name."""
    idle_seconds: float = 30.0
    """Longest time for which a client may send nothing. Time spent waiting for the backend does not count."""
    min_bytes_per_second: int = _KIB
    """Rate below which a client is refused; 0 for no minimum."""
    rate_seconds: float = 30.0
    """Time spent waiting for the client over which the rate is measured."""
    request_seconds: float | None = 4 * 3600.0
    """Longest time in which a request has to arrive; ``None`` for no limit."""
    max_uploads: int = 32
    """Uploads to each backend that a process reads at the same time; further ones are refused with 503."""
    max_uploads_per_address: int | None = None
    """How many of them one client address may have, or one IPv6 /64 network; ``None`` for three quarters. Behind a
    proxy on another host this needs a server that knows the clients' addresses (``--proxy-headers``)."""
    retry_after_seconds: int = 5
    """Seconds after which a client that is refused a slot may come back (``Retry-After``)."""
    buffer_bytes: int = 64 * _MIB
    """Bytes that all uploads of a process may hold between clients and backends; beyond that, clients wait."""
    part_buffer_bytes: int = 256 * _MIB
    """Bytes that backends with uploads in parts (S3, Google, Azure) may hold in a process; beyond that, uploads wait
    for their turn, but one upload to each backend always proceeds."""
    busy_bytes_per_second: int = 16 * _KIB
    """Rate below which a client is refused while others are refused a slot, or wait for the memory that its upload
    holds; 0 for no minimum."""
    slots: UploadSlots = field(init=False, repr=False, compare=False)
    """The slots of the uploads that are being read now."""
    budget: ByteBudget = field(init=False, repr=False, compare=False)
    """The memory that these uploads hold now."""
    part_budget: PartBudget = field(init=False, repr=False, compare=False)
    """The memory that backends hold for them now."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: If one cannot work.
        """
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigurationError(f"UploadLimits.{name} must be 0 or more, not {getattr(self, name)!r}")
        for name in _AT_LEAST_ONE:
            if (count := getattr(self, name)) is not None and count < 1:
                raise ConfigurationError(f"UploadLimits.{name} must be at least 1, not {count!r}")
        for name in ("idle_seconds", "rate_seconds", "request_seconds"):
            if (seconds := getattr(self, name)) is not None and not seconds > 0:
                raise ConfigurationError(f"UploadLimits.{name} must be more than 0, not {seconds!r}")
        if self.max_total_bytes is not None and self.max_total_bytes < 0:
            raise ConfigurationError(
                f"UploadLimits.max_total_bytes must be 0 or more, or None, not {self.max_total_bytes!r}"
            )
        if self.buffer_bytes < _MIB:
            raise ConfigurationError(
                f"UploadLimits.buffer_bytes must be at least {_MIB}, which is one block, not {self.buffer_bytes!r}"
            )
        share = self.max_uploads_per_address
        # Rounded up, so that a client gets a slot even if there is only one.
        self.slots = UploadSlots(self.max_uploads, share or -(-3 * self.max_uploads // 4), self.rate_seconds)
        self.budget = ByteBudget(self.buffer_bytes)
        self.part_budget = PartBudget(self.part_buffer_bytes)


class FormLimits(NamedTuple):
    """Limits of one handler's form."""

    files: int
    """Number of files, including those of undeclared names."""
    parts: int
    """Number of parts."""
    total_bytes: int
    """Length of the body."""


def file_limit(rules: tuple[Rule, ...], limits: UploadLimits, most: int | None = None) -> int:
    """Return the largest size in bytes that its rules allow a file.

    Args:
        rules: The nearest rules of the file.
        limits: The limits that apply where nothing else is set.
        most: The limit of a link or a route; it never raises what a rule allows.
    """
    said = [each for each in (max_bytes(rules), most) if each is not None]
    return min(said, default=limits.max_file_bytes)


def form_limits(form: UploadForm, limits: UploadLimits, max_body_bytes: int | None = None) -> FormLimits:
    """Return the limits of a form.

    Args:
        form: The fields that it may hold.
        limits: The limits that apply where the form sets none.
        max_body_bytes: Longest body that the application has set for the handler; ``None`` derives it from the form.
    """
    counts = [_count(each, limits) for each in form.files]
    files = max(limits.max_files, sum(counts) + len(form.spooled))
    parts = limits.max_parts + files - limits.max_files
    if max_body_bytes is None:
        max_body_bytes = limits.max_total_bytes
    if max_body_bytes is None:
        of_files = [file_limit(each.rules, limits, each.max_bytes) for each in form.files]
        max_body_bytes = (
            sum(size * count for size, count in zip(of_files, counts, strict=True))
            + len(form.spooled) * limits.max_file_bytes
            + limits.max_fields_bytes
            + _HEADERS_BYTES
        )
    return FormLimits(files, parts, max_body_bytes)


def _count(planned: PlannedFile, limits: UploadLimits) -> int:
    if not planned.many:
        return 1
    allowed = max_files(planned.rules)
    return limits.max_files if allowed is None else allowed


# -- what all uploads of a process share

_NETWORK_BITS = 64
"""Bits of an IPv6 prefix; a client has all addresses of such a network (RFC 6177)."""


@lru_cache(maxsize=1024)
def client_address(host: str | None) -> str | None:
    """Return the key by which clients are distinguished.

    Returns:
        ``None`` if there is none: on a Unix socket, and for addresses of this host. A server in front connects from
        there, for all clients.
    """
    try:
        address = ip_address(host or "")
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    address = mapped or address
    if address.is_loopback:
        return None
    return f"{int(address) >> _NETWORK_BITS:x}::" if isinstance(address, IPv6Address) else str(address)


def _has_several(stores: Counter[str | None]) -> bool:
    """Return whether these are for more than one store; uploads whose store is not known yet do not count."""
    return len(stores) - (None in stores) > 1


class UploadSlots:
    """Counts the uploads that are being read, for each store and each client."""

    def __init__(self, limit: int, share: int, short_seconds: float) -> None:
        """Allow `limit` uploads at a time for each store, and as many whose store is not known yet.

        Args:
            limit: Uploads to each store.
            share: How many of them one client may have.
            short_seconds: How long slots count as short after an upload was refused one.
        """
        self._limit = limit
        self._share = share
        self._short_seconds = short_seconds
        self._by_store: Counter[str | None] = Counter()
        self._by_client: Counter[tuple[str | None, str]] = Counter()
        self._refused_at: dict[str | None, float] = {}

    @property
    def taken(self) -> int:
        """Number of uploads."""
        return self._by_store.total()

    def enter(self, address: str | None = None) -> Slot | None:
        """Return a slot for an upload whose store is not known yet, or ``None`` if all are taken.

        Args:
            address: The client's; see `client_address`.
        """
        return Slot(self, address) if self.take(None, address) else None

    def take(self, store: str | None, address: str | None) -> bool:
        """Count one more, and return whether that is allowed."""
        if self._by_store[store] >= self._limit:
            self._refused_at[store] = asyncio.get_running_loop().time()
            return False
        if address is not None:
            if self._by_client[store, address] >= self._share:
                return False
            self._by_client[store, address] += 1
        self._by_store[store] += 1
        return True

    def give(self, store: str | None, address: str | None) -> None:
        """Count one less."""
        self._by_store[store] -= 1
        if address is not None:
            self._by_client[store, address] -= 1
            if not self._by_client[store, address]:
                del self._by_client[store, address]  # clients come and go; stores do not

    def is_short(self, store: str | None) -> bool:
        """Return whether slots of a store are short."""
        if self._by_store[store] >= self._limit:
            return True
        refused = self._refused_at.get(store)
        return refused is not None and asyncio.get_running_loop().time() - refused < self._short_seconds


class Slot:
    """The slot of one upload."""

    __slots__ = ("_address", "_slots", "store")

    def __init__(self, slots: UploadSlots, address: str | None) -> None:
        """Represent a slot that was taken from `slots`."""
        self._slots = slots
        self._address = address
        self.store: str | None = None
        """Key of the backend that the upload goes to; ``None`` before that is known."""

    @property
    def is_short(self) -> bool:
        """Whether other uploads want the slot."""
        return self._slots.is_short(self.store)

    def move(self, store: str) -> bool:
        """Move to a slot of a store, and return whether there was one; otherwise nothing changes."""
        if store != self.store:
            if not self._slots.take(store, self._address):
                return False
            self.leave()
            self.store = store
        return True

    def leave(self) -> None:
        """Give the slot back."""
        self._slots.give(self.store, self._address)


class _Turn(NamedTuple):
    store: str | None
    least: int
    come: asyncio.Future[None]


class ByteBudget:
    """Bytes that may be in memory between clients and backends.

    An upload that holds some gives them back when the backend has taken them. Meanwhile it waits neither for its client
    nor for more of the budget. So every wait for the budget ends, unless a backend hangs; uploads to other backends go
    on. Where an upload goes is known when its beginning has been read. Where there are several backends, that is always
    read, one after the other, as only a backend that hangs may have taken everything; where there is one, it waits.
    """

    def __init__(self, total_bytes: int) -> None:
        """Allow `total_bytes` at a time."""
        self._total_bytes = total_bytes
        self.free_bytes = total_bytes
        """Bytes that are left; below zero if a server has delivered more than was requested."""
        self.is_for_one_store = False
        """Whether there is only one backend, as far as is known at the start of the application."""
        self._held: Counter[str | None] = Counter()
        self._waiting: deque[_Turn] = deque()

    async def take(self, wanted: int, *, least: int, store: str | None = None) -> int:
        """Wait until `least` bytes are free, and take them and more, up to `wanted`.

        Returns:
            How many were taken; call `give` with this number.
        """
        self._held[store] += 0  # registers the store
        while (room := self._room(store, least)) < least:
            await self._wait(store, least)
        taken = min(wanted, room)
        self.take_more(taken, store=store)
        self._wake_next()
        return taken

    def take_now(self, size: int, *, store: str | None) -> bool:
        """Take `size` bytes if so many are free and nobody waits for any; return whether they were taken."""
        if self._waiting or self._room(store, 0) < size:
            return False
        self.take_more(size, store=store)
        return True

    def take_more(self, size: int, *, store: str | None = None) -> None:
        """Take `size` bytes that are in memory already, even if they are not free."""
        is_new = store not in self._held
        self.free_bytes -= size
        self._held[store] += size
        if is_new:
            self._wake_next()  # with a second backend, there may be room

    def give(self, size: int, *, store: str | None = None) -> None:
        """Give bytes back."""
        self.free_bytes += size
        self._held[store] -= size
        self._wake_next()

    def _room(self, store: str | None, least: int) -> int:
        held = self._held[store]
        share = self._total_bytes // 2 if store is not None and _has_several(self._held) else self._total_bytes
        room = min(self.free_bytes, share - held)
        if held > 0 or (store is None and self._all_go_one_way and self.free_bytes < self._total_bytes):
            return room
        return max(room, least)  # the first one always proceeds

    @property
    def _all_go_one_way(self) -> bool:
        return self.is_for_one_store and not _has_several(self._held)

    async def _wait(self, store: str | None, least: int) -> None:
        turn = _Turn(store, least, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await turn.come
        except asyncio.CancelledError:
            self._waiting.remove(turn)
            if not turn.come.cancelled():
                self._wake_next()  # it was this one's turn, and no other has been woken
            raise
        self._waiting.remove(turn)

    def _wake_next(self) -> None:
        for turn in self._waiting:
            if not turn.come.done() and self._room(turn.store, turn.least) >= turn.least:
                turn.come.set_result(None)
                return


class _PartTurn(NamedTuple):
    wanted: int
    least: int
    store: str | None
    granted: asyncio.Future[int]


class PartBudget:
    """Bytes that backends may hold for uploads, first come, first served.

    An upload that holds some waits for its client and its store, but never for an upload that waits here. Some upload
    always proceeds: if no upload to a store holds anything, the next one to it is admitted, however much it wants. If
    there are several stores, none holds more than half, so a store that hangs leaves memory for the others.
    """

    def __init__(self, total_bytes: int) -> None:
        """Allow `total_bytes` at a time."""
        self._total_bytes = total_bytes
        self.free_bytes = total_bytes
        """Bytes that are left; below zero if the only upload to a store needs more than there is."""
        self._holders: Counter[str | None] = Counter()
        self._held: Counter[str | None] = Counter()
        self._queue: deque[_PartTurn] = deque()

    @property
    def holders(self) -> int:
        """Number of uploads that hold some."""
        return self._holders.total()

    @property
    def is_short(self) -> bool:
        """Whether any upload waits."""
        return bool(self._queue)

    def is_wanted(self, store: str | None) -> bool:
        """Return whether an upload waits that could proceed if one to this store gave up its memory."""
        return any(turn.store == store or self._fits_share(turn) for turn in self._queue)

    async def take(self, wanted: int, *, least: int, store: str | None = None) -> int:
        """Wait for a turn and for `least` free bytes, and take `wanted`, or `least` if others want some.

        Returns:
            How many were taken, one of the two; call `give` with this number, once.
        """
        turn = _PartTurn(wanted, least, store, asyncio.get_running_loop().create_future())
        self._held[store] += 0  # registers the store
        self._queue.append(turn)
        self._admit()
        try:
            return await turn.granted
        except asyncio.CancelledError:
            if not turn.granted.cancelled():
                self.give(turn.granted.result(), store=store)
            else:
                self._admit()  # the others may have waited behind it
            raise

    def give(self, size: int, *, store: str | None = None) -> None:
        """Give bytes back."""
        self.free_bytes += size
        self._held[store] -= size
        self._holders[store] -= 1
        self._admit()

    @property
    def _share(self) -> int:
        return self._total_bytes // 2 if _has_several(self._held) else self._total_bytes

    def _fits_share(self, turn: _PartTurn) -> bool:
        return self._held[turn.store] + turn.least <= self._share

    def _admit(self) -> None:
        waiting: deque[_PartTurn] = deque()
        passed: set[str | None] = set()
        is_full = False
        while self._queue:
            turn = self._queue.popleft()
            if turn.granted.cancelled():
                continue
            if turn.store not in passed and (not self._holders[turn.store] or (not is_full and self._fits(turn))):
                self._grant(turn, is_last=not (waiting or self._queue))
                continue
            waiting.append(turn)
            passed.add(turn.store)  # no upload overtakes another one to the same store
            is_full = is_full or self._fits_share(turn)  # nor takes what is being saved for another one
        self._queue = waiting

    def _fits(self, turn: _PartTurn) -> bool:
        return turn.least <= self.free_bytes and self._fits_share(turn)

    def _grant(self, turn: _PartTurn, *, is_last: bool) -> None:
        room = min(self.free_bytes, self._share - self._held[turn.store])
        size = turn.wanted if is_last and turn.wanted <= room else turn.least
        self.free_bytes -= size
        self._held[turn.store] += size
        self._holders[turn.store] += 1
        turn.granted.set_result(size)
