"""Routes for the objects of a backend below a prefix."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.connection import ASGIConnection

from litestar_filestore import LocalBackend, create_file_router
from litestar_filestore.errors import InvalidKeyError
from litestar_filestore.router.options import FileMethod
from tests.router.conftest import Serve
from tests.router.test_column_router import schema_of

BOTH: tuple[FileMethod, ...] = ("GET", "PUT", "DELETE")


def media(**options: Any) -> Any:
    """Return a router for the folder ``public``."""
    return create_file_router("/media", backend="documents", prefix="public", public=True, **options)


def test_get_sends_an_object_of_the_folder(serve: Serve) -> None:
    """The path is the key below the prefix."""
    site = serve(media())
    site.backend.put(b"abc", key="public/2026/a.txt", content_type="text/plain")
    answer = site.client.get("/media/2026/a.txt")
    assert (answer.status_code, answer.content) == (200, b"abc")
    assert answer.headers["content-disposition"] == 'attachment; filename="a.txt"'
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_head_is_get_without_the_bytes(serve: Serve) -> None:
    """HEAD has the headers of GET."""
    site = serve(media())
    site.backend.put(b"abc", key="public/a.txt")
    got, looked = (site.client.request(method, "/media/a.txt") for method in ("GET", "HEAD"))
    assert (looked.status_code, looked.content, dict(looked.headers)) == (200, b"", dict(got.headers))


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "missing.txt",
        "../private/b.txt",
        "..%2Fprivate/b.txt",
        "%2e%2e/private/b.txt",
        "a/../../private/b.txt",
        "..%5Cprivate%5Cb.txt",
        "public_evil/c.txt",
        ".filestore/x",
        "a%00.txt",
        "a//b.txt",
        "",
        "%ff.txt",
        "x" * 300,
    ],
)
def test_no_path_leads_out_of_the_folder(serve: Serve, method: str, path: str) -> None:
    """What is not in the folder is not found, and not touched."""
    site = serve(media(methods=("GET", "DELETE")))
    for key in ("private/b.txt", "public_evil/c.txt", "publicX"):
        site.backend.put(b"secret", key=key)
    answer = site.client.request(method, f"/media/{path}")
    assert (answer.status_code in {204, 404, 405}, b"secret" in answer.content) == (True, False)
    assert len(list(site.backend.list())) == 3


def test_page_is_not_shown(serve: Serve) -> None:
    """Also a public folder runs no script."""
    site = serve(media(disposition="inline"))
    site.backend.put(b"<script>", key="public/a.html", content_type="text/html")
    headers = site.client.get("/media/a.html").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")


def test_put_stores_under_the_key_once(serve: Serve) -> None:
    """An object is stored below the prefix, and never over another."""
    site = serve(media(methods=BOTH))
    statuses = [site.client.put("/media/a/b.txt", content=content).status_code for content in (b"one", b"two")]
    assert statuses == [201, 409]
    assert site.backend.get_content("public/a/b.txt") == b"one"


def test_put_stays(serve: Serve) -> None:
    """What was put belongs to no row and is kept all the same."""
    site = serve(media(methods=BOTH))
    site.client.put("/media/a.txt", content=b"one")
    assert site.client.get("/media/a.txt").content == b"one"


def test_put_above_the_limit_is_413(serve: Serve) -> None:
    """What is too long is not stored."""
    site = serve(media(methods=BOTH, max_bytes=3))
    assert site.client.put("/media/a.txt", content=b"four").status_code == 413
    assert list(site.backend.list()) == []


def test_put_of_a_part_is_400(serve: Serve) -> None:
    """A piece of a file is not stored as the file."""
    site = serve(media(methods=BOTH))
    headers = {"content-range": "bytes 0-2/10"}
    assert site.client.put("/media/a.txt", content=b"one", headers=headers).status_code == 400
    assert list(site.backend.list()) == []


def test_delete_gives_the_object_up(serve: Serve) -> None:
    """An object that was put is given up; one that is not there is no error."""
    site = serve(media(methods=BOTH), filestore={"ledger": None})
    site.client.put("/media/a.txt", content=b"one")
    assert [site.client.delete("/media/a.txt").status_code for _ in range(2)] == [204, 204]
    assert site.client.get("/media/a.txt").status_code == 404


@pytest.mark.parametrize(
    ("method", "action"), [("GET", "read"), ("HEAD", "read"), ("PUT", "write"), ("DELETE", "delete")]
)
def test_authorize_is_asked_with_the_key(serve: Serve, method: str, action: str) -> None:
    """The hook decides by key and action."""
    asked: list[tuple[str, str]] = []

    def refuse(connection: ASGIConnection[Any, Any, Any, Any], key: str, action: str) -> bool:
        asked.append((key, action))
        return False

    site = serve(media(methods=BOTH, authorize=refuse))
    site.backend.put(b"abc", key="public/a.txt")
    assert site.client.request(method, "/media/a.txt").status_code == 403
    assert (asked, site.backend.get_content("public/a.txt")) == ([("public/a.txt", action)], b"abc")


def test_prefix_that_can_be_no_key_is_refused() -> None:
    """A router that serves nothing is not made."""
    with pytest.raises(InvalidKeyError):
        create_file_router("/media", backend="documents", prefix="../x", public=True)


def test_routes_have_a_name(serve: Serve) -> None:
    """Addresses can be made from the name of the route."""
    site = serve(media(name="media"))
    assert site.app.route_reverse("media", file_key="a/b.txt") == "/media/a/b.txt"


def test_openapi_is_valid(serve: Serve) -> None:
    """All methods are described."""
    paths = schema_of(serve(media(methods=BOTH)))["paths"]
    assert set(paths["/media/{file_key}"]) == {"get", "put", "delete"}


def test_symbolic_link_is_not_followed(serve: Serve, tmp_path: Any) -> None:
    """A link that somebody planted in a folder leads nowhere."""
    (tmp_path / "secret.txt").write_text("secret")
    backend = LocalBackend("documents", tmp_path / "documents")
    backend.put(b"abc", key="public/a.txt")
    (tmp_path / "documents/public/link.txt").symlink_to(tmp_path / "secret.txt")
    answer = serve(media(), backend=backend).client.get("/media/link.txt")
    assert (answer.is_success, "secret" in answer.text) == (False, False)
