"""What the facade for Google Cloud Storage checks by itself; the objects are the S3 server's affair."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import Any, Literal

import httpx
import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, PreconditionError
from obstore.store import GCSStore

from tests.servers.gcs import GcsServer, generate_key

BUCKET = "facade"


def _store(server: GcsServer, **changes: str) -> GCSStore:
    return GCSStore(
        BUCKET,
        service_account_key=json.dumps({**server.service_account, **changes}),
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


@pytest.fixture(scope="module")
def store(gcs_server: GcsServer) -> GCSStore:
    """A store with the object `there`."""
    gcs_server.create_bucket(BUCKET)
    store = _store(gcs_server)
    obstore.put(store, "there", b"content")
    return store


def _sign(
    store: GCSStore, server: GcsServer, key: str, method: Literal["GET", "PUT"] = "GET", seconds: int = 60
) -> str:
    """Make a signed URL, which names Google's host whatever the base URL is, and let it lead to the facade."""
    url = obstore.sign(store, method, key, timedelta(seconds=seconds))
    return url.replace("https://storage.googleapis.com", server.endpoint)


def _request(method: str, url: str, **options: Any) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.request(method, url, **options)


def test_a_signed_url_reads(gcs_server: GcsServer, store: GCSStore) -> None:
    """Whoever has the URL gets the content, or the range of it that he asks for."""
    url = _sign(store, gcs_server, "there")

    assert _request("GET", url).content == b"content"
    assert _request("GET", url, headers={"Range": "bytes=1-2"}).content == b"on"


def test_a_signed_url_writes(gcs_server: GcsServer, store: GCSStore) -> None:
    """Whoever has a URL for PUT writes the object."""
    answer = _request("PUT", _sign(store, gcs_server, "written", "PUT"), content=b"by url")

    assert answer.status_code == 200
    assert bytes(obstore.get(store, "written").bytes()) == b"by url"


def test_a_signed_url_is_only_for_its_method(gcs_server: GcsServer, store: GCSStore) -> None:
    """A URL for GET does not write."""
    assert _request("PUT", _sign(store, gcs_server, "there"), content=b"mine").status_code == 403


def test_a_signed_url_is_only_for_its_key(gcs_server: GcsServer, store: GCSStore) -> None:
    """The signature for one object does not open another."""
    obstore.put(store, "other", b"secret")
    url = _sign(store, gcs_server, "there").replace("/there?", "/other?")

    assert _request("GET", url).status_code == 403


def test_a_signed_url_expires(gcs_server: GcsServer, store: GCSStore) -> None:
    """A URL is refused when its time is over; with no time at all that is at once."""
    answer = _request("GET", _sign(store, gcs_server, "there", seconds=0))

    assert (answer.status_code, "ExpiredToken" in answer.text) == (403, True)


def test_the_time_of_a_signed_url_is_signed(gcs_server: GcsServer, store: GCSStore) -> None:
    """Nobody can prolong a URL."""
    url = _sign(store, gcs_server, "there").replace("X-Goog-Expires=60", "X-Goog-Expires=6000")

    assert _request("GET", url).status_code == 403


def test_a_malformed_signature_is_refused(gcs_server: GcsServer, store: GCSStore) -> None:
    """What is no signature at all is an error of the client, not of the server."""
    assert _request("GET", f"{gcs_server.endpoint}/{BUCKET}/there?X-Goog-Signature=xyz").status_code == 403


def test_a_request_without_signature_is_refused(gcs_server: GcsServer, store: GCSStore) -> None:
    """The bucket is not public."""
    assert _request("GET", f"{gcs_server.endpoint}/{BUCKET}/there").status_code == 401


def test_a_foreign_key_is_refused(gcs_server: GcsServer, store: GCSStore) -> None:
    """A token that was signed with another private key is worth nothing."""
    stranger = _store(gcs_server, private_key=generate_key()[0])

    with pytest.raises(PermissionDeniedError):
        obstore.get(stranger, "there")


def test_create_does_not_overwrite(store: GCSStore) -> None:
    """The condition that no object is there is passed on."""
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "there", b"other", mode="create")


def test_copy_without_overwrite_does_not_overwrite(store: GCSStore) -> None:
    """The condition that no object is there holds for the target of a copy too."""
    obstore.put(store, "target", b"old")

    with pytest.raises(AlreadyExistsError):
        obstore.copy(store, "there", "target", overwrite=False)


def test_update_wants_the_generation_that_is_there(store: GCSStore) -> None:
    """A writer who has read an older generation cannot overwrite a newer one."""
    first = obstore.put(store, "contended", b"1")
    obstore.put(store, "contended", b"2", mode={"e_tag": first["e_tag"], "version": first["version"]})

    with pytest.raises(PreconditionError):
        obstore.put(store, "contended", b"3", mode={"e_tag": first["e_tag"], "version": first["version"]})


def test_attributes_survive(store: GCSStore) -> None:
    """Content type and metadata come back as they were put."""
    attributes = {"Content-Type": "text/plain", "owner": "tests"}
    obstore.put(store, "described", b"content", attributes=attributes)

    assert obstore.get(store, "described").attributes == attributes


def test_encoded_content_stays_encoded(store: GCSStore) -> None:
    """Content that is stored compressed is passed on as it is, and so is the word for it."""
    content = gzip.compress(b"content")
    obstore.put(store, "compressed", content, attributes={"Content-Encoding": "gzip"})
    compressed = obstore.get(store, "compressed")

    assert compressed.attributes["Content-Encoding"] == "gzip"
    assert bytes(compressed.bytes()) == content
