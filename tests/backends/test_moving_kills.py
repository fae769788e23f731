"""A folder moves to Ceph and back while objects are read, written and deleted, and the mover is killed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from litestar_filestore.backends.moving.mover import Mover
from litestar_filestore.errors import ObjectNotFoundError
from tests.backends.mover_child import moving_backend
from tests.backends.obstore_stores import PLAIN_HTTP, make_bucket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from litestar_filestore import MovingBackend
    from tests.servers.s3 import S3Server

ROOT = Path(__file__).parents[2]
KILLS = 3


@dataclass
class Load:
    """What an application does meanwhile."""

    random: random.Random
    alive: dict[str, str] = field(default_factory=dict)
    """Digests by key."""
    dead: set[str] = field(default_factory=set)
    reads: int = 0
    writes: int = 0
    number: int = 0

    def new(self, largest: int = 20_000) -> tuple[str, bytes]:
        """Make a key and its content."""
        self.number += 1
        content = self.random.randbytes(self.random.choice([0, 1, 100, largest]))
        return f"{self.number % 256:02x}/{self.number:06}.bin", content

    async def put(self, backend: Any, largest: int = 20_000) -> None:
        """Store an object."""
        key, content = self.new(largest)
        self.dead.add(key)  # until it is stored: the end of the test may cancel this
        await backend.put_async(content, key=key, content_type="application/x-test", metadata={"name": key})
        self.alive[key] = hashlib.sha256(content).hexdigest()
        self.dead.discard(key)
        self.writes += 1

    async def read(self, backend: MovingBackend) -> None:
        """Read an object whole, and its info; it must be there and right, unless it was deleted meanwhile."""
        key = self.random.choice(list(self.alive))
        digest = self.alive[key]
        try:
            content = await backend.get_content_async(key)
            info = await backend.head_async(key)
            middle = len(content) // 2
            part = b"".join([block async for block in backend.get_async(key, middle)])
        except ObjectNotFoundError:
            assert key in self.dead
            return
        assert hashlib.sha256(content).hexdigest() == digest
        assert (info.size, part) == (len(content), content[middle:])
        self.reads += 1

    async def delete(self, backend: MovingBackend) -> None:
        """Delete an object."""
        key = self.random.choice(list(self.alive))
        del self.alive[key]
        self.dead.add(key)
        await backend.delete_async(key)

    async def run(self, backend: MovingBackend) -> None:
        """Do all of it until cancelled."""
        while True:
            for _ in range(4):
                await self.read(backend)
            await self.put(backend)
            await self.delete(backend)
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self, backend: MovingBackend) -> AsyncGenerator[None]:
        """Run it meanwhile; raise what went wrong."""
        tasks = [asyncio.ensure_future(self.run(backend)) for _ in range(2)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)] == []


async def move_and_kill(order: dict[str, Any], choose: random.Random, count: int) -> None:
    """Run the mover; kill it three times after some objects, then let it finish."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "tests.backends.mover_child", json.dumps(order)]
    for round_number in range(KILLS + 1):
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env=environment, cwd=ROOT
        )
        assert process.stdout is not None
        lines = choose.randrange(1, max(2, count // 4)) if round_number < KILLS else None
        while await process.stdout.readline():
            if lines is not None and (lines := lines - 1) == 0:
                process.send_signal(signal.SIGKILL)
                break
        await process.stdout.read()
        code = await process.wait()
        assert code == 0 or (code == -signal.SIGKILL and round_number < KILLS)


async def settle(load: Load, backend: MovingBackend) -> None:
    """Do as the sweeper: delete once more what is dead, for whoever was killed between a copy and its check."""
    if load.dead:
        await backend.delete_async(sorted(load.dead))
    status = await Mover(backend).status()
    assert status.is_complete, status


async def check(load: Load, store: Any) -> None:
    """Find exactly what is alive in the store that was moved to."""
    assert sorted([info.key async for info in store.list_async()]) == sorted(load.alive)
    for key, digest in load.alive.items():
        assert hashlib.sha256(await store.get_content_async(key)).hexdigest() == digest, key


async def there_and_back(folder: Path, server: S3Server, *, count: int, seed: int) -> None:
    """Move `count` objects from a folder to a bucket and back."""
    load, choose = Load(random.Random(seed)), random.Random(seed)
    bucket = {
        "fs": f"s3://{make_bucket(server)}/folder/",
        "aws_endpoint": server.endpoint,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "aws_region": server.region,
        "client_options": PLAIN_HTTP,
    }
    ways: tuple[Literal["target", "source"], ...] = ("target", "source")
    for writes in ways:
        order = {"folder": str(folder), "bucket": bucket, "writes": writes}
        backend = moving_backend(str(folder), bucket, writes)
        await backend.start_async()
        while load.writes < count:
            await load.put(backend.source)
        async with load.running(backend):
            await move_and_kill(order, choose, count)
        await settle(load, backend)
        await check(load, backend.target if writes == "target" else backend.source)
        if writes == "target":
            for key in list(load.alive)[:20]:
                info = await backend.target.head_async(key)
                assert (info.content_type, dict(info.metadata)) == ("application/x-test", {"name": key})
        for each in (backend, backend.source, backend.target):
            await each.close_async()
    assert load.reads > 10


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_move_with_kills(tmp_path: Path, s3_server: S3Server) -> None:
    """No read fails, nothing is lost or comes back, and types, metadata and digests are the same."""
    await there_and_back(tmp_path / "disk", s3_server, count=150, seed=1)


@pytest.mark.stress
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [2, 3])
async def test_a_large_move_with_kills(tmp_path: Path, s3_server: S3Server, seed: int) -> None:
    """The same with 2,000 objects."""
    await there_and_back(tmp_path / "disk", s3_server, count=2000, seed=seed)
