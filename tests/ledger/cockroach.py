"""Dialects that have the name of CockroachDB's and speak to PostgreSQL.

They show which statements the ledger has for that name, and that these do what they are to do where their meaning is
known. They do not show that CockroachDB does the same.
"""

from __future__ import annotations

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

__all__ = ("CockroachAsyncpg", "CockroachPsycopg")


class CockroachPsycopg(PGDialect_psycopg):
    """As sqlalchemy-cockroachdb names its dialect for psycopg."""

    name = "cockroachdb"
    supports_statement_cache = True


class CockroachAsyncpg(PGDialect_asyncpg):
    """The same for asyncpg."""

    name = "cockroachdb"
    supports_statement_cache = True


registry.register("cockroachdb.psycopg", __name__, "CockroachPsycopg")
registry.register("cockroachdb.asyncpg", __name__, "CockroachAsyncpg")
