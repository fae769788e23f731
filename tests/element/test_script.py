"""The script of the element: what is shipped, how it is served, and the tag that loads it."""

from __future__ import annotations

import gzip
import re
import subprocess
from base64 import b64encode
from hashlib import sha384
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from litestar import Litestar, MediaType, Request, get
from litestar.params import FromQuery
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.plugins.mako import MakoTemplateEngine
from litestar.response import Template
from litestar.template import TemplateConfig
from litestar.testing import TestClient

from litestar_filestore import FilestoreConfig, FilestorePlugin, filestore_upload_script
from litestar_filestore.sansio.tus import RESULT_HEADER
from tests.links.place_app import mounted
from tests.links.test_places import mount_like_starlette
from tests.servers import npm

ELEMENT = Path(str(files("litestar_filestore.element")))
SOURCE, SHIPPED, SHIPPED_DIRECT = (
    ELEMENT / name for name in ("filestore-upload.js", "filestore-upload.min.js", "filestore-upload-direct.min.js")
)
EACH = pytest.mark.parametrize(("direct", "shipped"), [(False, SHIPPED), (True, SHIPPED_DIRECT)], ids=["tus", "direct"])


@get("/tag", media_type=MediaType.HTML)
async def tag(
    request: Request[Any, Any, Any],
    nonce: FromQuery[str | None] = None,
    direct: FromQuery[bool] = False,  # noqa: FBT002  # a parameter of the query
) -> str:
    """Return the tag."""
    return filestore_upload_script(request, nonce=nonce, direct=direct)


def _application(path: str = "", **options: Any) -> Litestar:
    return Litestar([tag], path=path, plugins=[FilestorePlugin(FilestoreConfig(**options))])


def _attributes(html: str) -> dict[str, str]:
    return {name: unescape(value) for name, value in re.findall(r'([a-z]+)="([^"]*)"', html)}


@EACH
def test_size(shipped: Path, *, direct: bool) -> None:
    """Each script is small: with gzip, three kilobytes of 1024 bytes at most."""
    assert len(gzip.compress(shipped.read_bytes(), mtime=0)) <= 3 * 1024


@EACH
@pytest.mark.slow
def test_the_shipped_script_is_made_from_its_source(shipped: Path, *, direct: bool) -> None:
    """What browsers get is what `filestore-upload.js` says, in fewer bytes."""
    terser = npm.find_package_file("terser/bin/terser")
    command = next(line for line in SOURCE.read_text().splitlines() if line.endswith(f" > {shipped.name}"))
    options = command.partition(SOURCE.name)[2].partition(">")[0].split()
    made = subprocess.run(
        [npm.find_node(), terser, SOURCE.name, *options], cwd=ELEMENT, capture_output=True, check=True, timeout=60
    )
    assert made.stdout == shipped.read_bytes()


def test_the_header_of_results_is_the_servers() -> None:
    """The element reads the reference from the header in which the server writes it."""
    assert f"'{RESULT_HEADER}'" in SOURCE.read_text()


@EACH
def test_get_script(shipped: Path, *, direct: bool) -> None:
    """The script is sent with its type and may be kept for ever; its integrity is in the tag."""
    with TestClient(_application()) as client:
        found = _attributes(client.get("/tag", params={"direct": direct}).text)
        answer = client.get(found["src"])
    assert answer.status_code == 200
    assert answer.content == shipped.read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert found["type"] == "module"
    assert found["integrity"] == f"sha384-{b64encode(sha384(answer.content).digest()).decode()}"
    assert sha384(answer.content).hexdigest()[:16] in found["src"]


@pytest.mark.parametrize("path", ["", "/inner"])
def test_script_of_an_application_that_litestar_has_mounted(path: str) -> None:
    """The tag begins with the place where another application has mounted this one."""
    with TestClient(mounted(_application(path), "/mnt", "/outer")) as client:
        source = _attributes(client.get(f"/outer/mnt{path}/tag").text)["src"]
        assert source.startswith(f"/outer/mnt{path}/filestore-upload/")
        assert client.get(source).content == SHIPPED.read_bytes()


@pytest.mark.parametrize("path", ["", "/inner"])
def test_script_below_a_root_path(path: str) -> None:
    """The same for ``root_path``, with a name that URLs cannot have as it is."""
    with TestClient(mount_like_starlette(_application(path), "/Büro")) as client:
        source = _attributes(client.get(f"/Büro{path}/tag").text)["src"]
        assert unquote(source).startswith(f"/Büro{path}/filestore-upload/")
        assert source.isascii()
        assert client.get(source).content == SHIPPED.read_bytes()


def test_nonce() -> None:
    """A page whose policy wants a nonce gives it, and it cannot end the attribute."""
    with TestClient(_application()) as client:
        assert _attributes(client.get("/tag", params={"nonce": '"><x'}).text)["nonce"] == '"><x'


@pytest.mark.parametrize(
    ("engine", "source"),
    [
        (JinjaTemplateEngine, "{{ filestore_upload_script(direct=True) }}"),
        (MakoTemplateEngine, "${ filestore_upload_script(direct=True) }"),
    ],
)
def test_templates(engine: Any, source: str, tmp_path: Path) -> None:
    """Templates of each engine print the tag as it is."""
    (tmp_path / "page.html").write_text(source)

    @get("/page")
    async def page() -> Template:
        return Template("page.html")

    plugins = [FilestorePlugin(FilestoreConfig())]
    config = TemplateConfig(directory=tmp_path, engine=engine)
    with TestClient(Litestar([page, tag], plugins=plugins, template_config=config)) as client:
        assert client.get("/page").text == client.get("/tag", params={"direct": True}).text


def test_another_path_and_none() -> None:
    """The path is the application's to choose, and it may serve no script."""
    with TestClient(_application(upload_element_path="/static/upload")) as client:
        assert client.get(_attributes(client.get("/tag").text)["src"]).status_code == 200
    with TestClient(_application(upload_element_path=None)) as client:
        assert client.get("/tag").status_code == 500


def test_the_script_is_not_in_the_document() -> None:
    """It is no part of the application's interface."""
    assert list(_application().openapi_schema.paths or ()) == ["/tag"]
