"""The contract of a driver, as tests that you can run on your own driver.

Subclass `BackendConformance` in a test module of yours and say how to build the backend::

    class TestMyDriver(BackendConformance):
        @pytest.fixture
        def spec(self, server):
            return BackendSpec("my_package.backends:MyBackend", {"key": "mine", "url": server.url})

Each test runs four times: on the sync and on the async half, without and with a prefix. Tests use their own folder, so
the store need not be empty. They leave their objects behind, so use a throw-away store. The capability flags of the
driver decide what is required: tests of an ability that it does not claim are skipped with the reason, and operations
that need this ability must raise `UnsupportedOperationError`.

If a backend cannot be built in another process, override ``make_backend`` instead of ``spec``; the tests that kill a
process are then left out::

        @pytest.fixture
        def make_backend(self):
            return lambda prefix: MyBackend("mine", connection, prefix=prefix)

For a slow server, half of the forms are enough::

        @pytest.fixture(params=EACH_HALF_ONCE, ids=str)
        def form(self, request):
            return request.param

The fixture ``leftovers`` shows the tests what interrupted puts leave in hidden places. See `Harness` for it and for the
attributes that describe test servers. The tests need pytest, but no plugin.
"""

from __future__ import annotations

from litestar_filestore.testing.conformance_atomic import AtomicConformance, ReaderConformance
from litestar_filestore.testing.conformance_concurrency import ConcurrencyConformance
from litestar_filestore.testing.conformance_copy import CopyConformance
from litestar_filestore.testing.conformance_crash import CrashConformance
from litestar_filestore.testing.conformance_direct import DirectConformance
from litestar_filestore.testing.conformance_get import GetConformance
from litestar_filestore.testing.conformance_head import HeadConformance
from litestar_filestore.testing.conformance_keys import KeyConformance
from litestar_filestore.testing.conformance_list import DeleteConformance, ListConformance
from litestar_filestore.testing.conformance_parts import PartsConformance
from litestar_filestore.testing.conformance_put import PutConformance
from litestar_filestore.testing.conformance_sign import SignConformance
from litestar_filestore.testing.harness import EACH_HALF_ONCE, Form, Harness
from litestar_filestore.testing.spec import BackendSpec

__all__ = ("EACH_HALF_ONCE", "BackendConformance", "BackendSpec", "Form", "Harness")


class BackendConformance(
    PutConformance,
    GetConformance,
    HeadConformance,
    ListConformance,
    DeleteConformance,
    CopyConformance,
    AtomicConformance,
    ReaderConformance,
    CrashConformance,
    KeyConformance,
    SignConformance,
    ConcurrencyConformance,
    PartsConformance,
    DirectConformance,
):
    """Tests of everything that a driver must do; see the module docstring for how to use them."""
