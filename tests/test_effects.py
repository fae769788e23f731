"""An import changes nothing in the process: tracking begins with the first file column, and not earlier."""

from __future__ import annotations

import subprocess
import sys

from tests.architecture import PACKAGE, ROOT, modules_below


def effects_of(statement: str) -> list[str]:
    """Return what `tests.effects` tells of a statement."""
    command = [sys.executable, "-m", "tests.effects", statement]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_importing_has_no_effects() -> None:
    """With every module of the package imported, nobody listens to SQLAlchemy and all of its functions are its own."""
    names = [f"{PACKAGE}.{module.name}".rstrip(".") for module in modules_below(ROOT / PACKAGE)]
    assert effects_of(f"import {', '.join(names)}") == []


def test_a_file_column_has_effects() -> None:
    """The comparison sees the listeners that a file column brings, and that SQLAlchemy keeps its functions."""
    effects = effects_of(
        "from litestar_filestore import StoredObject\n"
        "from sqlalchemy import Column, Integer, MetaData, Table\n"
        "from sqlalchemy.orm import configure_mappers, registry\n"
        "mappers = registry()\n"
        "table = Table('papers', mappers.metadata, Column('id', Integer, primary_key=True), "
        "Column('file', StoredObject('papers')))\n"
        "mappers.map_imperatively(type('Paper', (), {}), table)\n"
        "configure_mappers()"
    )
    assert {each.partition(":")[0] for each in effects} == {"listens"}


def test_a_replaced_function_is_seen() -> None:
    """The comparison sees what it is to find."""
    statement = "from sqlalchemy.orm import Session\nSession.merge = lambda self: None"
    assert effects_of(statement) == ["replaced: sqlalchemy.orm.session.Session.merge"]
