"""An application that was not given the plugin: the first answer says so."""

from __future__ import annotations

import subprocess
import sys

from litestar_filestore import FileObject
from tests.docs.run_page import ROOT

PROGRAM = """
from dataclasses import dataclass
from litestar import Litestar, get, post
from litestar.params import MultipartBody
from litestar.testing import TestClient
from litestar_filestore import FileObject

@dataclass
class Form:
    title: str
    file: FileObject

@post("/form")
async def form(data: MultipartBody[Form]) -> None: ...

@post("/file")
async def file(data: MultipartBody[FileObject]) -> None: ...

@get("/answer")
async def answer() -> FileObject:
    return FileObject("documents", "a.txt")

with TestClient(Litestar([form, file, answer], debug=True, logging_config=None)) as client:
    upload = {"data": {"title": "A"}, "files": {"file": ("a.txt", b"hello", "text/plain")}}
    for response in (client.post("/form", **upload), client.post("/file", **upload), client.get("/answer")):
        print(response.status_code, response.text.splitlines()[-1])
    assert client.get("/schema/openapi.json").status_code == 200
"""


def test_application_without_the_plugin_says_so() -> None:
    """An upload and an answer with a file name the plugin and show how it is added.

    In a process of its own: Litestar keeps the decoder that a plugin brought on the type.
    """
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    form, file, answer = result.stdout.splitlines()
    hint = "FilestorePlugin: Litestar(..., plugins=[FilestorePlugin(FilestoreConfig(backends=[...]))])"
    assert form.startswith("400 ")
    assert f"Litestar takes no UploadFile as a file before it has {hint}" in form
    assert file.startswith("400 ")
    assert hint in file
    assert answer.startswith("500 ")
    assert f"Unsupported type: {FileObject!r}" in answer
    assert hint in answer
