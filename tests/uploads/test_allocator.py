"""The C library reuses the memory of body messages."""

from __future__ import annotations

import inspect
import platform
import subprocess
import sys

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from litestar_filestore import FilestoreConfig, FilestorePlugin, MemoryBackend
from litestar_filestore.uploads.arrivals import keep_memory_of_messages

_COUNT = """
import ctypes

FIELDS = "arena", "ordblks", "smblks", "mappings"

class Info(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_int) for name in FIELDS), ("rest", ctypes.c_int * 6)]

mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Info

held = []

def mapped():
    before = mallinfo().mappings
    held.extend(bytes(3 * 1024 * 1024) for _ in range(4))
    return mallinfo().mappings - before

cold = mapped()
keep_memory_of_messages()
print(cold, mapped())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_blocks_are_not_mapped() -> None:
    """After the start, blocks come from the heap; before, each is a mapping of its own."""
    function = inspect.getsource(keep_memory_of_messages)
    program = f"import platform\n_LARGE_BYTES = {8 * 1024 * 1024}\n{function}{_COUNT}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4", "0"]


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere nothing is made."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert not keep_memory_of_messages()


async def test_application_does_it_when_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lifespan of the plugin does it."""
    asked: list[str] = []

    def libc_ver() -> tuple[str, str]:
        asked.append("asked")
        return "", ""

    monkeypatch.setattr(platform, "libc_ver", libc_ver)
    app = Litestar(plugins=[FilestorePlugin(FilestoreConfig([MemoryBackend("files")]))])
    assert not asked
    async with AsyncTestClient(app):
        assert asked
