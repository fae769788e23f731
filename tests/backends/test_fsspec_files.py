"""SFTP, WebDAV, FTP and other file systems with folders through fsspec: what is ours there."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from cheroot.wsgi import Server
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.sftp import SFTPFileSystem
from wsgidav.wsgidav_app import WsgiDAVApp

from litestar_filestore.backends.fsspec import ftp as fsspec_ftp
from litestar_filestore.backends.fsspec.fsspec_backend import FSSpecBackend
from litestar_filestore.backends.fsspec.fsspec_driver import FSSpecDriver
from litestar_filestore.errors import (
    InvalidKeyError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    UnsupportedOperationError,
)
from tests.backends.fsspec_stores import sftp_backend, webdav_backend
from tests.servers.processes import HOST, ServerMissingError, find_package, free_port, missing, running
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

MIB = 1024 * 1024
LARGE_MIB = 100
KINDS = ["sshfs", "paramiko", "webdav", "ftp", "generic"]


class OtherLocalFileSystem(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system that this package knows nothing about."""

    protocol = "other"


@pytest.fixture(scope="module")
def ftp_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run an FTP server."""
    try:
        find_package("pyftpdlib", "pip install pyftpdlib")
    except ServerMissingError as error:
        missing(str(error))
    directory, port = tmp_path_factory.mktemp("ftp"), free_port()
    (directory / "root").mkdir()
    account = ["-u", "tester", "-P", "public-on-loopback", "-w", "-d", str(directory / "root")]
    command = [sys.executable, "-P", "-m", "pyftpdlib", "-i", HOST, "-p", str(port), *account]
    with running("ftp", command, directory) as process:
        process.wait_for_port(port)
        yield port


@pytest.fixture
def ftp_backend(ftp_port: int) -> Iterator[FSSpecBackend]:
    """Make a backend on the FTP server."""
    options: dict[str, Any] = {"host": HOST, "port": ftp_port, "username": "tester", "password": "public-on-loopback"}
    made = FSSpecBackend("files", "ftp", f"folder-{os.urandom(4).hex()}", **options)
    yield made
    made.close()


@pytest.fixture
def paramiko_backend(sftp_server: SftpServer) -> Iterator[FSSpecBackend]:
    """Make a backend on fsspec's own SFTP file system."""
    try:
        find_package("paramiko", "pip install paramiko")
    except ServerMissingError as error:
        missing(str(error))
    account = {"username": sftp_server.username, "password": sftp_server.password, "port": sftp_server.port}
    fs = SFTPFileSystem(sftp_server.host, **account, look_for_keys=False, allow_agent=False, skip_instance_cache=True)
    made = FSSpecBackend("files", fs, f"folder-{os.urandom(4).hex()}")
    yield made
    made.close()
    fs.client.close()


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FSSpecBackend]:
    """Make a backend of each kind."""
    if request.param == "generic":
        yield FSSpecBackend("files", OtherLocalFileSystem(), str(tmp_path / "root"))
    elif request.param == "sshfs":
        made = sftp_backend(request.getfixturevalue("sftp_server"))
        yield made
        made.close()
    elif request.param == "webdav":
        made = webdav_backend(request.getfixturevalue("webdav_server"))
        yield made
        made.close()
    else:
        yield request.getfixturevalue(f"{request.param}_backend")


async def blocks(count: int) -> AsyncIterator[bytes]:
    """Yield `count` different blocks of a mebibyte."""
    block = os.urandom(MIB)
    for number in range(count):
        yield number.to_bytes(4, "big") + block[4:]


@pytest.mark.slow
async def test_large_object_round_trips(backend: FSSpecBackend) -> None:
    """100 MiB of unknown length arrive as they were sent, read back in bounded steps."""
    info = await backend.put_async(blocks(LARGE_MIB), key="a")
    digest, largest = hashlib.sha256(), 0
    async for block in backend.get_async("a"):
        digest.update(block)
        largest = max(largest, len(block))
    assert (info.size, info.checksum) == (LARGE_MIB * MIB, f"sha256:{digest.hexdigest()}")
    assert largest <= 4 * MIB
    await backend.close_async()


@pytest.mark.matrix(cases=1)
def test_ranges_of_a_large_object(backend: FSSpecBackend) -> None:
    """A range is read from where it begins, though most of these file systems cannot be trusted with ranges."""
    content = os.urandom(9 * MIB)
    backend.put(content, key="a")
    for start, end in [(0, 1), (5, 10), (4 * MIB - 1, 8 * MIB + 1), (9 * MIB - 1, None), (8 * MIB, 20 * MIB)]:
        assert b"".join(backend.get("a", start, end)) == content[start:end]


def test_unfinished_puts_lie_in_the_hidden_folder(backend: FSSpecBackend) -> None:
    """What is being written is not seen under its key, in a listing, or anywhere once it is given up."""
    seen: list[Any] = []

    def source() -> Iterator[bytes]:
        yield bytes(2 * MIB)
        seen.extend(info.key for info in backend.list())
        seen.append(backend.exists("a/b"))
        raise EOFError

    backend.put(b"x", key="c")
    with pytest.raises(EOFError):
        backend.put(source(), key="a/b")
    assert seen == ["c", False]
    assert backend.clean(older_than=0) == 0


def test_replaced_object_is_read_as_it_was(backend: FSSpecBackend) -> None:
    """A read that is under way when its object is replaced goes on with the old one, or says so."""
    old, new = os.urandom(12 * MIB), os.urandom(12 * MIB)
    backend.put(old, key="a")
    reading = backend.get("a")
    read = [next(reading)]
    backend.put(new, key="a", overwrite=True)
    try:
        read.extend(reading)
    except ObjectChangedError:
        # A file system that nobody knows has to guess, and FTP compares times: it asks whether the second has changed.
        assert backend.protocol in {"other", "ftp"}
    else:
        assert b"".join(read) == old
    assert backend.get_content("a") == new


def test_taken_key_is_refused_late(backend: FSSpecBackend) -> None:
    """A key that is taken while the content is on its way is not overwritten."""

    def source() -> Iterator[bytes]:
        yield b"second"
        backend.put(b"first", key="a")

    with pytest.raises(ObjectExistsError):
        backend.put(source(), key="a")
    assert backend.get_content("a") == b"first"


def test_key_below_an_object(backend: FSSpecBackend) -> None:
    """A key that would need an object as its folder, or the other way round, is an error that says so."""
    backend.put(b"x", key="a")
    backend.put(b"x", key="b/c")
    for key in ("a/b", "b"):
        with pytest.raises(InvalidKeyError, match="folder"):
            backend.put(b"y", key=key, overwrite=True)
    assert (backend.get_content("a"), backend.get_content("b/c")) == (b"x", b"x")


@pytest.mark.parametrize("backend", ["sshfs", "paramiko"], indirect=True)
async def test_lost_ssh_connection_is_opened_again(backend: FSSpecBackend) -> None:
    """When the server has closed the connection, the next operation opens another."""
    await backend.put_async(b"x", key="a")
    driver = cast("FSSpecDriver", backend.storage_driver)
    lost = driver.fs
    if backend.protocol == "sftp" and hasattr(lost, "ftp"):
        lost.client.close()
    else:
        lost.loop.call_soon_threadsafe(lost.client.abort)
        asyncio.run_coroutine_threadsafe(lost.client.wait_closed(), lost.loop).result(timeout=10)
    assert await backend.get_content_async("a") == b"x"
    assert driver.fs is not lost
    await backend.close_async()


def test_idle_ftp_connection_is_opened_again(ftp_backend: FSSpecBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """FTP servers close connections that do nothing for a while."""
    ftp_backend.put(b"x", key="a")
    monkeypatch.setattr(fsspec_ftp, "_IDLE_SECONDS", 0)
    cast("FSSpecDriver", ftp_backend.storage_driver).fs.ftp.sock.close()
    assert ftp_backend.get_content("a") == b"x"


def test_webdav_server_without_ranges(tmp_path: Path) -> None:
    """A server that answers a request for a range with everything does not make us return the wrong bytes."""
    content = os.urandom(9 * MIB)
    with webdav_without_ranges(tmp_path) as url:
        backend = FSSpecBackend("files", "webdav", base_url=url)
        backend.put(content, key="a")
        for start, end in [(0, 5), (1, None), (5 * MIB, 5 * MIB + 3), (9 * MIB - 1, None)]:
            assert b"".join(backend.get("a", start, end)) == content[start:end]
        backend.close()


@contextmanager
def webdav_without_ranges(root: Path) -> Iterator[str]:
    """Run a WebDAV server that does not know ranges, and yield its URL."""
    application = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(root)},
            "simple_dc": {"user_mapping": {"*": True}},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )

    def without_ranges(environ: dict[str, Any], start_response: Any) -> Any:
        environ.pop("HTTP_RANGE", None)
        return application(environ, start_response)

    server = Server((HOST, 0), without_ranges)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield f"http://{HOST}:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join()


def test_webdav_server_that_cuts_names(webdav_server: WebdavServer) -> None:
    """On a server that would take ``a?b`` for ``a``, the key is refused and the other object stays."""
    backend = webdav_backend(webdav_server)
    backend.put(b"x", key="a")
    with pytest.raises(InvalidKeyError, match="cuts names"):
        backend.put(b"y", key="a?b", overwrite=True)
    assert [info.key for info in backend.list()] == ["a"]
    assert backend.get_content("a") == b"x"
    assert backend.clean(older_than=0) == 0
    backend.close()


def test_read_only_file_system(tmp_path: Path) -> None:
    """What cannot move files can be read, and refuses a put instead of storing what could be seen half-written."""
    (tmp_path / "a").write_bytes(b"content")
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        backend = FSSpecBackend("files", f"http://{HOST}:{server.server_address[1]}")
        assert backend.get_content("a") == b"content"
        with pytest.raises(ObjectNotFoundError):
            backend.head("b")
        with pytest.raises(UnsupportedOperationError, match="half-written"):
            backend.put(b"x", key="c")
        backend.close()
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the parent's
        """Say nothing."""
