"""Packages from npm that tests use: `.ci/run` installs them, and a developer may."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.servers.processes import missing

__all__ = ("find_node", "find_package_file")

CACHE = Path(__file__).parents[2] / ".cache" / "npm"
PACKAGES = "terser@5.51.4 htmx.org@4.0.1 react@19.3.1 react-dom@19.3.1 tus-js-client@4.3.1 uppy@6.0.1"
"""Pinned, as `.ci/run` has them: another release of terser may write the same script in another way."""


def find_package_file(path: str) -> Path:
    """Return a file of an installed package; if it is not there, leave by `missing`.

    Args:
        path: The package, and the path in it.
    """
    found = CACHE / "node_modules" / path
    if not found.exists():
        missing(f"{path} is not installed: npm install --prefix {CACHE} {PACKAGES}")
    return found


def find_node() -> str:
    """Return the program of Node.js; if it is not there, leave by `missing`."""
    found = shutil.which("node")
    if found is None:
        missing("Node.js is not installed: apt-get install nodejs npm")
    return found
