"""A node of a later version: it says more than this version understands, and must be lived with.

Its datagrams have fields at the end that nobody here knows, one in ten is of a kind that nobody here knows, and its
greeting is of protocol 1 to 2 with more in it.
"""

from __future__ import annotations

from random import Random
from typing import Any, cast

import msgspec

from tarsd.gossip.codec import MAX_MESSAGE_BYTES
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.membership import Membership
from tarsd.gossip.sessions import Sessions
from tarsd.gossip.station import Order, Station
from tarsd.names import NodeId

UNKNOWN_TAG = 120
UNKNOWN_SHARE = 0.1


class LaterSessions:
    """Sessions of which every message has grown."""

    def __init__(self, sessions: Sessions, rng: Random) -> None:
        self._sessions = sessions
        self._rng = rng

    def seal(self, node: NodeId, message: bytes) -> bytes | None:
        """Seal more than the message."""
        fields = msgspec.msgpack.decode(message)
        if self._rng.random() < UNKNOWN_SHARE:
            fields = [UNKNOWN_TAG, "news", {"of": fields[0]}]
        grown = msgspec.msgpack.encode([*fields, {"later": 1}, "more"])
        return self._sessions.seal(node, grown if len(grown) <= MAX_MESSAGE_BYTES else message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sessions, name)


class LaterStation(Station):
    """A station of a later version."""

    def __init__(self, membership: Membership, sessions: Sessions, rng: Random) -> None:
        super().__init__(membership, cast("Sessions", LaterSessions(sessions, rng)))

    def greeting(self) -> bytes:
        """Return the greeting to send now."""
        return _grown(super().greeting())

    def greeted(self, greeter: Greeter, body: bytes, now: float) -> tuple[bytes, list[Order]]:
        """Take a greeting; returns the answer to it."""
        answer, orders = super().greeted(greeter, body, now)
        return _grown(answer), orders


def _grown(hello: bytes) -> bytes:
    fields = msgspec.msgpack.decode(hello)
    return msgspec.msgpack.encode({**fields, "protocol_max": 2, "mood": "good", "later": [1, {"a": b"b"}]})
