"""The page about errors lists all of them, as they are."""

from __future__ import annotations

import re

import pytest

from litestar_filestore import errors, to_http_exception
from tests.docs.run_page import ROOT

PAGE = (ROOT / "docs" / "features" / "errors.md").read_text(encoding="utf-8")
ROWS = {
    name: (parent, status, text)
    for name, parent, status, text in re.findall(
        r"^`(\w+)`(?: \(`(\w+)`\))?, (\d+)\n: (.+?)\n\n", PAGE, re.DOTALL | re.MULTILINE
    )
}
NAMES = [name for name in errors.__all__ if name != "StorageError"]


def test_every_error_is_there() -> None:
    """Each error has a row, in the order of the module's tree, and no row is about something else."""
    drawn = re.findall(r"(\w+Error)\b(?= *(?:\(|[a-z]))", errors.__doc__ or "")
    order = [name for name in dict.fromkeys(drawn) if name in NAMES]
    assert [name for name in ROWS if name in order] == order
    assert sorted(ROWS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_row_of_an_error(name: str) -> None:
    """Status and built-in parent are those of the class; cause and cure are said."""
    class_ = getattr(errors, name)
    parent, status, text = ROWS[name]
    try:
        error = class_("detail")
    except TypeError:
        error = class_("detail", max_bytes=1)
    assert to_http_exception(error).status_code == int(status)
    assert not parent or parent in {each.__name__ for each in class_.__mro__}
    assert "*Cure:*" in text or "of the next" in text
