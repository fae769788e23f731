"""The statements of the ledger: its rows, never the memory of a process, decide what may happen to an object.

::

    stage --> staged --link--> linked --doom--> doomed --sweep--> gone --sweep--> (forgotten)
                 |--------- lease runs out -------^
                 `--keep--> kept (to be linked later, or doomed)
                    shared (held by several rows; entered by adopt, let go by fsck)

Every step is one conditional statement, and its row count tells whether it took effect. Two steps that exclude each
other (a link and a sweep, two replacements of one row) meet at the row, and one of them fails.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from litestar_filestore.errors import ConflictError, LinkLostError
from litestar_filestore.ledger.line import Prepared, changed_at_once, takes_at_once
from litestar_filestore.ledger.table import (
    MYSQL,
    USED,
    State,
    database_now,
    identity_of,
    is_one_of,
    is_pending,
    is_unsettled,
    usage_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Table
    from sqlalchemy.engine import Dialect

    from litestar_filestore.core.new_file import UsedLink

__all__ = (
    "BELONGS_TO_ANOTHER_ROW",
    "LEASE_SECONDS",
    "Facts",
    "Ledger",
    "Measure",
    "ObjectKey",
    "Usage",
    "count_changed",
)

LEASE_SECONDS = 3600.0
"""How long a staged object is kept for a row that may still come."""
BELONGS_TO_ANOTHER_ROW = (
    "The object belongs to another row already; assign file.copy() instead. What keeps versions of rows by copying "
    'them has to leave file columns out, as SQLAlchemy-Continuum does with __versioned__ = {"exclude": ["file"]}, or '
    "to copy their files"
)
"""Why a row cannot take a file."""
_FREE = (State.STAGED, State.KEPT)
"""States of objects that a row may take."""
_GIVEN_UP = (State.DOOMED, State.GONE)
_CLOCKS_SECONDS = 3600
"""How far the clocks of applications and databases may be apart."""
_NO_BACKEND = ""
"""Backend of entries for links; no backend has this key."""
_COUNTED_AS_DOOMED = 2
"""The value of `counted` in an entry whose counter holds it as doomed."""
_SUMMED = 1000
"""A question for a usage reads the entries of an owner without a limit only if there are this many."""
_COUNTED_AT_A_TIME = 4000
"""Entries that are counted in one transaction: PostgreSQL passes those of earlier ones again, until a vacuum."""
_CHUNK = 400
"""Keys per statement: with their facts some 3,000 parameters, well below the limit of every database."""


class ObjectKey(NamedTuple):
    """Names one object in all backends."""

    backend: str
    """Key of the backend."""
    key: str
    """Key inside the backend."""


class Facts(NamedTuple):
    """Size and digest of content that is stored."""

    size: int | None
    """Length in bytes."""
    checksum: str | None
    """Digest as ``algorithm:hex``."""


class Usage(NamedTuple):
    """Number and bytes of one owner's objects."""

    objects: int
    """Objects that are or may be in the store, including those that were given up and are not deleted yet."""
    bytes: int
    """Their total size in bytes, as far as it is known."""
    doomed_objects: int = 0
    """Those among `objects` that were given up and are going to be deleted."""
    doomed_bytes: int = 0
    """Their total size in bytes, as far as it is known."""


class Measure(NamedTuple):
    """The usage of an owner, and how it was found."""

    usage: Usage
    """The usage."""
    entries: int
    """How many entries were read, because no counter holds them."""
    is_wanted: bool
    """Whether a sweep is going to count them."""


class Ledger:
    """The ledger of one metadata. Methods run in the transaction of the connection that they are given."""

    def __init__(self, table: Table) -> None:
        """Work on `table`, made by `define_ledger`."""
        self.table = table
        self._c = table.c

    @property
    def _identity(self) -> Table:
        return cast("Table", identity_of(self.table.metadata))  # made together with the ledger

    # -- staging

    def insert(
        self,
        connection: Connection,
        facts: Mapping[ObjectKey, Facts | None],
        state: State,
        *,
        owner: str | None = None,
        lease_seconds: float = 0.0,
    ) -> None:
        """Enter objects that have no entry yet.

        Args:
            connection: For staged objects, a separate transaction, committed before the first byte; for linked ones,
                the transaction of the rows.
            facts: Keys that were never used, with what is known about the objects.
            state: Their state.
            owner: The owner whose quota counts them.
            lease_seconds: How long they do not count as abandoned.

        Raises:
            sqlalchemy.exc.IntegrityError: If there is an entry by now, perhaps from a transaction that was still open.
        """
        for chunk in _chunks(list(facts)):
            rows = [
                {
                    **_entry(*key, state, owner=owner, lease_seconds=lease_seconds),
                    "size": known.size if (known := facts[key]) else None,
                    "checksum": known.checksum if known else None,
                }
                for key in chunk
            ]
            connection.execute(sa.insert(self.table).values(rows))

    def staging_of(self, count: int) -> sa.Insert:
        """Return the statement that stages new objects; parameters are ``backend0``, ``key0``, ``owner0`` ..."""

        def entry(number: int) -> dict[str, object]:
            these: list[Any] = [sa.bindparam(f"{name}{number}") for name in ("backend", "key", "owner")]
            return _entry(these[0], these[1], State.STAGED, owner=these[2])

        return sa.insert(self.table).values([entry(number) for number in range(count)])

    def staging_for(self, lease_seconds: float) -> sa.Insert:
        """Return the statement that stages one new object for a time; parameters are ``this_key`` ... and ``size``."""
        these: list[Any] = [sa.bindparam(f"this_{name}") for name in ("backend", "key", "owner")]
        entry = _entry(these[0], these[1], State.STAGED, owner=these[2], lease_seconds=lease_seconds)
        return sa.insert(self.table).values(**entry, checksum=None)

    def forgetting(self, keys: Iterable[ObjectKey]) -> sa.Delete:
        """Return the statement of `forget`, with plain parameters."""
        here = (sa.and_(self._c.backend == key.backend, self._c.key == key.key) for key in keys)
        return sa.delete(self.table).where(sa.or_(*here), self._c.state == State.STAGED)

    def stage(
        self,
        connection: Connection,
        keys: Sequence[ObjectKey],
        *,
        owner: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Stage objects that are going to be written, before the first byte; see `insert`."""
        self.stage_all(connection, dict.fromkeys(keys, owner), lease_seconds=lease_seconds)

    def stage_all(
        self, connection: Connection, owners: Mapping[ObjectKey, str | None], *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        """Stage objects of several owners in one round trip; see `stage`."""
        statement = _stage_statement(self.table, lease_seconds)
        # Sorted, so that two transactions lock in the same order and cannot deadlock.
        rows = [{"this_backend": key.backend, "this_key": key.key, "this_owner": owners[key]} for key in sorted(owners)]
        connection.execute(statement, rows)

    def staged_at(self, connection: Connection, key: ObjectKey) -> float | None:
        """Return when the entry of a staged object was made, which distinguishes two entries of one key."""
        statement = sa.select(self._c.created_at).where(self._are([key], State.STAGED))
        found: float | None = connection.execute(statement).scalar()
        return found

    def use(self, connection: Connection, link: UsedLink) -> None:
        """Record that an upload link was used, in the transaction that stages its object.

        The record stays until the link has expired, whatever happens to the object.

        Raises:
            sqlalchemy.exc.IntegrityError: If it was used before.
        """
        now = database_now()
        entry = {
            "backend": _NO_BACKEND,
            "key": link.digest,
            "state": USED,
            "created_at": now,
            # The expiry of a link comes from the application's clock, and is compared with the database's here.
            "not_before": link.expires_at + _CLOCKS_SECONDS,
            "attempts": 0,
        }
        connection.execute(sa.insert(self.table).values(entry))

    def forget_links(self, connection: Connection) -> None:
        """Forget used links that have expired; reads a range of the index of what is due."""
        is_link = sa.and_(self._c.state == USED, self._c.backend == _NO_BACKEND, is_pending(self.table))
        ended = sa.and_(is_link, self._c.not_before <= database_now())
        # Select first: on SQLite, even a DELETE of nothing takes the write lock.
        # Ordered, or PostgreSQL may expect to find one soon somewhere in the table, and read all of it for none.
        first = sa.select(self._c.key).where(ended).order_by(self._c.not_before).limit(1)
        if connection.execute(first).first():
            connection.execute(sa.delete(self.table).where(ended))

    def record(self, connection: Connection, key: ObjectKey, facts: Facts) -> None:
        """Record what was written, and renew the lease.

        Raises:
            LinkLostError: If the object was given up meanwhile; it will be deleted.
        """
        these = {"this_backend": key.backend, "this_key": key.key, **_known(facts)}
        _require(connection, _record_statement(self.table), 1, these)

    def recording(self) -> sa.Update:
        """Return the statement of `record`; parameters are ``this_backend``, ``this_key`` and the columns of facts."""
        here = self._c.backend == sa.bindparam("this_backend"), self._c.key == sa.bindparam("this_key")
        staged = sa.update(self.table).where(*here, self._c.state == State.STAGED)
        return staged.values(not_before=database_now() + LEASE_SECONDS)

    def prolong(self, connection: Connection, keys: Sequence[ObjectKey]) -> None:
        """Renew the leases of those objects that are still staged; rows may have taken the others meanwhile."""
        for chunk in _chunks(keys):
            statement = sa.update(self.table).where(self._are(chunk, State.STAGED))
            connection.execute(statement.values(not_before=database_now() + LEASE_SECONDS))

    def extend(
        self, connection: Connection, keys: Sequence[ObjectKey], lease_seconds: float, *, size: int | None = None
    ) -> bool:
        """Give staged objects a lease from now on, and return whether all of them were still staged.

        Args:
            connection: A transaction.
            keys: The objects.
            lease_seconds: How long they do not count as abandoned.
            size: Size of the first one, if it has become known.
        """
        if not keys:
            return True
        values = {"not_before": database_now() + lease_seconds}
        found = count_changed(connection, sa.update(self.table).where(self._are(keys, State.STAGED)).values(values))
        if size is not None:
            first = sa.update(self.table).where(self._are(keys[:1], State.STAGED))
            connection.execute(first.values(size=size))
        return found == len(keys)

    def withdraw(self, connection: Connection, keys: Sequence[ObjectKey]) -> None:
        """Forget staged objects that a transaction is going to enter itself, because it cannot see their entries.

        Raises:
            LinkLostError: If an object was given up meanwhile.
        """
        for chunk in _chunks(keys):
            statement = sa.delete(self.table).where(self._are(chunk, State.STAGED))
            _require(connection, statement, len(chunk))

    def forget(self, connection: Connection, keys: Collection[ObjectKey]) -> None:
        """Remove staged objects that are not being written: there is nothing to delete, and no late writer.

        Objects in another state, or without an entry, are left alone.
        """
        connection.execute(sa.delete(self.table).where(self._are(keys, State.STAGED)))

    def abandon(
        self, connection: Connection, keys: Collection[ObjectKey], states: Collection[State] = (State.STAGED,)
    ) -> int:
        """Doom those objects that no row has taken, at once instead of when their lease runs out.

        This is one conditional statement. If the database can do that, it skips entries that an open transaction has
        changed: it is not known yet whether their rows will be committed, and if not, their lease still runs out.

        Args:
            connection: A separate transaction.
            keys: The objects.
            states: The states in which they may be given up.

        Returns:
            How many were doomed.
        """
        free = self._are(keys, *states)
        if not connection.execute(sa.select(self._c.key).where(free).limit(1)).first():
            return 0  # the usual case after a request: a SELECT takes no lock that writers wait for
        # MySQL can select from a table that it updates only through a derived table.
        unlocked = sa.select(self._c.backend, self._c.key).where(free).with_for_update(skip_locked=True).subquery()
        taken = sa.tuple_(self._c.backend, self._c.key).in_(sa.select(unlocked.c.backend, unlocked.c.key))
        return count_changed(connection, sa.update(self.table).where(free, taken).values(self._begin(State.DOOMED)))

    def keep(self, connection: Connection, key: ObjectKey, facts: Facts, *, owner: str | None = None) -> None:
        """Keep an object although no row holds it; if it has no owner, it becomes `owner`'s.

        Raises:
            LinkLostError: If it was given up.
            sqlalchemy.exc.IntegrityError: If a transaction that was open has entered the object meanwhile; try again.
        """
        values = {**self._begin(State.KEPT), **_known(facts), "owner": sa.func.coalesce(self._c.owner, owner)}
        if count_changed(connection, sa.update(self.table).where(self._are([key], State.STAGED)).values(values)):
            return
        state = self.states(connection, [key], latest=True).get(key)
        if state in _GIVEN_UP:
            raise LinkLostError("The object was given up before it was kept; store the content again", key=key.key)
        if state is None:
            self.insert(connection, {key: facts}, State.KEPT, owner=owner)

    # -- the transaction of the row

    def link(
        self,
        connection: Connection,
        facts: Mapping[ObjectKey, Facts],
        *,
        owner: str | None = None,
        free: Sequence[State] = _FREE,
    ) -> list[ObjectKey]:
        """Give staged or kept objects to the rows that this transaction writes.

        Args:
            connection: The transaction of the rows.
            facts: What is known about the objects.
            owner: The owner of those objects that have none so far.
            free: The states in which they may be taken.

        Returns:
            Keys that the ledger does not know: they were stored without it, and the caller decides what to do.

        Raises:
            LinkLostError: If an object was given up.
            ConflictError: If an object belongs to a row already, or is kept and `free` leaves that out.
        """
        unknown: list[ObjectKey] = []
        for chunk in _chunks(list(facts)):
            if len(chunk) == 1:
                linked = self._link_one(connection, chunk[0], facts[chunk[0]], owner, tuple(free))
            else:
                linked = count_changed(connection, self._link_all({key: facts[key] for key in chunk}, owner, free))
            if linked != len(chunk):
                unknown += self._explain(connection, chunk, linked, free)
        return unknown

    def _link_one(
        self, connection: Connection, key: ObjectKey, known: Facts, owner: str | None, free: tuple[State, ...]
    ) -> int:
        values: dict[str, object] = {"this_backend": key.backend, "this_key": key.key, "this_owner": owner}
        values |= {"this_size": known.size, "this_checksum": known.checksum}
        if takes_at_once(connection):
            linked = changed_at_once(connection, _link_at_once(self.table, free, connection.dialect), values)
            if linked is not None:
                return linked
        return count_changed(connection, _link_statement(self.table, free), values)

    def link_one(self, free: Collection[State]) -> sa.Update:
        """Return the statement that gives one object to a row, with parameters named ``this_...``."""
        size = sa.bindparam("this_size", type_=sa.BigInteger())
        checksum = sa.bindparam("this_checksum", type_=sa.String(160))
        values = {
            **self._begin(State.LINKED),
            "size": sa.func.coalesce(size, self._c.size),
            "checksum": sa.func.coalesce(checksum, self._c.checksum),
            "owner": sa.func.coalesce(self._c.owner, sa.bindparam("this_owner", type_=sa.String(255))),
        }
        return self._update().where(*self._is_this(free)).values(values)

    def _is_this(self, states: Collection[State]) -> tuple[sa.ColumnElement[bool], ...]:
        this = self._c.backend == sa.bindparam("this_backend"), self._c.key == sa.bindparam("this_key")
        # Not ``IN``: SQLAlchemy would write its parameters into the text each time.
        return *this, sa.or_(*(self._c.state == state for state in states))

    def _link_all(self, facts: Mapping[ObjectKey, Facts], owner: str | None, free: Sequence[State]) -> sa.Update:
        values = {**self._facts(facts), **self._begin(State.LINKED)}
        if owner is not None:
            values["owner"] = sa.func.coalesce(self._c.owner, owner)
        return self._update().where(self._are(facts, *free)).values(values)

    def _explain(
        self, connection: Connection, chunk: Sequence[ObjectKey], linked: int, free: Sequence[State]
    ) -> list[ObjectKey]:
        states = self.states(connection, chunk, latest=True)
        for key, state in states.items():
            if state in _GIVEN_UP:
                raise LinkLostError(
                    "The object was given up before its row was written; store the content again", key=key.key
                )
            if state is State.KEPT and state not in free:
                raise ConflictError(
                    "The application keeps this file, and the reference may not put it into a row: make one with "
                    "storages.reference_for(file, kept=True), or send the content again",
                    key=key.key,
                )
        unknown = [key for key in chunk if key not in states]
        if linked + len(unknown) != len(chunk):
            raise ConflictError(BELONGS_TO_ANOTHER_ROW)
        return unknown

    def change(self, connection: Connection, keys: Sequence[ObjectKey], before: State, after: State) -> int:
        """Move those of `keys` that are in one state to another, and return their number."""
        statement = sa.update(self.table).values(self._begin(after))
        return sum(count_changed(connection, statement.where(self._are(chunk, before))) for chunk in _chunks(keys))

    def doom(self, connection: Connection, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        """Remove objects from the rows that this transaction changes or deletes.

        Shared objects stay: another row holds them too.

        Returns:
            Keys that the ledger does not know: rows from before the ledger. Their objects stay.

        Raises:
            ConflictError: If another transaction has removed one already.
        """
        unknown: list[ObjectKey] = []
        for chunk in _chunks(keys):
            if len(chunk) == 1:
                values = {"this_backend": chunk[0].backend, "this_key": chunk[0].key}
                doomed = count_changed(connection, _doom_statement(self.table), values)
            else:
                statement = self._update().where(self._are(chunk, State.LINKED)).values(self._begin(State.DOOMED))
                doomed = count_changed(connection, statement)
            if doomed != len(chunk):
                states = self.states(connection, chunk, latest=True)
                missing = [key for key in chunk if key not in states]
                shared = sum(state is State.SHARED for state in states.values())
                if doomed + len(missing) + shared != len(chunk):
                    raise ConflictError(
                        "Another transaction replaced or deleted this file meanwhile; load the row again"
                    )
                unknown += missing
        return unknown

    def doom_one(self) -> sa.Update:
        """Return the statement that removes one object from its row, with parameters named ``this_...``."""
        return self._update().where(*self._is_this([State.LINKED])).values(self._begin(State.DOOMED))

    def _update(self) -> sa.Update:
        """Return an UPDATE for a transaction of the application that locks only the entries it names.

        At REPEATABLE READ, the default of MySQL and MariaDB, an UPDATE locks all that it scans. While a table is small,
        they tend to scan the index of the states, and every upload is staged in the gap at its end.
        """
        statement = sa.update(self.table)
        for dialect in MYSQL:
            statement = statement.with_hint("FORCE INDEX (PRIMARY)", dialect_name=dialect)
        return statement

    # -- questions

    def states(
        self, connection: Connection, keys: Sequence[ObjectKey], *, latest: bool = False
    ) -> dict[ObjectKey, State]:
        """Return the states of objects; unknown ones are missing.

        Args:
            connection: The transaction in which to look.
            keys: The objects.
            latest: Whether to see what statements that change entries see. At REPEATABLE READ, the default of MySQL and
                MariaDB, those see every commit, but a plain SELECT sees only what was there when the transaction began.
        """
        found: dict[ObjectKey, State] = {}
        for chunk in _chunks(keys):
            statement = sa.select(self._c.backend, self._c.key, self._c.state).where(is_one_of(self.table, chunk))
            if latest and connection.dialect.name in MYSQL:
                statement = statement.with_for_update(read=True)
            rows = connection.execute(statement)
            found.update({ObjectKey(row.backend, row.key): State(row.state) for row in rows})
        return found

    def usage(self, connection: Connection, owner: str) -> Usage:
        """Return the usage of `owner`'s objects that are not deleted yet; one query on an index."""
        return self.measure(connection, owner).usage

    def totals(self, connection: Connection) -> Sequence[sa.Row[Any, Any, Any, Any]]:
        """Return backend, state, number and known bytes of all objects that are or may be in a store.

        This reads the whole table.
        """
        states = [str(state) for state in State if state is not State.GONE]
        size = sa.func.coalesce(sa.func.sum(self._c.size), 0)
        groups = self._c.backend, self._c.state
        statement = sa.select(*groups, sa.func.count(), sa.cast(size, sa.BigInteger))
        statement = statement.where(self._c.state.in_(states)).group_by(*groups).order_by(*groups)
        return connection.execute(statement).all()

    def largest_owners(self, connection: Connection, count: int) -> list[tuple[str, Usage]]:
        """Return the `count` owners with the most bytes. This reads the whole table."""
        size = sa.func.coalesce(sa.func.sum(self._c.size), 0)
        statement = sa.select(self._c.owner).where(self._c.owner.is_not(None), self._c.state != State.GONE)
        statement = statement.group_by(self._c.owner).order_by(size.desc(), self._c.owner).limit(count)
        return [(owner, self.usage(connection, owner)) for owner in connection.execute(statement).scalars()]

    def entries(
        self, connection: Connection, states: Collection[State], *, after: ObjectKey, limit: int
    ) -> Sequence[sa.Row[Any, Any, Any, Any, Any]]:
        """Return backend, key, size, state and age in seconds of the entries of one backend that follow a key."""
        age = (database_now() - self._c.not_before).label("age")
        statement = (
            sa.select(self._c.backend, self._c.key, self._c.size, self._c.state, age)
            .where(self._c.state.in_(states), self._c.backend == after.backend, self._c.key > after.key)
            .order_by(self._c.key)
            .limit(limit)
        )
        return connection.execute(statement).all()

    def database_id(self, connection: Connection) -> str | None:
        """Return the identity of this database; ``None`` if it has none yet."""
        found: str | None = connection.execute(sa.select(self._identity.c.identity)).scalar()
        return found

    def insert_database_id(self, connection: Connection, identity: str) -> None:
        """Give the database its identity.

        Raises:
            sqlalchemy.exc.IntegrityError: If it has one.
        """
        connection.execute(sa.insert(self._identity).values(number=1, identity=identity))

    # -- the counters of large owners
    #
    # A sum reads each entry of its owner, for each upload where there is a quota. So a sum that was long asks for a
    # counter, and a sweep adds to the counter what the entries say, and marks them as counted. Later sums read the
    # counter, and those entries that it does not hold as they are. No upload, row or trigger writes a counter: they
    # would wait for each other, and raw SQL would not know of it. An entry that is counted changes in two ways only:
    # it is doomed, which makes it a part of the sums again, and a sweep deletes its object.

    def measure(self, connection: Connection, owner: str) -> Measure:
        """Return the usage of `owner`, and how it was found; one statement, so that both parts fit together."""
        found = self._measure(connection, owner, _SUMMED)
        return found if found.entries < _SUMMED else self._measure(connection, owner, None)

    def _measure(self, connection: Connection, owner: str, limit: int | None) -> Measure:
        here = self._entries_of(owner).where(self._c.state != State.GONE).limit(limit).subquery().c
        entries = sa.select(*_counts(here, here.counted == 0), sa.func.count().label("entries"), _zero("wanted"))
        counter = sa.select(*self._counters, _zero("entries"), self._usage.c.wanted).where(self._usage.c.owner == owner)
        parts = sa.union_all(entries, counter).subquery()
        *counts, read, wanted = connection.execute(sa.select(*(_sum(column) for column in parts.c))).one()
        return Measure(Usage(*map(int, counts)), int(read), bool(wanted))

    def _entries_of(self, owner: str) -> sa.Select[Any]:
        """Return the entries that the counter of an owner does not hold as they are.

        In the order of their index, and to be limited: by its statistics, PostgreSQL cannot tell that few entries of an
        owner are not counted where many of others are not, and it would read the whole table.
        """
        entries = sa.select(self.table).where(self._c.owner == owner, is_unsettled(self.table))
        return entries.order_by(self._c.owner, self._c.counted, self._c.state)

    def want_counter(self, connection: Connection, owner: str) -> None:
        """Ask the next sweep to count the entries of `owner`; not in a transaction of the application."""
        asked = sa.update(self._usage).where(self._usage.c.owner == owner).values(wanted=1)
        if not count_changed(connection, asked):
            self._insert_counter(connection, owner)

    def _insert_counter(self, connection: Connection, owner: str) -> None:
        """Make a counter, unless another transaction has made it at the same moment."""
        row = {"owner": owner, "wanted": 1}
        statement: sa.Insert
        if connection.dialect.name in MYSQL:
            statement = sa.insert(self._usage).prefix_with("IGNORE")
        elif connection.dialect.name == "sqlite":
            statement = sqlite.insert(self._usage).on_conflict_do_nothing()
        else:
            statement = postgresql.insert(self._usage).on_conflict_do_nothing()
        connection.execute(statement.values(row))

    def count_entries(self, connection: Connection) -> bool:
        """Add some thousand entries to a counter that was asked for; return whether there was one."""
        usage = self._usage
        # The counter first: who has it waits for no entry, so that there is no circle.
        first = sa.select(usage.c.owner).where(usage.c.wanted == 1).order_by(usage.c.owner).limit(1)
        owner: str | None = connection.execute(first.with_for_update(skip_locked=True)).scalar()
        if owner is None:
            return False
        has_size = sa.and_(self._c.state == State.KEPT, self._c.size.is_not(None))
        is_final = sa.or_(self._c.state.in_((State.LINKED, State.SHARED, State.DOOMED)), has_size)
        some = self._entries_of(owner).where(is_final).limit(_COUNTED_AT_A_TIME).with_for_update(skip_locked=True)
        keys = [ObjectKey(row.backend, row.key) for row in connection.execute(some)]
        held = sa.case((self._c.state == State.DOOMED, _COUNTED_AS_DOOMED), else_=1)
        for chunk in _chunks(keys):
            are = is_one_of(self.table, chunk)
            added = connection.execute(sa.select(*_counts(self._c, self._c.counted == 0)).where(are)).one()
            connection.execute(sa.update(self.table).where(are).values(counted=held))
            self._add(connection, owner, Usage(*map(int, added)))
        if len(keys) < _COUNTED_AT_A_TIME:
            connection.execute(sa.update(usage).where(usage.c.owner == owner).values(wanted=0))
        return True

    def uncount(self, connection: Connection, keys: Sequence[ObjectKey]) -> None:
        """Take objects out of the counters, in the transaction in which they are gone."""
        for chunk in _chunks(keys):
            gone = sa.and_(self._are(chunk, State.GONE), self._c.counted > 0)
            lost = sa.select(self._c.owner, *self._counted()).where(gone).group_by(self._c.owner)
            # Sorted, as entries are: two sweeps take the counters in the same order.
            for owner, *each in (found := connection.execute(lost.order_by(self._c.owner)).all()):
                self._add(connection, owner, Usage(*(-int(count) for count in each)))
            if found:
                connection.execute(sa.update(self.table).where(gone).values(counted=0, owner=None))

    def _add(self, connection: Connection, owner: str, change: Usage) -> None:
        columns = self._usage.c
        values = {name: columns[name] + count for name, count in change._asdict().items()}
        connection.execute(sa.update(self._usage).where(columns.owner == owner).values(values))

    def drifts(self, connection: Connection) -> dict[str, Usage]:
        """Return by how much counters say more than the entries that are counted; reads all entries, in one snapshot.

        Only SQL from outside makes a difference: sweeps change both in one transaction.
        """
        if connection.execute(sa.select(self._usage.c.owner).limit(1)).first() is None:
            return {}
        counted = sa.select(self._c.owner, *(-count for count in self._counted())).where(self._c.counted > 0)
        counters = sa.select(self._usage.c.owner, *self._counters)
        parts = sa.union_all(counters, counted.group_by(self._c.owner)).subquery()
        sums = [sa.func.sum(column) for column in list(parts.c)[1:]]
        statement = sa.select(parts.c[0], *sums).group_by(parts.c[0]).having(sa.or_(*(each != 0 for each in sums)))
        return {owner: Usage(*map(int, counts)) for owner, *counts in connection.execute(statement) if owner}

    def recount(self, connection: Connection, owner: str) -> None:
        """Set a counter to what the entries say that are counted."""
        if not connection.execute(
            sa.select(self._usage.c.owner).where(self._usage.c.owner == owner).with_for_update()
        ).first():
            self._insert_counter(connection, owner)
        # A new statement, which sees what those have committed that had the counter before.
        counted = sa.select(*self._counted()).where(self._c.owner == owner, self._c.counted > 0)
        right = Usage(*map(int, connection.execute(counted).one()))
        connection.execute(sa.update(self._usage).where(self._usage.c.owner == owner).values(right._asdict()))

    @property
    def _usage(self) -> Table:
        return cast("Table", usage_of(self.table.metadata))

    @property
    def _counters(self) -> list[sa.Column[Any]]:
        return [self._usage.c[name] for name in Usage._fields]

    def _counted(self) -> list[sa.ColumnElement[int]]:
        return _counts(self._c, self._c.counted > 0, self._c.counted == _COUNTED_AS_DOOMED)

    # -- parts of statements

    def _are(self, keys: Iterable[ObjectKey], *states: State) -> sa.ColumnElement[bool]:
        """Return the condition that entries are for these objects and in one of these states."""
        is_in_state = self._c.state == states[0] if len(states) == 1 else self._c.state.in_(states)
        return sa.and_(is_one_of(self.table, keys), is_in_state)

    def _begin(self, state: State) -> dict[str, object]:
        """Return the values of an entry whose object enters a state now."""
        return {"state": state, "not_before": database_now()}

    def _facts(self, facts: Mapping[ObjectKey, Facts]) -> dict[str, object]:
        """Return the values of one UPDATE that sets size and checksum of several rows, each to its own."""
        known = {key: each for key, each in facts.items() if each.size is not None}
        if not known:
            return {}
        here = {key: sa.and_(self._c.backend == key.backend, self._c.key == key.key) for key in known}
        sizes = [(here[key], sa.cast(each.size, sa.BigInteger)) for key, each in known.items()]
        checksums = [(here[key], sa.cast(each.checksum, sa.String(160))) for key, each in known.items()]
        return {
            "size": sa.case(*sizes, else_=self._c.size),
            "checksum": sa.case(*checksums, else_=self._c.checksum),
        }


def _entry(
    backend: object, key: object, state: State, *, owner: object = None, lease_seconds: float = LEASE_SECONDS
) -> dict[str, object]:
    """Return the values of a new entry."""
    now = database_now()
    return {
        "backend": backend,
        "key": key,
        "state": state,
        "created_at": now,
        "not_before": now + lease_seconds,
        "attempts": 0,
        "owner": owner,
    }


def _known(facts: Facts) -> dict[str, object]:
    return {} if facts.size is None else facts._asdict()


def _chunks(keys: Sequence[ObjectKey]) -> Iterator[Sequence[ObjectKey]]:
    # Sorted, so that two transactions lock in the same order and cannot deadlock.
    ordered = sorted(set(keys))
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def _counts(
    entries: sa.ColumnCollection[str, Any],
    is_new: sa.ColumnElement[bool],
    is_doomed: sa.ColumnElement[bool] | None = None,
) -> list[sa.ColumnElement[int]]:
    """Return the sums of entries that make a `Usage`."""
    doomed = entries.state == State.DOOMED if is_doomed is None else is_doomed
    size = sa.func.coalesce(entries.size, 0)
    sums = [sa.case((which, value), else_=0) for which in (is_new, doomed) for value in (sa.literal(1), size)]
    return [_sum(each).label(name) for each, name in zip(sums, Usage._fields, strict=True)]


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(column), 0)


def _zero(name: str) -> sa.ColumnElement[int]:
    return sa.literal_column("0", sa.BigInteger).label(name)


def _require(
    connection: Connection,
    statement: sa.Update | sa.Delete,
    count: int,
    parameters: Mapping[str, object] | None = None,
) -> None:
    if count_changed(connection, statement, parameters) != count:
        raise LinkLostError(
            "The upload was given up before it was complete, because its lease ran out: store the file again"
        )


def count_changed(
    connection: Connection, statement: sa.Update | sa.Delete, parameters: Mapping[str, object] | None = None
) -> int:
    """Run a conditional statement, and return how many rows met its condition."""
    return cast("CursorResult[object]", connection.execute(statement, parameters)).rowcount


@lru_cache(maxsize=64)
def _record_statement(table: Table) -> sa.Update:
    return Ledger(table).recording()


@lru_cache(maxsize=64)
def _stage_statement(table: Table, lease_seconds: float) -> sa.Insert:
    return Ledger(table).staging_for(lease_seconds)


@lru_cache(maxsize=64)
def _link_statement(table: Table, free: tuple[State, ...]) -> sa.Update:
    return Ledger(table).link_one(free)


@lru_cache(maxsize=64)
def _link_at_once(table: Table, free: tuple[State, ...], dialect: Dialect) -> Prepared:
    statement: Any = _link_statement(table, free)
    return Prepared.of(statement.returning(sa.literal_column("1")), dialect)


@lru_cache(maxsize=64)
def _doom_statement(table: Table) -> sa.Update:
    return Ledger(table).doom_one()
