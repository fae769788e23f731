"""What obstore alone does with an S3 server, without an application around it: the base of the cases on S3."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store

from benchmarks.figures import Sample
from benchmarks.places import s3_options
from benchmarks.work import Content

if TYPE_CHECKING:
    from benchmarks.cases import Case
    from benchmarks.places import Place

__all__ = ("Alone",)

_NAME = "alone"
_BLOCK_BYTES = 1024 * 1024


class Alone:
    """One case, in this process, with obstore's own defaults."""

    def __init__(self, place: Place, case: Case) -> None:
        self._case = case
        self._store = S3Store(place.bucket, **s3_options(place))
        self._put()
        content = Content(case.size)
        for block in self._blocks():
            content.compare(memoryview(block))
        content.finish()

    def _put(self) -> None:
        obstore.put(self._store, _NAME, iter(Content(self._case.size).pieces()))

    def _blocks(self) -> obstore.BytesStream:
        return obstore.get(self._store, _NAME).stream(min_chunk_size=_BLOCK_BYTES)

    def measure(self) -> Sample:
        """Do one round."""
        start, cpu = time.perf_counter(), time.process_time()
        if self._case.action == "upload":
            self._put()
        else:
            for _ in self._blocks():
                pass
        taken = time.perf_counter() - start
        return Sample(1, self._case.size, taken, time.process_time() - cpu, latencies=(taken,))

    def clean(self) -> None:
        """Give the server its memory back: remove what was uploaded, by the applications too."""
        if self._case.action == "upload":
            self.close()

    def close(self) -> None:
        """Remove everything from the bucket."""
        for page in obstore.list(self._store):
            obstore.delete(self._store, [meta["path"] for meta in page])
