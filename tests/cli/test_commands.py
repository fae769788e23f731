"""``litestar storages``: every command, on an application with Advanced Alchemy, a database and files."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
TABLES = """
CREATE TABLE paper (id INTEGER PRIMARY KEY, file JSON);
CREATE TABLE filestore_object (
    backend TEXT NOT NULL, "key" TEXT NOT NULL, state TEXT NOT NULL, size INTEGER, checksum TEXT,
    created_at DOUBLE NOT NULL, not_before DOUBLE NOT NULL, attempts INTEGER NOT NULL, last_error TEXT, owner TEXT,
    counted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (backend, "key")
);
CREATE TABLE filestore_note (
    backend TEXT NOT NULL, "key" TEXT NOT NULL, not_before DOUBLE NOT NULL, PRIMARY KEY (backend, "key")
);
CREATE TABLE filestore_usage (
    owner TEXT PRIMARY KEY, objects INTEGER NOT NULL, bytes INTEGER NOT NULL, doomed_objects INTEGER NOT NULL,
    doomed_bytes INTEGER NOT NULL, wanted INTEGER NOT NULL
);
CREATE TABLE filestore_upload (
    id TEXT PRIMARY KEY, place TEXT, owner TEXT, opener TEXT, length INTEGER, metadata TEXT, concat TEXT,
    "offset" INTEGER, head TEXT, backend TEXT, "key" TEXT, content_type TEXT, store_upload TEXT, part_bytes INTEGER,
    tail_key TEXT, result TEXT, holder TEXT, held_until DOUBLE, is_wanted BOOLEAN, expires_at DOUBLE
);
CREATE TABLE filestore_upload_part (
    upload TEXT, number INTEGER, "offset" INTEGER, size INTEGER, receipt TEXT, PRIMARY KEY (upload, number)
);
CREATE TABLE filestore_database (number INTEGER PRIMARY KEY, identity TEXT NOT NULL);
"""


class Office:
    """A folder with a database and objects, and the process with the commands."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self.folder = folder
        (folder / "objects").mkdir()
        self.execute(TABLES)

    def execute(self, script: str) -> None:
        """Execute SQL as somebody else does."""
        with closing(sqlite3.connect(self.folder / "papers.db")) as connection:
            connection.executescript(script)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Return what the database says."""
        with closing(sqlite3.connect(self.folder / "papers.db")) as connection:
            return connection.execute(statement).fetchall()

    def add(self, key: str, *, state: str | None = "linked", row: bool = True, owner: str = "alice") -> None:
        """Store an object of three bytes, with an entry and a row or without."""
        path = self.folder / "objects" / key
        path.write_bytes(b"abc")
        os.utime(path, (0, 0))  # as old as can be
        if state:
            self.execute(
                "INSERT INTO filestore_object "  # noqa: S608
                f"VALUES ('papers', '{key}', '{state}', 3, NULL, 0, 0, 0, NULL, '{owner}', 0)"
            )
        if row:
            file = json.dumps({"filename": "a.txt", "to_filename": key, "backend": "papers", "size": 3})
            self.execute(f"INSERT INTO paper (file) VALUES ('{file}')")  # noqa: S608

    def objects(self) -> set[str]:
        """Return the keys of all objects."""
        return {path.name for path in (self.folder / "objects").iterdir() if path.is_file()}

    def run(self, *arguments: str, app: str = "create_app", terminal: bool = False) -> tuple[int, str]:
        """Run a command and return its exit code and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"folder": str(self.folder), "app": app, "arguments": arguments, "terminal": terminal}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code, output = json.loads(self._process.stdout.readline())
        return code, output

    def document(self, *arguments: str, app: str = "create_app", code: int = 0) -> Any:
        """Run a command with ``--json`` and return its document."""
        got, output = self.run(*arguments, "--json", app=app)
        assert got == code, output
        return json.loads(output)


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    """The process with the commands: every command of a process of its own would take seconds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}
    command: Sequence[str] = [sys.executable, "-m", "tests.cli.cli_process"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as running:
        yield running  # it ends with its input


@pytest.fixture
def office(process: subprocess.Popen[str], tmp_path: Path) -> Office:
    """A database with empty tables, and an empty folder for objects."""
    return Office(process, tmp_path)


def test_list(office: Office) -> None:
    """``list`` shows the backends with their services."""
    code, output = office.run("list")
    assert code == 0, output
    assert "papers" in output
    assert "file" in output


def test_check(office: Office) -> None:
    """``check`` contacts the backends, finds the ledgers, and says that all is well."""
    code, output = office.run("check")
    assert code == 0, output
    assert "papers: ok" in output
    assert "1 ledger" in output


def test_check_as_json(office: Office) -> None:
    """``check --json`` prints one document, with every step of every backend."""
    found = office.document("check")
    assert found["ok"]
    (backend,) = found["backends"]
    assert (backend["key"], backend["place"]) == ("papers", str(office.folder / "objects"))
    steps = {step["name"]: step["outcome"] for step in backend["steps"]}
    assert steps == {**dict.fromkeys(("reach", "put", "read", "range", "list", "delete"), "ok"), "sign": "unsupported"}
    assert [database["ledgers"] for database in found["databases"]] == [1]
    assert office.objects() == set()


def test_check_without_any_ledger(office: Office) -> None:
    """``check`` fails where models have file columns and no ledger is known, unless that is on purpose."""
    code, output = office.run("check", app="create_app_with_markup")
    assert code == 1, output
    assert "Paper have file columns, and no ledger was found for them" in output
    assert office.run("check", "--without-ledger", app="create_app_with_markup")[0] == 0


@pytest.mark.slow
def test_a_dead_store(office: Office) -> None:
    """No command ends in a traceback; each goes on with the other stores, names the one it skipped, and fails."""
    office.add("doomed", state="doomed", row=False)
    for command, done in [("check", "papers: ok"), ("sweep", "deleted 1"), ("fsck", "0 objects")]:
        code, output = office.run(command, app="create_app_with_a_dead_store")
        assert (code, done in output) == (1, True), output
        assert "dead" in output
        assert "reached" in output or "Nothing listens" in output
        assert "Traceback" not in output
    assert office.objects() == set()
    assert (
        office.document("sweep", app="create_app_with_a_dead_store", code=1)["skipped"][0]["what"] == "backend 'dead'"
    )


@pytest.mark.parametrize(
    "arguments",
    [["sweep"], ["adopt"], ["fsck"], ["usage"], ["migrate", "disk", "new"]],
    ids=lambda arguments: arguments[0],
)
def test_a_dead_database(office: Office, arguments: list[str]) -> None:
    """A database that does not answer ends no command in a traceback."""
    app = "create_app_that_moves_without_a_database" if arguments[0] == "migrate" else "create_app_with_a_dead_database"
    code, output = office.run(*arguments, app=app)
    assert (code, "Traceback" in output) == (3, False), output
    assert office.document(*arguments, app=app, code=3)["error"] == "DatabaseUnavailableError"


@pytest.mark.parametrize(
    ("key", "app", "error"),
    [
        ("papers", "create_app", "UnsupportedOperationError"),
        ("other", "create_app", "BackendNotRegisteredError"),
        ("dead", "create_app_with_a_dead_store", "BackendUnavailableError"),
    ],
)
def test_cors_of_a_store_that_has_none(office: Office, key: str, app: str, error: str) -> None:
    """``cors`` says why it cannot do its work, as all commands do, and other stores do not matter to it."""
    arguments = ["cors", key, "--origin", "https://www.example.com"]
    assert office.document(*arguments, app=app, code=3)["error"] == error
    code, output = office.run(*arguments, app=app)
    assert (code, "Traceback" in output) == (3, False), output


def test_check_of_a_database_that_is_not_migrated(office: Office) -> None:
    """``check`` fails where models have file columns and the database has none of their tables."""
    office.execute("DROP TABLE paper; DROP TABLE filestore_object")
    code, output = office.run("check")
    assert code == 1, output
    assert "no ledger for Paper" in output


def test_check_of_a_database_without_the_ledger(office: Office) -> None:
    """``check`` fails where rows hold files and the ledger is missing, and does not end in a traceback."""
    office.execute("DROP TABLE filestore_object")
    code, output = office.run("check")
    assert code == 1, output
    assert "has no table 'filestore_object'" in output
    assert "Traceback" not in output


def test_check_of_a_database_with_a_part_of_the_ledger(office: Office) -> None:
    """``check`` names the table that an older migration did not make."""
    office.execute("DROP TABLE filestore_database")
    code, output = office.run("check")
    assert code == 1, output
    assert "The ledger of the database lacks 'filestore_database': create it" in output


def test_check_of_a_broken_backend(office: Office) -> None:
    """``check`` fails where a backend cannot be used, and names it."""
    (office.folder / "objects").rmdir()
    (office.folder / "objects").write_text("in the way")
    code, output = office.run("check")
    assert code == 1, output
    assert "papers: ok" not in output
    assert "papers:" in output


def test_sweep(office: Office) -> None:
    """``sweep`` deletes what is due, and only that."""
    office.add("kept")
    office.add("doomed", state="doomed", row=False)
    office.add("abandoned", state="staged", row=False)
    code, output = office.run("sweep")
    assert code == 0, output
    assert "deleted 2, forgotten 0, failed 0" in output
    assert office.objects() == {"kept"}


@pytest.mark.parametrize("command", ["sweep", "adopt", "fsck"])
def test_progress(office: Office, command: str) -> None:
    """On a terminal, commands that take their time tell how far they are and what is left; elsewhere they do not."""
    state = {"sweep": "doomed", "adopt": None, "fsck": "linked"}[command]
    for number in range(3):
        office.add(f"{number}", state=state, row=command != "sweep")
    code, output = office.run(command, terminal=True)
    assert code == 0, output
    assert re.search(r"3 objects.*━.*left", output), output
    assert "left" not in office.run(command)[1]


def test_fsck_of_a_clean_ledger(office: Office) -> None:
    """``fsck`` succeeds where everything fits."""
    office.add("kept")
    code, output = office.run("fsck")
    assert code == 0, output
    assert "1 objects, 1 entries, 1 files in rows" in output


@pytest.mark.parametrize(
    ("key", "printed"),
    [
        ("[red]a[bold].txt", "[red]a[bold].txt"),
        ("[/nothing]", "[/nothing]"),
        ("\x1b[2J\x07a\nb\u202ec", r"\x1b[2J\x07a\nb\u202ec"),
        (":smile: [link=http://x]y", ":smile: [link=http://x]y"),
        (" ".join(["long"] * 40), " ".join(["long"] * 40)),
    ],
)
@pytest.mark.parametrize("command", ["fsck", "adopt"])
def test_keys_are_printed_as_text(office: Office, command: str, key: str, printed: str) -> None:
    """A key is neither markup nor an order to the terminal, whoever made it."""
    files = json.dumps({"filename": "a.txt", "to_filename": key, "backend": "papers", "size": 3}).replace("'", "''")
    office.execute(f"INSERT INTO paper (file) VALUES ('{files}'); INSERT INTO paper (file) VALUES ('{files}')")  # noqa: S608
    _, output = office.run(command)
    assert f"papers:{printed}" in output


def test_errors_are_printed_as_text(office: Office) -> None:
    """So is what a store says."""
    (office.folder / "objects").rmdir()
    (office.folder / "objects").write_text("in the way")
    code, output = office.run("check", app="create_app_with_markup")
    assert (code, "[bold]papers[/bold]" in output) == (1, True), output


def test_a_sweep_that_fails(office: Office) -> None:
    """``sweep`` fails where something that is due could not be deleted."""
    office.add("doomed", state="doomed", row=False)
    code, output = office.run("sweep", app="create_app_without_deletes")
    assert (code, "deleted 0, forgotten 0, failed 1" in output) == (1, True), output


def test_fsck_as_json(office: Office) -> None:
    """``fsck --json`` lists findings and what was left alone, and its exit code is the same."""
    office.add("kept")
    office.add("stray", state=None, row=False)
    office.add("young", state=None, row=False)
    os.utime(office.folder / "objects" / "young")
    file = json.dumps({"filename": "a.txt", "to_filename": "there", "backend": "elsewhere", "size": 3})
    office.execute(f"INSERT INTO paper (file) VALUES ('{file}')")  # noqa: S608
    (ledger,) = office.document("fsck", code=1)["ledgers"]
    assert ledger["counts"] == {"untracked object": 1}
    assert ledger["findings"] == [{"kind": "untracked object", "backend": "papers", "key": "stray", "detail": ""}]
    assert [(each["count"], each["what"]) for each in ledger["skipped"]] == [
        (1, "1 unknown objects"),
        (1, "1 files in rows"),
    ]
    _, output = office.run("fsck")
    assert "skipped 1 unknown objects: younger than 86400 s" in output
    assert "skipped 1 files in rows: their backend 'elsewhere' is not configured" in output


def test_fsck_only_reports(office: Office) -> None:
    """``fsck`` without ``--repair`` fails, says what does not fit, and changes nothing."""
    office.add("kept")
    office.add("stray", state=None, row=False)
    code, output = office.run("fsck", "--max-doomed-percent", "100")
    assert code == 1, output
    assert "untracked object: papers:stray" in output
    assert "doomed 0" in output
    assert office.query("SELECT count(*) FROM filestore_object WHERE backend = 'papers'") == [(1,)]


def test_fsck_repairs(office: Office) -> None:
    """``fsck --repair`` hands strays to the sweeper, as far as the allowed share goes."""
    office.add("kept")
    office.add("stray", state=None, row=False)
    code, output = office.run("fsck", "--repair")
    assert code != 0
    assert office.query("SELECT count(*) FROM filestore_object WHERE state = 'doomed'") == [(0,)]
    code, output = office.run("fsck", "--repair", "--max-doomed-percent", "60")
    assert "doomed 1" in output
    office.run("sweep")
    assert office.objects() == {"kept"}


def test_fsck_of_a_backend_with_several_ledgers(office: Office) -> None:
    """``fsck`` refuses to take the objects of one ledger for strays of another one."""
    office.add("kept")
    code, output = office.run("check", app="create_app_with_tenants")
    assert "2 ledgers" in output, output
    code, _ = office.run("fsck", "--repair", "--max-doomed-percent", "100", app="create_app_with_tenants")
    assert code != 0
    outcome = "1 objects, 1 entries, 1 files in rows\nadopted 0, unshared 0, doomed 0, recounted 0\n"
    assert office.run("fsck") == (0, outcome)


def test_fsck_spares_the_young(office: Office) -> None:
    """``fsck`` leaves alone what is younger than ``--minimum-age``."""
    office.add("stray", state=None, row=False)
    os.utime(office.folder / "objects" / "stray")
    assert office.run("fsck")[0] == 0
    assert office.run("fsck", "--minimum-age", "-10")[0] == 1


def test_adopt(office: Office) -> None:
    """``adopt`` enters the files of rows that were there before the ledger."""
    office.add("old", state=None)
    code, output = office.run("adopt")
    assert code == 0, output
    assert "adopted 1, known 0, shared 0" in output
    assert office.run("fsck")[0] == 0


def test_adopt_shared(office: Office) -> None:
    """``adopt`` enters objects of several rows, and names the rows and what can be done."""
    office.add("old", state=None)
    office.add("old", state=None)
    code, output = office.run("adopt")
    assert code == 0, output
    assert "adopted 1, known 0, shared 1" in output
    assert "papers:old is held by Paper(1).file, Paper(2).file" in output
    assert "row.file = row.file.copy()" in output
    assert office.query("SELECT state FROM filestore_object WHERE key = 'old'") == [("shared",)]
    assert office.run("fsck")[0] == 0


def test_adopt_names_rows_without_bytes(office: Office) -> None:
    """``adopt`` says which rows have lost their bytes; they are adopted all the same."""
    office.add("old", state=None)
    (office.folder / "objects" / "old").unlink()
    code, output = office.run("adopt")
    assert code == 0, output
    assert "adopted 1, known 0, shared 0" in output
    assert "papers:old has no bytes, and is held by Paper(1).file" in output
    assert "1 objects have no bytes: restore them, or clear the columns" in output


@pytest.mark.parametrize("command", ["list", "check", "fsck"])
def test_backends_that_were_registered_by_hand(office: Office, command: str) -> None:
    """Commands work on backends of ``storages.register_backend`` as on those of the configuration."""
    office.add("one")
    (office.folder / "objects" / "one").unlink()
    code, output = office.run(command, app="create_app_with_registered_backend")
    expected = {"list": (0, "papers"), "check": (0, "papers"), "fsck": (1, "papers:one")}
    assert (code, expected[command][1] in output) == (expected[command][0], True), output


def test_usage(office: Office) -> None:
    """``usage`` sums up the objects of one owner that are in the store, also those that are to be deleted."""
    office.add("one")
    office.add("two")
    office.add("given up", state="doomed", row=False)
    office.add("deleted", state="gone", row=False)
    office.add("other", owner="bob")
    code, output = office.run("usage", "alice")
    assert code == 0, output
    assert "3 objects, 9 bytes; 1 objects, 3 bytes of them are to be deleted" in output


def test_usage_of_all(office: Office) -> None:
    """``usage`` without an owner adds up backends and states, and names the largest owners."""
    office.add("one")
    office.add("two")
    office.add("other", owner="bob")
    office.add("given up", state="doomed", row=False)
    (ledger,) = office.document("usage", "--owners", "1")["ledgers"]
    assert ledger["backends"] == [
        {"backend": "papers", "state": "doomed", "objects": 1, "bytes": 3},
        {"backend": "papers", "state": "linked", "objects": 3, "bytes": 9},
    ]
    alice = {"owner": "alice", "objects": 3, "bytes": 9, "doomed_objects": 1, "doomed_bytes": 3}
    assert ledger["owners"] == [alice]
    code, output = office.run("usage")
    assert code == 0, output
    assert "papers\tlinked\t3\t9" in output


def test_adopt_and_list_as_json(office: Office) -> None:
    """The other commands print documents as well."""
    office.add("old", state=None)
    office.add("old", state=None)
    (ledger,) = office.document("adopt")["ledgers"]
    assert (ledger["adopted"], ledger["shared_count"]) == (1, 1)
    assert ledger["shared"][0]["places"] == ["Paper(1).file", "Paper(2).file"]
    (backend,) = office.document("list")["backends"]
    assert (backend["key"], backend["service"], backend["library"]) == ("papers", "file", "local")


def test_missing_ledger_as_json(office: Office) -> None:
    """A command that cannot do its work says so in a document too, with an exit code of its own."""
    office.execute("DROP TABLE filestore_object")
    found = office.document("sweep", code=3)
    assert found["error"] == "LedgerMissingError"
    assert "has no table 'filestore_object'" in found["reason"]


def test_missing_ledger(office: Office) -> None:
    """Commands that need a ledger fail where there is none, and say what to do."""
    office.execute("DROP TABLE filestore_object")
    code, _ = office.run("sweep")
    assert code != 0


def test_migrate(office: Office) -> None:
    """``migrate`` moves, says how it stands, and moves back what is new; rows and ledger stay as they are."""
    for key in ("one", "two"):
        office.add(key)
    before = office.query("SELECT * FROM filestore_object"), office.query("SELECT * FROM paper")
    moving, back = "create_app_that_moves", "create_app_that_moves_back"
    status = office.document("migrate", "disk", "new", "--status", app=moving, code=1)
    assert (status["left"], status["bytes_left"], status["complete"]) == (2, 6, False)
    code, output = office.run("migrate", "disk", "new", "--max-rate", "10 MB", app=moving)
    assert code == 0, output
    assert "disk to new: 2 of 2 objects moved, 0 left (0 bytes)" in output
    assert "All is in 'new'" in output
    assert (office.folder / "new" / "one").read_bytes() == b"abc"
    assert office.document("migrate", "disk", "new", "--status", app=moving)["complete"]
    (office.folder / "new" / "three").write_bytes(b"new")
    undone = office.document("migrate", "disk", "new", "--undo", app=back)
    assert (undone["source"], undone["target"], undone["copied"], undone["verified"]) == ("new", "disk", 1, 2)
    assert office.objects() == {"one", "two", "three"}
    assert before == (office.query("SELECT * FROM filestore_object"), office.query("SELECT * FROM paper"))


def test_migrate_of_what_does_not_move(office: Office) -> None:
    """``migrate`` refuses where new objects would still go to the old store, and says what to deploy first."""
    code, output = office.run("migrate", "papers", "new")
    assert (code, "put MovingBackend(key, source=..., target=...) in the place" in output) == (3, True), output
    code, output = office.run("migrate", "disk", "new", app="create_app_that_moves_back")
    assert (code, "set writes='target'" in output) == (3, True), output


def test_migrate_of_a_damaged_object(office: Office) -> None:
    """``migrate`` fails for an object that is not what its row says, and moves the others."""
    office.add("good")
    office.add("rotten", row=False)
    file = {"filename": "a", "to_filename": "rotten", "backend": "papers", "checksum": "sha256:" + "0" * 64}
    office.execute(f"INSERT INTO paper (file) VALUES ('{json.dumps(file)}')")  # noqa: S608
    found = office.document("migrate", "disk", "new", app="create_app_that_moves", code=1)
    assert (found["copied"], list(found["failures"])) == (1, ["rotten"])
    assert not (office.folder / "new" / "rotten").exists()
