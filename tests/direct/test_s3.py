"""Direct uploads into S3: real signatures, through both libraries."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from litestar_filestore import FSSpecBackend, ObstoreBackend, StorageBackend
from litestar_filestore.drivers import Capability
from tests.direct.conftest import Direct, Serve
from tests.links.conftest import s3_backend, s3fs_backend
from tests.servers.s3 import S3Server

MIB = 1024 * 1024
Make = Callable[[S3Server, str], StorageBackend]
MAKERS = pytest.mark.parametrize("make", [s3_backend, s3fs_backend])


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """A bucket for all tests of this module."""
    s3_server.create_bucket(name := f"direct-{secrets.token_hex(4)}")
    return name


@pytest.fixture
def s3(s3_server: S3Server, bucket: str, serve: Serve) -> Callable[..., Direct]:
    """Make a client of an application with its files in S3."""
    return lambda make=s3fs_backend, **options: Direct(serve(make(s3_server, bucket), **options))


def sent(direct: Direct, content: bytes, begun: dict[str, Any]) -> str:
    """Put the parts, and return the ticket."""
    for part in begun["parts"]:
        at = (part["number"] - 1) * begun["part_bytes"]
        answer = httpx.put(part["url"], content=content[at : at + part["size"]])
        assert answer.status_code == 200, answer.text
    return str(begun["ticket"])


@pytest.mark.slow
@MAKERS
def test_parts_go_to_the_store(s3: Callable[..., Direct], make: Make) -> None:
    """The client puts the parts into the store by itself; the row takes the file, and only it is there."""
    direct, content = s3(make), secrets.token_hex(4 * MIB + 3).encode()[:-1]
    begun = direct.begin(len(content))
    assert all("testserver" not in part["url"] and "X-Amz-Signature" in part["url"] for part in begun["parts"])
    ticket = sent(direct, content, begun)
    assert [each["Size"] for each in direct.ask("GET", f"/s3/multipart/{ticket}").json()] == [8 * MIB, 5]
    done = direct.finish(ticket).json()
    assert done["content_type"] == "text/plain"
    answer = direct.site.client.post("/documents", files={"title": (None, "T"), "file": (None, done["reference"])})
    assert answer.json()["size"] == len(content)
    (key,) = direct.site.keys()
    assert b"".join(direct.site.backend.get(key)) == content
    assert direct.site.states() == ["linked"]
    assert httpx.put(begun["parts"][0]["url"], content=content[: 8 * MIB]).status_code == 404
    assert b"".join(direct.site.backend.get(key)) == content


@pytest.mark.slow
def test_parts_of_other_lengths(s3: Callable[..., Direct]) -> None:
    """The length of each part is signed; without a declared size, the sum is refused before the object exists."""
    direct = s3(max_bytes=100)
    begun = direct.begin(10)
    assert httpx.put(begun["parts"][0]["url"], content=b"eleven byte").status_code == 403
    assert direct.finish(begun["ticket"]).status_code == 409
    assert sent(direct, b"ten bytes!", begun) == begun["ticket"]
    assert direct.finish(begun["ticket"]).json()["size"] == 10
    ticket = direct.begin_in_parts()
    assert direct.put(ticket, 1, b"x" * 101).status_code == 200
    assert direct.ask("POST", f"/s3/multipart/{ticket}/complete").status_code == 413
    assert direct.ask("GET", f"/s3/multipart/{ticket}").status_code == 404
    direct.site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    direct.site.sweep()
    assert len(direct.site.keys()) == 1


@pytest.mark.slow
def test_wrong_content(s3: Callable[..., Direct]) -> None:
    """Content of a wrong type is found out by a look at its first bytes; the object is deleted."""
    direct = s3()
    ticket = sent(direct, b"%PDF-1.7", direct.begin(8))
    assert direct.finish(ticket).status_code == 415
    direct.site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    direct.site.sweep()
    assert direct.site.keys() == []


@pytest.mark.slow
def test_small_parts_and_gaps(s3: Callable[..., Direct]) -> None:
    """Parts that the store would not join are refused with a reason, and the upload goes on."""
    direct = s3()
    ticket = direct.begin_in_parts()
    assert direct.put(ticket, 1, b"small").status_code == 200
    assert direct.put(ticket, 3, b"small").status_code == 200
    assert "Part 2" in direct.finish(ticket).json()["detail"]
    assert direct.put(ticket, 2, b"small").status_code == 200
    assert "5242880" in direct.finish(ticket).json()["detail"]
    assert direct.ask("GET", f"/s3/multipart/{ticket}/9901").status_code == 404
    assert direct.ask("DELETE", f"/s3/multipart/{ticket}").status_code == 204


@pytest.mark.slow
def test_empty_file(s3: Callable[..., Direct]) -> None:
    """A file of no bytes has no parts."""
    direct = s3()
    assert direct.finish(sent(direct, b"", direct.begin(0))).json()["size"] == 0


@pytest.mark.slow
@MAKERS
def test_form_goes_to_the_store(s3: Callable[..., Direct], make: Make) -> None:
    """A plain form puts the file into the store, within a limit; sending it again changes nothing that counts."""
    direct = s3(make, max_bytes=100)
    form = direct.ask("POST", "/form", json={"filename": "a.txt"}).json()
    assert "testserver" not in form["url"]
    assert direct.finish(form["ticket"]).status_code == 409

    def send(content: bytes) -> int:
        return httpx.post(form["url"], data=form["fields"], files={"file": ("a.txt", content)}).status_code

    assert send(b"x" * 101) == 400
    assert send(b"from a form") == 204
    done = direct.finish(form["ticket"]).json()
    assert (done["size"], done["content_type"]) == (11, "text/plain")
    assert send(b"changed") == 204
    assert direct.finish(form["ticket"]).json()["size"] == 11
    answer = direct.site.client.post("/documents", files={"title": (None, "T"), "file": (None, done["reference"])})
    assert answer.status_code == 201
    direct.site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'staged'")
    direct.site.sweep()
    direct.site.change("UPDATE filestore_object SET not_before = 0 WHERE state = 'doomed'")
    direct.site.sweep()
    (key,) = direct.site.keys()
    assert b"".join(direct.site.backend.get(key)) == b"from a form"


@pytest.mark.slow
def test_form_leads_to_a_page(s3: Callable[..., Direct]) -> None:
    """The store sends the browser to the application, which checks the file and only then names its page."""
    direct = s3(form_page="/documents/new")
    direct.site.client.follow_redirects = False
    new = {"filename": "a.txt"}
    form, wrong = (direct.ask("POST", "/form", json=new).json() for _ in range(2))
    assert direct.ask("GET", f"/s3/form/{form['ticket']}/sent").status_code == 409

    def send(form: dict[str, Any], content: bytes, **changed: str) -> httpx.Response:
        return httpx.post(form["url"], data={**form["fields"], **changed}, files={"file": ("a.txt", content)})

    assert send(form, b"text", success_action_redirect="https://evil.example.com/").status_code == 403
    sent = send(form, b"from a form").headers["location"]
    assert sent.partition("?")[0].endswith(f"/documents/uploads/s3/form/{form['ticket']}/sent")
    done = direct.ask("GET", sent)
    assert (done.status_code, done.headers["referrer-policy"]) == (303, "no-referrer")
    page, _, query = done.headers["location"].partition("?")
    (reference,) = parse_qs(query)["reference"]
    assert page == "/documents/new"
    answer = direct.site.client.post("/documents", files={"title": (None, "T"), "file": (None, reference)})
    assert answer.json()["size"] == 11
    assert Direct(direct.site, "bob").ask("GET", sent).status_code == 404
    assert direct.ask("GET", send(wrong, b"%PDF-1.7").headers["location"]).status_code == 415


@pytest.mark.slow
def test_nothing_stays_of_abandoned_uploads(s3: Callable[..., Direct]) -> None:
    """What clients have put and never finished is swept: the parts, which no listing of objects shows, and the form."""
    direct = s3()
    begun = direct.begin(10)
    sent(direct, b"ten bytes!", begun)
    form = direct.ask("POST", "/form", json={"filename": "a.txt"}).json()
    assert httpx.post(form["url"], data=form["fields"], files={"file": ("a.txt", b"text")}).status_code == 204
    assert len(direct.site.keys()) == 1
    direct.site.change("UPDATE filestore_upload SET expires_at = 0")
    for _ in ("staged becomes doomed", "doomed becomes gone"):
        direct.site.change("UPDATE filestore_object SET not_before = 0")
        direct.site.sweep()
    assert direct.site.query("SELECT id FROM filestore_upload") == []
    assert direct.site.keys() == []
    assert httpx.put(begun["parts"][0]["url"], content=b"ten bytes!").status_code == 404


def test_stores_without_forms() -> None:
    """Cloudflare's R2 and Backblaze's B2 refuse forms, and take parts."""
    for host in ("x.r2.cloudflarestorage.com", "s3.us-west-002.backblazeb2.com"):
        keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "aws_region": "auto"}
        options: Any = {**keys, "aws_endpoint": f"https://{host}"}
        obstore = ObstoreBackend("documents", "s3://b/", **options)
        fsspec = FSSpecBackend("documents", "s3://b", username="k", password="s", endpoint_url=f"https://{host}")
        for backend in (obstore, fsspec):
            assert Capability.SIGN_PARTS in backend.capabilities
            assert Capability.SIGN_FORM not in backend.capabilities
