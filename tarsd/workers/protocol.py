"""What parent and child say to each other, as `wire` frames whose body begins with the number of a call.

Rules
1. The parent's first frame is REQUEST of call 0 with a `Start`; the child answers END of call 0 when its class is
   built, or ERROR of call 0 and goes.
2. REQUEST, then ITEM… and END or ERROR come back; at most `Start.at_once` calls are open. The parent keeps the queue.
3. CANCEL asks the child to leave the call at its next yield; it still answers END.
4. BEAT is answered with BEAT by the child's reader thread, whatever its main thread computes; but not while a call is
   open and the main thread has not reached a yield for `Start.stuck_s`: then native code hangs (0 = that may last).
5. END of call 0 from the parent asks the child to go.
"""

from __future__ import annotations

import struct

import msgspec

from tarsd.errors import WireError
from tarsd.wire import Kind, encode_frame
from tarsd.workers.limits import WorkerLimits

START = 0  # the number of the call that builds the worker's class

_NUMBER = struct.Struct(">I")
MAX_NUMBER = 2**32 - 1


class Start(msgspec.Struct, frozen=True, array_like=True):
    """What a child must know to become a worker: `target` is "package.module:Class"."""

    target: str
    settings: bytes
    limits: WorkerLimits
    parent_pid: int
    at_once: int = 1
    stuck_s: float = 0.0


def encode(kind: Kind, number: int, body: bytes = b"") -> bytes:
    """Return the frame of call `number`; raises `WireError` when it is too large."""
    return encode_frame(kind, _NUMBER.pack(number) + body)


def split(body: bytes) -> tuple[int, bytes]:
    """Return (number of the call, what belongs to it); raises `WireError` when there is no number."""
    if len(body) < _NUMBER.size:
        raise WireError("a frame between worker and parent without the number of its call")
    return _NUMBER.unpack_from(body)[0], body[_NUMBER.size :]


def encode_request(number: int, method: str, request: bytes) -> bytes:
    """Return the frame that asks for `method` with the msgpack `request`."""
    name = method.encode("ascii")
    return encode(Kind.REQUEST, number, bytes([len(name)]) + name + request)


def split_request(body: bytes) -> tuple[str, bytes]:
    """Return (method, request) of what `encode_request` packed."""
    length = body[0]
    return body[1 : 1 + length].decode("ascii"), body[1 + length :]
