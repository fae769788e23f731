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
from tests.tus.http_upload_client import HttpUploads
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
        database = create_async_engine(f"sqlite+aiosqlite:///{self.folder}/rows.db")
        app = make_app(backend, database, experimental_http_uploads=True)
        self.client = TestClient(app)
        self.client.__enter__()
        self.site = Site(self.client, backend, engine)
        self.is_known = not deferred
        self.url = self.create(None if deferred else LENGTH)

    def create(self, length: int | None) -> str:
        """Create the upload, and return its URL."""
        return self.site.create(length)

    @property
    def is_complete(self) -> bool:
        """Whether the upload has become a file."""
        return self.come == LENGTH

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
        if self.is_complete:
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


class HttpUploading(Uploading):
    """The same by the draft of the IETF: bytes with a digest or without, of a length that is announced or not."""

    is_over = False

    def create(self, length: int | None) -> str:
        """Create the upload, and return its URL."""
        self.uploads = HttpUploads(self.client)
        return self.uploads.begin(length)

    @property
    def is_complete(self) -> bool:
        """Whether the client has said that nothing more comes."""
        return self.is_over

    @precondition(lambda self: not self.is_over)
    @rule(size=SIZES, checked=st.booleans(), announced=st.booleans(), ends=st.booleans())
    def send(self, size: int, checked: bool, announced: bool, ends: bool) -> None:  # noqa: FBT001
        """Send the next bytes, and perhaps say that they are the last."""
        piece = CONTENT[self.come : self.come + size]
        self.come += len(piece)
        self.is_over = ends and self.come == LENGTH
        said: dict[str, Any] = {"Content_Digest": _sha_256(piece)} if checked else {}
        begin, content = self.come - len(piece), piece if announced else iter([piece])
        answer = self.uploads.append(self.url, begin, content, ends=self.is_over, **said)
        told = (answer.headers["upload-offset"], answer.headers["upload-complete"])
        assert told == (str(self.come), f"?{self.is_over:d}"), answer.text
        assert answer.status_code == (201 if self.is_over else 204)

    @precondition(lambda self: self.come < LENGTH)
    @rule(size=SIZES.filter(bool))
    def send_damaged(self, size: int) -> None:
        """Send bytes that do not have their digest: they do not count."""
        piece = bytes(min(size, LENGTH - self.come))
        answer = self.uploads.append(self.url, self.come, piece, ends=False, Content_Digest=_sha_256(b"x"))
        assert answer.status_code == 400

    @rule(at=st.integers(0, LENGTH + 1), ends=st.booleans())
    def send_elsewhere(self, at: int, ends: bool) -> None:  # noqa: FBT001
        """Send bytes that belong somewhere else: they do not count."""
        if at != self.come:
            answer = self.uploads.append(self.url, at, b"lies", ends=ends)
            assert answer.status_code == (400 if self.is_over else 409)

    @precondition(lambda self: self.is_known)
    @rule(ends=st.booleans())
    def send_too_much(self, ends: bool) -> None:  # noqa: FBT001
        """Send more than there is: none of it counts."""
        answer = self.uploads.append(self.url, self.come, bytes(LENGTH - self.come + 1), ends=ends)
        assert answer.status_code == 400

    @invariant()
    def tells_what_has_come(self) -> None:
        """HEAD says how much has come, and whether that is all; tus knows nothing of it."""
        if hasattr(self, "url"):
            offset, complete, _ = self.uploads.look(self.url)
            assert (offset, complete) == (self.come, f"?{self.is_over:d}")
            assert self.site.ask("HEAD", self.url).status_code == 404


def _sha_256(content: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "count"), [(Uploading, 16), (HttpUploading, 8)])
def test_any_sequence(monkeypatch: pytest.MonkeyPatch, machine: type[Uploading], count: int) -> None:
    """Some sequences, with parts of two mebibytes; the same ones each time."""
    monkeypatch.setattr(receiving, "_PART_BYTES", 2 * MIB)
    bounded = settings(
        max_examples=count,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(machine, settings=bounded)
