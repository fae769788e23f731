"""What the conformance tests of several services share."""

from __future__ import annotations

from pathlib import Path

import pytest

from litestar_filestore.testing import EACH_HALF_ONCE, BackendConformance, Form

OBSTORE = "litestar_filestore.backends.obstore.obstore_backend:ObstoreBackend"
FSSPEC = "litestar_filestore.backends.fsspec.fsspec_backend:FSSpecBackend"


class FewerForms(BackendConformance):
    """Async bare and sync with a prefix: for what is slow, or was tested in all forms under another name."""

    @pytest.fixture(params=EACH_HALF_ONCE, ids=str)
    def form(self, request: pytest.FixtureRequest) -> Form:
        """Return the form in which the test runs."""
        form: Form = request.param
        return form


class StandInConformance(FewerForms):
    """For servers that are written in Python or JavaScript and slow: shorter long listings as well."""

    listed_objects = 1_100


def unfinished(root: Path) -> list[str]:
    """List the files that drivers on folders keep until a put is complete."""
    return [str(path) for path in root.rglob(".filestore/**/*") if path.is_file()]
