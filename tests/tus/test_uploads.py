"""Resumable uploads end in rows, belong to their owners, and leave nothing behind."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from litestar_filestore import ContentTypes, MaxSize, MinSize, create_upload_router
from litestar_filestore.errors import ConfigurationError, QuotaExceededError
from litestar_filestore.ledger import LedgerConfig, Usage
from tests.tus.conftest import OFFSET_TYPE, Serve, Site, metadata
from tests.tus.picky import backend_in
from tests.tus.tus_app import PATH, Document

MIB = 1024 * 1024


def content_of(site: Site) -> bytes:
    """Return the content of the only object."""
    (key,) = site.keys()
    return b"".join(site.backend.get(key))


@pytest.fixture(params=["local", "picky"])
def store(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Site:
    """An application on a store that takes parts of any size, and on one that does not."""
    return serve(backend_in(tmp_path, picky=request.param == "picky"))


# -- one reference for every way


def test_post_form_takes_a_reference_where_it_takes_bytes(site: Site) -> None:
    """A form names the file of a finished upload by its reference."""
    reference = site.upload(b"Hello, tus!\n", Upload_Metadata=metadata(filename="a.txt", filetype="text/plain"))
    answer = site.client.post("/documents", files={"title": (None, "x"), "file": (None, reference)})
    assert (answer.status_code, answer.json()["size"]) == (201, 12), answer.text
    assert site.states() == ["linked"]


def test_post_form_mixes_references_and_bytes_in_a_list(site: Site) -> None:
    """A list of files takes both, in the order in which they are sent."""
    one, two = (site.upload(b"ab", Upload_Metadata=metadata(filename=f"{name}.txt")) for name in "ac")
    parts: Sequence[Any] = [
        ("title", (None, "x")),
        ("file", ("f.txt", b"file")),
        ("pages", (None, one)),
        ("pages", ("b.txt", b"bytes")),
        ("pages", (None, two)),
    ]
    answer = site.client.post("/documents", files=parts)
    assert answer.status_code == 201, answer.text
    assert answer.json()["pages"] == ["a.txt", "b.txt", "c.txt"]


def test_post_json_takes_the_same_reference(site: Site) -> None:
    """A reference is the same for forms and JSON, and good for one row."""
    reference = site.upload(b"text")
    assert site.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201
    assert site.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 409


@pytest.mark.parametrize("text", ["Hello, tus!", "no.reference.at-all", "x" * 70_000])
def test_post_form_refuses_a_text_that_is_no_reference(site: Site, text: str) -> None:
    """A text in the place of a file is refused unless this application has signed it."""
    answer = site.client.post("/documents", files={"title": (None, "x"), "file": (None, text)})
    assert answer.status_code in {400, 413}, answer.text


@pytest.mark.parametrize("length", [0, 1, 65_536, 100_000])
def test_complete_upload_knows_size_and_digest(site: Site, length: int) -> None:
    """The ledger records the facts of the file, and keeps nothing else of the upload."""
    content = secrets.token_bytes(length)
    url = site.create(length)
    if length:
        assert site.append(url, 0, content).status_code == 204
    ((size, checksum),) = site.query("SELECT size, checksum FROM filestore_object")
    assert (size, checksum[:7]) == (length, "sha256:")
    assert content_of(site) == content
    assert site.query("SELECT * FROM filestore_upload_part") == []


# -- any store


def test_patch_in_uneven_pieces(store: Site) -> None:
    """However the pieces are cut, the file is the sum of them, and no other object stays."""
    content = secrets.token_bytes(18 * MIB + 77)
    url, offset = store.create(len(content)), 0
    for size in (1, 70_000, 3, 9 * MIB, 100, 8 * MIB, len(content)):
        assert store.append(url, offset, content[offset : offset + size]).status_code == 204
        offset = min(offset + size, len(content))
        assert store.offset(url) == offset
    store.sweep()
    assert content_of(store) == content
    assert [state for state in store.states() if state != "gone"] == ["staged"]


def test_patch_with_a_checksum_keeps_nothing_of_a_wrong_body(store: Site) -> None:
    """A body of several parts whose checksum is wrong leaves the offset where it was; the right one goes on there."""
    content = secrets.token_bytes(10 * MIB)
    url = store.create(len(content))
    store.append(url, 0, content[:100_000])
    wrong = store.append(url, 100_000, content[100_000:], Upload_Checksum="md5 1B2M2Y8AsgTpgAmY7PhCfg==")
    assert (wrong.status_code, store.offset(url)) == (460, 100_000)
    assert store.append(url, 100_000, content[100_000:]).status_code == 204
    store.sweep()
    assert content_of(store) == content


def test_patch_with_a_digest_keeps_nothing_of_a_wrong_body(store: Site) -> None:
    """So it is with the digest that RFC 9530 has for a body; one of the whole file is not compared with a part."""
    url = store.create(11)
    other = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    assert store.append(url, 0, b"Hello, ", Content_Digest=other).status_code == 460
    assert store.offset(url) == 0
    assert store.append(url, 0, b"Hello, ", Repr_Digest=other).status_code == 204


def test_expired_upload_is_swept_with_its_parts(store: Site) -> None:
    """Of an upload that has expired nothing stays: no object, no part, no tail, no row."""
    urls = [store.create(20 * MIB) for _ in range(3)]
    for url, size in zip(urls, (0, 100, 9 * MIB), strict=True):
        assert store.append(url, 0, bytes(size)).status_code == 204
    store.change("UPDATE filestore_upload SET expires_at = 1")
    assert [store.ask("HEAD", url).status_code for url in urls] == [410] * 3
    store.sweep()
    assert [store.ask("HEAD", url).status_code for url in urls] == [404] * 3
    assert store.keys() == []
    assert set(store.states()) <= {"gone"}
    assert store.query("SELECT id FROM filestore_upload") + store.query("SELECT * FROM filestore_upload_part") == []


def test_delete_removes_what_has_come(store: Site) -> None:
    """A terminated upload leaves no object."""
    url = store.create(20 * MIB)
    store.append(url, 0, bytes(9 * MIB))
    assert store.ask("DELETE", url).status_code == 204
    assert store.ask("HEAD", url).status_code == 404
    store.sweep()
    assert store.keys() == []


def test_final_upload_joins_large_parts(store: Site) -> None:
    """The content of a final upload is that of its parts, in the order of its URLs."""
    one, two = secrets.token_bytes(9 * MIB), secrets.token_bytes(70_000)
    urls = [store.create(len(each), Upload_Concat="partial") for each in (one, two)]
    for url, each in zip(urls, (one, two), strict=True):
        assert store.append(url, 0, each).status_code == 204
    answer = store.ask("POST", Upload_Concat=f"final;{urls[1]} {urls[0]}")
    assert answer.status_code == 201, answer.text
    row = store.client.post("/documents/json", json={"title": "x", "file": answer.headers["filestore-reference"]})
    assert row.status_code == 201, row.text
    store.change("UPDATE filestore_upload SET expires_at = 1")
    store.change("UPDATE filestore_object SET not_before = 1 WHERE state = 'staged'")
    store.sweep()
    assert content_of(store) == two + one


# -- who may do what


def test_upload_of_another_owner_is_unknown(site: Site) -> None:
    """Another owner gets 404 for everything, and cannot join the parts of others."""
    url = site.create(11, Upload_Concat="partial")
    assert site.ask("HEAD", url, X_User="bob").status_code == 404
    assert site.append(url, 0, b"Hello, tus!", X_User="bob").status_code == 404
    assert site.ask("DELETE", url, X_User="bob").status_code == 404
    assert site.append(url, 0, b"Hello, tus!").status_code == 204
    assert site.ask("POST", Upload_Concat=f"final;{url}", X_User="bob").status_code == 400


def test_open_uploads_of_one_owner_are_limited(serve: Serve) -> None:
    """A client that opens uploads without end is refused; others are not, and finished ones do not count."""
    site = serve(max_open_per_owner=20)
    urls = [site.create(5) for _ in range(20)]
    assert {site.ask("POST", Upload_Length="5").status_code for _ in range(30)} == {429}
    assert site.ask("POST", Upload_Length="5", X_User="bob").status_code == 201
    assert site.append(urls[0], 0, b"Hello").status_code == 204
    assert site.ask("POST", Upload_Length="5").status_code == 201
    assert len(site.query("SELECT id FROM filestore_upload")) == 22


def test_authorize_sees_the_metadata(serve: Serve) -> None:
    """What `authorize` refuses is 403."""
    seen: list[tuple[Any, str]] = []

    def authorize(_: Any, said: Any, action: str) -> bool:
        seen.append((dict(said), action))
        return action != "delete"

    site = serve(authorize=authorize)
    url = site.create(5, Upload_Metadata=metadata(filename="a.txt"))
    assert site.ask("HEAD", url).status_code == 200
    assert site.ask("DELETE", url).status_code == 403
    assert seen == [({"filename": "a.txt"}, action) for action in ("write", "read", "delete")]


def test_router_is_not_open_by_accident() -> None:
    """Without guards a router has to be public on purpose, and it stores for one thing."""
    wrong: list[dict[str, Any]] = [
        {"column": Document.file},
        {"column": Document.file, "public": True, "guards": [print]},
        {"public": True},
        {"public": True, "column": Document.file, "backend": "documents"},
        {"public": True, "column": Document.title},
        {"public": True, "column": Document.file, "max_open_per_owner": 0},
    ]
    for options in wrong:
        with pytest.raises(ConfigurationError):
            create_upload_router(PATH, **options)


# -- rules


def test_creation_refuses_what_the_rules_refuse(site: Site) -> None:
    """A declared size and a type by name and by word are judged before any byte is sent."""
    assert site.ask("POST", Upload_Length=str(101 * 10**6)).status_code == 413
    refused = site.ask("POST", Upload_Length="5", Upload_Metadata=metadata(filename="a.png", filetype="image/png"))
    assert (refused.status_code, refused.headers["tus-resumable"]) == (415, "1.0.0")
    # Browsers guess types: the name alone is good enough to go on.
    guessed = site.ask("POST", Upload_Length="5", Upload_Metadata=metadata(filename="a.txt", filetype="image/png"))
    assert guessed.status_code == 201


def test_first_bytes_are_judged_before_they_are_stored(site: Site) -> None:
    """Content of a wrong type ends the upload with its first bytes, and the store never sees it."""
    url = site.create(10 * MIB, Upload_Metadata=metadata(filename="a.bin"))
    answer = site.append(url, 0, b"%PDF-1.7\n" + bytes(100_000))
    assert (answer.status_code, site.ask("HEAD", url).status_code) == (415, 404)
    assert site.keys() == site.states() == []


def test_end_is_judged_over_several_requests(serve: Serve) -> None:
    """A rule about the whole sees the whole, although no request has seen all of it."""
    sizes: list[int] = []

    class Sum(MinSize):
        def at_end(self, file: Any) -> str | None:
            sizes.append(file.size)
            return "No such file is wanted"

    site = serve(rules=[Sum("1 kB"), MaxSize("100 MB"), ContentTypes("application/octet-stream")])
    content = secrets.token_bytes(9 * MIB)
    url = site.create(len(content))
    assert site.append(url, 0, content[: 8 * MIB]).status_code == 204
    answer = site.append(url, 8 * MIB, content[8 * MIB :])
    assert (answer.status_code, sizes) == (400, [len(content)]), answer.text
    assert site.ask("HEAD", url).status_code == 404
    site.sweep()
    assert site.keys() == []


def test_quota_counts_what_is_announced(serve: Serve) -> None:
    """An owner without room is refused at the creation, and many uploads together stay within the quota."""

    def quota(_: str, usage: Usage) -> None:
        if usage.bytes > 100_000:
            raise QuotaExceededError("No room")

    site = serve(ledger=lambda engine: LedgerConfig([engine], run_sweeper=False, quota=quota))
    assert site.ask("POST", Upload_Length="100001").status_code == 413
    one, two = site.create(90_000), site.create(90_000)
    assert site.append(one, 0, bytes(90_000)).status_code == 204
    assert site.append(two, 0, bytes(90_000)).status_code == 413


# -- what clients rely on


def test_upload_that_a_row_has_taken_is_gone(site: Site) -> None:
    """The same file chosen again: the old URL is 410, so that the client uploads it anew."""
    url = site.create(5)
    reference = site.append(url, 0, b"Hello").headers["filestore-reference"]
    assert site.ask("HEAD", url).status_code == 200
    assert site.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201
    assert site.ask("HEAD", url).status_code == 410
    assert site.append(url, 5, b"").status_code == 410
    assert site.ask("DELETE", url).status_code == 410
    assert site.states() == ["linked"]


def test_metadata_of_a_mebibyte_are_refused(site: Site) -> None:
    """Metadata are kept and come back with every HEAD, so they are bounded."""
    answer = site.ask("POST", Upload_Length="5", Upload_Metadata=metadata(filename="a" * MIB))
    assert (answer.status_code, site.query("SELECT id FROM filestore_upload")) == (413, [])


def test_finished_bytes_become_a_file_with_the_next_question(site: Site) -> None:
    """A request that was killed after the last byte was committed loses nothing: HEAD makes the file."""
    content = secrets.token_bytes(9 * MIB)
    url = site.create()
    assert site.append(url, 0, content).status_code == 204
    site.change("UPDATE filestore_upload SET length = offset")
    answer = site.ask("HEAD", url)
    assert (answer.status_code, "filestore-reference" in answer.headers) == (200, True)
    assert content_of(site) == content


def test_upload_that_the_store_has_lost_is_gone(site: Site) -> None:
    """If the store has removed the unfinished object, the client learns that it has to begin again."""
    url = site.create(20 * MIB)
    assert site.append(url, 0, bytes(9 * MIB)).status_code == 204
    ((key, name),) = site.query("SELECT key, store_upload FROM filestore_upload")
    site.backend.abandon_parts(key, name)
    assert site.append(url, 9 * MIB, bytes(9 * MIB)).status_code == 410
    assert site.ask("HEAD", url).status_code == 404


@pytest.mark.parametrize("same", [True, False])
def test_part_that_comes_late_cannot_spoil_an_upload(serve: Serve, tmp_path: Path, same: bool) -> None:  # noqa: FBT001
    """A request that was taken for dead may still store its part: the same bytes do no harm, others are refused."""
    site = serve(backend_in(tmp_path, picky=True))
    content = secrets.token_bytes(10 * MIB)
    late = content[: 8 * MIB] if same else secrets.token_bytes(8 * MIB)
    url = site.create(len(content))
    assert site.append(url, 0, content[: 9 * MIB]).status_code == 204
    portal, ((key, name),) = site.client.blocking_portal, site.query("SELECT key, store_upload FROM filestore_upload")
    portal.call(site.backend.put_part_async, key, name, 1, 0, late)
    answer = site.append(url, 9 * MIB, content[9 * MIB :])
    if same:
        assert (answer.status_code, b"".join(site.backend.get(key))) == (204, content)
    else:
        assert (answer.status_code, site.ask("HEAD", url).status_code) == (410, 404)
        site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
        site.sweep()
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


def test_body_without_a_length_is_bounded(site: Site) -> None:
    """A body that is sent in chunks is cut off where the upload ends."""
    url = site.create(100_000)
    answer = site.append(url, 0, iter([bytes(60_000)] * 3))
    assert answer.status_code == 413
    assert site.offset(url) <= 100_000


def test_creation_without_names_and_types_is_taken(site: Site) -> None:
    """Uppy sends the word null for what it does not know."""
    said = metadata(name="null", type="null", relativePath="null")
    reference = site.upload(b"text", Upload_Metadata=said)
    assert site.client.post("/documents/json", json={"title": "x", "file": reference}).status_code == 201


def test_creation_with_upload_that_is_refused_leaves_nothing(site: Site) -> None:
    """The client does not know its URL, so it cannot go on."""
    said = {"Upload_Checksum": "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "Content_Type": OFFSET_TYPE}
    assert site.ask("POST", PATH, b"Hello", Upload_Length="9", **said).status_code == 460
    assert site.query("SELECT id FROM filestore_upload") == []
