"""What a handler of a call is given, and its shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from tarsd.calls import Headers
from tarsd.identity import PeerIdentity


class CallContext(msgspec.Struct, frozen=True):
    """What comes with a call beside its request.

    `caller` is who the certificate says, None when this node calls itself. `headers.deadline_s` is what was left when
    the call arrived. `upload` yields the raw bytes that follow the request of a capability that uploads, else None; it
    raises `PeerLost` when they are cut off, and reads no faster than it is consumed.
    """

    caller: PeerIdentity | None
    headers: Headers
    upload: AsyncIterator[bytes] | None = None


# A handler is an async generator function: what it yields streams to the caller; closing it means the caller is gone.
Handler = Callable[[Any, CallContext], AsyncGenerator[Any, None]]

# Bytes of a greeting, who greets, from which address -> bytes of the answer. Open to every zone of the cluster.
Hello = Callable[[bytes, PeerIdentity, tuple[str, int]], Awaitable[bytes]]
