"""Uppy with its plugin for tus, in Chromium."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.servers import chromium
from tests.servers.npm import find_package_file
from tests.servers.processes import HOST
from tests.tus.servers import serving
from tests.tus.stores import describe, open_store
from tests.tus.tus_app import Base

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
UPLOAD = """async ([name, length]) => {
    const content = Uint8Array.from({length}, (_, place) => (place * 7 + place % 251) % 256)
    const uppy = new Uppy.Uppy().use(Uppy.Tus, {endpoint: '/documents/uploads', chunkSize: 3 * 1024 * 1024})
    let reference = null
    uppy.on('upload-success', (_, {body}) => { reference = body.xhr.getResponseHeader('Filestore-Reference') })
    uppy.addFile({name, type: 'application/octet-stream', data: new Blob([content])})
    const {failed} = await uppy.upload()
    if (failed.length) throw failed[0].error
    return reference
}"""
"""Uploads a file of made-up content, and returns the reference; as the page on Uppy has it."""


@pytest.mark.matrix(cases=2)
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_uppy_uploads(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """A file in chunks, and an empty one, become rows by their references; the first one again is sent again."""
    script = find_package_file("uppy/dist/uppy.min.js")
    engine = sa.create_engine(database := f"sqlite:///{tmp_path / 'rows.db'}", poolclass=sa.NullPool)
    Base.metadata.create_all(engine)
    store = describe(request, kind, tmp_path)
    with serving(tmp_path, store, database) as (port, _), chromium.launched() as browser:
        origin = f"http://{HOST}:{port}"
        with browser.new_context(base_url=origin) as context:
            page = context.new_page()
            page.route("**/page", lambda route: route.fulfill(body="<!doctype html><title>Page</title>"))
            page.goto("/page")
            page.add_script_tag(path=script)
            for name, length in (("a.bin", 7 * MIB + 5), ("empty.bin", 0), ("a.bin", 7 * MIB + 5)):
                reference = page.evaluate(UPLOAD, [name, length])
                made = httpx.post(f"{origin}/documents/json", json={"title": "x", "file": reference}, trust_env=False)
                assert made.status_code == 201, made.text
    backend = open_store(store)
    content = bytes((place * 7 + place % 251) % 256 for place in range(7 * MIB + 5))
    found = [hashlib.sha256(b"".join(backend.get(info.key))).digest() for info in backend.list()]
    wanted = [hashlib.sha256(each).digest() for each in (content, b"", content)]
    assert [each for each in sorted(found) if each in wanted] == sorted(wanted)
    with engine.connect() as connection:
        states = connection.execute(sa.text("SELECT state FROM filestore_object")).scalars().all()
    assert states.count("linked") == len(wanted)
