"""What :mod:`tests.servers.chaos` does to single connections."""

from __future__ import annotations

import socket
import struct
from asyncio import StreamWriter
from dataclasses import dataclass

from tests.servers.processes import HOST

__all__ = ("Connection", "bind", "reset")

# SO_LINGER, switched on with a time of 0: closing sends RST.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Connection:
    """Both ends of a connection that passes through a proxy."""

    to_client: StreamWriter
    to_server: StreamWriter
    finished: bool = False
    """Both ends have been sent FIN by :meth:`finish`: what they still send is to be thrown away."""

    losing: bool = False
    """The client's last request has reached the server, and its answer is going to be lost."""

    def close(self) -> None:
        """Close what has ended on both sides."""
        self.to_client.close()
        self.to_server.close()

    def finish(self) -> None:
        """Send FIN to both ends."""
        # Not close(): that sends RST when something has arrived that was not read yet.
        self.finished = True
        self.to_client.write_eof()
        self.to_server.write_eof()

    def reset(self) -> None:
        """Send RST to both ends."""
        reset(self.to_client)
        reset(self.to_server)


def reset(writer: StreamWriter) -> None:
    """Send RST to the other end, unless this end is closed already."""
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()


def bind(port: int) -> socket.socket:
    """Bind a socket without listening; 0 chooses a port.

    Connections to it are refused. Linux lets several such sockets have the same port, one of which may listen later.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound
