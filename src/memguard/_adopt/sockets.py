"""
Sockets, plain ones and those with TLS.
"""

from __future__ import annotations

from typing import Any

from memguard._adopt.loaded import loaded_types
from memguard.typing import Adapter, Measured

__all__ = ("ADAPTERS",)


class Socket(Adapter):
    """
    Any other socket: open or not, of which family and type.
    """

    kind = "socket"
    module = "socket"
    cannot = (
        "what a socket buffers is the kernel's, bounded by SO_RCVBUF and SO_SNDBUF; the"
        " number of connections is for whoever makes them to bound (memguard.pool,"
        " memguard.limiter)"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types("socket:socket")

    def measure(self, obj: Any) -> Measured:
        details = {
            "family": _name(obj.family),
            "type": _name(obj.type),
            "listens": _listens(obj),
        }
        return Measured(entries=int(self.is_open(obj)), details=details)

    def close(self, obj: Any) -> None:
        obj.close()

    def is_open(self, obj: Any) -> bool:
        return bool(obj.fileno() != -1)


class ListeningSocket(Socket):
    """
    A socket that listens: closed first of all.
    """

    phase = "stop_intake"

    def accepts(self, obj: Any) -> bool:
        return _listens(obj)


def _listens(sock: Any) -> bool:
    import socket

    option = getattr(socket, "SO_ACCEPTCONN", None)
    if option is None:
        return False
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, option))
    except OSError:
        return False  # closed, or of a family without connections


def _name(value: Any) -> str:
    """
    A constant by its name: AF_INET, SOCK_STREAM.
    """
    return str(getattr(value, "name", value))


ADAPTERS = (ListeningSocket(), Socket())
