"""Conditional requests (RFC 9110 section 13), and the entity tags and dates that they compare (section 8.8)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

__all__ = (
    "Validators",
    "check_preconditions",
    "has_conditions",
    "has_preconditions",
    "if_range_holds",
    "joined_headers",
    "normal_etag",
    "parse_http_date",
)

_OPAQUE = r'"[\x21\x23-\x7e\x80-\xff]*"'
_ETAG = re.compile(rf"(?:W/)?{_OPAQUE}")
# Tags may contain commas, so the list is read tag by tag and must hold nothing but tags. Each alternative starts with a
# character that the other cannot start with, so matching takes linear time.
_ETAG_LIST = re.compile(rf"[ \t,]*(?:{_ETAG.pattern}[ \t]*(?:,[ \t,]*|$))+")
_MAX_LIST_CHARS = 8192
_CHANGES = frozenset({"if-match", "if-none-match", "if-unmodified-since"})
_CONDITIONS = _CHANGES | {"if-modified-since"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = "|".join(_MONTHS)
_DATES = (
    re.compile(rf"(?ai:[a-z]{{3}}, (?P<d>[0-9]{{2}}) (?P<m>{_MONTH}) (?P<y>[0-9]{{4}}) (?P<t>[0-9:]{{8}}) GMT)"),
    re.compile(rf"(?ai:[a-z]{{6,9}}, (?P<d>[0-9]{{2}})-(?P<m>{_MONTH})-(?P<y>[0-9]{{2}}) (?P<t>[0-9:]{{8}}) GMT)"),
    re.compile(rf"(?ai:[a-z]{{3}} (?P<m>{_MONTH}) (?P<d>[ 0-9][0-9]) (?P<t>[0-9:]{{8}}) (?P<y>[0-9]{{4}}))"),
)
_TIME = re.compile(r"(?a:([0-9]{2}):([0-9]{2}):([0-9]{2}))")
_CENTURY_YEARS = 100
_FUTURE_YEARS = 50


class Validators(NamedTuple):
    """Entity tag and date, which identify one version of a representation."""

    etag: str | None = None
    """Entity tag with its quotes, with the prefix ``W/`` if it is weak."""
    last_modified: int | None = None
    """Time of the last change in whole POSIX seconds (UTC)."""

    @property
    def http_date(self) -> str | None:
        """`last_modified` as the value of ``Last-Modified``."""
        return _http_date(self.last_modified) if self.last_modified is not None else None


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def normal_etag(etag: str | None) -> str | None:
    """Return an entity tag that may be sent: adds quotes if the store left them out.

    Returns:
        The tag, or ``None`` if it cannot be sent at all.
    """
    if not etag or _ETAG.fullmatch(etag):
        return etag or None
    quoted = f'"{etag}"'
    return quoted if _ETAG.fullmatch(quoted) else None


def joined_headers(lines: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers of a request by lower-case name; several lines of one name are joined by commas in order.

    Args:
        lines: Names and values as received, in ISO-8859-1 (RFC 9110 section 5.5).
    """
    joined: dict[str, str] = {}
    for raw_name, raw_value in lines:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def has_conditions(headers: Mapping[str, str]) -> bool:
    """Return whether a request states any precondition, so that `check_preconditions` has something to say."""
    return not _CONDITIONS.isdisjoint(headers)


def has_preconditions(headers: Mapping[str, str]) -> bool:
    """Return whether a request that changes something states a precondition (section 13.1).

    Args:
        headers: Headers of the request, as `joined_headers` returns them.
    """
    return not _CHANGES.isdisjoint(headers)


def check_preconditions(
    method: str, headers: Mapping[str, str], validators: Validators | None
) -> Literal[200, 304, 412]:
    """Evaluate the preconditions of a request in the order of section 13.2.2, and return the status.

    Args:
        method: Method of the request.
        headers: Headers of the request, as `joined_headers` returns them.
        validators: Validators of the representation; ``None`` if there is none at present, so that ``If-Match`` cannot
            match and there is no date (sections 13.1.1, 13.1.2, 13.1.4).

    Returns:
        200 to go on, 304 for "Not Modified", 412 for "Precondition Failed".
    """
    if validators is None:
        return 412 if "if-match" in headers else 200
    is_read = method in {"GET", "HEAD"}
    if (if_match := headers.get("if-match")) is not None:
        if not _names(if_match, validators.etag, strong=True):
            return 412
    elif _is_newer(validators, headers.get("if-unmodified-since")):
        return 412
    if (if_none_match := headers.get("if-none-match")) is not None:
        if _names(if_none_match, validators.etag, strong=False):
            return 304 if is_read else 412
    elif is_read and _is_newer(validators, headers.get("if-modified-since")) is False:
        return 304
    return 200


def if_range_holds(header: str, validators: Validators) -> bool:
    """Return whether the client's part belongs to the current version, so that a range may follow (section 13.1.5).

    Only a strong validator can tell: an equal strong tag, or a date equal to ``Last-Modified``. A client may send such
    a date only if it is strong (section 8.8.2.2), which it can tell from the date of its own copy.
    """
    if '"' in header:
        return validators.etag is not None and _strongly_equal(header.strip(" \t"), validators.etag)
    date = parse_http_date(header)
    return date is not None and date == validators.last_modified


def parse_http_date(text: str) -> int | None:
    """Parse a date in one of the three forms of section 5.6.7; return POSIX seconds, or ``None`` for other text."""
    match = next(filter(None, (form.fullmatch(text.strip(" \t")) for form in _DATES)), None)
    time = _TIME.fullmatch(match["t"]) if match is not None else None
    if match is None or time is None:
        return None
    hour, minute, second = map(int, time.groups())
    year = int(match["y"]) if len(match["y"]) > 2 else _near_year(int(match["y"]))  # noqa: PLR2004  # two digits
    try:
        # 60 is a leap second, which POSIX time does not have.
        moment = datetime(
            year, _MONTHS.index(match["m"].lower()) + 1, int(match["d"]), hour, minute, min(second, 59), tzinfo=UTC
        )
    except ValueError:
        return None
    return int(moment.timestamp())


def _near_year(two_digits: int) -> int:
    """Return the year of two digits that is at most 50 years ahead (section 5.6.7)."""
    this_year = datetime.now(UTC).year
    year = this_year - this_year % _CENTURY_YEARS + two_digits
    return year - _CENTURY_YEARS if year > this_year + _FUTURE_YEARS else year


def _is_newer(validators: Validators, header: str | None) -> bool | None:
    """Return whether the representation changed after a date; ``None`` if there is nothing to compare."""
    date = parse_http_date(header) if header is not None else None
    if date is None or validators.last_modified is None:
        return None
    return validators.last_modified > date


def _names(header: str, etag: str | None, *, strong: bool) -> bool:
    text = header.strip(" \t")
    if text == "*":
        return True
    # Do not search lists longer than any client sends: browsers send one tag, caches a few.
    if etag is None or len(text) > _MAX_LIST_CHARS or not _ETAG_LIST.fullmatch(text):
        return False
    equal = _strongly_equal if strong else _weakly_equal
    return any(equal(each, etag) for each in _ETAG.findall(text))


def _strongly_equal(one: str, other: str) -> bool:
    return one == other and not one.startswith("W/")


def _weakly_equal(one: str, other: str) -> bool:
    return one.removeprefix("W/") == other.removeprefix("W/")
