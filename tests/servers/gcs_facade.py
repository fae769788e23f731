"""The process of :mod:`tests.servers.gcs`.

usage: python -m tests.servers.gcs_facade CONFIGURATION.json

Accepts requests of Google's XML interface that one service account has signed, and passes them on to an S3 server. The
two interfaces differ in names of headers, in conditions and in signatures; their bodies are the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import ClientResponse, ClientSession, StreamReader, web
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from tests.servers.gcs_signatures import Account, RefusedError, encode_query

__all__ = ("Facade", "main")

CHUNK_BYTES = 256 * 1024

# What describes one connection, or what each side writes anew.
NOT_PASSED_ON = frozenset({"authorization", "connection", "date", "host", "server", "transfer-encoding", "user-agent"})


class _UnsignedPayload(S3SigV4Auth):  # type: ignore[misc]
    """Signs everything but the body, which is passed on while it arrives."""

    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


class Facade:
    """Answers the requests of `account` from the S3 server `upstream`."""

    def __init__(self, account: Account, upstream: Mapping[str, str], client: ClientSession) -> None:
        self.account = account
        self.client = client
        self.endpoint = upstream["endpoint"]
        credentials = Credentials(upstream["access_key"], upstream["secret_key"])
        self.signer = _UnsignedPayload(credentials, "s3", upstream["region"])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        path = request.rel_url.raw_path
        headers = _rename(request.headers, "x-goog-", "x-amz-")
        try:
            self.account.check(request)
            await self._translate_condition(path, headers)
        except RefusedError as refusal:
            text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{refusal.code}</Code></Error>"
            return web.Response(status=refusal.status, text=text, content_type="application/xml")
        query = encode_query((name, value) for name, value in request.query.items() if not name.startswith("X-Goog-"))
        body = request.content if request.can_read_body else None
        async with self._send(request.method, f"{path}?{query}" if query else path, headers, body) as answer:
            return await _pass_back(request, answer)

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: StreamReader | None = None
    ) -> AbstractAsyncContextManager[ClientResponse]:
        path, mark, query = target.partition("?")
        url = self.endpoint + quote(unquote(path), safe="/-_.~") + mark + query
        # S3 wants its own headers signed; the others may change on the way.
        signed = AWSRequest(method, url, {name: value for name, value in headers.items() if name.startswith("x-amz-")})
        self.signer.add_auth(signed)
        all_headers = {**headers, **dict(signed.headers.items())}
        return self.client.request(method, URL(url, encoded=True), headers=all_headers, data=body)

    async def _translate_condition(self, path: str, headers: dict[str, str]) -> None:
        """Express a wanted generation in S3's terms; 0 stands for "no such object"."""
        wanted = headers.pop("x-amz-if-generation-match", None)
        if wanted is None:
            return
        copies = "x-amz-copy-source" in headers
        if wanted == "0" and not copies:
            headers["if-none-match"] = "*"
            return
        # S3 knows no generations, nor conditions on the target of a copy. On a copy two writers can meet between this
        # question and the request; otherwise the ETag makes S3 ask it again.
        async with self._send("HEAD", path, {}) as answer:
            etag = answer.headers.get("ETag")
        if wanted != (_generation(etag) if etag else "0"):
            raise RefusedError(412, "PreconditionFailed")
        if etag and not copies:
            headers["if-match"] = etag


async def _pass_back(request: web.Request, answer: ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_rename(answer.headers, "x-amz-", "x-goog-"))
    if "ETag" in answer.headers:
        response.headers["x-goog-generation"] = _generation(answer.headers["ETag"])
    await response.prepare(request)
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        await response.write(chunk)
    await response.write_eof()
    return response


def _rename(headers: Mapping[str, str], prefix: str, replacement: str) -> dict[str, str]:
    """Copy the headers that are passed on, in lower case and with another prefix where they have `prefix`."""
    lowered = ((name.lower(), value) for name, value in headers.items() if name.lower() not in NOT_PASSED_ON)
    return {
        replacement + name.removeprefix(prefix) if name.startswith(prefix) else name: value for name, value in lowered
    }


def _generation(etag: str) -> str:
    """Make a number of an ETag. Unlike Google's it is the same again for the same content."""
    return str(int(hashlib.sha256(etag.encode()).hexdigest()[:12], 16))


async def main(configuration: Mapping[str, Any]) -> None:
    """Serve what a configuration of :mod:`tests.servers.gcs` describes, until cancelled."""
    account = Account(configuration["client_email"], configuration["public_key"])
    # Compressed content is passed on as it is, in both directions.
    async with ClientSession(auto_decompress=False, skip_auto_headers=["Content-Type", "Accept-Encoding"]) as client:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", Facade(account, configuration["upstream"], client).answer)
        runner = web.AppRunner(application, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, configuration["host"], configuration["port"]).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
