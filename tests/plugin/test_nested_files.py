"""Files inside of a body, in an application where no handler takes a bare file."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.run_page import ROOT

PROGRAM = """
from dataclasses import dataclass
from litestar import Litestar, post
from litestar.params import JSONBody
from litestar.testing import TestClient
from litestar_filestore import FileObject, FilestoreConfig, FilestorePlugin, MemoryBackend, storages

@dataclass
class Letter:
    file: FileObject

@post("/")
async def write(data: JSONBody[Letter]) -> str:
    return data.file.filename

plugin = FilestorePlugin(FilestoreConfig([MemoryBackend("letters")], secret="kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"))
with TestClient(Litestar([write], plugins=[plugin], logging_config=None)) as client:
    reference = storages.reference_for(FileObject("letters", "a.txt", content=b"hello").save())
    for sent in (reference, "text", {"filename": "a.txt", "backend": "letters"}):
        answer = client.post("/", json={"file": sent})
        print(answer.status_code, answer.text)
"""


def test_json_takes_a_reference_where_no_handler_takes_a_bare_file() -> None:
    """Litestar asks the type for its decoder before it asks the plugin: the type must not refuse what the plugin takes.

    In a process of its own: Litestar keeps the decoder that a plugin brought on the type.
    """
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    reference, text, mapping = result.stdout.splitlines()
    assert reference == "201 a.txt"
    assert text.startswith("400 ")
    assert mapping.startswith("400 ")
    assert "FilestorePlugin" not in text + mapping
