"""What only a local folder does: folders vanish under its writers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from litestar_filestore.backends.local.tree import Tree
from litestar_filestore.backends.local.writes import LocalWriter


class PrunedTree(Tree):
    """A tree in which somebody removes an empty folder right after it was opened, the first `times` times."""

    times = 1

    @contextmanager
    def open_folder(self, segments: Sequence[str], *, create: bool = False) -> Generator[int]:
        """Open a folder, and pull it away."""
        with super().open_folder(segments, create=create) as descriptor:
            if list(segments) == ["folder"] and self.times:
                self.times -= 1
                (self.root / "folder").rmdir()
            yield descriptor


@pytest.mark.parametrize("times", [1, 2, 5])
def test_folder_removed_under_a_writer(tmp_path: Path, times: int) -> None:
    """A writer whose folder is removed between opening and using it makes it again."""
    tree = PrunedTree(tmp_path, fsync=False, directory_mode=0o700)
    tree.times = times
    writer = LocalWriter(tree, "folder/a", overwrite=False, fsync=False, file_mode=0o600)
    try:
        writer.open()
        writer.write(b"abc")
        writer.publish()
    finally:
        writer.discard()
    assert tree.times == 0
    assert (tmp_path / "folder" / "a").read_bytes() == b"abc"
