"""Remembers resumable uploads: what has come of each, and which request may add to it.

The row of an upload is the truth about it, never what a store lists: a part that was stored but not committed does not
count, and is sent again. A request holds an upload by a lease, taken by one conditional statement. Nothing is kept in a
database session, no transaction stays open, and no advisory lock is taken, so a pooler may sit in between. Who needs an
upload that is held marks it as wanted; its holder sees that with its next commit, and lets go.
"""

from __future__ import annotations

import logging
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.util import greenlet_spawn

from litestar_filestore.core.threads import run_blocking
from litestar_filestore.core.types import Part
from litestar_filestore.errors import LinkLostError, StorageError, TusError
from litestar_filestore.ledger.ledger import LEASE_SECONDS, Facts, Ledger, ObjectKey, count_changed
from litestar_filestore.ledger.outages import guard_database
from litestar_filestore.ledger.points import reach
from litestar_filestore.ledger.quota import ask_quota
from litestar_filestore.ledger.staging import in_time, staging_engine, sync_engine, transact
from litestar_filestore.ledger.table import State, database_now, upload_parts_of, uploads_of
from litestar_filestore.orm.bridge import call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from litestar_filestore.core.registry import StorageRegistry

__all__ = (
    "HOLD_SECONDS",
    "Committed",
    "Upload",
    "UploadLedger",
    "UploadName",
    "Uploads",
    "new_holder",
    "sweep_uploads",
)

logger = logging.getLogger("litestar_filestore")

T = TypeVar("T")

HOLD_SECONDS = 15.0
"""How long a request that is not heard of any more keeps an upload."""
_CLAIM_SECONDS = 300.0
"""After this time another sweep may claim an upload; longer than a store takes to remove its parts."""
_AT_A_TIME = 100
_SECONDS = sa.Double[float]()
"""Type of times, as parameters."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One resumable upload. Sizes and offsets are in bytes, times are POSIX seconds of the database's clock."""

    id: str
    """Names it in its URL; it cannot be guessed."""
    place: str
    """The router that it was created at."""
    owner: str | None
    """Whose it is; the quota of this owner counts it."""
    opener: str
    """The client that has it among its open uploads."""
    backend: str
    """Key of the backend that it goes to."""
    length: int | None
    """Length of the whole content; ``None`` while it is not known."""
    metadata: str | None = None
    """``Upload-Metadata`` as it was sent."""
    concat: str | None = None
    """``Upload-Concat`` as it was sent."""
    offset: int = 0
    """How much has come and is stored."""
    head: bytes | None = None
    """The first bytes, all that have come, while there are too few to judge them."""
    key: str | None = None
    """Key of the object that it becomes; ``None`` before its first byte goes to the store."""
    content_type: str | None = None
    """Media type by its first bytes."""
    store_upload: str | None = None
    """The store's name for the unfinished object; ``None`` before its first part."""
    part_bytes: int | None = None
    """Size of its parts."""
    next_part: int = 1
    """Number of the next part, by the parts that are committed."""
    tail_key: str | None = None
    """Key of the object with the bytes after the last part, where they are too few for one."""
    result: str | None = None
    """The complete file as a row would keep it, as JSON."""
    is_held: bool = False
    """Whether a request held it when this was read."""
    is_expired: bool = False
    """Whether it had expired when this was read."""
    expires_at: float = 0.0
    """When it expires, if nothing comes."""

    @property
    def is_complete(self) -> bool:
        """Whether it has become a file."""
        return self.result is not None

    @property
    def is_partial(self) -> bool:
        """Whether it is only there to be joined with others."""
        return self.concat == "partial"

    @property
    def objects(self) -> list[ObjectKey]:
        """Its objects in the ledger."""
        return [ObjectKey(self.backend, key) for key in (self.key, self.tail_key) if key is not None]


class Committed(NamedTuple):
    """What a commit answers."""

    is_wanted: bool
    """Whether somebody else asks for the upload."""
    expires_at: float
    """When it expires, if nothing more comes."""


class UploadName(NamedTuple):
    """Names an upload of one caller: with another owner, or at another router, there is none of that id."""

    id: str
    """Its id, from a URL."""
    place: str
    """The router that was asked."""
    owner: str | None
    """Who asks."""


_KEPT = ("offset", "length", "head", "store_upload", "tail_key")
"""Columns that a commit writes."""
_CREATED = (
    *("id", "place", "owner", "opener", "backend", "length", "metadata", "concat", "offset", "key", "result"),
    *("content_type", "part_bytes", "tail_key"),
)
"""Columns that a creation writes."""
_COMPUTED = frozenset({"next_part", "is_held", "is_expired"})


class Uploads:
    """Statements on resumable uploads. Methods run in the transaction of the connection that they are given."""

    def __init__(self, table: Table) -> None:
        """Work on the uploads beside the ledger in `table`."""
        metadata = table.metadata
        self._ledger = Ledger(table)
        self._table = cast("Table", uploads_of(metadata))  # made together with the ledger
        self._parts = cast("Table", upload_parts_of(metadata))
        self._c = self._table.c
        # Statements that requests need are made once: to build them anew costs more than to run them.
        is_owner = self._c.owner.is_not_distinct_from(sa.bindparam("this_owner"))
        is_id = self._c.id == sa.bindparam("this_id")
        named = sa.and_(is_id, self._c.place == sa.bindparam("this_place"), is_owner)
        known = self._columns()
        self._named = sa.select(*known).where(named)
        self._new = sa.select(*known).where(is_id)
        self._take_named = self._taking(HOLD_SECONDS, named)
        self._take_and_read = self._take_named.returning(*known)
        self._take_expired = self._taking(_CLAIM_SECONDS, sa.and_(is_id, sa.not_(self._is_alive)))
        self._changing = {
            (let_go, lives): self._changing_mine(let_go=let_go, lives=lives)
            for let_go in (False, True)
            for lives in (False, True)
        }
        expires = database_now() + sa.bindparam("this_life", type_=_SECONDS)
        self._insert = sa.insert(self._table).values(held_until=0.0, is_wanted=False, expires_at=expires)
        self._insert_and_read = self._insert.returning(*known)

    def _columns(self) -> list[ColumnElement[Any]]:
        names = [each.name for each in fields(Upload) if each.name not in _COMPUTED]
        # By what is committed, not by a counter: a part that a killed request has stored, or that a silent one may
        # still be storing, is put again under its number. Beside the others it would be one that nobody lists, and then
        # Ceph does not complete the object. A part that comes late is refused at the end, by its receipt.
        last = sa.select(sa.func.max(self._parts.c.number)).where(self._parts.c.upload == self._c.id)
        return [
            *(self._c[name] for name in names),
            (sa.func.coalesce(last.correlate(self._table).scalar_subquery(), 0) + 1).label("next_part"),
            self._is_held.label("is_held"),
            sa.not_(self._is_alive).label("is_expired"),
        ]

    def _taking(self, seconds: float, wanted: ColumnElement[bool]) -> sa.Update:
        values: dict[str, Any] = {"holder": sa.bindparam("this_holder"), "is_wanted": False}
        values["held_until"] = database_now() + seconds
        return sa.update(self._table).where(wanted, sa.not_(self._is_held)).values(values)

    def _changing_mine(self, *, let_go: bool, lives: bool) -> sa.Update:
        """Return the statement that changes an upload that is held; its other parameters are the columns to change."""
        mine = sa.and_(self._c.id == sa.bindparam("this_id"), self._c.holder == sa.bindparam("this_holder"))
        values: dict[str, Any] = {"held_until": database_now() + HOLD_SECONDS}
        if let_go:
            values = {"holder": None, "held_until": 0.0}
        if lives:
            values["expires_at"] = database_now() + sa.bindparam("this_life", type_=_SECONDS)
        return sa.update(self._table).where(mine).values(values)

    # -- one upload

    def insert(self, connection: Connection, upload: Upload, *, life_seconds: float, max_open: int | None) -> Upload:
        """Enter an upload.

        Args:
            connection: A transaction.
            upload: The upload, with its result if it is complete.
            life_seconds: How long it is kept if nothing comes.
            max_open: Most open uploads of one client; ``None`` for any number.

        Raises:
            QuotaExceededError: If its owner may not store that much.
            TusError: 429 if the client has too many.
        """
        if max_open is not None and not upload.is_complete:
            mine = sa.select(sa.func.count()).select_from(self._table)
            mine = mine.where(self._c.opener == upload.opener, self._c.result.is_(None), self._is_alive)
            if (connection.execute(mine).scalar() or 0) >= max_open:
                raise TusError(f"You have {max_open} open uploads: finish or delete one of them first", status_code=429)
        if not upload.is_complete:
            # Its object is entered with its first bytes; this only spares the client to send them for nothing.
            ask_quota(self._ledger, connection, upload.owner, announced_bytes=upload.length or 0)
        these = {name: getattr(upload, name) for name in _CREATED} | {"this_life": life_seconds}
        if connection.dialect.update_returning:
            return cast("Upload", _read(connection, self._insert_and_read, these))
        connection.execute(self._insert, these)
        return cast("Upload", _read(connection, self._new, {"this_id": upload.id}))

    def open(self, connection: Connection, upload: Upload, *, life_seconds: float, max_open: int | None) -> None:
        """Enter an upload whose bytes the client puts into the store, and stage its objects before they begin there.

        Args:
            connection: A transaction.
            upload: The upload with its keys.
            life_seconds: How long it is kept if nothing comes.
            max_open: Most open uploads of one client; ``None`` for any number.

        Raises:
            QuotaExceededError: If its owner may not store that much.
            TusError: 429 if the client has too many.
        """
        self.insert(connection, upload, life_seconds=life_seconds, max_open=max_open)
        for each in upload.objects:
            # The declared size counts from now on, so that many uploads together stay within a quota.
            size = upload.length if each.key == upload.key else None
            self._stage(connection, upload, each.key, size, life_seconds)
        ask_quota(self._ledger, connection, upload.owner)

    def name(self, connection: Connection, id_: str, store_upload: str) -> None:
        """Remember the store's name of an unfinished object that has just begun, so that a sweep can remove it."""
        connection.execute(sa.update(self._table).where(self._c.id == id_).values(store_upload=store_upload))

    def touch(
        self,
        connection: Connection,
        name: UploadName,
        *,
        life_seconds: float,
        part: Part | None = None,
        part_bytes: int | None = None,
    ) -> Upload | None:
        """Keep an open upload for longer, and return it; ``None`` if it is complete, or just being completed.

        Args:
            connection: A transaction.
            name: The upload.
            life_seconds: How long it is kept from now on if nothing more comes.
            part: A part that was stored by the application; it replaces one of the same number.
            part_bytes: Size of its parts, once it is known.
        """
        values: dict[str, Any] = {"expires_at": database_now() + life_seconds}
        if part_bytes is not None:
            values["part_bytes"] = part_bytes
        # Locks the row: a part is recorded before the parts are added up, or not at all.
        is_open = sa.and_(self._is(name), self._is_alive, self._c.result.is_(None), sa.not_(self._is_held))
        if not count_changed(connection, sa.update(self._table).where(is_open).values(**values)):
            return None
        upload = cast("Upload", self.find(connection, name))
        self._ledger.extend(connection, upload.objects, life_seconds + LEASE_SECONDS)
        if part is not None:
            self._insert_parts(connection, upload.id, [part], instead_of=self._parts.c.number == part.number)
        return upload

    def _insert_parts(
        self, connection: Connection, id_: str, parts: Sequence[Part], *, instead_of: ColumnElement[bool] | None = None
    ) -> None:
        if instead_of is not None:
            connection.execute(sa.delete(self._parts).where(self._parts.c.upload == id_, instead_of))
        rows = [
            {"upload": id_, "number": p.number, "offset": p.offset, "size": p.size, "receipt": p.receipt} for p in parts
        ]
        if rows:
            connection.execute(sa.insert(self._parts), rows)

    def find(self, connection: Connection, name: UploadName) -> Upload | None:
        """Return an upload."""
        return _read(connection, self._named, _parameters(name))

    def parts(self, connection: Connection, id_: str) -> list[Part]:
        """Return the parts of an upload in their order."""
        c = self._parts.c
        rows = connection.execute(
            sa.select(c.number, c.offset, c.size, c.receipt).where(c.upload == id_).order_by(c.number)
        )
        return [Part(row.number, row.offset, row.size, row.receipt) for row in rows]

    def is_free(self, connection: Connection, upload: Upload) -> bool:
        """Return whether no row has taken the object of a complete upload, and give one more time to come."""
        keys = upload.objects
        free = self._ledger.states(connection, keys) == dict.fromkeys(keys, State.STAGED)
        if free:
            self._ledger.prolong(connection, keys)
        return free

    # -- the lease

    def take(self, connection: Connection, name: UploadName, holder: str) -> Upload | None:
        """Take an upload that nobody holds, and return it as it is now; ``None`` if somebody does."""
        these = {**_parameters(name), "this_holder": holder}
        if connection.dialect.update_returning:
            return _read(connection, self._take_and_read, these)
        taken = count_changed(connection, self._take_named, these)
        return _read(connection, self._named, _parameters(name)) if taken else None

    def claim(self, connection: Connection, id_: str, holder: str) -> Upload | None:
        """Take an upload that has expired, to remove it; ``None`` if it has not, or somebody else does that."""
        taken = count_changed(connection, self._take_expired, {"this_id": id_, "this_holder": holder})
        return _read(connection, self._new, {"this_id": id_}) if taken else None

    def want(self, connection: Connection, name: UploadName) -> Upload | None:
        """Ask the holder of an upload to let go, and return the upload as it is now."""
        held = sa.and_(self._is(name), self._is_held, self._c.is_wanted.is_(sa.false()))
        connection.execute(sa.update(self._table).where(held).values(is_wanted=True))
        return self.find(connection, name)

    def renew(self, connection: Connection, id_: str, holder: str) -> bool:
        """Hold an upload for longer, and return whether somebody else wants it.

        Raises:
            TusError: 423 if somebody else holds it by now.
        """
        self._change(connection, id_, holder, {})
        return bool(connection.execute(sa.select(self._c.is_wanted).where(self._c.id == id_)).scalar())

    def let_go(self, connection: Connection, id_: str, holder: str) -> None:
        """Let go of an upload."""
        mine = sa.and_(self._c.id == id_, self._c.holder == holder)
        connection.execute(sa.update(self._table).where(mine).values(holder=None, held_until=0.0))

    # -- what comes

    def begin(
        self, connection: Connection, before: str | None, upload: Upload, holder: str, *, life_seconds: float
    ) -> None:
        """Stage the object of an upload, before its first byte goes to the store.

        Args:
            connection: A transaction.
            before: The key that it had when it was taken.
            upload: The upload with its new key.
            holder: Who holds it.
            life_seconds: How long it is kept if nothing more comes.

        Raises:
            QuotaExceededError: If its owner may not store that much.
            TusError: 423 if somebody else holds it by now.
        """
        values = {"key": upload.key, "content_type": upload.content_type, "part_bytes": upload.part_bytes}
        self._change(connection, upload.id, holder, values)
        if before is not None:  # a holder was killed, or is still writing: its object is nobody's
            self._ledger.abandon(connection, [ObjectKey(upload.backend, before)])
        # The declared size counts from now on, so that many uploads together stay within a quota.
        self._stage(connection, upload, cast("str", upload.key), upload.length, life_seconds)
        ask_quota(self._ledger, connection, upload.owner)

    def stage_tail(self, connection: Connection, upload: Upload, key: str, *, life_seconds: float) -> None:
        """Stage the object for bytes that are too few for a part, before it is written."""
        self._stage(connection, upload, key, None, life_seconds)

    def _stage(self, connection: Connection, upload: Upload, key: str, size: int | None, life_seconds: float) -> None:
        these = {"this_backend": upload.backend, "this_key": key, "this_owner": upload.owner, "size": size}
        connection.execute(_staging(self._ledger.table, life_seconds + LEASE_SECONDS), these)

    def commit(
        self,
        connection: Connection,
        before: Upload,
        after: Upload,
        holder: str,
        parts: Sequence[Part],
        *,
        life_seconds: float,
        let_go: bool = False,
        all_parts: bool = False,
    ) -> Committed:
        """Record what was stored, and hold the upload for longer.

        Args:
            connection: A transaction.
            before: The upload as it was committed last.
            after: The upload as it is now.
            holder: Who holds it.
            parts: The parts that were stored since then.
            life_seconds: How long it is kept from now on if nothing more comes.
            let_go: Whether to let go of it.
            all_parts: Whether these are all of its parts, whatever was recorded before.

        Raises:
            LinkLostError: If its object was given up.
            QuotaExceededError: If its length was not known before, and its owner may not store that much.
            TusError: 423 if somebody else holds it by now.
        """
        values = {name: getattr(after, name) for name in _KEPT}
        values["head"] = None if after.head is None else b64encode(after.head).decode()
        self._change(connection, after.id, holder, values, let_go=let_go, life_seconds=life_seconds)
        self._insert_parts(connection, after.id, parts, instead_of=sa.true() if all_parts else None)
        size = after.length if after.length is not None else after.offset
        sized = None if before.length is not None else size
        if not self._ledger.extend(connection, after.objects, life_seconds + LEASE_SECONDS, size=sized):
            raise LinkLostError("The upload was given up because its lease ran out: begin again", key=after.key)
        if before.tail_key is not None and before.tail_key != after.tail_key:
            self._ledger.abandon(connection, [ObjectKey(after.backend, before.tail_key)])
        if sized is not None:
            ask_quota(self._ledger, connection, after.owner)
        row = connection.execute(sa.select(self._c.is_wanted, self._c.expires_at).where(self._c.id == after.id)).one()
        return Committed(bool(row.is_wanted), row.expires_at)

    def complete(
        self, connection: Connection, upload: Upload, holder: str, facts: Facts, *, life_seconds: float
    ) -> None:
        """Record that an upload has become a file.

        Args:
            connection: A transaction.
            upload: The upload with its result.
            holder: Who holds it.
            facts: Size and digest of the file.
            life_seconds: How long it is remembered.

        Raises:
            LinkLostError: If its object was given up.
            TusError: 423 if somebody else holds it by now.
        """
        values = {"result": upload.result, "offset": upload.length, "length": upload.length, "head": None}
        values |= {"store_upload": None, "tail_key": None}
        self._change(connection, upload.id, holder, values, let_go=True, life_seconds=life_seconds)
        key = ObjectKey(upload.backend, cast("str", upload.key))
        self._ledger.record(connection, key, facts)
        if upload.is_partial:  # no row takes it: it waits for the others
            self._ledger.extend(connection, [key], life_seconds + LEASE_SECONDS)
        if upload.store_upload is not None:
            connection.execute(sa.delete(self._parts).where(self._parts.c.upload == upload.id))

    # -- the end

    def expire(self, connection: Connection, id_: str, holder: str) -> None:
        """Let an upload expire now: whatever happens next, a sweep removes it.

        Raises:
            TusError: 423 if somebody else holds it by now.
        """
        self._change(connection, id_, holder, {}, life_seconds=-1.0)

    def remove(self, connection: Connection, upload: Upload, *, give_up: bool) -> None:
        """Forget an upload whose parts are removed.

        Args:
            connection: A transaction.
            upload: The upload.
            give_up: Whether its objects are doomed, unless a row has taken them.
        """
        if give_up:
            self._ledger.abandon(connection, upload.objects)
        connection.execute(sa.delete(self._parts).where(self._parts.c.upload == upload.id))
        connection.execute(sa.delete(self._table).where(self._c.id == upload.id))

    def expired(self, connection: Connection, backend: str, limit: int) -> list[str]:
        """Return the ids of uploads of a backend that have expired; reads a range of an index."""
        due = sa.and_(self._c.backend == backend, sa.not_(self._is_alive), sa.not_(self._is_held))
        return list(connection.execute(sa.select(self._c.id).where(due).limit(limit)).scalars())

    # -- parts of statements

    def _is(self, name: UploadName) -> ColumnElement[bool]:
        owner = self._c.owner.is_(None) if name.owner is None else self._c.owner == name.owner
        return sa.and_(self._c.id == name.id, self._c.place == name.place, owner)

    @property
    def _is_held(self) -> ColumnElement[bool]:
        return self._c.held_until > database_now()

    @property
    def _is_alive(self) -> ColumnElement[bool]:
        return self._c.expires_at > database_now()

    def _change(
        self,
        connection: Connection,
        id_: str,
        holder: str,
        values: Mapping[str, Any],
        *,
        let_go: bool = False,
        life_seconds: float | None = None,
    ) -> None:
        """Change an upload that is still held, and let it live from now on.

        Raises:
            TusError: 423 if it is not: what was stored meanwhile does not count.
        """
        these = {"this_id": id_, "this_holder": holder, **values}
        if life_seconds is not None:
            these["this_life"] = life_seconds
        if not count_changed(connection, self._changing[let_go, life_seconds is not None], these):
            raise TusError(
                "Another request has taken over this upload: ask for its offset, and go on from there", status_code=423
            )


def _parameters(name: UploadName) -> dict[str, Any]:
    return {"this_id": name.id, "this_place": name.place, "this_owner": name.owner}


def _read(connection: Connection, statement: sa.Executable, parameters: Mapping[str, Any]) -> Upload | None:
    row = connection.execute(statement, parameters).mappings().one_or_none()
    if row is None:
        return None
    known: dict[str, Any] = {**row, "head": None if row["head"] is None else b64decode(row["head"])}
    known |= {name: bool(known[name]) for name in ("is_held", "is_expired")}  # MySQL has no booleans
    return Upload(**known)


@lru_cache(maxsize=64)
def _staging(table: Table, lease_seconds: float) -> sa.Insert:
    return Ledger(table).staging_for(lease_seconds)


@lru_cache(maxsize=16)
def _uploads_beside(table: Table) -> Uploads:
    return Uploads(table)


class UploadLedger:
    """Runs statements on resumable uploads, each call in a short transaction beside those of the application."""

    def __init__(self, database: Engine | AsyncEngine, table: Table) -> None:
        """Use the uploads beside the ledger in `table`."""
        self._engine = sync_engine(database)
        self.uploads = _uploads_beside(table)
        """The statements."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, and return what it returns.

        Raises:
            DatabaseUnavailableError: If the database is away or busy.
            Exception: What `work` raises; then nothing is committed.
        """
        with guard_database():
            return await in_time(self._engine, partial(self._talk, work))

    async def _talk(self, work: Callable[[Connection], T]) -> T:
        run = partial(_transact, self._engine, work)
        return await (greenlet_spawn(run) if self._engine.dialect.is_async else run_blocking(run))


def _transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    return transact(staging_engine(engine) or engine, work)


def new_holder() -> str:
    """Return the name of a holder of uploads, which nobody else has."""
    return secrets.token_hex(16)


def sweep_uploads(engine: Engine, table: Table, registry: StorageRegistry, backend: str, *, limit: int) -> int:
    """Remove uploads of a backend that have expired, with their parts, and doom their objects.

    Returns:
        How many were removed.
    """
    uploads, holder, removed = _uploads_beside(table), new_holder(), 0
    while removed < limit:
        ids = _transact(engine, lambda connection: uploads.expired(connection, backend, _AT_A_TIME))
        ended = [_end(engine, uploads, registry, id_, holder) for id_ in ids]
        removed += sum(ended)
        if not any(ended):
            break
    return removed


def _end(engine: Engine, uploads: Uploads, registry: StorageRegistry, id_: str, holder: str) -> bool:
    upload = _transact(engine, lambda connection: uploads.claim(connection, id_, holder))
    if upload is None:
        return False
    reach("upload.claimed")
    if upload.store_upload is not None:
        found, key, name = registry.get_backend(upload.backend), cast("str", upload.key), upload.store_upload
        try:
            call(lambda: found.abandon_parts(key, name), lambda: found.abandon_parts_async(key, name))
        except StorageError as error:
            logger.warning("The parts of an upload could not be removed, will try again: %s", error)
            return False
    reach("upload.abandoned")
    _transact(engine, lambda connection: uploads.remove(connection, upload, give_up=not upload.is_complete))
    return True
