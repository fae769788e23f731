"""A symbolic link in the path of an object is refused by whoever would send it, and by servers that look again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from litestar_filestore import DownloadConfig, FileObject, LocalBackend, Nginx, XSendfile
from tests.downloads.raw import exchange
from tests.downloads.test_delivery import call
from tests.servers import lighttpd, nginx
from tests.servers.processes import require

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "nginx.md"
SECRET = b"SECRET"
OLD = b"public"


def link_folder(root: Path, out: Path) -> None:
    """Put a link in the place of the folder of the object."""
    shutil.move(root / "a" / "b", root / "moved")
    (root / "a" / "b").symlink_to(out)


def link_first_folder(root: Path, out: Path) -> None:
    """Put a link in the place of the first folder of its path."""
    (out / "b").mkdir()
    shutil.copy(out / "s.txt", out / "b" / "s.txt")
    shutil.move(root / "a", root / "moved")
    (root / "a").symlink_to(out)


def link_inside(root: Path, _out: Path) -> None:
    """Put a link that stays inside of the store in the place of the folder."""
    shutil.move(root / "a" / "b", root / "moved")
    (root / "a" / "b").symlink_to(root / "moved")


def link_file(root: Path, out: Path) -> None:
    """Put a link in the place of the object."""
    (root / "a" / "b" / "s.txt").unlink()
    (root / "a" / "b" / "s.txt").symlink_to(out / "s.txt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the backend."""
    return tmp_path / "root"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that is nobody's business, with a file of the same name and size."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "s.txt").write_bytes(SECRET)
    return out


@pytest.mark.parametrize("trick", [link_folder, link_first_folder, link_inside, link_file])
@pytest.mark.parametrize("way", ["stream", "pathsend", "accel", "x-sendfile"])
async def test_symbolic_link_is_refused(root: Path, out: Path, way: str, trick: Callable[[Path, Path], None]) -> None:
    """Whoever sends the bytes: the answer is that of the application, and names no file."""
    backend = LocalBackend("documents", root, fsync=False)
    file = await FileObject(backend, "s.txt", content=OLD, to_filename="a/b/s.txt").save_async()
    front: Any = {"accel": Nginx(files={str(root): "/_files/"}), "x-sendfile": XSendfile((str(root),))}.get(way)
    downloads = DownloadConfig(front_server=front)
    assert (await call(file, downloads, pathsend=way == "pathsend")).status == 200
    trick(root, out)
    streamed = await call(file, DownloadConfig(), delivery="stream")
    sent = await call(file, downloads, pathsend=way == "pathsend")
    assert (sent.status, streamed.status) == (404, 404)
    assert {"x-accel-redirect", "x-sendfile"}.isdisjoint(sent.headers)
    assert [event["type"] for event in sent.events] == ["http.response.body"]
    assert SECRET not in sent.body


@pytest.mark.parametrize("way", ["accel", "x-sendfile"])
async def test_missing_file_is_404_behind_a_server(root: Path, way: str) -> None:
    """A server in front is not sent to a file that is not there."""
    backend = LocalBackend("documents", root, fsync=False)
    file = await FileObject(backend, "s.txt", content=OLD).save_async()
    backend.local_path(file.path).unlink()
    front: Any = {"accel": Nginx(files={str(root): "/_files/"}), "x-sendfile": XSendfile((str(root),))}[way]
    assert (await call(file, DownloadConfig(front_server=front))).status == 404


# -- the servers' own look, for a link that is made after the application's


@contextmanager
def handing_over(header: str, value: str) -> Iterator[int]:
    """Run an application that looks at nothing and hands one path over; yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header(header, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the class above
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def recipe(language: str, port: int, root: Path) -> str:
    """Return the configuration of the documentation."""
    block = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block[1].replace("8000", str(port)).replace("/srv/documents", str(root.resolve()))


@pytest.mark.parametrize("linked", [False, True], ids=["folder", "link"])
def test_nginx_follows_no_link(root: Path, out: Path, linked: bool) -> None:  # noqa: FBT001  # a table
    """As it is configured in the documentation, nginx sends the file, and does not follow a link to another."""
    _prepare(root, out, linked=linked)
    with (
        handing_over("X-Accel-Redirect", "/_files/documents/a/b/s.txt") as port,
        require(lambda folder: nginx.serve(folder, recipe("nginx", port, root)), root.parent / "nginx") as front,
    ):
        answer = exchange(front, "GET", "/")
    assert (answer.status in {403, 404} if linked else answer.status == 200, SECRET in answer.body) == (True, False)


@pytest.mark.parametrize("linked", [False, True], ids=["folder", "link"])
def test_lighttpd_follows_no_link(root: Path, out: Path, linked: bool) -> None:  # noqa: FBT001  # a table
    """The same for Lighttpd."""
    _prepare(root, out, linked=linked)
    with (
        handing_over("X-Sendfile", f"{root.resolve()}/a/b/s.txt") as port,
        require(lambda folder: lighttpd.serve(folder, recipe("lighttpd", port, root)), root.parent / "light") as front,
    ):
        answer = exchange(front, "GET", "/")
    assert (answer.status == 200, SECRET in answer.body) == (not linked, False)


def _prepare(root: Path, out: Path, *, linked: bool) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "s.txt").write_bytes(OLD)
    for folder in ("nginx", "light"):
        (root.parent / folder).mkdir()
    for path in (root, root / "a", root / "a" / "b", out):
        path.chmod(0o755)
    if linked:
        link_folder(root, out)
