"""A link lets its holder download one file for a while, in the same way from every store."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from litestar import get
from litestar.di import NamedDependency, Provide

from litestar_filestore import FileObject, MemoryBackend, StorageBackend, storages
from litestar_filestore.core.file_object import LinkWish
from litestar_filestore.errors import ConfigurationError, InvalidArgumentError
from litestar_filestore.links.link_config import LinkConfig
from tests.links.conftest import OTHER_SECRET, SECRET, Clock, Serve, Served, put

OWN = LinkConfig(native=False)
DAY = 24 * 3600


def follow(served: Served, url: str, method: str = "GET", **options: Any) -> httpx.Response:
    """Ask for a link, wherever it leads."""
    if url.startswith("/"):
        return served.client.request(method, url, **options)
    return httpx.request(method, url, trust_env=False, timeout=30, **options)


@pytest.fixture
def real_time(clock: Clock) -> None:
    """Let the clock be right: stores that sign have one of their own."""
    clock.now = time.time()


@pytest.mark.usefixtures("real_time")
@pytest.mark.parametrize("native", [True, False], ids=["native", "own"])
def test_get_of_a_link_downloads(backend: StorageBackend, serve: Serve, *, native: bool) -> None:
    """The bytes come with their type, and with the name to save them under."""
    served = serve(backend, links=LinkConfig(native=native))
    answer = follow(served, storages.url_for(put(backend)))
    assert (answer.status_code, answer.content) == (200, b"%PDF-1.7 ...")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'attachment; filename="report.pdf"'


@pytest.mark.usefixtures("real_time")
async def test_get_of_a_link_made_asynchronously_downloads(backend: StorageBackend, serve: Serve) -> None:
    """The async form makes the same links."""
    served = serve(backend)
    file = await FileObject(backend, "a.txt", content=b"abc").save_async()
    try:
        assert follow(served, await storages.url_for_async(file)).content == b"abc"
        assert follow(served, await file.url_async()).content == b"abc"
    finally:
        await backend.close_async()


@pytest.mark.usefixtures("real_time")
def test_head_of_a_link_is_get_without_the_bytes(answering: StorageBackend, serve: Serve) -> None:
    """A link of the application answers HEAD; a link of S3 is signed for GET alone."""
    served = serve(answering)
    url = storages.url_for(put(answering))
    answer = follow(served, url, "HEAD")
    if url.startswith("/"):
        assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "12", b"")
    else:
        assert answer.status_code == 403


@pytest.mark.usefixtures("real_time")
def test_link_carries_disposition_and_name(answering: StorageBackend, serve: Serve) -> None:
    """What a browser should show is shown, under the name that was asked for."""
    served = serve(answering)
    file = put(answering, b"\x89PNG\r\n\x1a\n", "photo.png")
    answer = follow(served, storages.url_for(file, disposition="inline", filename="Müller.png"))
    assert answer.headers["content-disposition"] == "inline; filename=\"Muller.png\"; filename*=UTF-8''M%C3%BCller.png"
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.usefixtures("real_time")
@pytest.mark.parametrize("name", ["page.html", "image.svg", "script.js", "feed.xml", "page.xhtml"])
def test_active_content_is_never_shown(answering: StorageBackend, serve: Serve, name: str) -> None:
    """What could run a script is saved as bytes of no type, also where the link asks for inline."""
    served = serve(answering)
    file = put(answering, b"<script>alert(1)</script>", name)
    headers = follow(served, storages.url_for(file, disposition="inline")).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment; ")


@pytest.mark.usefixtures("real_time")
@pytest.mark.parametrize(
    "name",
    [
        'a"; x="b.txt',
        "a\r\nX-Evil: 1\r\n.txt",
        "../../etc/passwd.txt",
        "..\\..\\boot.txt",
        "invoice\u202etxt.exe.txt",
        "NUL.txt",
        "日本語.txt",
        "a" * 1000 + ".txt",
        "nul\0byte.txt",
        "🙂; filename*=UTF-8''evil.txt",
        "%0d%0aX-Evil: 1.txt",
    ],
)
def test_hostile_name_stays_a_name(answering: StorageBackend, serve: Serve, name: str) -> None:
    """No name adds a header or a parameter, or leaves the folder in which it is saved."""
    served = serve(answering)
    answer = follow(served, storages.url_for(put(answering, b"abc", name)))
    value = answer.headers["content-disposition"]
    assert (answer.status_code, answer.content, "x-evil" in answer.headers) == (200, b"abc", False)
    assert value.isascii()
    assert value.isprintable()
    assert value.count("filename=") == 1
    assert value.count("filename*=") <= 1
    assert not set(value.partition('"')[2].partition('"')[0]) & set('/\\"<>:|?*\r\n\0')


@pytest.mark.usefixtures("real_time")
def test_query_changes_nothing(answering: StorageBackend, serve: Serve) -> None:
    """Parameters that somebody adds to a link are ignored, or the link is refused."""
    served = serve(answering)
    url = storages.url_for(put(answering, b"<script>", "a.html"))
    more = "response-content-type=text/html&response-content-disposition=inline&disposition=inline&filename=x.html"
    answer = follow(served, f"{url}{'&' if '?' in url else '?'}{more}")
    shown = answer.status_code == 200 and "inline" in answer.headers["content-disposition"]
    assert not shown
    assert "html" not in answer.headers["content-type"]


@pytest.mark.usefixtures("real_time")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
def test_other_method_is_refused(answering: StorageBackend, serve: Serve, method: str) -> None:
    """A link to read neither writes nor deletes."""
    served = serve(answering)
    file = put(answering)
    answer = follow(served, storages.url_for(file), method, content=b"evil")
    assert answer.is_client_error
    assert file.get_content() == b"%PDF-1.7 ..."


def test_link_ends(backend: StorageBackend, serve: Serve) -> None:
    """A link is good for its life at most, and for half of it at least."""
    served = serve(backend, links=OWN)
    url = storages.url_for(put(backend), expires_in=100)
    begin = served.clock.now
    found: dict[int, int] = {}
    for after in (0, 49, 100, DAY):
        served.clock.now = begin + after
        found[after] = follow(served, url).status_code
    assert found == {0: 200, 49: 200, 100: 403, DAY: 403}


def test_link_of_another_application_is_refused(memory: MemoryBackend, serve: Serve) -> None:
    """A link that was signed with another secret opens nothing."""
    foreign = serve(memory, secret=OTHER_SECRET).config.signer
    assert foreign is not None
    url = foreign.url_for(put(memory), LinkWish(native=False))
    assert serve(memory).client.get(url).status_code == 403


def test_rotated_secret_opens_and_retired_secret_does_not(memory: MemoryBackend, serve: Serve) -> None:
    """Links that are out survive a new secret in front, and end with their own."""
    old = serve(memory)
    url = storages.url_for(put(memory))
    assert [
        serve(memory, secret=secret).client.get(url).status_code
        for secret in (SECRET, [OTHER_SECRET, SECRET], [OTHER_SECRET])
    ] == [200, 200, 403]
    assert old.client.get(url).status_code == 200


def test_refusals_look_the_same(memory: MemoryBackend, serve: Serve) -> None:
    """A damaged, an ended and a foreign link get one answer."""
    served = serve(memory)
    url = storages.url_for(put(memory))
    answers = [served.client.get(url[:-1] + ("A" if url[-1] != "A" else "B")), served.client.get("/filestore/x")]
    served.clock.now += DAY
    answers.append(served.client.get(url))
    assert {(each.status_code, each.text) for each in answers} == {
        (403, '{"status_code":403,"detail":"This link is not valid, or no longer valid: ask for a new one"}')
    }


def test_link_to_a_deleted_file_is_404(backend: StorageBackend, serve: Serve) -> None:
    """Where the object has gone, the link finds nothing."""
    served = serve(backend, links=OWN)
    file = put(backend)
    url = storages.url_for(file)
    file.delete()
    assert follow(served, url).status_code == 404


def test_links_of_one_window_are_the_same(memory: MemoryBackend, serve: Serve) -> None:
    """Within a window a file has one URL, after it another."""
    clock = serve(memory).clock
    clock.now = 1_800_000_000.0
    file = put(memory)
    urls = []
    for after in (0, 1, 59.9, 60, 119, 120):
        clock.now = 1_800_000_000.0 + after
        urls.append(storages.url_for(file))
    assert [urls.index(url) for url in urls] == [0, 0, 0, 3, 3, 5]


def test_links_to_two_files_differ(memory: MemoryBackend, serve: Serve) -> None:
    """Equal content does not make equal links."""
    serve(memory)
    assert storages.url_for(put(memory)) != storages.url_for(put(memory))


def test_file_makes_its_own_link(memory: MemoryBackend, serve: Serve) -> None:
    """`FileObject.url` is the registry's link, also with headers."""
    serve(memory)
    file = put(memory)
    assert file.url() == storages.url_for(file)
    assert file.url(expires_in=60, disposition="inline", filename="b.pdf") == storages.url_for(
        file, expires_in=60, disposition="inline", filename="b.pdf"
    )


@pytest.mark.usefixtures("real_time")
def test_sign_falls_to_the_application(backend: StorageBackend, serve: Serve) -> None:
    """`sign` works on stores that cannot sign, as on those that can."""
    served = serve(backend)
    url = put(backend).sign()
    assert (follow(served, url).content, url.startswith("/")) == (b"%PDF-1.7 ...", backend.protocol != "s3")


async def test_sign_async_falls_to_the_application(memory: MemoryBackend, serve: Serve) -> None:
    """The async form does the same."""
    served = serve(memory)
    assert served.client.get(await put(memory).sign_async(expires_in=60)).content == b"%PDF-1.7 ..."


def test_public_store_needs_no_signature(serve: Serve) -> None:
    """Below a public URL, or a content delivery network's, files are linked as they are."""
    backend = MemoryBackend("documents", base_url="https://cdn.example.com/files")
    serve(backend)
    file = put(backend)
    assert storages.url_for(file) == f"https://cdn.example.com/files/{file.key}"


def test_public_store_signs_what_a_public_link_cannot_say(serve: Serve) -> None:
    """A life, a disposition or a name takes a signed link."""
    backend = MemoryBackend("documents", base_url="https://cdn.example.com")
    serve(backend)
    file = put(backend)
    wishes: list[dict[str, Any]] = [{"expires_in": 60}, {"disposition": "inline"}, {"filename": "x.pdf"}]
    assert all(storages.url_for(file, **wish).startswith("/filestore/") for wish in wishes)


def test_public_url_of_the_application(memory: MemoryBackend, serve: Serve) -> None:
    """Links begin with the configured URL, under whatever name the application is asked."""
    served = serve(memory, links=LinkConfig(path="/files", public_url="https://cdn.example.com/app/"))
    url = storages.url_for(put(memory))
    assert url.startswith("https://cdn.example.com/app/files/")
    path = urlsplit(url).path.removeprefix("/app")
    assert served.client.get(path, headers={"host": "evil.example"}).content == b"%PDF-1.7 ..."


@pytest.mark.parametrize("expires_in", [0, -1, 7 * DAY + 1])
def test_life_out_of_bounds_is_refused(memory: MemoryBackend, serve: Serve, expires_in: int) -> None:
    """A link lives a second to seven days."""
    serve(memory)
    with pytest.raises(InvalidArgumentError):
        storages.url_for(put(memory), expires_in=expires_in)


def test_file_that_was_not_saved_has_no_link(memory: MemoryBackend, serve: Serve) -> None:
    """There is nothing yet that could be downloaded."""
    serve(memory)
    with pytest.raises(InvalidArgumentError, match="not saved"):
        storages.url_for(FileObject(memory, "a.txt", content=b"abc"))


def test_no_application_no_link(memory: MemoryBackend) -> None:
    """Without a secret links cannot be made, and the error says what to do."""
    with pytest.raises(ConfigurationError, match="secret"):
        storages.url_for(put(memory))


@get("/file", sync_to_thread=False)
def show(file: NamedDependency[FileObject]) -> FileObject:
    """Return the file."""
    return file


def test_get_shows_a_link_that_works(backend: StorageBackend, serve: Serve) -> None:
    """The `url` of a file in a response is a link of the application, whatever the store."""
    file = put(backend)
    served = serve(backend, [show], dependencies={"file": Provide(lambda: file, sync_to_thread=False)})
    url = served.client.get("/file").json()["url"]
    assert (url.startswith("/filestore/"), follow(served, url).content) == (True, b"%PDF-1.7 ...")


def test_get_shows_the_same_link_within_a_window(memory: MemoryBackend, serve: Serve) -> None:
    """A page that is loaded again finds its pictures in the browser's cache."""
    file = put(memory)
    served = serve(memory, [show], dependencies={"file": Provide(lambda: file, sync_to_thread=False)})
    first = served.client.get("/file").json()
    served.clock.now += 1
    assert served.client.get("/file").json() == first
