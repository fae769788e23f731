"""Direct uploads through the application, for stores that take nothing from clients."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest
from litestar import Litestar

from litestar_filestore import FilestoreConfig, FilestorePlugin, MemoryBackend, create_upload_router
from litestar_filestore.errors import ConfigurationError
from tests.direct.conftest import Direct, Serve
from tests.tus.tus_app import PATH

MIB = 1024 * 1024
TEXT = b"0123456789abcdef" * (MIB // 16)


def take(direct: Direct, reference: str) -> dict[str, Any]:
    """Put the file of a reference into a row."""
    answer = direct.site.client.post("/documents", files={"title": (None, "T"), "file": (None, reference)})
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


def content_of(direct: Direct) -> bytes:
    """Return the content of the only object."""
    (key,) = direct.site.keys()
    return b"".join(direct.site.backend.get(key))


@pytest.mark.parametrize("size", [0, 5, 17 * MIB + 3])
def test_page_uploads_and_takes(direct: Direct, size: int) -> None:
    """The parts of a page become one file, with digest and type, which a row takes; the upload is then gone."""
    content = (TEXT * 18)[:size]
    begun = direct.begin(size)
    assert [part["size"] for part in begun["parts"]] == [8 * MIB, 8 * MIB, MIB + 3][: len(begun["parts"])] or size < MIB
    for part in begun["parts"]:
        at = (part["number"] - 1) * begun["part_bytes"]
        answer = direct.put_to(part["url"], content[at : at + part["size"]])
        assert answer.status_code == 200, answer.text
        assert answer.headers["etag"]
    done = direct.finish(begun["ticket"]).json()
    assert (done["filename"], done["size"]) == ("a.txt", size)
    assert direct.finish(begun["ticket"]).json()["size"] == size  # the answer may have been lost
    assert take(direct, done["reference"])["size"] == size
    assert content_of(direct) == content
    assert direct.finish(begun["ticket"]).status_code == 410
    assert direct.site.states() == ["linked"]


def test_uppy_decides_parts(direct: Direct) -> None:
    """Uppy cuts the file as it likes, lists what has come, and is told the reference as key."""
    ticket = direct.begin_in_parts()
    assert direct.put(ticket, 1, TEXT * 5).status_code == 200
    assert [part["PartNumber"] for part in direct.ask("GET", f"/s3/multipart/{ticket}").json()] == [1]
    assert direct.put(ticket, 2, b"the end").status_code == 200
    answer = direct.ask("POST", f"/s3/multipart/{ticket}/complete", params={"key": ticket}, json={"parts": []})
    assert answer.status_code == 200, answer.text
    reference = answer.json()["key"]
    # A page that does not know how Uppy has sent the file finishes all of them alike.
    assert direct.finish(reference).json()["reference"] == reference
    assert take(direct, reference)["size"] == 5 * MIB + 7
    assert content_of(direct) == TEXT * 5 + b"the end"


def test_uppy_posts_small_file(direct: Direct) -> None:
    """A small file comes in a form; the ticket among its fields finishes it."""
    assert direct.ask("POST", "/s3/form/x", files={"file": ("a.txt", b"no ticket")}).status_code == 404
    asked = direct.ask("GET", "/s3/params", params={"filename": "a.txt", "type": "text/plain", "metadata[x]": "1"})
    assert asked.status_code == 200, asked.text
    assert "tus-resumable" not in asked.headers
    url, fields = asked.json()["url"], asked.json()["fields"]
    assert direct.site.states() == []  # a page of another origin can make a browser ask
    answer = direct.ask("POST", url, data=fields, files={"file": ("a.txt", b"small")})
    assert answer.status_code == 204, answer.text
    assert direct.ask("POST", url, data=fields, files={"file": ("a.txt", b"again")}).status_code == 409
    done = direct.finish(fields["key"]).json()
    assert take(direct, done["reference"])["size"] == 5
    direct.site.sweep()
    assert direct.site.states().count("linked") == 1


def test_plain_form(direct: Direct) -> None:
    """A form goes to the application where the store takes none; its size is checked while it comes."""
    form = direct.ask("POST", "/form", json={"filename": "a.txt"}).json()
    assert form["url"].endswith(f"/documents/uploads/s3/form/{form['ticket']}")
    assert direct.finish(form["ticket"]).status_code == 404  # nothing is kept before the file comes
    answer = direct.ask("POST", form["url"], data=form["fields"], files={"file": ("a.txt", b"%PDF-1.7")})
    assert answer.status_code == 415
    answer = direct.ask("POST", form["url"], data=form["fields"], files={"file": ("a.txt", b"text")})
    assert answer.status_code == 204
    assert direct.finish(form["ticket"]).json()["size"] == 4


def test_plain_form_leads_to_a_page(serve: Serve) -> None:
    """The browser goes to the page that the application has named, with a reference that a row takes; Uppy stays."""
    direct = Direct(serve(form_page="/documents/new"))
    direct.site.client.follow_redirects = False
    form = direct.ask("POST", "/form", json={"filename": "a.txt"}).json()
    answer = direct.ask("POST", form["url"], data=form["fields"], files={"file": ("a.txt", b"text")})
    page, _, query = answer.headers["location"].partition("?")
    assert (answer.status_code, page, answer.headers["cache-control"]) == (303, "/documents/new", "no-store")
    assert take(direct, *parse_qs(query)["reference"])["size"] == 4
    of_uppy = direct.ask("GET", "/s3/params", params={"filename": "a.txt", "type": "text/plain"}).json()
    answer = direct.ask("POST", of_uppy["url"], data=of_uppy["fields"], files={"file": ("a.txt", b"text")})
    assert answer.status_code == 204


@pytest.mark.parametrize(
    "page",
    ["", "documents", "//evil.example.com/", "/\\evil.example.com", "https://evil.example.com/", "/a?b", "/a\nb"],
)
def test_form_page_of_another_site(page: str) -> None:
    """References go to pages of this site only: whatever browsers may take for another one is refused."""
    with pytest.raises(ConfigurationError, match="path of this site"):
        create_upload_router(PATH, backend="documents", public=True, form_page=page)


def test_memory(serve: Serve) -> None:
    """A store in memory takes the same requests."""
    direct = Direct(serve(MemoryBackend("documents")))
    content = TEXT * 9 + b"!"
    assert take(direct, direct.upload(content))["size"] == len(content)
    assert content_of(direct) == content


# -- hostile


def test_ticket_of_another(direct: Direct) -> None:
    """An upload of another owner does not exist, whatever is asked; neither does one of a made-up ticket."""
    ticket = direct.begin_in_parts()
    thief = Direct(direct.site, "bob")
    for each in (ticket, ticket[:-2] + "xx", "1" * 32):
        upload = f"/s3/multipart/{each}"
        for method, path in (("GET", "/1"), ("PUT", "/1"), ("GET", ""), ("DELETE", ""), ("POST", "/complete")):
            assert thief.ask(method, upload + path).status_code == 404, (method, path)
        assert thief.finish(each).status_code == 404
    assert direct.put(ticket, 1, b"mine").status_code == 200


def test_stranger_is_refused(direct: Direct) -> None:
    """Guards stand before each route."""
    stranger = Direct(direct.site, "stranger")
    assert stranger.ask("POST", "/begin", json={"filename": "a", "size": 1}).status_code == 401
    assert stranger.ask("GET", "/s3/params").status_code == 401
    assert stranger.ask("PUT", "/s3/multipart/x/1", content=b"x").status_code == 401


def test_put_after_finish(direct: Direct) -> None:
    """What is put after the end changes nothing."""
    begun = direct.begin(5)
    (part,) = begun["parts"]
    direct.put_to(part["url"], b"first")
    assert direct.finish(begun["ticket"]).status_code == 200
    assert direct.put_to(part["url"], b"later").status_code == 409
    assert direct.ask("GET", f"/s3/multipart/{begun['ticket']}/1").status_code == 409
    assert content_of(direct) == b"first"


def test_wrong_type(direct: Direct) -> None:
    """A file of a wrong type is refused by its name at the beginning, and by its content at the end; nothing stays."""
    answer = direct.ask("POST", "/begin", json={"filename": "a.png", "type": "image/png", "size": 5})
    assert answer.status_code == 415
    begun = direct.begin(8)
    direct.put_to(begun["parts"][0]["url"], b"%PDF-1.7")
    assert direct.finish(begun["ticket"]).status_code == 415
    assert direct.finish(begun["ticket"]).status_code == 404
    direct.site.change("UPDATE filestore_object SET not_before = 0")
    direct.site.sweep()
    assert direct.site.keys() == []


def test_sizes_that_lie(serve: Serve) -> None:
    """A size above the limit, a longer part and a missing one are refused before there is an object."""
    direct = Direct(serve(max_bytes=10))
    assert direct.ask("POST", "/begin", json={"filename": "a.txt", "size": 11}).status_code == 413
    assert direct.ask("POST", "/begin", json={"filename": "a.txt", "size": -1}).status_code == 400
    begun = direct.begin(6)
    url = begun["parts"][0]["url"]
    assert direct.put_to(url, b"much more than the part takes").status_code == 413
    assert direct.finish(begun["ticket"]).status_code == 409  # nothing has come
    assert direct.put_to(url, b"four").status_code == 200
    assert direct.finish(begun["ticket"]).status_code == 409
    ticket = direct.begin_in_parts()
    assert direct.put(ticket, 2, b"x").status_code == 409  # where does it belong?
    assert direct.put(ticket, 1, b"eleven bytes").status_code == 413
    assert direct.put(ticket, 1, b"12345678").status_code == 200
    assert direct.put(ticket, 2, b"123").status_code == 413
    assert direct.put(ticket, 2, b"12").status_code == 200
    assert direct.finish(ticket).status_code == 200


def test_numbers_out_of_range(direct: Direct) -> None:
    """There are no such parts."""
    ticket = direct.begin_in_parts()
    for number in ("0", "-1", "10001", "99999999999999999999"):
        assert direct.ask("GET", f"/s3/multipart/{ticket}/{number}").status_code in {400, 404}
        assert direct.ask("PUT", f"/s3/multipart/{ticket}/{number}", content=b"x").status_code in {400, 404}


def test_gap(direct: Direct) -> None:
    """A part that has not come is named."""
    begun = direct.begin(17 * MIB)
    for part in begun["parts"][::2]:
        assert direct.put_to(part["url"], (TEXT * 8)[: part["size"]]).status_code == 200
    answer = direct.finish(begun["ticket"])
    assert answer.status_code == 409
    assert "Part 2" in answer.json()["detail"]


def test_many_open_uploads(serve: Serve) -> None:
    """An owner has so many open uploads at most."""
    direct = Direct(serve(max_open_per_owner=1))
    direct.begin_in_parts()
    assert direct.ask("POST", "/begin", json={"filename": "a.txt", "size": 1}).status_code == 429
    assert Direct(direct.site, "bob").begin_in_parts()


def test_text_begins_nothing(direct: Direct) -> None:
    """A page of another origin can send text with the user's cookies, and no JSON: it begins nothing."""
    content = '{"filename": "a.txt", "size": 1}'
    for path in ("/begin", "/s3/multipart"):
        answer = direct.site.client.post(PATH + path, content=content, headers={"content-type": "text/plain"})
        assert answer.status_code == 415
    assert direct.site.states() == []


def test_abort(direct: Direct) -> None:
    """An aborted upload is gone, with what has come of it."""
    ticket = direct.begin_in_parts()
    direct.put(ticket, 1, b"something")
    assert direct.ask("DELETE", f"/s3/multipart/{ticket}").status_code == 204
    assert direct.ask("DELETE", f"/s3/multipart/{ticket}").status_code == 404
    assert direct.site.states() == ["doomed"]


def test_document() -> None:
    """The routes are in the OpenAPI document, with the types of what they take and answer."""
    router = create_upload_router("/uploads", backend="documents", public=True, include_in_schema=True)
    plugin = FilestorePlugin(FilestoreConfig([MemoryBackend("documents")], ledger=None))
    document = Litestar([router], plugins=[plugin]).openapi_schema.to_schema()
    begin = document["paths"]["/uploads/begin"]["post"]
    assert begin["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("NewUpload")
    assert begin["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].endswith("BegunUpload")
    listed = document["paths"]["/uploads/s3/multipart/{ticket}"]["get"]["responses"]["200"]["content"]
    assert listed["application/json"]["schema"]["items"]["$ref"].endswith("UppyListedPart")
    assert "PartNumber" in document["components"]["schemas"]["UppyListedPart"]["properties"]
