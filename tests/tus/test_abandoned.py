"""Uploads that nobody finishes, in whatever state they were left: nothing of them stays."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from litestar_filestore.uploads import receiving
from tests.tus.conftest import OFFSET_TYPE, Serve, Site
from tests.tus.picky import backend_in
from tests.tus.tus_app import PATH

MIB = 1024 * 1024
CONTENT = bytes(2 * MIB + 1)


def only_begin(site: Site) -> None:
    """Create an upload."""
    site.create(100)


def send_first_bytes(site: Site) -> None:
    """Send too little to be judged: it waits in the row."""
    site.append(site.create(100_000), 0, CONTENT[:1000])


def send_less_than_a_part(site: Site) -> None:
    """Send what a store with large parts keeps as a tail."""
    site.append(site.create(100_000), 0, CONTENT[:70_000])


def send_parts_and_a_tail(site: Site) -> None:
    """Send parts in two requests."""
    url = site.create()
    site.append(url, 0, CONTENT[: MIB + 7])
    site.append(url, MIB + 7, CONTENT[MIB + 7 :])


def send_damaged_parts(site: Site) -> None:
    """Send parts whose checksum is wrong: they are stored, and do not count."""
    url = site.create(3 * MIB)
    site.append(url, 0, CONTENT[:70_000])
    site.append(url, 70_000, CONTENT, Upload_Checksum="md5 rL0Y20zC+Fzt72VPzMSk2A==")


def send_a_partial_upload(site: Site) -> None:
    """Send what would be joined with others."""
    site.ask("POST", content=b"piece", Upload_Length="5", Upload_Concat="partial", Content_Type=OFFSET_TYPE)


def finish_without_a_row(site: Site) -> None:
    """Send all, and never use the reference."""
    site.upload(CONTENT[:MIB])


def put_a_part_directly(site: Site) -> None:
    """Begin a direct upload, and put the last of its parts."""
    begun = site.client.post(f"{PATH}/begin", json={"filename": "a.bin", "size": MIB + 7}).json()
    assert site.client.put(begun["parts"][-1]["url"], content=CONTENT[: begun["parts"][-1]["size"]]).status_code == 200


def send_a_form(site: Site) -> None:
    """Send a plain form, and never ask for its reference."""
    form = site.client.post(f"{PATH}/form", json={"filename": "a.bin"}).json()
    sent = site.client.post(form["url"], data=form["fields"], files={"file": ("a.bin", CONTENT[:1000])})
    assert sent.status_code == 204


HOURS = [pytest.mark.stress, pytest.mark.timeout(3600)]
WAYS = [
    only_begin,
    send_first_bytes,
    send_less_than_a_part,
    send_parts_and_a_tail,
    send_damaged_parts,
    send_a_partial_upload,
    finish_without_a_row,
    put_a_part_directly,
    send_a_form,
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "uploads"),
    [
        ("local", 150),
        ("picky", 150),
        *(pytest.param(kind, 10_000, marks=HOURS) for kind in ("local", "picky")),
    ],
)
def test_nothing_stays_of_abandoned_uploads(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, uploads: int
) -> None:
    """Many at once: rows, parts, tails and objects are all gone after the sweep."""
    monkeypatch.setattr(receiving, "_PART_BYTES", MIB)
    site = serve(backend_in(tmp_path, picky=kind == "picky"), max_open_per_owner=None)
    chance = random.Random(12)
    for _ in range(uploads):
        chance.choice(WAYS)(site)
    assert site.query("SELECT count(*) FROM filestore_upload") == [(uploads,)]
    site.change("UPDATE filestore_upload SET expires_at = 0")
    for _ in range(1 + uploads // 5_000):  # a sweep handles 10,000 objects
        site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'staged'")
        site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
        site.sweep()
    assert site.query("SELECT id FROM filestore_upload") == site.query("SELECT upload FROM filestore_upload_part") == []
    assert {*site.states()} == {"gone"}
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
