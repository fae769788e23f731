"""The process of :mod:`tests.servers.webdav`.

usage: python -m tests.servers.webdav_app ROOT HOST PORT USERNAME PASSWORD
"""

from __future__ import annotations

import sys

from cheroot.wsgi import Server
from wsgidav.wsgidav_app import WsgiDAVApp

__all__ = ("main",)


def main(root: str, host: str, port: int, username: str, password: str) -> None:
    """Serve `root` until killed."""
    application = WsgiDAVApp(
        {
            "provider_mapping": {"/": {"root": root, "readonly": False}},
            "simple_dc": {"user_mapping": {"*": {username: {"password": password}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "lock_storage": True,
            "property_manager": True,
            "verbose": 1,
        }
    )
    Server((host, port), application, numthreads=10).start()


if __name__ == "__main__":
    _root, _host, _port, _username, _password = sys.argv[1:]
    main(_root, _host, int(_port), _username, _password)
