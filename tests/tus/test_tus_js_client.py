"""tus-js-client, the client of most pages, in every way that it has of sending a file."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from litestar_filestore import StorageBackend, storages
from tests.servers.npm import find_node, find_package_file
from tests.servers.processes import HOST
from tests.tus.servers import serving
from tests.tus.stores import describe, open_store
from tests.tus.tus_app import Base, Document

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("tus_js_client.cjs")


@pytest.mark.matrix(cases=3)
@pytest.mark.parametrize("kind", ["local", "s3", "azure"])
def test_every_way_of_sending(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """Whole, in chunks, with the creation, in parallel, of unknown length, empty, resumed and once more: rows have it.

    What was terminated is gone; a file that was chosen again is sent again only if a row has taken the first one.
    """
    node, module = find_node(), find_package_file("tus-js-client/lib.es5/node/index.js")
    engine = sa.create_engine(database := f"sqlite:///{tmp_path / 'rows.db'}", poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    with serving(tmp_path, store := describe(request, kind, tmp_path), database) as (port, _):
        command = [node, str(SCRIPT), str(module), f"http://{HOST}:{port}", str(tmp_path)]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
    storages.register_backend(backend := open_store(store))
    try:
        check(engine, backend, ended.stdout)
    finally:
        storages.unregister_backend(backend.key)


def check(engine: sa.Engine, backend: StorageBackend, told: str) -> None:
    """Compare rows, objects and ledger with what the client says that it has sent."""
    with Session(engine) as session:
        files = [row.file for row in session.scalars(sa.select(Document))]
        digests = [hashlib.sha256(b"".join(backend.get(file.path))).hexdigest() for file in files]
        assert sorted(digests) == sorted(json.loads(told))
        assert [file.checksum for file in files] == [f"sha256:{digest}" for digest in digests]
        states = session.execute(sa.text("SELECT state FROM filestore_object")).scalars().all()
        assert states.count("linked") == len(files)
        assert set(states) <= {"linked", "doomed", "staged", "gone"}
