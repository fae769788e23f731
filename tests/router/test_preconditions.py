"""``If-Match`` and its like decide which of several changes takes place (RFC 9110 section 13.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from litestar.connection import ASGIConnection
from sqlalchemy import event

from litestar_filestore import FileObject, StorageBackend, create_file_router
from litestar_filestore.backends.memory import MemoryDriver
from litestar_filestore.core.types import Block, Capability, ObjectInfo, PutOptions
from litestar_filestore.errors import ObjectExistsError
from tests.router.conftest import Paper, Serve, Site
from tests.router.test_backend_router import BOTH, media
from tests.router.test_column_router import FILE, PAGES, text

DATABASES = ("sqlite", "postgres", "mariadb")
SESSIONS = ("advanced-alchemy", "async", "sync")
CLIENTS = 6
Authorize = Callable[[ASGIConnection[Any, Any, Any, Any], Any, str], Any]


def gate() -> Authorize:
    """Return a hook that holds those who write until all of them are there, so that all have read the same row."""
    waiting = 0
    open_ = asyncio.Event()

    async def authorize(_connection: ASGIConnection[Any, Any, Any, Any], _row: Any, action: str) -> bool:
        nonlocal waiting
        waiting += action == "write"
        if waiting >= CLIENTS:
            open_.set()
        if action == "write":
            await open_.wait()
        return True

    return authorize


def together(site: Site, method: str, url: str, headers: dict[str, str]) -> list[int]:
    """Return the statuses, sorted, of several requests at a time, each with a body of its own."""

    async def send() -> list[int]:
        transport = httpx.ASGITransport(app=cast("Any", site.app))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver", timeout=60) as client:
            requests = (client.request(method, url, content=f"{n}", headers=headers) for n in range(CLIENTS))
            return sorted(answer.status_code for answer in await asyncio.gather(*requests))

    with site.client.portal() as portal:
        return portal.call(send)


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("database", DATABASES)
class TestOneOfMany:
    """Of several changes that are meant for one version, one takes place and the others are 412."""

    def test_put_of_a_version(self, serve: Serve, database: str, kind: str) -> None:
        """Two clients who edit one version do not overwrite each other."""
        router = create_file_router(FILE, Paper.file, public=True, methods=BOTH, authorize=gate())
        site = serve(router, kind=kind, database=database)
        url = f"/papers/{site.add(file=text(b'old'))}/file"
        etag = site.client.get(url).headers["etag"]
        assert together(site, "PUT", url, {"if-match": etag}) == [200, *[412] * (CLIENTS - 1)]

    def test_put_of_the_first_file(self, serve: Serve, database: str, kind: str) -> None:
        """Two clients who create a file do not both succeed."""
        router = create_file_router(FILE, Paper.file, public=True, methods=BOTH, authorize=gate())
        site = serve(router, kind=kind, database=database)
        url = f"/papers/{site.add()}/file"
        assert together(site, "PUT", url, {"if-none-match": "*"}) == [201, *[412] * (CLIENTS - 1)]

    def test_put_into_a_list(self, serve: Serve, database: str, kind: str) -> None:
        """Two clients who append to a list do not take one place."""
        router = create_file_router(PAGES, Paper.pages, public=True, methods=BOTH, authorize=gate())
        site = serve(router, kind=kind, database=database)
        paper = site.add(pages=[text(b"one")])
        url = f"/papers/{paper}/pages/1"
        assert together(site, "PUT", url, {"if-none-match": "*"}) == [201, *[412] * (CLIENTS - 1)]
        assert len(site.paper(paper).pages or ()) == 2

    def test_delete_of_a_version(self, serve: Serve, database: str, kind: str) -> None:
        """Whoever deletes a version and is not the first is told so."""
        router = create_file_router(FILE, Paper.file, public=True, methods=BOTH)
        site = serve(router, kind=kind, database=database)
        url = f"/papers/{site.add(file=text(b'old'))}/file"
        etag = site.client.get(url).headers["etag"]
        assert together(site, "DELETE", url, {"if-match": etag}) == [204, *[412] * (CLIENTS - 1)]

    def test_delete_from_a_list(self, serve: Serve, database: str, kind: str) -> None:
        """What moves up to the place of a file is not taken for it."""
        router = create_file_router(PAGES, Paper.pages, public=True, methods=BOTH)
        site = serve(router, kind=kind, database=database)
        paper = site.add(pages=[text(f"{n}".encode()) for n in range(CLIENTS)])
        url = f"/papers/{paper}/pages/0"
        etag = site.client.get(url).headers["etag"]
        assert together(site, "DELETE", url, {"if-match": etag}) == [204, *[412] * (CLIENTS - 1)]
        assert len(site.paper(paper).pages or ()) == CLIENTS - 1


def read_repeatably(engine: sa.Engine) -> None:
    """Let transactions see the database as it was when they began, and change nothing that is another by now."""

    def connect(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SET SESSION innodb_snapshot_isolation = ON")
        cursor.close()

    if engine.dialect.name != "postgresql":  # the default of MariaDB from 11.6.2 on
        event.listen(engine, "connect", connect)
    engine.update_execution_options(isolation_level="REPEATABLE READ")


@pytest.mark.parametrize("database", ["postgres", "mariadb"])
def test_put_at_repeatable_read(serve: Serve, database: str) -> None:
    """Where the row cannot be locked because another transaction changed it, that is the answer."""
    router = create_file_router(FILE, Paper.file, public=True, methods=BOTH, authorize=gate())
    site = serve(router, database=database, prepare=read_repeatably)
    url = f"/papers/{site.add(file=text(b'old'))}/file"
    etag = site.client.get(url).headers["etag"]
    assert together(site, "PUT", url, {"if-match": etag}) == [200, *[412] * (CLIENTS - 1)]


def test_row_of_old_data_has_the_validators_of_its_download(serve: Serve) -> None:
    """Where the row knows no entity tag, GET asks the store, and so does a change."""
    site = serve(create_file_router(FILE, Paper.file, public=True, methods=BOTH))
    site.backend.put(b"old", key="old.txt")
    url = f"/papers/{site.add(file=FileObject('documents', 'old.txt'))}/file"
    etag = site.client.get(url).headers["etag"]
    statuses = [site.client.put(url, content=b"new", headers={"if-match": each}).status_code for each in ('"x"', etag)]
    assert statuses == [412, 200]


class LooksFirst(MemoryDriver):
    """A store that has no conditional put: the driver looks first and puts then."""

    capabilities = MemoryDriver.capabilities & ~Capability.PUT_IF_ABSENT

    async def put_async(self, path: str, blocks: AsyncIterator[Block], options: PutOptions) -> ObjectInfo:
        """Put, with a turn of the event loop in between."""
        if not options.overwrite and [each async for each in self.list_async(path)]:
            raise ObjectExistsError("There is already an object of that key")
        await asyncio.sleep(0)
        return await super().put_async(path, blocks, msgspec.structs.replace(options, overwrite=True))


OTHER = [
    {"if-match": '"other"'},
    {"if-none-match": "*"},
    {"if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"},
]


@pytest.mark.parametrize("ledger", [True, False])
class TestBackend:
    """The objects of a backend know the same conditions."""

    def start(self, serve: Serve, *, ledger: bool, **options: Any) -> Site:
        """Return an application with one object in its folder, which it keeps."""
        site = serve(media(methods=BOTH), filestore={} if ledger else {"ledger": None}, **options)
        assert site.client.put("/media/a.txt", content=b"old").status_code == 201
        return site

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    @pytest.mark.parametrize("headers", OTHER)
    def test_change_of_another_version(
        self, serve: Serve, method: str, headers: dict[str, str], *, ledger: bool
    ) -> None:
        """A change that was meant for another version is refused, and changes nothing."""
        site = self.start(serve, ledger=ledger)
        assert site.client.request(method, "/media/a.txt", content=b"x", headers=headers).status_code == 412
        assert site.client.get("/media/a.txt").content == b"old"

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_change_of_the_version_that_is_there(self, serve: Serve, method: str, *, ledger: bool) -> None:
        """The condition holds, so the answer is that of the method alone."""
        site = self.start(serve, ledger=ledger)
        headers = {"if-match": site.client.get("/media/a.txt").headers["etag"]}
        status = site.client.request(method, "/media/a.txt", content=b"x", headers=headers).status_code
        assert status == (409 if method == "PUT" else 204)

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_version_of_what_is_not_there(self, serve: Serve, method: str, *, ledger: bool) -> None:
        """Nothing has no version, and ``*`` is any (section 13.1.1)."""
        site = self.start(serve, ledger=ledger)
        statuses = [
            site.client.request(method, "/media/b.txt", content=b"x", headers={"if-match": each}).status_code
            for each in ("*", '"a"')
        ]
        assert (statuses, [each.key for each in site.backend.list()]) == ([412, 412], ["public/a.txt"])

    def test_put_of_the_first_object(self, serve: Serve, *, ledger: bool) -> None:
        """Of several who create an object one does, and the others are told that it is there."""
        site = self.start(serve, ledger=ledger)
        assert together(site, "PUT", "/media/b.txt", {"if-none-match": "*"}) == [201, *[412] * (CLIENTS - 1)]

    def test_delete_of_a_version(self, serve: Serve, *, ledger: bool) -> None:
        """Of several who delete a version one does, and the others are told that it is gone."""
        site = self.start(serve, ledger=ledger)
        etag = site.client.get("/media/a.txt").headers["etag"]
        assert together(site, "DELETE", "/media/a.txt", {"if-match": etag}) == [204, *[412] * (CLIENTS - 1)]

    def test_put_into_a_store_without_conditions(self, serve: Serve, *, ledger: bool) -> None:
        """Where a store looks first and puts then, the process lets in one at a time."""
        backend = StorageBackend("documents", driver=LooksFirst())
        site = self.start(serve, ledger=ledger, backend=backend)
        assert together(site, "PUT", "/media/b.txt", {"if-none-match": "*"}) == [201, *[412] * (CLIENTS - 1)]
