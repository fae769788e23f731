"""Files of a list by their ids: what a path names stays the same file, whatever happens to the list around it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from litestar_filestore import FileObject, create_file_router
from tests.router.conftest import Paper, Serve, Site


def text(content: bytes) -> FileObject:
    """Make a file that is still to be stored."""
    return FileObject("documents", "a.txt", content=content)


def pages(serve: Serve, **options: Any) -> tuple[Site, str, list[str]]:
    """Serve the pages of a paper that has three; return the site, the path of the list and the ids."""
    router = create_file_router("/papers/{id:int}/pages", Paper.pages, public=True, methods=("GET", "PUT", "DELETE"))
    site = serve(router, **options)
    paper = site.add(pages=[text(content) for content in (b"one", b"two", b"three")])
    return site, f"/papers/{paper}/pages", [str(page.id) for page in site.paper(paper).pages or ()]


def test_get_by_id_finds_a_file_wherever_it_is(serve: Serve) -> None:
    """The id still names the same file when those before it are gone; places move up."""
    site, path, (one, two, three) = pages(serve)
    assert [site.client.get(f"{path}/{each}").text for each in (one, two, three)] == ["one", "two", "three"]
    assert site.client.delete(f"{path}/{one}").status_code == 204
    assert [site.client.get(f"{path}/{each}").text for each in (two, "1")] == ["two", "three"]
    assert site.client.get(f"{path}/{one}").status_code == 404
    assert site.client.head(f"{path}/{two}").headers["content-length"] == "3"


def test_delete_by_id_twice_deletes_one_file(serve: Serve) -> None:
    """A repeated request finds nothing, and takes nobody else's file."""
    site, path, (one, *_) = pages(serve)
    assert [site.client.delete(f"{path}/{one}").status_code for _ in range(2)] == [204, 404]
    assert [site.client.get(f"{path}/{place}").text for place in (0, 1)] == ["two", "three"]


@pytest.mark.parametrize("entry", ["id", "place"])
def test_put_replaces_the_file_and_keeps_its_id(serve: Serve, entry: str) -> None:
    """The path that was put to shows what was put; the old bytes are given up."""
    site, path, (_, two, _) = pages(serve)
    answer = site.client.put(f"{path}/{two if entry == 'id' else 1}", content=b"new")
    assert (answer.status_code, answer.json()["id"]) == (200, two)
    assert site.client.get(f"{path}/{two}").text == "new"
    assert site.client.get(f"{path}/1").text == "new"
    with site.engine.connect() as connection:
        states = connection.scalars(sa.text("SELECT state FROM filestore_object ORDER BY state")).all()
    assert states == ["doomed", "linked", "linked", "linked"]


def test_put_of_the_next_place_answers_a_new_id(serve: Serve) -> None:
    """The answer says how the new file is called from now on."""
    site, path, known = pages(serve)
    answer = site.client.put(f"{path}/3", content=b"four")
    assert (answer.status_code, answer.json()["id"] in known) == (201, False)
    assert site.client.get(f"{path}/{answer.json()['id']}").text == "four"


@pytest.mark.parametrize("entry", ["a" * 16, "another row's", "key", "-1", "+1", "1_0", "4", "9" * 30, "%20", "0x1"])
def test_what_names_no_file_is_404(serve: Serve, entry: str) -> None:
    """Neither the id of another row's file nor its key finds anything."""
    site, path, _ = pages(serve)
    other = site.paper(site.add(pages=[text(b"other")])).pages
    assert other is not None
    names = {"another row's": str(other[0].id), "key": str(other[0].key).replace("/", "%2F")}
    url = f"{path}/{names.get(entry, entry)}"
    statuses = {site.client.request(method, url, content=b"x").status_code for method in ("GET", "PUT", "DELETE")}
    assert statuses == {404}


def test_conditions_hold_for_the_file_of_the_id(serve: Serve) -> None:
    """A change that was meant for another version of this file is refused, and names no other file."""
    site, path, (one, two, _) = pages(serve)
    etag = site.client.get(f"{path}/{two}").headers["etag"]
    assert site.client.put(f"{path}/{one}", content=b"x", headers={"if-match": etag}).status_code == 412
    assert site.client.delete(f"{path}/{one}").status_code == 204
    assert site.client.put(f"{path}/{two}", content=b"x", headers={"if-match": etag}).status_code == 200
    assert site.client.delete(f"{path}/{two}", headers={"if-match": etag}).status_code == 412
