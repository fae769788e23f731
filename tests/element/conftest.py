"""The server, the browser, and pages in it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.element.tus_app import POLICY, Fault
from tests.servers import chromium
from tests.servers.processes import HOST, TESTS_IMPORTABLE, Surroundings, find_package, free_port, running

__all__ = ("Show", "Tus")

FORM = (
    '<form action="/submit" method="post" enctype="multipart/form-data">{{{{ csrf_input|safe }}}}'
    '<p><label>Title <input name="title" value="T"></label></p>{}<p><button>Send</button></p></form>'
)
"""A form with the element; its CSRF token comes from a field, as in every form of Litestar."""


@dataclass(frozen=True)
class Tus:
    """The running server, and what it is told."""

    url: str
    client: httpx.Client

    def show(self, body: str, *scripts: str, policy: str) -> None:
        """Set the page."""
        self.client.put("/control/page", json={"body": body, "scripts": scripts, "policy": policy}).raise_for_status()

    def fail(self, *faults: Fault) -> None:
        """Set what goes wrong, and end what hangs."""
        self.client.put("/control/faults", json=[asdict(fault) for fault in faults]).raise_for_status()

    @property
    def requests(self) -> list[str]:
        """The requests that uploads have made: method, and offset if there was one."""
        found: list[str] = self.client.get("/control").json()["requests"]
        return found

    @property
    def uploads(self) -> list[dict[str, Any]]:
        """The uploads that there are."""
        return list(self.client.get("/control").json()["uploads"].values())

    def has(self, *contents: bytes) -> bool:
        """Return whether exactly these are there, complete."""
        return sorted(each["sha256"] for each in self.uploads) == sorted(
            hashlib.sha256(content).hexdigest() for content in contents
        )


Show = Callable[..., Page]
"""Shows a page with the element, whose attributes are given, and returns it."""


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose scripts pages can load from ``/scripts``."""
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="session")
def tus_server(tmp_path_factory: pytest.TempPathFactory, scripts: Path) -> Iterator[Tus]:
    """The server."""
    find_package("uvicorn", "pip install uvicorn")
    port = free_port()
    command = [sys.executable, "-P", "-m", "uvicorn", "tests.element.tus_app:app", "--port", str(port)]
    environment = {**TESTS_IMPORTABLE, "FILESTORE_SCRIPTS": str(scripts)}
    url = f"http://{HOST}:{port}"
    with (
        running("uvicorn", command, tmp_path_factory.mktemp("tus"), Surroundings(environment=environment)) as process,
        httpx.Client(base_url=url) as client,
    ):
        process.wait_for_port(port)
        client.get("/control")  # the connection is the session's, not the first test's
        yield Tus(url, client)


@pytest.fixture
def tus(tus_server: Tus) -> Iterator[Tus]:
    """The server; nothing hangs in it when the test is over."""
    yield tus_server
    tus_server.fail()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. Its loop runs in this thread until it is closed, so no test of this package may be asynchronous."""
    with chromium.launched() as found:
        yield found


@pytest.fixture
def context(browser: Browser, tus: Tus) -> Iterator[BrowserContext]:
    """A browser that has seen nothing yet."""
    context = browser.new_context(base_url=tus.url)
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def show(context: BrowserContext, tus: Tus) -> Iterator[Show]:
    """Shows a page; a script error on it, or something that its policy refuses, fails the test."""
    complaints: list[str] = []

    def show_page(attributes: str = "", *scripts: str, form: str = FORM, policy: str = POLICY) -> Page:
        element = (
            '<p><label for="file">Contract</label></p>'
            f'<filestore-upload id="file" name="file" endpoint="/uploads" {attributes}></filestore-upload>'
        )
        tus.show(form.format(element), *scripts, policy=policy)
        page = context.new_page()
        chromium.watch(page, complaints)
        page.goto("/page")
        return page

    yield show_page
    assert complaints == []
