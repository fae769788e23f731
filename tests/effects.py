"""Tells what a statement changes in SQLAlchemy: ``python -m tests.effects 'import something'``.

Prints one line for each function of SQLAlchemy that is another one afterwards, and for each event that somebody listens
to since. It is a program of its own, as both last as long as the process.
"""

from __future__ import annotations

import gc
import inspect
import sys
from typing import Any

import advanced_alchemy.extensions.litestar  # noqa: F401  # what it does to SQLAlchemy when it is loaded is its own
import litestar  # noqa: F401
import sqlalchemy.event.registry
import sqlalchemy.ext.asyncio
import sqlalchemy.ext.automap
import sqlalchemy.ext.mutable
import sqlalchemy.orm


def functions() -> dict[str, object]:
    """Return everything callable in SQLAlchemy's modules and classes by its full name."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] == "sqlalchemy"]
    classes = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    own = {value for value in classes if value.__module__.partition(".")[0] == "sqlalchemy"}
    found = {
        f"{holder.__module__}.{holder.__qualname__}.{name}": value
        for holder in own
        for name, value in vars(holder).items()
    } | {f"{module.__name__}.{name}": value for module in modules for name, value in vars(module).items()}
    return {
        name: value
        for name, value in found.items()
        if callable(value) or isinstance(value, classmethod | staticmethod | property)
    }


def listeners() -> dict[tuple[Any, ...], str]:
    """Return SQLAlchemy's table of who listens to what: a name for each key."""
    table: Any = sqlalchemy.event.registry._key_to_collection  # noqa: SLF001  # it is told nowhere else
    by_id = {id(each): each for each in gc.get_objects() if callable(each)}
    return {key: f"{key[1]} by {_name_of(by_id.get(key[2]))}" for key in table}


def _name_of(function: object) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__name__', '?')}"


def main(statement: str) -> None:
    """Run a statement and tell its effects."""
    code, heard = functions(), listeners()
    exec(statement, {"__name__": "statement"})  # noqa: S102  # it comes from the test
    now = functions()
    for name, value in sorted(code.items()):
        if now.get(name) is not value:
            print(f"replaced: {name}")
    # SQLAlchemy and others listen to each other when a class is mapped; only this package's listeners are asked about.
    for key, name in sorted(listeners().items(), key=lambda item: item[1]):
        if key not in heard and " by litestar_filestore" in name:
            print(f"listens: {name}")


if __name__ == "__main__":
    main(sys.argv[1])
