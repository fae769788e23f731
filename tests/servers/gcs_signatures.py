"""The two ways in which a service account signs requests to Google Cloud Storage, seen from the server."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ("Account", "RefusedError", "encode_query")

SIGNED_HOST = "storage.googleapis.com"
"""obstore puts Google's host into a signed URL's signature, also when the base URL is another."""


class RefusedError(Exception):
    """A request that is answered with `status` and the error `code` of Google's interface."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Account:
    """A service account, as far as the server knows it: its name and its public key as PEM."""

    def __init__(self, client_email: str, public_key: str) -> None:
        key = serialization.load_pem_public_key(public_key.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("not an RSA key")
        self.client_email = client_email
        self.key = key

    def check(self, request: web.Request) -> None:
        """Make sure that this account has signed `request`, and that the signature still holds.

        Raises:
            RefusedError: It has not, or not this request, or the time is over.
        """
        authorization = request.headers.get("Authorization", "")
        try:
            if "X-Goog-Signature" in request.query:
                self._check_query(request)
            elif authorization.startswith("Bearer "):
                self._check_token(authorization.removeprefix("Bearer "))
            else:
                raise RefusedError(401, "AuthenticationRequired")
        except InvalidSignature as error:
            raise RefusedError(403, "SignatureDoesNotMatch") from error
        except (KeyError, ValueError) as error:
            raise RefusedError(403, "AccessDenied") from error  # a part is missing or malformed

    def _check_token(self, token: str) -> None:
        """Check a JSON Web Token (RFC 7519) that the account has made itself instead of asking Google for one."""
        header, payload, signature = token.split(".")
        self._verify(_decode(signature), f"{header}.{payload}")
        claims = json.loads(_decode(payload))
        if json.loads(_decode(header))["alg"] != "RS256" or claims["iss"] != self.client_email:
            raise RefusedError(401, "AuthenticationRequired")
        if claims["exp"] <= time.time():
            raise RefusedError(401, "ExpiredToken")

    def _check_query(self, request: web.Request) -> None:
        """Check a signed URL: https://cloud.google.com/storage/docs/authentication/signatures, version 4."""
        query = dict(request.query)
        signature = binascii.unhexlify(query.pop("X-Goog-Signature"))
        account, scope = query["X-Goog-Credential"].split("/", 1)
        headers = {name.lower(): value.strip() for name, value in request.headers.items()} | {"host": SIGNED_HOST}
        names = query["X-Goog-SignedHeaders"].split(";")
        canonical_request = [
            request.method,
            request.rel_url.raw_path,
            encode_query(sorted(query.items())),
            *(f"{name}:{headers[name]}" for name in names),
            "",
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
        digest = hashlib.sha256("\n".join(canonical_request).encode()).hexdigest()
        self._verify(signature, "\n".join(["GOOG4-RSA-SHA256", query["X-Goog-Date"], scope, digest]))
        if account != self.client_email or "host" not in names:
            raise RefusedError(403, "AccessDenied")
        signed_at = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) >= signed_at + timedelta(seconds=int(query["X-Goog-Expires"])):
            raise RefusedError(403, "ExpiredToken")

    def _verify(self, signature: bytes, message: str) -> None:
        self.key.verify(signature, message.encode(), padding.PKCS1v15(), hashes.SHA256())


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Join names and values as both Google and S3 sign them: everything but unreserved characters is escaped."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
