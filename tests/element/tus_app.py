"""A server of tus 1.0.0 that keeps what it gets in memory and fails when it is told to, and a page with the element.

The page's policy allows as little as can be, and every request that changes something needs Litestar's CSRF token: all
tests of the element show that it gets along with both.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from litestar import Litestar, MediaType, Request, Response, delete, get, head, patch, post, put
from litestar.config.csrf import CSRFConfig
from litestar.exceptions import HTTPException
from litestar.params import FromPath, JSONBody
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import File, Stream, Template
from litestar.template import TemplateConfig

from litestar_filestore import FilestoreConfig, FilestorePlugin

__all__ = ("BREAK", "POLICY", "Fault", "app")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/page.css">
{{ filestore_upload_script() }}{% for script in scripts %}<script src="{{ script }}"></script>{% endfor %}
</head><body><main><h1>Page</h1>BODY</main></body></html>"""

STYLE = """:root { color-scheme: light dark }
body { font: 16px/1.4 sans-serif; margin: 1rem; background: Canvas; color: CanvasText }"""


BREAK = 1


@dataclass
class Fault:
    """What goes wrong once, with the next request of a method."""

    method: str
    status: int = 0
    """The status that is answered; 0 for none yet, until the faults are set anew; `BREAK` for an answer that breaks.

    The body is read to its end before: a connection that closes with unread bytes is reset, and Chromium may then
    repeat the request by itself, unseen by the page.
    """
    detail: str = "On purpose"
    keeps: int = 0
    """How many bytes of the body are kept before."""
    headers: dict[str, str] = field(default_factory=dict)


async def _breaking() -> AsyncIterator[bytes]:
    """Yield the beginning of an answer; the server closes the connection when the rest is missing."""
    yield b"The beginning"
    raise ConnectionResetError


@dataclass
class Upload:
    """One upload."""

    length: int
    metadata: str
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Shape:
    """What the page holds."""

    body: str
    scripts: list[str] = field(default_factory=list)
    policy: str = POLICY


@dataclass
class Server:
    """What the server knows."""

    uploads: dict[str, Upload] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    shape: Shape = field(default_factory=lambda: Shape(""))
    requests: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def fail(self, method: str) -> Stream | None:
        """Fail as the next fault of `method` says, if there is one; return an answer that breaks."""
        fault = next((fault for fault in self.faults if fault.method == method), None)
        if fault is None:
            return None
        self.faults.remove(fault)
        if not fault.status:
            await self.released.wait()
        if fault.status == BREAK:
            return Stream(_breaking(), headers=fault.headers)
        raise HTTPException(fault.detail, status_code=fault.status or 503, headers=fault.headers)

    def upload(self, ident: str) -> Upload:
        """Return an upload.

        Raises:
            HTTPException: There is none of that name.
        """
        if ident not in self.uploads:
            raise HTTPException("There is no such upload", status_code=404)
        return self.uploads[ident]


server = Server()


def _answer(ident: str, status: int) -> Response[None]:
    upload = server.uploads[ident]
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(len(upload.content)),
        "Upload-Length": str(upload.length),
        "Cache-Control": "no-store",
        "Location": f"/uploads/{ident}",
    }
    if len(upload.content) == upload.length:
        headers["Filestore-Reference"] = f"reference-{ident}"
    return Response(None, status_code=status, headers=headers)


def _note(request: Request[Any, Any, Any]) -> None:
    assert request.headers["tus-resumable"] == "1.0.0"
    server.requests.append(" ".join([request.method, *filter(None, [request.headers.get("upload-offset")])]))


@post("/uploads", status_code=201)
async def create(request: Request[Any, Any, Any]) -> Response[None]:
    """Begin an upload."""
    _note(request)
    await server.fail("POST")
    ident = uuid4().hex[:8]
    server.uploads[ident] = Upload(int(request.headers["upload-length"]), request.headers["upload-metadata"])
    return _answer(ident, 201)


@head("/uploads/{ident:str}")
async def ask(request: Request[Any, Any, Any], ident: FromPath[str]) -> Response[None]:
    """Tell how far an upload is."""
    _note(request)
    await server.fail("HEAD")
    server.upload(ident)
    return _answer(ident, 200)


@patch("/uploads/{ident:str}", request_max_body_size=None)
async def append(request: Request[Any, Any, Any], ident: FromPath[str]) -> Response[Any]:
    """Append to an upload, as far as the next fault lets it."""
    _note(request)
    upload = server.upload(ident)
    assert request.headers["content-type"] == "application/offset+octet-stream"
    if int(request.headers["upload-offset"]) != len(upload.content):
        raise HTTPException("The offset is another one", status_code=409)
    fault = next((fault for fault in server.faults if fault.method == "PATCH"), None)
    limit = upload.length if fault is None else len(upload.content) + fault.keeps
    if limit > len(upload.content):
        async for block in request.stream():
            upload.content += block[: limit - len(upload.content)]
            if fault is not None and fault.status != BREAK and len(upload.content) == limit:
                break
    return await server.fail("PATCH") or _answer(ident, 204)


@delete("/uploads/{ident:str}", status_code=204)
async def terminate(request: Request[Any, Any, Any], ident: FromPath[str]) -> None:
    """Forget an upload."""
    _note(request)
    server.upload(ident)
    del server.uploads[ident]


@get("/page")
async def page() -> Template:
    """Show the page."""
    headers = {"Content-Security-Policy": server.shape.policy}
    template = PAGE.replace("BODY", server.shape.body)
    return Template(
        template_str=template, context={"scripts": server.shape.scripts}, headers=headers, media_type=MediaType.HTML
    )


@get("/page.css", media_type="text/css")
async def style() -> str:
    """Return the style of the page."""
    return STYLE


@get("/scripts/{name:str}")
async def script(name: FromPath[str]) -> File:
    """Send a script that the tests have brought."""
    folder = Path(os.environ["FILESTORE_SCRIPTS"])
    return File(folder / Path(name).name, media_type="text/javascript", content_disposition_type="inline")


@post("/submit", status_code=200, media_type=MediaType.TEXT)
async def submit(request: Request[Any, Any, Any]) -> str:
    """Show what a form has sent."""
    form = await request.form()
    values = [(name, value) for name, value in form.multi_items() if not name.startswith("_")]
    return "&".join(f"{name}={value}" for name, value in sorted(values, key=lambda pair: pair[0]))


@put("/control/page", status_code=204)
async def set_page(data: JSONBody[Shape]) -> None:
    """Set the page, and forget everything else."""
    server.released.set()
    server.__init__(shape=data)  # type: ignore[misc]


@put("/control/faults", status_code=204)
async def set_faults(data: JSONBody[list[Fault]]) -> None:
    """Set what goes wrong from now on; what hangs ends."""
    server.released.set()
    server.released, server.faults = asyncio.Event(), data


@get("/control")
async def tell() -> dict[str, Any]:
    """Tell what has arrived."""
    return {
        "requests": server.requests,
        "uploads": {
            ident: {
                "length": upload.length,
                "offset": len(upload.content),
                "metadata": upload.metadata,
                "sha256": hashlib.sha256(upload.content).hexdigest(),
            }
            for ident, upload in server.uploads.items()
        },
    }


app = Litestar(
    [create, ask, append, terminate, page, style, script, submit, set_page, set_faults, tell],
    plugins=[FilestorePlugin(FilestoreConfig())],
    csrf_config=CSRFConfig(secret="0" * 32, exclude=["/control"]),
    template_config=TemplateConfig(directory=Path(__file__).parent, engine=JinjaTemplateEngine),
)
