"""The pages import what is public, and the reference lists exactly that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.architecture import Module, hidden_imports, public_names
from tests.docs.run_page import ROOT, parse
from tests.docs.test_pages import PAGES_WITH_CODE

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = ROOT / "docs" / "reference.md"
PUBLIC = public_names()
GUIDES = [page for page in PAGES_WITH_CODE if page.parent.name != "decisions"]  # those tell what was, too


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_imports_what_is_public(page: Path, tmp_path: Path) -> None:
    """A reader can rely on each name that a page imports, in visible blocks and in hidden ones."""
    blocks = [str(example.parsed) for example in parse(page, lambda _: None).examples()]
    code = tmp_path / "page.py"
    code.write_text("\n".join(blocks), encoding="utf-8")
    assert list(hidden_imports(Module(page.name, code), PUBLIC)) == []


def listed_names() -> dict[str, set[str]]:
    """Return the members that the reference lists, by module."""
    directives = re.findall(
        r"^\.\. automodule:: (\S+)\n((?:   .*\n)+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {
        module: set(
            re.findall(r"\w+", " ".join(re.findall(r"^   :members:(.*(?:\n      .*)*)", options, re.MULTILINE)))
        )
        for module, options in directives
    }


def test_reference_lists_all_that_is_public() -> None:
    """What is not in the reference is not public, and the other way round."""
    assert listed_names() == {module: set(names) for module, names in PUBLIC.items()}
