"""The sealed sessions of one boot of this node, by the sender that a datagram's header names. Pure.

Rules
1. A greeting that repeats what was agreed keeps the sessions: counters must never start again under one key.
2. Another boot of a peer replaces its sessions at once; another key of the same boot leaves the old one open for what
   is still on its way (`pair`).
3. A datagram that no session opens gets no answer. It is a `Stranger`, who may be greeted over TCP.
4. Cheapest first: length and version, then the sender's name, then the throttle, then the counter, then the tag.
5. The exchange key is renewed daily, long before a counter runs out, and when asked; never more often than old keys
   are dropped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tarsd.errors import WireError
from tarsd.gossip.member import Address
from tarsd.gossip.pair import OVERLAP_S, OwnKeys, Pair
from tarsd.gossip.seal import LAST_COUNTER, End, read_header
from tarsd.gossip.throttle import Throttle
from tarsd.names import NodeId

KEY_AGE_S = 24 * 3600.0
RENEW_AFTER = LAST_COUNTER >> 20  # datagrams under one key, all sessions together
MAX_PAIRS = 4096  # guards memory; beyond it nobody new is agreed with
NOWHERE: Address = ("", 0)


class Opened(NamedTuple):
    """An authentic datagram."""

    node: NodeId
    message: bytes


class Stranger(NamedTuple):
    """A datagram that could not be opened; `node` is whom it claims to be from, where we know that node."""

    node: NodeId | None


NOBODY = Stranger(None)


class Sessions:
    """Seals for, and opens from, every node that was greeted."""

    def __init__(self, node: NodeId, boot: bytes, private_key: bytes) -> None:
        """`private_key`: 32 random bytes, made for this boot."""
        self._own = End(bytes.fromhex(node), boot)
        self._keys = OwnKeys(private_key)
        self._pairs: dict[NodeId, Pair] = {}
        self._by_name: dict[bytes, Pair] = {}
        self._throttle = Throttle()
        self._renew_at: float | None = None
        self._retire_at = math.inf
        self._asked = False
        self._sealed = 0  # since the key was renewed

    # --- what is agreed -----------------------------------------------------------------------------------------

    def agree(self, node: NodeId, boot: bytes, public_key: bytes, epoch: int, now: float = 0.0) -> bool:
        """Take what a greeting brought; says whether `senders` changed.

        Raises `WireError` for an unusable key or a colliding id; all is then as before.
        """
        known = self._pairs.get(node)
        if known and known.boot == boot:
            known.learn(public_key, epoch, now)
            self._retire_at = min(self._retire_at, now + OVERLAP_S)
            return False
        raw = bytes.fromhex(node)
        twin = self._by_name.get(raw[:8])
        if twin and twin.node != node:
            raise WireError(f"{node} and {twin.node} share the first half of their ids")
        if known is None and len(self._pairs) >= MAX_PAIRS:
            # Nobody goes for it: met again in the same boot, its counters would start again under the same keys.
            raise WireError(f"{MAX_PAIRS} others have sessions with this boot already")
        pair = Pair(node, self._own, End(raw, boot), self._keys, public_key, epoch)
        self._pairs[node] = self._by_name[raw[:8]] = pair
        return known is None

    def close(self, node: NodeId) -> None:
        """Forget every key shared with `node`: its datagrams are a stranger's from now on."""
        if self._pairs.pop(node, None):
            del self._by_name[bytes.fromhex(node)[:8]]
        self._throttle.forget(node)

    @property
    def senders(self) -> frozenset[bytes]:
        """What the headers of those may say who can be opened."""
        return frozenset(self._by_name)

    # --- this node's key ----------------------------------------------------------------------------------------

    @property
    def public_key(self) -> bytes:
        """The exchange key of now, as a greeting tells it."""
        return self._keys.public_key

    @property
    def epoch(self) -> int:
        """The epoch of that key."""
        return self._keys.epoch

    def wants_renewal(self, now: float) -> bool:
        """Whether `renew` should be called: a day is over, much was sealed, or it was asked for and had to wait."""
        if self._renew_at is None:
            # Up to a quarter earlier, by the boot's id: nodes that started together do not renew together.
            self._renew_at = now + KEY_AGE_S * (1.0 - self._own.boot[0] / 1024)
        due = self._asked or now >= self._renew_at or self._sealed >= RENEW_AFTER
        return due and not self._keys.is_full

    def renew(self, private_key: bytes, now: float) -> bool:
        """Have another exchange key: 32 new random bytes. False when it has to wait until an old one is dropped."""
        self._asked = self._keys.is_full
        if self._asked:
            return False
        for pair in self._pairs.values():
            pair.expect_renewal()
        self._keys.renew(private_key, now)
        self._renew_at, self._sealed = None, 0
        self._retire_at = min(self._retire_at, now + OVERLAP_S)
        return True

    def retire(self, now: float) -> None:
        """Drop the keys that were replaced long enough ago."""
        if now < self._retire_at:
            return
        nexts = [self._keys.retire(now), *(pair.retire(now) for pair in self._pairs.values())]
        self._retire_at = min(nexts)

    def behind(self) -> list[NodeId]:
        """Return who seals for an older key of ours: they have not heard of the new one."""
        if not self._keys.has_old:
            return []
        return [pair.node for pair in self._pairs.values() if pair.is_behind]

    # --- datagrams ----------------------------------------------------------------------------------------------

    @property
    def throttled(self) -> int:
        """How many datagrams were refused because their source had failed too often."""
        return self._throttle.refused

    def seal(self, node: NodeId, message: bytes) -> bytes | None:
        """Return the datagram for `node`, or None when it was not greeted yet."""
        pair = self._pairs.get(node)
        self._sealed += 1
        return pair.seal(message) if pair else None

    def open(self, datagram: bytes, source: Address = NOWHERE, now: float = 0.0) -> Opened | Stranger:
        """Return what the datagram from `source` holds, or that nobody we know sealed it."""
        header = read_header(datagram)
        pair = self._by_name.get(header.sender) if header else None
        if header is None or pair is None or not self._throttle.allows(pair.node, source, now):
            return NOBODY
        message = pair.open(header, datagram)
        if message is None:
            self._throttle.failed(pair.node, source, now)
            return Stranger(pair.node)
        self._throttle.proved(pair.node, source)
        return Opened(pair.node, message)
