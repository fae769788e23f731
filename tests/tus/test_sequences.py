"""Whatever a client does, in any order: an upload is always a beginning of what was sent, and the file all of it."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from litestar.testing import TestClient
from sqlalchemy.ext.asyncio import create_async_engine

from litestar_filestore.uploads import receiving
from tests.tus.conftest import Site
from tests.tus.picky import backend_in
from tests.tus.tus_app import Base, make_app

MIB = 1024 * 1024
LENGTH = 7 * MIB + 12_345
CONTENT = bytes(itertools.islice(itertools.cycle(range(251)), LENGTH))
SIZES = st.sampled_from([0, 1, 100, 65_535, 65_536, 100_000, MIB, MIB + 1, 3 * MIB, LENGTH])


class Uploading(RuleBasedStateMachine):
    """One upload of known content, sent in pieces of any size, with lies in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.come = 0
        self.is_known = True

    @initialize(picky=st.booleans(), deferred=st.booleans())
    def begin(self, picky: bool, deferred: bool) -> None:  # noqa: FBT001  # as hypothesis calls it
        """Start the application, and create the upload."""
        backend = backend_in(self.folder, picky=picky)
        engine = sa.create_engine(f"sqlite:///{self.folder}/rows.db")
        Base.metadata.create_all(engine)
        app = make_app(backend, create_async_engine(f"sqlite+aiosqlite:///{self.folder}/rows.db"))
        self.client = TestClient(app)
        self.client.__enter__()
        self.site = Site(self.client, backend, engine)
        self.is_known = not deferred
        self.url = self.site.create(None if deferred else LENGTH)

    @precondition(lambda self: self.come < LENGTH)
    @rule(size=SIZES, checked=st.booleans())
    def send(self, size: int, checked: bool) -> None:  # noqa: FBT001
        """Send the next bytes, with a checksum or without."""
        piece = CONTENT[self.come : self.come + size]
        said: dict[str, Any] = {"Upload_Checksum": _md5(piece)} if checked else {}
        if not self.is_known and self.come + len(piece) == LENGTH:
            said["Upload_Length"], self.is_known = str(LENGTH), True
        answer = self.site.append(self.url, self.come, piece, **said)
        self.come += len(piece)
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(self.come)), answer.text

    @precondition(lambda self: self.come < LENGTH)
    @rule(size=SIZES.filter(bool))
    def send_damaged(self, size: int) -> None:
        """Send bytes that do not have their checksum: they do not count."""
        answer = self.site.append(self.url, self.come, bytes(min(size, LENGTH - self.come)), Upload_Checksum=_md5(b"x"))
        assert answer.status_code == 460

    @rule(at=st.integers(0, LENGTH + 1))
    def send_elsewhere(self, at: int) -> None:
        """Send bytes that belong somewhere else: they do not count."""
        if at != self.come:
            answer = self.site.append(self.url, at, b"lies")
            assert (answer.status_code, answer.headers["upload-offset"]) == (409, str(self.come))

    @precondition(lambda self: self.is_known)
    @rule()
    def send_too_much(self) -> None:
        """Send more than there is: none of it counts."""
        answer = self.site.append(self.url, self.come, bytes(LENGTH - self.come + 1))
        assert answer.status_code in {409, 413}

    @rule()
    def sweep(self) -> None:
        """Sweep: what is under way is left alone."""
        self.site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
        self.site.sweep()

    @invariant()
    def tells_what_has_come(self) -> None:
        """HEAD says how much has come, and has the reference if that is all."""
        if hasattr(self, "url"):
            answer = self.site.ask("HEAD", self.url)
            assert (answer.status_code, answer.headers["upload-offset"]) == (200, str(self.come))
            assert ("filestore-reference" in answer.headers) == (self.come == LENGTH)

    def teardown(self) -> None:
        """Compare the file, and look for what is left."""
        if not hasattr(self, "url"):
            return
        if self.come == LENGTH:
            self.sweep()
            (key,) = self.site.keys()
            assert b"".join(self.site.backend.get(key)) == CONTENT
        else:
            self.site.change("UPDATE filestore_upload SET expires_at = 0")
            self.sweep()
            assert self.site.keys() == []
        assert set(self.site.states()) <= {"staged", "gone"}
        self.client.__exit__(None, None, None)
        self.site.engine.dispose()
        shutil.rmtree(self.folder)


def _md5(content: bytes) -> str:
    return f"md5 {b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()}"


@pytest.mark.slow
def test_any_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen sequences, with parts of two mebibytes; the same ones each time."""
    monkeypatch.setattr(receiving, "_PART_BYTES", 2 * MIB)
    bounded = settings(
        max_examples=16,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Uploading, settings=bounded)
