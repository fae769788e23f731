"""``litestar storages cors``: what a bucket permits to the pages that upload to it directly."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import click
from litestar import Litestar

from litestar_filestore.cli.printing import StoragesCommand, finish, say
from litestar_filestore.cli.reports import CorsReport
from litestar_filestore.core.threads import run_blocking
from litestar_filestore.plugin.config import open_backends
from litestar_filestore.plugin.plugin import config_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from litestar_filestore.core.backend import StorageBackend

__all__ = ("cors_command",)

_METHODS = ("PUT", "POST")
_SECONDS = 10.0


@click.command(
    name="cors",
    cls=StoragesCommand,
    help="Show, set and try what a bucket permits to pages of an origin that upload to it.",
)
@click.argument("key")
@click.option("--origin", required=True, help="Scheme, host and port of the pages, as https://www.example.com.")
@click.option("--apply", "applies", is_flag=True, default=False, help="Set the rule; the bucket's others stay.")
def cors_command(app: Litestar, as_json: bool, key: str, origin: str, applies: bool) -> None:  # noqa: FBT001  # options of click
    """Print the rule that direct uploads need, set it if asked to, and try it; fail if the bucket refuses."""
    report = anyio.run(_cors, app, key, _checked(origin), applies)
    finish(report, _show_cors, ok=report.ok, as_json=as_json)


def _checked(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in {"http", "https"} or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        raise click.BadParameter("write it as browsers do, such as https://www.example.com, without a path")
    return origin


async def _cors(app: Litestar, key: str, origin: str, applies: bool) -> CorsReport:  # noqa: FBT001  # as above
    config = config_of(app)
    async with open_backends(config.registry, [each for each in config.known_backends if each.key == key]):
        backend, rule = config.registry.get_backend(key), _rule(origin)
        rules = await backend.cors_async()
        if applies:
            others = [each for each in rules if each.get("AllowedOrigins") != [origin]]
            rules = await backend.cors_async([*others, rule])
        missing = [*_unexposed(rules, origin), *await _refused(backend, origin)]
    return CorsReport(ok=not missing, backend=key, origin=origin, rule=rule, applied=applies, missing=missing)


def _show_cors(report: CorsReport) -> None:
    click.echo(json.dumps([report.rule], indent=2))
    for each in report.missing:
        say(each, style="red")
    if report.missing and not report.applied:
        say("Set the rule above in the bucket, or add --apply.")
    if report.ok:
        say(f"{report.backend}: pages of {report.origin} may upload", style="green")


def _rule(origin: str) -> dict[str, Any]:
    """Return the least that works. Names of headers are written out: Cloudflare's R2 has refused ``*`` there."""
    return {
        "AllowedOrigins": [origin],
        "AllowedMethods": list(_METHODS),
        "AllowedHeaders": ["content-type"],
        # The browser shows the entity tag of a part to the page only if it is exposed.
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3600,
    }


def _unexposed(rules: Sequence[Mapping[str, Any]], origin: str) -> list[str]:
    """Tell if pages could not read the header without which Uppy gives up; no preflight shows that."""
    of_origin = [each for each in rules if {origin, "*"} & set(each.get("AllowedOrigins", ()))]
    exposed = {name.lower() for each in of_origin for name in each.get("ExposeHeaders", ())}
    return [] if "etag" in exposed else [f"The bucket does not expose the header ETag to {origin}"]


async def _refused(backend: StorageBackend, origin: str) -> list[str]:
    """Ask the store as a browser would, and tell which methods it refuses to pages of the origin."""
    url = str(await backend.sign_async("cors-preflight", expires_in=60, for_upload=True))
    refused: list[str] = []
    for method in _METHODS:
        said = await run_blocking(partial(_preflight, url, origin, method))
        if said is not None:
            refused.append(f"The store refuses {method} from {origin}: {said}")
    return refused


def _preflight(url: str, origin: str, method: str) -> str | None:
    """Send the question that a browser sends before an upload, and return what is wrong with the answer."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type",
    }
    request = urllib.request.Request(url, method="OPTIONS", headers=headers)  # noqa: S310  # signed by the store's library
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310  # as above
            allowed = answer.headers.get("access-control-allow-origin")
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except OSError as error:
        return f"it cannot be reached ({error})"
    return None if allowed in {origin, "*"} else "its answer does not name the origin"
