"""The fixture `filestore` in other people's tests: found by pytest itself, and quiet until a test asks for it."""

from __future__ import annotations

import tomllib
from importlib import import_module

import pytest

from tests.docs.run_page import ROOT

pytest_plugins = ["pytester"]

PLUGIN = "litestar_filestore.testing.pytest_plugin"

APPLICATION = """
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

from advanced_alchemy.base import UUIDBase
from advanced_alchemy.extensions.litestar import AsyncSessionConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar, delete, post
from litestar.di import NamedDependency
from litestar.params import FromPath, MultipartBody
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from litestar_filestore import (
    ContentTypes, FileObject, FilestoreConfig, FilestorePlugin, LocalBackend, StoredObject)

class Document(UUIDBase):
    file: Mapped[FileObject] = mapped_column(StoredObject(backend="documents", rules=[ContentTypes("text/*")]))

@dataclass
class Form:
    file: Annotated[FileObject, Document.file]

@post("/")
async def upload(data: MultipartBody[Form], db_session: NamedDependency[AsyncSession]) -> Document:
    document = Document(file=data.file)
    db_session.add(document)
    await db_session.commit()
    return document

@delete("/{id:uuid}")
async def remove(id: FromPath[UUID], db_session: NamedDependency[AsyncSession]) -> None:
    await db_session.delete(await db_session.get_one(Document, id))
    await db_session.commit()

def create_app(database):
    alchemy = SQLAlchemyAsyncConfig(
        connection_string=f"sqlite+aiosqlite:///{database}", create_all=True,
        session_config=AsyncSessionConfig(expire_on_commit=False))
    storage = FilestoreConfig(
        backends=[LocalBackend("documents", Path(__file__).parent / "documents")],
        secret="rW0c7dQ2mZ8nX4vB6kL1pT5yH3gJ9sFa")
    return Litestar([upload, remove], plugins=[SQLAlchemyPlugin(alchemy), FilestorePlugin(storage)])
"""

TESTS = """
import pytest
from litestar.testing import TestClient
from litestar_filestore import FileObject, storages
from litestar_filestore.errors import BackendUnavailableError
from litestar_filestore.testing import Fault
from application import create_app

@pytest.fixture
def client(filestore, tmp_path):
    app = create_app(tmp_path / "rows.sqlite")
    filestore.use(app)
    with TestClient(app) as client:
        yield client

def send(client, content=b"hello"):
    return client.post("/", files={"file": ("a.txt", content, "text/plain")})

def test_upload_and_delete(client, filestore):
    document = send(client).json()
    filestore.assert_stored("documents", b"hello")
    assert client.delete("/" + document["id"]).status_code == 204
    filestore.assert_gone("documents")

def test_refused(client, filestore):
    assert send(client, b"\\x89PNG\\r\\n\\x1a\\n").status_code == 415
    filestore.assert_gone("documents")

def test_links_end(client, filestore):
    url = send(client).json()["file"]["url"]
    assert client.get(url).content == b"hello"
    filestore.clock.advance(7 * 24 * 3600)
    assert client.get(url).status_code == 403

def test_the_store_fails(client, filestore):
    faulty = filestore.fail("documents", Fault("put", BackendUnavailableError("down")))
    assert send(client).status_code == 503
    assert send(client).status_code == 201
    assert [call.operation for call in faulty.calls].count("put") == 2

async def test_without_an_application(filestore):
    backend = filestore.backend("pictures")
    file = FileObject("pictures", "a.png", content=b"x").save()
    assert filestore.assert_stored(file) == filestore.assert_stored(backend) == b"x"
    await file.delete_async()
    await filestore.assert_gone_async(file)

def test_no_other_test_is_seen(filestore):
    assert storages.registered_backends() == []

def test_polyfactory(filestore):
    from application import Document
    from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
    from litestar_filestore.testing import provide_files

    class Documents(SQLAlchemyFactory[Document]): ...

    provide_files(Documents)
    with pytest.raises(Exception, match="which backend|their backend"):
        Documents.build()
    filestore.backend("documents")
    Documents.seed_random(1)
    first = Documents.build().file
    Documents.seed_random(1)
    assert first.backend_key == "documents"
    assert first.save().get_content() == Documents.build().file.save().get_content()

@pytest.mark.parametrize("content, words", [(b"other", "one|object with the content"), (None, "exactly|one object")])
def test_failures_say_what_there_is(filestore, content, words):
    backend = filestore.backend()
    with pytest.raises(AssertionError, match="nothing"):
        filestore.assert_stored(backend, content)
    backend.put(b"abc", key="a")
    backend.put(b"abcd", key="b")
    with pytest.raises(AssertionError, match=words) as failure:
        filestore.assert_stored(backend, content)
    assert "a (3 bytes), b (4 bytes)" in str(failure.value)
    with pytest.raises(AssertionError, match="a .3 bytes"):
        filestore.assert_gone(backend, within_seconds=0)
    file = FileObject(backend, "a", to_filename="a")
    with pytest.raises(AssertionError, match="holds b'abc'"):
        filestore.assert_stored(file, b"other")
    with pytest.raises(AssertionError, match="is not stored"):
        filestore.assert_stored(FileObject(backend, "a", to_filename="c"))
"""

SETTINGS = """
[pytest]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = [
  "error",
  "ignore:The declarative_mixin decorator was used only by:sqlalchemy.exc.SADeprecationWarning",
]
"""

QUIET = """
import sys

def test_nothing_heavy_is_loaded():
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] == "litestar_filestore")
    assert loaded == [
        "litestar_filestore",
        "litestar_filestore.orm",
        "litestar_filestore.orm.first_column",
        "litestar_filestore.testing",
        "litestar_filestore.testing.pytest_plugin",
    ]
    assert not {"anyio", "litestar", "msgspec", "sqlalchemy"} & {*sys.modules}
"""


@pytest.fixture
def others(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project with tests of its own, which is run without any plugin that is installed here."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def test_pytest_finds_the_fixture() -> None:
    """The distribution names the module as a plugin of pytest, and it has one fixture."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"litestar_filestore": PLUGIN}
    assert import_module(PLUGIN).__all__ == ("filestore",)


@pytest.mark.slow
def test_project_with_an_application(others: pytest.Pytester) -> None:
    """An application keeps its files in memory, without a change to it: its own folder stays empty."""
    others.makepyfile(application=APPLICATION, test_application=TESTS)
    (others.path / "pytest.toml").write_text(SETTINGS, encoding="utf-8")
    done = others.runpytest_subprocess("-p", PLUGIN, "-p", "pytest_asyncio.plugin", "-q", timeout=100)
    done.assert_outcomes(passed=9)
    assert not list(others.path.glob("documents/**/*.txt"))


def test_quiet_until_it_is_used(others: pytest.Pytester) -> None:
    """A test run that has nothing to do with files loads five small modules, and no library."""
    others.makepyfile(QUIET)
    done = others.runpytest_subprocess("-p", PLUGIN, "-W", "error", "-q", timeout=100)
    done.assert_outcomes(passed=1)
