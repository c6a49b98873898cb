"""A filter that the kernel runs over each datagram before it wakes us: what cannot be opened costs us nothing.

Rules
1. It lets through what has our version, a possible length, and the start of a known sender's id; all of that is looked
   at again by `seal` and `sessions`, so that without it (another kernel, a sandbox) only the CPU's load differs.
2. It is a sieve, not a lock: a forger who names a known sender gets through to the throttle and the tag.
Source: Linux, Documentation/networking/filter.rst (classic BPF; for UDP the data begin at the UDP header).
"""

from __future__ import annotations

import array
import contextlib
import logging
import socket
import struct
from collections.abc import Collection

from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.seal import MIN_DATAGRAM_BYTES, VERSION

log = logging.getLogger(__name__)

SO_ATTACH_FILTER = 26  # from <asm-generic/socket.h>; Python's socket module does not name these three
SO_DETACH_FILTER = 27
SO_MEMINFO = 55
MAX_SENDERS = 1000  # guards the kernel's bound of 20 KiB a filter; beyond it, senders are told apart by us alone

_UDP_HEADER_BYTES = 8
_LENGTH, _BYTE, _WORD = 0x80, 0x30, 0x20  # load what into the accumulator
_EQUAL, _GREATER, _AT_LEAST = 0x15, 0x25, 0x35  # jump where the accumulator is
_RETURN = 0x06
_ALL, _NOTHING = 0xFFFF_FFFF, 0
_DROPS = struct.Struct("=9I")  # SO_MEMINFO; the last is the number of datagrams that the kernel dropped

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def program(senders: Collection[bytes]) -> list[Instruction]:
    """Return the filter that lets through what names one of `senders` (the first 8 bytes of their ids)."""
    steps: list[Instruction] = [
        (_LENGTH, 0, 0, 0),
        (_AT_LEAST, 0, 3, _UDP_HEADER_BYTES + MIN_DATAGRAM_BYTES),
        (_GREATER, 2, 0, _UDP_HEADER_BYTES + MAX_DATAGRAM_BYTES),
        (_BYTE, 0, 0, _UDP_HEADER_BYTES),
        (_EQUAL, 1, 0, VERSION),
        (_RETURN, 0, 0, _NOTHING),
    ]
    if len(senders) > MAX_SENDERS:
        return [*steps, (_RETURN, 0, 0, _ALL)]
    steps.append((_WORD, 0, 0, _UDP_HEADER_BYTES + 2))
    for start in sorted({int.from_bytes(sender[:4], "big") for sender in senders}):
        steps += [(_EQUAL, 0, 1, start), (_RETURN, 0, 0, _ALL)]
    return [*steps, (_RETURN, 0, 0, _NOTHING)]


def attach(bound: socket.socket, senders: Collection[bytes]) -> bool:
    """Let the kernel run the filter for this socket, in place of the one before.

    False where it does not want to: then there is none, since the one before would shut out who is new.
    """
    steps = program(senders)
    code = array.array("B", b"".join(struct.pack("=HBBI", *step) for step in steps))
    option = struct.pack("@HP", len(steps), code.buffer_info()[0])
    try:
        bound.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
    except OSError:
        # Both count towards net.core.optmem_max until they are exchanged: without the old one there may be room.
        with contextlib.suppress(OSError):  # there was none
            bound.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    else:
        return True
    try:
        bound.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
    except OSError as error:
        log.info("no kernel filter for gossip: %s", error.strerror)
        return False
    return True


def dropped(bound: socket.socket) -> int:
    """Return how many datagrams the kernel dropped: by the filter, or because we were too slow to read them."""
    try:
        return int(_DROPS.unpack(bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _DROPS.size))[-1])
    except (OSError, struct.error):
        return 0
