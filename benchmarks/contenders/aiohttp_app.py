"""aiohttp with its own server: its streaming reader of forms, `FileResponse` for the kernel to copy. No row."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from aiohttp import BodyPartReader, web

__all__ = ("create_app", "main")

_CHUNK_BYTES = 256 * 1024


def create_app(folder: Path) -> web.Application:
    """Return the application."""

    async def store(request: web.Request) -> web.Response:
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader):
            raise web.HTTPBadRequest
        name = uuid.uuid4().hex
        with (folder / name).open("xb") as file:
            while chunk := await part.read_chunk(_CHUNK_BYTES):
                file.write(chunk)
        return web.Response(status=201, text=name)

    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / request.match_info["name"])

    app = web.Application(client_max_size=0)
    app.router.add_post("/files", store)
    app.router.add_get("/files/{name}", send)
    return app


def main() -> None:
    """Serve."""
    web.run_app(
        create_app(Path(os.environ["BENCH_FOLDER"])),
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        access_log=None,
        print=None,
    )


if __name__ == "__main__":
    main()
