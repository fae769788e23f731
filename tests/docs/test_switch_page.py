"""The steps of the page for users of Advanced Alchemy, on a database and files that Advanced Alchemy has written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.run_page import ROOT

PAGE = (ROOT / "docs" / "howto" / "switch-from-advanced-alchemy.md").read_text(encoding="utf-8")

IMPORTS = """
from advanced_alchemy.types import FileObject, StoredObject
from advanced_alchemy.types.file_object import FileObjectList, storages
from advanced_alchemy.types.file_object.backends.fsspec import FSSpecBackend
"""

WRITE = """
import asyncio
from pathlib import Path
from app import Document, FileObject, database

def made(name, content):
    return FileObject(backend="local", filename=name, content=content)

async def write():
    async with database.get_session() as session:
        session.add_all([
            Document(title="one", file=made("one.txt", b"one"), pages=[made("1.txt", b"p1"), made("2.txt", b"p2")]),
            Document(title="first", file=made("same.txt", b"same")),
            Document(title="second", file=made("same.txt", b"same")),
            Document(title="none", file=None),
            Document(title="lost", file=made("lost.txt", b"lost")),
        ])
        await session.commit()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # it stores files after the commit
    await database.get_engine().dispose()

Path("uploads").mkdir()
asyncio.run(write())
Path("uploads/lost.txt").unlink()
"""

USE = """
import asyncio
from pathlib import Path
from app import Document, FileObject, app, database, storages
from litestar_filestore.ledger import adopt_async, fsck_async, ledger_of, mappers_with_files, sweep_async
from sqlalchemy import select

ledger = ledger_of(Document.metadata)

async def contents(session):
    found = {}
    for document in await session.scalars(select(Document).order_by(Document.title)):
        if document.title != "lost":
            files = [*([document.file] if document.file else []), *(document.pages or [])]
            found[document.title] = [(await each.get_content_async()).decode() for each in files]
    return found

async def use():
    mappers = mappers_with_files(Document.metadata, Document.registry.mappers)
    adopted = await adopt_async(database.get_engine(), ledger, mappers, storages.all())
    assert (adopted.adopted, adopted.known, adopted.shared_count) == (0, 5, 1), adopted
    assert [each.object.key for each in adopted.missing] == ["lost.txt"]
    async with database.get_session() as session:
        before = {"first": ["same"], "none": [], "one": ["one", "p1", "p2"], "second": ["same"]}
        assert await contents(session) == before
        empty = select(Document.title).where(Document.file.is_(None))
        session.add(Document(title="new", file=None))
        await session.flush()
        assert sorted(await session.scalars(empty)) == ["new", "none"]
        by_title = {each.title: each for each in await session.scalars(select(Document))}
        await session.delete(by_title["first"])
        await session.delete(by_title["lost"])
        await session.delete(by_title["new"])
        by_title["one"].file = FileObject("local", "one.txt", content=b"replaced")
        by_title["one"].pages.pop()
        await session.commit()
    await sweep_async(database.get_engine(), ledger, storages)
    async with database.get_session() as session:
        assert await contents(session) == {"none": [], "one": ["replaced", "p1"], "second": ["same"]}
        left = {await each.get_content_async() async for each in files(session)}
    stored = {path.read_bytes() for path in Path("uploads").rglob("*") if path.is_file()}
    assert stored == left == {b"replaced", b"p1", b"same"}, (stored, left)
    report = await fsck_async(database.get_engine(), ledger, mappers, storages.all())
    assert not report.counts["missing"] and not report.counts["untracked"], report
    await database.get_engine().dispose()

async def files(session):
    for document in await session.scalars(select(Document)):
        for each in [*([document.file] if document.file else []), *(document.pages or [])]:
            yield each

asyncio.run(use())
"""


class Shop:
    """The folder of an application."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = Path(sys.executable).parent
        self._environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        }

    def run(self, *command: str | Path) -> str:
        """Run a program, and return what it prints."""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def shell(self, line: str) -> str:
        """Run a line of the page."""
        return self.run("sh", "-c", line)


def before_and_after() -> tuple[str, str]:
    """Return the application of the page, with the imports of Advanced Alchemy and with its own."""
    (after, *_) = re.findall(r"^```python\n(.+?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    before, changed = re.subn(
        r"^from litestar_filestore import \(.+?^\)$", IMPORTS, after, flags=re.DOTALL | re.MULTILINE
    )
    assert changed == 1
    before = before.replace(", FilestorePlugin(FilestoreConfig())", "")
    assert "Filestore" not in before
    return before, after


@pytest.mark.slow
@pytest.mark.timeout(600)  # a dozen processes, one after the other
def test_steps_of_the_page(tmp_path: Path) -> None:
    """No row, file or migration is lost, shared objects stay until their last row goes, and nothing is left over."""
    shop = Shop(tmp_path)
    before, after = before_and_after()
    database = "litestar --app app:app database"
    (tmp_path / "app.py").write_text(before, encoding="utf-8")
    shop.shell(f"{database} init --no-prompt migrations")
    shop.shell(f"{database} make-migrations --no-prompt -m documents && {database} upgrade --no-prompt")
    shop.run(sys.executable, "-c", WRITE)
    (tmp_path / "app.py").write_text(after, encoding="utf-8")
    # fsck fails if it finds something, and here it finds the row that lost its bytes.
    steps = [
        shop.shell(f"{line} || true" if "fsck" in line else line)
        for line in re.findall(r"^   \$ (.+)$", PAGE, re.MULTILINE)
    ]
    assert "adopted 5" in steps[2]
    assert "same.txt is held by Document(" in steps[2]
    assert "lost.txt has no bytes, and is held by Document(" in steps[2]
    assert "local" in steps[3]
    assert "local:lost.txt" in steps[4]
    assert "local" in shop.shell("litestar --app app:app storages list")
    shop.run(sys.executable, "-c", USE)
    shop.shell(f"{database} downgrade --no-prompt base")
