"""What the example app makes of its environment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from example_app.settings import Settings


def test_workers_that_start_together_have_one_secret(tmp_path: Path) -> None:
    """Without a variable the secret is in a file, which only its owner reads; each worker finds the same one."""

    def secret(_: int) -> str:
        return Settings.from_environment({"FILESTORE_DATA": str(tmp_path)}).secret

    with ThreadPoolExecutor(8) as workers:
        secrets = set(workers.map(secret, range(32)))
    assert (len(secrets), min(map(len, secrets)) >= 32) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_secret_of_the_environment_comes_first(tmp_path: Path) -> None:
    """Several hosts share a variable; then no file is made."""
    environment = {"FILESTORE_DATA": str(tmp_path), "FILESTORE_SECRET": "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"}
    assert Settings.from_environment(environment).secret == "kV8zq1Q0d4nXb7Yw3Tj6Lr9Gf2Hs5Mc0"
    assert list(tmp_path.iterdir()) == []
