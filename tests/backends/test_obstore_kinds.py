"""What is special about Azure, Google, HTTP servers and memory below obstore."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from litestar_filestore.backends.obstore.obstore_backend import ObstoreBackend
from litestar_filestore.errors import (
    BucketNotFoundError,
    ObjectExistsError,
    UnsupportedOperationError,
)
from tests.backends.obstore_stores import azure_backend, gcs_backend, make_bucket, make_container, webdav_backend
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.webdav import WebdavServer

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def container(azure_server: AzureServer) -> str:
    """Make a container for the module."""
    return make_container(azure_server)


@pytest.fixture
def azure(azure_server: AzureServer, container: str) -> Iterator[ObstoreBackend]:
    """Build a backend on it."""
    backend = azure_backend(azure_server, container)
    yield backend
    backend.close()


@pytest.fixture
def webdav(webdav_server: WebdavServer) -> Iterator[ObstoreBackend]:
    """Build a backend on the root of a WebDAV server."""
    backend = webdav_backend(webdav_server)
    yield backend
    backend.close()


# -- Azure


def test_azure_takes_only_identifiers_as_names(azure: ObstoreBackend) -> None:
    """It refuses the whole put for one other name; the row keeps all of them anyway."""
    azure.put(b"abc", key="names", metadata={"plain": "1", "with-dash": "2", "2nd": "3", "_under_1": "4"})
    assert azure.head("names").metadata == {"plain": "1", "_under_1": "4"}


@pytest.mark.parametrize("content_type", ["text/plain; ", "text/plain\t; charset=utf-8"])
def test_azure_takes_blanks_in_a_content_type(azure: ObstoreBackend, content_type: str) -> None:
    """Blanks at the end do not count in a header, but obstore signs them, and Azure would refuse the signature."""
    azure.put(b"abc", key="blanks", content_type=content_type, overwrite=True)
    assert azure.head("blanks").content_type == content_type.rstrip()


@pytest.mark.parametrize("is_async", [True, False])
async def test_azure_deletes_all_in_spite_of_missing_ones(azure: ObstoreBackend, *, is_async: bool) -> None:
    """It complains about the first that is missing, also when others are not deleted yet."""
    keys = [f"many/{number}" for number in range(40)]
    for key in keys[::2]:
        azure.put(b"abc", key=key, overwrite=True)
    if is_async:
        await azure.delete_async(keys)
    else:
        azure.delete(keys)
    assert list(azure.list("many")) == []


@pytest.mark.parametrize("key", ["a b", "ä", "100%", "a?b", "a#b", "a=b", "a,b", "a@b"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_azure_keys_that_are_signed_wrongly_are_refused(azure: ObstoreBackend, key: str, method: str) -> None:
    """Obstore 0.12.1 makes URLs for them that Azure refuses; better no URL than such a one."""
    with pytest.raises(UnsupportedOperationError, match="Azure"):
        azure.sign(key, for_upload=method == "PUT")


def test_azure_folder_that_is_signed_wrongly_is_refused(azure_server: AzureServer, container: str) -> None:
    """The folder of the URL is part of what is signed."""
    with pytest.raises(UnsupportedOperationError):
        azure_backend(azure_server, f"{container}/a%20b").sign("x")


def test_azure_key_with_every_allowed_character_is_signed(azure: ObstoreBackend) -> None:
    """The service accepts the URL."""
    key = "Az09/._~+&()'-"
    azure.put(b"abc", key=key)
    assert httpx.get(str(azure.sign(key)), trust_env=False).content == b"abc"


# -- Google


@pytest.fixture
def google(gcs_server: GcsServer) -> Iterator[ObstoreBackend]:
    """Build a backend on a bucket that need not exist."""
    backend = gcs_backend(gcs_server, "bucket")
    yield backend
    backend.close()


@pytest.mark.parametrize("key", ["100%", "a%2Fb", "a?b", "a#b"])
async def test_google_keys_that_are_signed_wrongly_are_refused(google: ObstoreBackend, key: str) -> None:
    """Obstore 0.12.1 signs "a?b" as the object "a" with a query: a link to another file."""
    with pytest.raises(UnsupportedOperationError, match="Google"):
        await google.sign_async(key)


# -- HTTP


def test_http_needs_no_parts_for_large_content(webdav: ObstoreBackend) -> None:
    """There are none in HTTP; the content goes up in one request."""
    content = bytes(range(256)) * (12 * MIB // 256)
    webdav.put(iter([content]), key="large", overwrite=True)
    assert b"".join(webdav.get("large")) == content
    assert b"".join(webdav.get("large", 5 * MIB - 3, 7 * MIB)) == content[5 * MIB - 3 : 7 * MIB]


async def test_http_needs_no_parts_for_large_content_async(webdav: ObstoreBackend) -> None:
    """The async half neither."""
    content = bytes(range(256)) * (12 * MIB // 256)
    await webdav.put_async(iter([content]), key="large", overwrite=True)
    assert b"".join([block async for block in webdav.get_async("large")]) == content


def test_http_looks_before_it_puts(webdav: ObstoreBackend) -> None:
    """There is no condition that obstore could send."""
    webdav.put(b"old", key="taken", overwrite=True)
    with pytest.raises(ObjectExistsError):
        webdav.put(b"new", key="taken")
    assert b"".join(webdav.get("taken")) == b"old"


@pytest.mark.parametrize("is_async", [True, False])
async def test_http_deletes_no_folders(webdav: ObstoreBackend, *, is_async: bool) -> None:
    """DELETE of a folder deletes everything below it, and a key may be the name of one."""
    webdav.put(b"abc", key="tree/a/b", overwrite=True)
    if is_async:
        await webdav.delete_async(["tree", "tree/a"])
    else:
        webdav.delete(["tree", "tree/a"])
    assert b"".join(webdav.get("tree/a/b")) == b"abc"


def test_http_folder_is_no_object(webdav: ObstoreBackend) -> None:
    """The server answers HEAD for folders too."""
    webdav.put(b"abc", key="folder/x", overwrite=True)
    assert not webdav.exists("folder")


async def test_http_folder_is_no_object_async(webdav: ObstoreBackend) -> None:
    """Nor is it one to the async half."""
    await webdav.put_async(b"abc", key="folder/x", overwrite=True)
    assert not await webdav.exists_async("folder")


@pytest.mark.parametrize("key", ["a?b", "a;b"])
def test_http_copies_that_would_go_astray_are_refused(webdav: ObstoreBackend, key: str) -> None:
    """Obstore 0.12.1 names the target in such a way that another file is overwritten."""
    webdav.put(b"abc", key="source", overwrite=True)
    webdav.put(b"old", key="a", overwrite=True)
    with pytest.raises(UnsupportedOperationError, match="wrong place"):
        webdav.copy("source", key)
    assert b"".join(webdav.get("a")) == b"old"


async def test_http_puts_that_race_for_a_folder(webdav: ObstoreBackend) -> None:
    """All make the folder that they need, and all but one fail to, which is no failure of the put."""
    await asyncio.gather(*(webdav.put_async(b"abc", key=f"race/a/b/{number}", overwrite=True) for number in range(16)))
    assert len(list(webdav.list("race"))) == 16


def test_http_lists_below_the_folder_of_the_url(webdav_server: WebdavServer) -> None:
    """Obstore 0.12.1 leaves that folder in front of the keys."""
    (webdav_server.root / "be low").mkdir()
    backend = webdav_backend(webdav_server, "/be%20low")
    backend.put(b"abc", key="x/y")
    assert [info.key for info in backend.list()] == ["x/y"]
    assert [info.key for info in backend.list("x")] == ["x/y"]


def test_http_folder_of_the_url_must_exist(webdav_server: WebdavServer) -> None:
    """Obstore calls its absence "already exists"."""
    with pytest.raises(BucketNotFoundError):
        webdav_backend(webdav_server, "/no-such-folder").put(b"abc", key="x")


# -- memory


def test_memory_outlives_a_close() -> None:
    """There is nothing to free, and no other place for the objects."""
    backend = ObstoreBackend("files", "memory:///")
    backend.put(b"abc", key="x")
    backend.close()
    assert b"".join(backend.get("x")) == b"abc"


def test_memory_refuses_large_content_at_a_taken_key() -> None:
    """All content is put at once there, so the promise holds for every size."""
    backend = ObstoreBackend("files", "memory:///")
    backend.put(b"old", key="x")
    with pytest.raises(ObjectExistsError):
        backend.put(bytes(20 * MIB), key="x")
    assert b"".join(backend.get("x")) == b"old"


def test_metadata_of_headers_is_not_mixed_up() -> None:
    """The content type is no user metadata."""
    backend = ObstoreBackend("files", "memory:///")
    backend.put(b"abc", key="x", content_type="image/png", metadata={"author": "somebody"})
    info = backend.head("x")
    assert (info.content_type, info.metadata) == ("image/png", {"author": "somebody"})


def test_buckets_are_separate(gcs_server: GcsServer) -> None:
    """A round trip through Google's protocol."""
    backend = gcs_backend(gcs_server, make_bucket(gcs_server))
    backend.put(b"abc", key="a/b", content_type="image/png")
    assert [info.key for info in backend.list()] == ["a/b"]
    backend.close()
