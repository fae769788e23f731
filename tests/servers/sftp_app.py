"""The process of :mod:`tests.servers.sftp`.

usage: python -m tests.servers.sftp_app ROOT HOST PORT USERNAME PASSWORD
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import asyncssh

__all__ = ("main",)


class PasswordServer(asyncssh.SSHServer):
    """Lets one account in, by password."""

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self.password = password

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (self.username, self.password)


async def main(root: str, host: str, port: int, username: str, password: str) -> None:
    """Serve `root` until cancelled."""
    server = await asyncssh.create_server(
        partial(PasswordServer, username, password),
        host,
        port,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=partial(asyncssh.SFTPServer, chroot=root.encode()),
    )
    await server.wait_closed()


if __name__ == "__main__":
    _root, _host, _port, _username, _password = sys.argv[1:]
    asyncio.run(main(_root, _host, int(_port), _username, _password))
