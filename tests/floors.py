"""Runs a selection of the tests on the oldest versions that `pyproject.toml` allows: ``python -m tests.floors``.

They are installed into an environment of their own below ``.cache``: of the package, its extras, and what applications
have beside it, the oldest; of all else, what the tests need to run, the newest that fits. Arguments go to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ("main",)

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
HOME = CACHE / "floors"

SELECTION = (
    # Litestar, msgspec, anyio, and what file fields may stand in
    "tests/plugin/test_annotations.py",
    "tests/plugin/test_config.py",
    "tests/plugin/test_serialization.py",
    "tests/uploads/test_plans.py",
    "tests/uploads/test_receive.py",
    "tests/links/test_references.py",
    # SQLAlchemy, Advanced Alchemy, Alembic
    "tests/orm",
    "tests/tracking/test_advanced_alchemy.py",
    "tests/tracking/test_autocommit.py",
    "tests/tracking/test_rollbacks.py",
    "tests/ledger/test_advanced_alchemy.py",
    "tests/ledger/test_autocommit.py",
    "tests/ledger/test_ledger.py",
    "tests/uploads/test_advanced_alchemy.py",
    "tests/cli",
    # The libraries of stores
    "tests/backends/test_fsspec.py",
    "tests/backends/test_fsspec_files.py",
    "tests/backends/test_obstore.py",
    "tests/conformance/test_webdav.py",
    # Prometheus, OpenTelemetry
    "tests/metrics/test_metrics.py",
)
SERVERS = "ceph or azurite or gcs or mariadb or postgres or pgbouncer"


def _uv(*arguments: str, content: str | None = None) -> None:
    program = shutil.which("uv", path=sysconfig.get_path("scripts")) or "uv"
    environment = {**os.environ, "UV_CACHE_DIR": str(CACHE / "uv"), "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([program, *arguments], cwd=ROOT, env=environment, text=True, check=True, input=content)


def install() -> Path:
    """Install the oldest versions, and return the interpreter that has them."""
    python, floors = HOME / "bin" / "python", CACHE / "floors.txt"
    _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(HOME))
    wanted = ("--python", str(python), "--group", "run", "--group", "beside", "--output-file", str(floors))
    _uv("pip", "compile", "--quiet", "--resolution", "lowest-direct", *wanted, "-", content="-e .[all,standard]\n")
    # A constraint has a name, and the package itself has a path.
    pinned = [line for line in floors.read_text("utf-8").splitlines() if "==" in line]
    floors.write_text("\n".join(pinned), "utf-8")
    needed = ("-e", ".[all,standard]", "--group", "test", "--constraint", str(floors))
    _uv("pip", "install", "--quiet", "--python", str(python), *needed)
    return python


def main(arguments: list[str]) -> int:
    """Install, run the tests, and return their exit status."""
    python = install()
    chosen = ["-m", "not slow and not stress", "-k", f"not ({SERVERS})", *SELECTION]
    options = ["--numprocesses", "2", "--dist", "worksteal", "-p", "no:cacheprovider"]
    return subprocess.run([python, "-m", "pytest", *options, *chosen, *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
