"""File columns in real migrations, made and run in processes that know no backend."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]

MODELS = """
    from typing import Optional

    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    from litestar_filestore import FileObject, FileObjectList, StoredObject

    {base}

    class Document(Base):
        __tablename__ = "document"

        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject] = mapped_column(StoredObject("nowhere", key=lambda file: "a/{{random}}"))
        pages: Mapped[Optional[FileObjectList]] = mapped_column(StoredObject(backend="nowhere", multiple=True))
"""

ENVIRONMENT = """
    from alembic import context
    from models import Base
    {imports}
    from sqlalchemy import create_engine

    options = {{"target_metadata": Base.metadata, {options}}}
    url = context.config.get_main_option("sqlalchemy.url")
    if context.is_offline_mode():
        context.configure(url=url, literal_binds=True, **options)
        context.run_migrations()
    else:
        engine = create_engine(url)
        with engine.connect() as connection:
            context.configure(connection=connection, **options)
            with context.begin_transaction():
                context.run_migrations()
        engine.dispose()
"""
PLAIN = ENVIRONMENT.format(imports="", options="")
RENDERING = ENVIRONMENT.format(
    imports="from litestar_filestore.ledger.migrations import render_item", options='"render_item": render_item'
)

# One process for all steps: what takes time is to import everything.
STEPS = """
    import sys
    from alembic import command
    from alembic.config import Config

    config = Config("alembic.ini")
    for step in sys.argv[1:]:
        match step:
            case "revision":
                command.revision(config, "files", autogenerate=True)
            case "check":
                command.check(config)
            case "sql":
                command.upgrade(config, "head", sql=True)
            case _:
                getattr(command, step)(config, "head" if step == "upgrade" else "base")
"""

THEIR_STEPS = """
    import sys
    from pathlib import Path
    from advanced_alchemy.alembic.commands import AlembicCommands
    from advanced_alchemy import config
    from models import Base

    kind, url, environment, *steps = sys.argv[1:]
    alembic_config = getattr(config, f"Alembic{kind}Config")(script_location="migrations")
    commands = AlembicCommands(
        getattr(config, f"SQLAlchemy{kind}Config")(
            connection_string=url, metadata=Base.metadata, alembic_config=alembic_config
        )
    )
    commands.init("migrations")
    if environment == "rendering":
        path = Path("migrations/env.py")
        text = path.read_text().replace("user_module_prefix=", "render_item=render_item, user_module_prefix=")
        path.write_text("from litestar_filestore.ledger.migrations import render_item\\n" + text)
    for step in steps:
        match step:
            case "revision":
                commands.revision("files", autogenerate=True)
            case "check":
                commands.check()
            case _:
                getattr(commands, step)("head" if step == "upgrade" else "base")
"""

ALL = ("revision", "upgrade", "check", "downgrade", "upgrade", "check")


@pytest.fixture(params=["sqlite", "psycopg"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/migrated.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"migrations_{uuid.uuid4().hex}"
    server.create_database(name)
    return server.url("psycopg", name)


@pytest.fixture
def project(tmp_path: Path, url: str) -> Callable[[str], Path]:
    """Make a project as ``alembic init`` does, with the models above and the ``env.py`` that is given."""

    def make(environment: str) -> Path:
        ini = tmp_path / "alembic.ini"
        with (tmp_path / "init.log").open("w") as log:
            command.init(Config(str(ini), stdout=log), str(tmp_path / "migrations"))
        ini.write_text(f"[alembic]\nscript_location = migrations\nsqlalchemy.url = {url}\n")
        (tmp_path / "models.py").write_text(dedent(MODELS.format(base="class Base(DeclarativeBase): pass")))
        (tmp_path / "migrations" / "env.py").write_text(dedent(environment))
        (tmp_path / "steps.py").write_text(dedent(STEPS))
        return tmp_path

    return make


def run(folder: Path, *arguments: str) -> str:
    """Run a script in `folder` and return what it printed."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def migration(folder: Path) -> str:
    """Return the text of the only migration."""
    (path,) = (folder / "migrations" / "versions").glob("*.py")
    return path.read_text()


def test_render_item_writes_a_complete_migration(project: Callable[[str], Path]) -> None:
    """Type and import are there, it goes up and down, and the database then is what the models say."""
    folder = project(RENDERING)
    run(folder, "steps.py", *ALL)
    text = migration(folder)
    assert "litestar_filestore.StoredObject(backend='nowhere')" in text
    assert "litestar_filestore.StoredObject(backend='nowhere', multiple=True)" in text
    assert text.count("import litestar_filestore\n") == 1


def test_offline_migration_writes_sql(project: Callable[[str], Path], url: str) -> None:
    """The type compiles where there is no database to ask."""
    printed = run(project(RENDERING), "steps.py", "revision", "sql")
    assert f"file {'JSONB' if 'postgresql' in url else 'JSON'} NOT NULL" in printed


@pytest.mark.slow
def test_without_render_item_the_template_has_to_import(project: Callable[[str], Path]) -> None:
    """The name in the migration is short and stays, so one line in ``script.py.mako`` is all it takes."""
    folder = project(PLAIN)
    template = folder / "migrations" / "script.py.mako"
    lines = "import sqlalchemy as sa\nimport litestar_filestore"
    template.write_text(template.read_text().replace("import sqlalchemy as sa", lines))
    run(folder, "steps.py", *ALL)
    assert "litestar_filestore.StoredObject(backend='nowhere')" in migration(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Sync", "Async"])
@pytest.mark.parametrize(("environment", "prefix"), [("rendering", "litestar_filestore."), ("unchanged", "sa.")])
def test_commands_of_advanced_alchemy(tmp_path: Path, url: str, kind: str, environment: str, prefix: str) -> None:
    """Its prefix ``sa.`` makes the migration name its own type, which makes the same column.

    With `render_item` it names ours.
    """
    if kind == "Async":  # psycopg is both
        url = url.replace("sqlite:", "sqlite+aiosqlite:")
    base = "from advanced_alchemy.base import DefaultBase as Base"
    (tmp_path / "models.py").write_text(dedent(MODELS.format(base=base)))
    (tmp_path / "steps.py").write_text(dedent(THEIR_STEPS))
    run(tmp_path, "steps.py", kind, url, environment, *ALL)
    assert f"{prefix}StoredObject(backend='nowhere')" in migration(tmp_path)
