"""Reads and plays exchanges with a tus server, written as a table of text.

A case is a line ``# name`` and the requests below it, one to a line::

    METHOD target | Header: value | ... < body => status | Header: pattern | !Header | Header > name

``-Header`` leaves out a header that is sent otherwise, ``status`` may be several (``400,409``), a pattern is a regular
expression for the whole value, ``!Header`` must be missing, and ``Header > name`` keeps a value for later lines, where
``{name}`` stands for it. The target ``base`` is the URL for creations. ``12*A`` as a body is twelve letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

__all__ = ("Case", "Exchange", "play", "read_cases")

_TIMES = re.compile(r"([0-9]+)\*(.)")


class Exchange(NamedTuple):
    """One request, and what its answer has to be."""

    method: str
    target: str
    headers: dict[str, str]
    without: frozenset[str]
    body: str | None
    statuses: frozenset[int]
    patterns: dict[str, str]
    missing: frozenset[str]
    kept: dict[str, str]
    line: str


class Case(NamedTuple):
    """Exchanges that belong together."""

    name: str
    exchanges: tuple[Exchange, ...]


class Answer(Protocol):
    """What a client returns."""

    status_code: int
    headers: Mapping[str, str]
    text: str


class Client(Protocol):
    """What sends requests."""

    def request(self, method: str, url: str, *, headers: Any, content: Any) -> Answer:
        """Send one."""
        ...


def read_cases(table: str) -> Iterator[Case]:
    """Yield the cases of a table."""
    name, exchanges = "", list[Exchange]()
    for line in (*filter(None, map(str.strip, table.splitlines())), "# end"):
        if not line.startswith("#"):
            exchanges.append(_read(line))
        else:
            if exchanges:
                yield Case(name, tuple(exchanges))
            name, exchanges = line.removeprefix("#").strip(), []


def _read(line: str) -> Exchange:
    asked, _, expected = line.partition(" => ")
    asked, mark, body = f"{asked} ".partition(" < ")
    (method, target), said = _items(asked, "-")
    (statuses,), wanted = _items(expected, "!")
    return Exchange(
        method,
        target,
        headers=said.pairs,
        without=said.marked,
        body=body.rstrip(" ") if mark else None,
        statuses=frozenset(map(int, statuses.split(","))),
        patterns=wanted.pairs,
        missing=wanted.marked,
        kept=wanted.kept,
        line=line,
    )


class _Items(NamedTuple):
    pairs: dict[str, str]
    marked: frozenset[str]
    kept: dict[str, str]


def _items(text: str, mark: str) -> tuple[list[str], _Items]:
    first, *rest = (item.strip() for item in text.split(" | "))
    pairs, marked, kept = dict[str, str](), set[str](), dict[str, str]()
    for item in rest:
        if item.startswith(mark):
            marked.add(item[1:])
        elif " > " in item:
            name, _, variable = item.partition(" > ")
            kept[name] = variable
        else:
            name, _, value = item.partition(":")
            pairs[name] = value.strip()
    return first.split(), _Items(pairs, frozenset(marked), kept)


def play(case: Case, client: Client, base: str, defaults: Mapping[str, str]) -> None:
    """Send the requests of a case one after the other, and compare the answers."""
    known = {"base": base}
    for each in case.exchanges:
        headers = {name: _filled(value, known) for name, value in each.headers.items()}
        headers = {name: value for name, value in {**defaults, **headers}.items() if name not in each.without}
        url = _filled(each.target, known) if "{" in each.target else known["base"]
        body = None if each.body is None else _body(each.body)
        sent = {name: value.encode() for name, value in headers.items()}
        answer = client.request(each.method, url, headers=sent, content=body)
        found = f"{each.line}\n{answer.status_code} {dict(answer.headers)}\n{answer.text}"
        assert answer.status_code in each.statuses, found
        for name, pattern in each.patterns.items():
            assert re.fullmatch(_filled(pattern, known, re.escape), answer.headers.get(name, "")), found
        assert not each.missing & {name.title() for name in answer.headers}, found
        known |= {variable: answer.headers[name] for name, variable in each.kept.items()}


def _filled(text: str, known: Mapping[str, str], quote: Any = str) -> str:
    return re.sub(r"\{([a-z]\w*)\}", lambda found: quote(known[found[1]]), text)


def _body(text: str) -> bytes:
    times = _TIMES.fullmatch(text)
    return (times[2] * int(times[1]) if times is not None else text).encode()
