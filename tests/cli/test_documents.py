"""The page of the commands names every field of the documents that ``--json`` prints."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from litestar_filestore.cli import reports

PAGE = (Path(__file__).parents[2] / "docs/features/commands.md").read_text()
RECORDS = [each for each in vars(reports).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]


@pytest.mark.parametrize("record", [each for each in RECORDS if each is not msgspec.Struct])
def test_fields_are_documented(record: type[msgspec.Struct]) -> None:
    """Each field stands on the page."""
    names = [field.name for field in msgspec.structs.fields(record)]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
