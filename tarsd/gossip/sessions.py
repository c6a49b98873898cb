"""The sealed sessions of one boot of this node, by the sender that a datagram's header names.

Rules
1. A greeting that repeats what was agreed keeps the session: its counters must never start again under one key.
2. Another boot of a peer replaces its session at once; another key of the same boot leaves the old one open for
   what is still on its way.
3. A datagram that no session opens gets no answer. It is a `Stranger`, who may be greeted over TCP.
"""

from __future__ import annotations

from typing import NamedTuple

from tarsd.errors import WireError
from tarsd.gossip.seal import End, Session, read_header
from tarsd.names import NodeId


class Opened(NamedTuple):
    """An authentic datagram."""

    node: NodeId
    message: bytes


class Stranger(NamedTuple):
    """A datagram that could not be opened; `node` is whom it claims to be from, where we know that node."""

    node: NodeId | None


class Sessions:
    """Seals for, and opens from, every node that was greeted."""

    def __init__(self, node: NodeId, boot: bytes, private_key: bytes) -> None:
        """`private_key`: 32 random bytes, made for this boot."""
        self._own = End(bytes.fromhex(node), boot)
        self._private = private_key
        self._current: dict[NodeId, Session] = {}
        self._previous: dict[NodeId, Session] = {}
        self._names: dict[bytes, NodeId] = {}

    def agree(self, node: NodeId, boot: bytes, public_key: bytes, epoch: int) -> None:
        """Take what a greeting brought; raises `WireError` for an unusable key or a colliding id."""
        session = self._current.get(node)
        if session and (session.peer_boot, session.peer_public, session.epoch) == (boot, public_key, epoch):
            return
        raw = bytes.fromhex(node)
        if self._names.setdefault(raw[:8], node) != node:
            raise WireError(f"{node} and {self._names[raw[:8]]} share the first half of their ids")
        self._previous.pop(node, None)
        if session and session.peer_boot == boot:
            self._previous[node] = session
        self._current[node] = Session(self._own, End(raw, boot), self._private, public_key, epoch)

    def seal(self, node: NodeId, message: bytes) -> bytes | None:
        """Return the datagram for `node`, or None when it was not greeted yet."""
        session = self._current.get(node)
        return session.seal(message) if session else None

    def open(self, datagram: bytes) -> Opened | Stranger:
        """Return what the datagram holds, or that nobody we know sealed it."""
        try:
            header = read_header(datagram)
        except WireError:
            return Stranger(None)
        node = self._names.get(header.sender)
        if node is None:
            return Stranger(None)
        for sessions in (self._current, self._previous):
            session = sessions.get(node)
            message = session.open(header, datagram) if session else None
            if message is not None:
                return Opened(node, message)
        return Stranger(node)
