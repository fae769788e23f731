"""What only a local folder does: folders vanish under its writers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from litestar_filestore.backends.local.local_backend import LocalBackend
from litestar_filestore.backends.local.tree import Tree
from litestar_filestore.backends.local.writes import LocalWriter
from litestar_filestore.errors import ConfigurationError


class PrunedTree(Tree):
    """A tree in which somebody removes an empty folder right after it was opened, the first `times` times."""

    times = 1

    def walk(self, segments: Sequence[str], *, create: bool) -> int:
        """Open a folder, and pull it away."""
        descriptor = super().walk(segments, create=create)
        if list(segments) == ["folder"] and self.times:
            self.times -= 1
            (self.root / "folder").rmdir()
        return descriptor


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


def test_a_folder_loads_no_library_of_object_stores(tmp_path: Path) -> None:
    """A program that stores in a folder loads neither obstore nor fsspec."""
    program = (
        "import sys\n"
        "from litestar_filestore import FileObject, LocalBackend\n"
        "file = FileObject(LocalBackend('files', sys.argv[1]), 'a.txt', content=b'abc').save()\n"
        "assert file.get_content() == b'abc'\n"
        "print(sorted({'obstore', 'fsspec', 's3fs', 'botocore'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("root", ["file", "file/folder"])
def test_root_that_is_a_file(tmp_path: Path, root: str) -> None:
    """A file in the place of the root is a mistake in the set-up, found at the start."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"is a folder, but .* is a file: name another folder") as caught:
        LocalBackend("documents", tmp_path / root).start()
    assert caught.value.backend == "documents"
    assert str(tmp_path) not in str(caught.value)


def test_relative_root_is_refused_with_the_right_form() -> None:
    """The error shows two ways to write the folder."""
    with pytest.raises(ConfigurationError, match=r"write Path\('uploads'\).absolute\(\) or '/var/lib/app/uploads'"):
        LocalBackend("documents", "uploads")
