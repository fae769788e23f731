"""Shows what an application answers when COMMIT fails: ``python -m tests.docs.failing_commit README|example``.

A program of its own, because the page and the example app map tables of the same name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from advanced_alchemy.extensions.litestar import SQLAlchemyPlugin
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy import event

from tests.docs.run_page import ROOT, parse

REFUSE_COMMITS = (
    "CREATE TABLE IF NOT EXISTS nobody (id INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS visit (who INTEGER REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TRIGGER refuse_{change} AFTER {change} ON {table} BEGIN INSERT INTO visit VALUES (1); END",
)
"""The statement itself is fine; the constraint is checked at COMMIT."""


def application(name: str) -> Litestar:
    """Return the complete application of the README, or the example app, with its data in the current folder."""
    if name == "example":
        from example_app.app import create_app
        from example_app.settings import Settings

        return create_app(Settings("sqlite+aiosqlite:///rows.sqlite", Path("files").absolute().as_uri()))
    page = sys.modules["page"] = ModuleType("page")  # decorators look names up there
    for example in parse(ROOT / "README.md", lambda _: None).examples():
        exec(compile(str(example.parsed), "README.md", "exec", dont_inherit=True), vars(page))  # noqa: S102  # our own
        if "app" in vars(page):  # what comes after it is no part of the application
            break
    found: Litestar = vars(page)["app"]
    return found


def refuse(url: sa.URL, change: str) -> None:
    """Have the database refuse to commit such changes of documents."""
    engine = sa.create_engine(url.set(drivername="sqlite"))
    with engine.begin() as connection:
        table = next(name for name in sa.inspect(connection).get_table_names() if name.startswith("document"))
        for statement in REFUSE_COMMITS:
            connection.exec_driver_sql(statement.format(change=change, table=table))
    engine.dispose()


FIELDS = {"README": "file", "example": "files"}
"""Name of the field of the form that takes the file."""


def statuses(app: Litestar, name: str) -> dict[str, Any]:
    """Return what is answered before and after commits are refused, and what is left."""
    config: Any = app.plugins.get(SQLAlchemyPlugin).config[0]
    engine = config.get_engine()
    event.listen(engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    form: dict[str, Any] = {"data": {"title": "A"}, "files": {FIELDS[name]: ("a.txt", b"hello", "text/plain")}}
    with TestClient(app, raise_server_exceptions=False) as client:
        first = client.post("/documents", **form)
        path = f"/documents/{first.json()['id']}"
        file = f"{path}/file" if name == "README" else f"{path}/downloads/{first.json()['files'][0]['id']}"
        refuse(engine.url, "INSERT")
        second = client.post("/documents", **form)
        refuse(engine.url, "DELETE")
        # Without the parameter, the example app puts the document into its trash.
        deleted, kept = client.delete(path, params={"forever": True}), client.get(file)
        return {
            "first": first.status_code,
            "second": second.status_code,
            "delete": deleted.status_code,
            "kept": kept.text,
        }


if __name__ == "__main__":
    print(json.dumps(statuses(application(sys.argv[1]), sys.argv[1])))
