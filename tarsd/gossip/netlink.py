"""The kernel's word that a link or an address of this computer changed (rtnetlink).

Rules
1. Of a message nothing but its type is read: what there is now is asked afterwards, in the ordinary way.
2. A full buffer means that messages were lost, which counts as a change.
3. Where the kernel or a sandbox refuses netlink, `open` says so, and its user looks for itself from time to time.
Source: rtnetlink(7), <linux/rtnetlink.h>.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable

log = logging.getLogger(__name__)

_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_TYPES = {16, 17, 20, 21}  # RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_READ_BYTES = 65536
_READS_PER_TURN = 64  # guards the event loop against a storm: other work gets its turn in between


class LinkNews:
    """Calls `changed` after each change of a link or an address, in the event loop, until closed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._socket: socket.socket | None = None

    def open(self) -> bool:
        """Begin to listen; False where that is refused (rule 3)."""
        try:
            heard = _listening()
        except OSError as error:
            log.info("no netlink here (%s): changes of the network are looked for every few seconds", error.strerror)
            return False
        self._socket = heard
        asyncio.get_running_loop().add_reader(heard, self._readable, heard)
        return True

    def close(self) -> None:
        """Stop; safe to call twice."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _readable(self, heard: socket.socket) -> None:
        news = False
        for _ in range(_READS_PER_TURN):
            try:
                news |= speaks_of_change(heard.recv(_READ_BYTES))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # rule 2; anything else is not the network's doing
                    log.warning("netlink failed: %s", error.strerror)
                    self.close()
                news = True
                break
        if news:
            self._changed()


def _listening() -> socket.socket:
    heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        heard.bind((0, _GROUPS))
    except BaseException:
        heard.close()
        raise
    return heard


def speaks_of_change(data: bytes) -> bool:
    """Whether one of the messages in `data` is about a link or an address; what is malformed counts as one."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or kind in _TYPES:
            return True
        at += (length + 3) & ~3
    return False
