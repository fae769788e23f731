"""Triggers for PostgreSQL that keep the ledger up to date for changes that no session sees.

SQL text, statements on tables instead of classes, cascades inside the database and TRUNCATE remove files from rows
unnoticed by the ORM. With these triggers the database itself dooms the objects, in the same transaction.

Sessions keep working as before. The triggers check a lost file when the transaction commits: by then the session has
doomed it already, or another row of the same transaction has taken it. The order of the two statements does not matter:
files that were taken while a row held them are counted in a setting that ends with the transaction, and rolls back with
its savepoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.dialects import postgresql

from litestar_filestore.errors import InvalidArgumentError
from litestar_filestore.ledger.table import LEDGER_TABLE, database_now

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = (
    "create_triggers_sql",
    "drop_triggers_sql",
)

_quote = postgresql.dialect().identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]
_NOW = str(database_now().compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]

# None of them contains a percent sign: drivers and Alembic's SQL scripts treat it differently.
#
# The files of a row: those of the columns that the trigger names, by backend and key. Rows that Advanced Alchemy wrote
# without a `to_filename` have their key in `filename`.
_FILES = """
CREATE OR REPLACE FUNCTION {files}(held jsonb, VARIADIC names text[]) RETURNS SETOF jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT DISTINCT jsonb_build_array(
    file -> 'backend', coalesce(nullif(file -> 'to_filename', 'null'), file -> 'filename')
  )
  FROM unnest(names) AS name
  CROSS JOIN LATERAL jsonb_array_elements(
    CASE jsonb_typeof(held -> name)
      WHEN 'array' THEN held -> name
      WHEN 'object' THEN jsonb_build_array(held -> name)
      ELSE '[]'
    END
  ) AS file
$$
"""

_GAINED = """
CREATE OR REPLACE FUNCTION {gained}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  taken jsonb;
  file jsonb;
  before jsonb := CASE TG_OP WHEN 'UPDATE' THEN to_jsonb(OLD) ELSE '{{}}' END;
BEGIN
  FOR file IN
    SELECT * FROM {files}(to_jsonb(NEW), VARIADIC TG_ARGV)
    EXCEPT SELECT * FROM {files}(before, VARIADIC TG_ARGV)
  LOOP
    IF EXISTS (
      SELECT FROM {ledger} AS entry
      WHERE entry.backend = file ->> 0 AND entry.key = file ->> 1 AND entry.state = 'linked'
    ) THEN
      taken := coalesce(nullif(current_setting('litestar_filestore.taken', true), ''), '{{}}');
      taken := jsonb_set(taken, ARRAY[file #>> '{{}}'], to_jsonb(coalesce((taken ->> (file #>> '{{}}'))::int, 0) + 1));
      PERFORM set_config('litestar_filestore.taken', taken::text, true);
    END IF;
  END LOOP;
  RETURN NULL;
END
$$
"""

_LOST = """
CREATE OR REPLACE FUNCTION {lost}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  taken jsonb;
  file jsonb;
  after jsonb := CASE TG_OP WHEN 'UPDATE' THEN to_jsonb(NEW) ELSE '{{}}' END;
BEGIN
  FOR file IN
    SELECT * FROM {files}(to_jsonb(OLD), VARIADIC TG_ARGV)
    EXCEPT SELECT * FROM {files}(after, VARIADIC TG_ARGV)
  LOOP
    taken := coalesce(nullif(current_setting('litestar_filestore.taken', true), ''), '{{}}');
    IF coalesce((taken ->> (file #>> '{{}}'))::int, 0) > 0 THEN
      taken := jsonb_set(taken, ARRAY[file #>> '{{}}'], to_jsonb((taken ->> (file #>> '{{}}'))::int - 1));
      PERFORM set_config('litestar_filestore.taken', taken::text, true);
    ELSE
      UPDATE {ledger} AS entry SET state = 'doomed', not_before = {now}
      WHERE entry.backend = file ->> 0 AND entry.key = file ->> 1 AND entry.state = 'linked';
    END IF;
  END LOOP;
  RETURN NULL;
END
$$
"""

_TRUNCATED = """
CREATE OR REPLACE FUNCTION {truncated}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE
    'UPDATE {ledger} AS entry SET state = ''doomed'', not_before = {now} '
    'FROM ' || CAST(CAST(TG_RELID AS regclass) AS text) || ' AS held '
    'CROSS JOIN LATERAL {files}(to_jsonb(held), VARIADIC $1) AS lost(name) '
    'WHERE entry.backend = lost.name ->> 0 AND entry.key = lost.name ->> 1 AND entry.state = ''linked'''
  USING TG_ARGV;
  RETURN NULL;
END
$$
"""

_DROP_FUNCTIONS = """
DO $$
BEGIN
  DROP FUNCTION IF EXISTS {gained}(), {lost}(), {truncated}();
  DROP FUNCTION IF EXISTS {files}(jsonb, text[]);
EXCEPTION WHEN dependent_objects_still_exist THEN
  NULL; -- another table has the same triggers
END
$$
"""
_TRIGGERS = ("filestore_gained", "filestore_lost", "filestore_truncated")


def create_triggers_sql(
    table: str, columns: Sequence[str], *, schema: str | None = None, ledger_schema: str | None = None
) -> list[str]:
    """Return the statements that create the triggers of one table, and the functions that all tables share.

    Args:
        table: The table with the file columns.
        columns: Names of its file columns.
        schema: Schema of the table; ``None`` for the first of the search path.
        ledger_schema: Schema of the ledger and of the functions, the same way.

    Raises:
        InvalidArgumentError: If there is no column.
    """
    if not columns:
        raise InvalidArgumentError("Triggers are for file columns; name at least one")
    names = _names(ledger_schema)
    here = _qualified(schema, table)
    written = ", ".join(map(_quote, columns))
    literals = ", ".join("'{}'".format(column.replace("'", "''")) for column in columns)
    return [
        *(template.format(**names).strip() for template in (_FILES, _GAINED, _LOST, _TRUNCATED)),
        (
            f"CREATE TRIGGER filestore_gained AFTER INSERT OR UPDATE OF {written} ON {here} "
            f"FOR EACH ROW EXECUTE FUNCTION {names['gained']}({literals})"
        ),
        (
            f"CREATE CONSTRAINT TRIGGER filestore_lost AFTER DELETE OR UPDATE OF {written} ON {here} "
            f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {names['lost']}({literals})"
        ),
        (
            f"CREATE TRIGGER filestore_truncated BEFORE TRUNCATE ON {here} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {names['truncated']}({literals})"
        ),
    ]


def drop_triggers_sql(table: str, *, schema: str | None = None, ledger_schema: str | None = None) -> list[str]:
    """Return the statements that undo `create_triggers_sql`; the functions stay while another table uses them."""
    here = _qualified(schema, table)
    return [
        *(f"DROP TRIGGER {trigger} ON {here}" for trigger in _TRIGGERS),
        _DROP_FUNCTIONS.format(**_names(ledger_schema)).strip(),
    ]


def _names(ledger_schema: str | None) -> dict[str, str]:
    names = {"ledger": _qualified(ledger_schema, LEDGER_TABLE), "now": _NOW}
    for function in ("gained", "lost", "truncated", "files"):
        names[function] = _qualified(ledger_schema, f"filestore_{function}")
    return names


def _qualified(schema: str | None, name: str) -> str:
    return _quote(name) if schema is None else f"{_quote(schema)}.{_quote(name)}"
