"""Listening sockets of a node: one number on several addresses, families that the PC lacks left out."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Sequence

from tarsd.errors import ConfigError

log = logging.getLogger(__name__)

BACKLOG = 128
# The kernel gives a connection up when its bytes stay unacknowledged for so long: a caller whose cable was pulled
# must not keep an engine busy.
USER_TIMEOUT_MS = 10_000

_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def listen_tcp(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Return listening sockets on all `addresses` with one port number (0 = any free); raises `ConfigError`."""
    bound: list[socket.socket] = []
    try:
        for address in addresses:
            try:
                bound.append(_listen(address, port))
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise ConfigError(f"{address}:{port} cannot be listened on: {error.strerror}") from error
                log.warning("not listening on %s: %s", address, error.strerror)
                continue
            port = bound[0].getsockname()[1]
        if not bound:
            raise ConfigError(f"none of the addresses {', '.join(addresses)} can be listened on")
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    return bound


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.setblocking(False)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        stack.pop_all()
    return sock


def address_of(source: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    """Return a socket's address as host and port; a link-local host keeps the name of its interface.

    Without it nobody can be called there; uvloop gives it apart, as a number.
    """
    if len(source) == 4 and source[3] and "%" not in source[0]:
        with contextlib.suppress(OSError):
            return f"{source[0]}%{socket.if_indextoname(source[3])}", source[1]
    return source[0], source[1]
