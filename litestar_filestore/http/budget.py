"""What all uploads of a process share: how many there are, and how many bytes of theirs are in memory.

A store that does not take anything any more must leave room for the others: each has slots of its own, and none holds
more than half of the memory where there are several.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

__all__ = ("ByteBudget", "Slot", "UploadSlots", "client_address", "has_several")

_NETWORK_BITS = 64
"""Of an IPv6 address; a client has all addresses of such a network (RFC 6177)."""


def client_address(host: str | None) -> str | None:
    """Return what clients are told apart by.

    Returns:
        ``None`` where there is nothing: on a socket in the file system, and for addresses of this host. There is a
        server in front then, and all clients come from it.
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


def has_several(stores: Counter[str | None]) -> bool:
    """Return whether more than one store is among these; uploads that have not come so far are of none."""
    return len(stores) - (None in stores) > 1


class UploadSlots:
    """Counts the uploads that are being read, by the store that they go to and the client that they come from."""

    def __init__(self, limit: int, share: int, short_seconds: float) -> None:
        """Allow `limit` of them at a time for each store, and as many before it is known where they go.

        Args:
            limit: Of each store.
            share: How many of them one client may have.
            short_seconds: How long slots count as short after somebody was refused one.
        """
        self._limit = limit
        self._share = share
        self._short_seconds = short_seconds
        self._by_store: Counter[str | None] = Counter()
        self._by_client: Counter[tuple[str | None, str]] = Counter()
        self._refused_at: dict[str | None, float] = {}

    @property
    def taken(self) -> int:
        """How many there are."""
        return self._by_store.total()

    def enter(self, address: str | None = None) -> Slot | None:
        """Return a slot for an upload of which it is not known yet where it goes, if there is one.

        Args:
            address: Of the client, see `client_address`.
        """
        return Slot(self, address) if self.take(None, address) else None

    def take(self, store: str | None, address: str | None) -> bool:
        """Count one, and return whether that is allowed."""
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
        """Return whether others want the slots of a store."""
        if self._by_store[store] >= self._limit:
            return True
        refused = self._refused_at.get(store)
        return refused is not None and asyncio.get_running_loop().time() - refused < self._short_seconds


class Slot:
    """The place of one upload."""

    __slots__ = ("_address", "_slots", "store")

    def __init__(self, slots: UploadSlots, address: str | None) -> None:
        """Stand for what was taken of `slots`."""
        self._slots = slots
        self._address = address
        self.store: str | None = None
        """Key of the backend that the upload goes to; ``None`` before that is known."""

    @property
    def is_short(self) -> bool:
        """Whether others want it."""
        return self._slots.is_short(self.store)

    def move(self, store: str) -> bool:
        """Go on to a store, and return whether there was a slot; otherwise nothing has changed."""
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

    Whoever holds some gives them back when the backend has taken them, and waits for no client and for nothing of the
    budget meanwhile: so waiting for it ends, unless the backend does not take them. Those of another one go on.
    """

    def __init__(self, total_bytes: int) -> None:
        """Allow `total_bytes` at a time."""
        self._total_bytes = total_bytes
        self.free_bytes = total_bytes
        """What is left; below zero where a server handed over more than was asked for."""
        self._held: Counter[str | None] = Counter()
        self._waiting: deque[_Turn] = deque()

    async def take(self, wanted: int, *, least: int, store: str | None = None) -> int:
        """Wait until `least` bytes are free, and take them and more, up to `wanted`.

        Returns:
            How many were taken; `give` has to be called with the number.
        """
        self._held[store] += 0  # from now on there is such a store
        while (room := self._room(store, least)) < least:
            await self._wait(store, least)
        taken = min(wanted, room)
        self.take_more(taken, store=store)
        self._wake_next()
        return taken

    def take_more(self, size: int, *, store: str | None = None) -> None:
        """Take `size` bytes that are in memory already, whether they are free or not."""
        self.free_bytes -= size
        self._held[store] += size

    def give(self, size: int, *, store: str | None = None) -> None:
        """Give bytes back."""
        self.free_bytes += size
        self._held[store] -= size
        self._wake_next()

    def _room(self, store: str | None, least: int) -> int:
        held = self._held[store]
        share = self._total_bytes // 2 if store is not None and has_several(self._held) else self._total_bytes
        room = min(self.free_bytes, share - held)
        return room if held > 0 else max(room, least)  # the first one always gets on

    async def _wait(self, store: str | None, least: int) -> None:
        turn = _Turn(store, least, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await turn.come
        except asyncio.CancelledError:
            self._waiting.remove(turn)
            if not turn.come.cancelled():
                self._wake_next()  # it was this one's turn, and nobody else has been told
            raise
        self._waiting.remove(turn)

    def _wake_next(self) -> None:
        for turn in self._waiting:
            if not turn.come.done() and self._room(turn.store, turn.least) >= turn.least:
                turn.come.set_result(None)
                return
