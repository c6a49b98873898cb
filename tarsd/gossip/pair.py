"""The exchange keys of this boot, and the sessions with one boot of one peer under them. Pure.

Rules
1. A key has an epoch, one more than the key before it (modulo 256). A replaced key goes on opening for `OVERLAP_S`, for
   what is on its way and for whoever has not heard of the new one; then it is dropped, and its sessions with it.
2. One seals with the peer's newest key that one knows, and with the own key that the peer has shown to know by sealing
   for it; before it has, with the newest that a greeting told. So neither end has to wait for the other, and no
   datagram is lost in a rotation, not even when both rotate.
3. Within one boot of a peer an epoch has one key and epochs go up only: no session is ever derived a second time, which
   would count from 1 again under the same key.
Source: WireGuard's paper, section 6.2 (a responder sends under the new key only when the initiator has).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tarsd.errors import WireError
from tarsd.gossip.seal import EPOCHS_TOLD, End, Header, Session, told
from tarsd.names import NodeId

EPOCHS = 256
OVERLAP_S = 60.0
MAX_KEPT = 8  # keys of one end; guards memory, and keeps four bits of an epoch enough


def is_newer(epoch: int, than: int) -> bool:
    """Whether `epoch` comes after `than`; epochs start again after 255."""
    return 0 < (epoch - than) % EPOCHS < EPOCHS // 2


class OwnKeys:
    """This boot's exchange keys: that of now, and those replaced a short while ago."""

    def __init__(self, private_key: bytes) -> None:
        """`private_key`: 32 random bytes."""
        self.epoch = 0
        self._keys = {0: X25519PrivateKey.from_private_bytes(private_key)}
        self._until: dict[int, float] = {}

    @property
    def public_key(self) -> bytes:
        """The public half of the key of now, for a greeting."""
        return self._keys[self.epoch].public_key().public_bytes_raw()

    def renew(self, private_key: bytes, now: float) -> None:
        """Have another key from now on."""
        self._until[self.epoch] = now + OVERLAP_S
        self.epoch = (self.epoch + 1) % EPOCHS
        self._keys[self.epoch] = X25519PrivateKey.from_private_bytes(private_key)

    @property
    def is_full(self) -> bool:
        """Whether another key has to wait until an old one is dropped."""
        return len(self._keys) >= MAX_KEPT

    @property
    def has_old(self) -> bool:
        """Whether a replaced key is still held."""
        return len(self._keys) > 1

    def retire(self, now: float) -> float:
        """Drop the keys that were replaced long enough ago; returns when to look again."""
        for epoch in [epoch for epoch, until in self._until.items() if now >= until]:
            del self._until[epoch], self._keys[epoch]
        return min(self._until.values(), default=math.inf)

    def holds(self, epoch: int) -> bool:
        """Whether the key of that epoch still opens."""
        return epoch in self._keys

    def key(self, epoch: int) -> X25519PrivateKey:
        """Return a key that this boot holds."""
        return self._keys[epoch]

    def epoch_told(self, low: int) -> int | None:
        """Return the epoch whose last four bits are `low`, where its key is still held."""
        return next((epoch for epoch in self._keys if epoch % EPOCHS_TOLD == low), None)


class PeerKey(NamedTuple):
    """A public key of a peer, and until when it opens."""

    key: bytes
    until: float = math.inf


class Pair:
    """Seals for, and opens from, one boot of one peer."""

    def __init__(self, node: NodeId, own: End, peer: End, keys: OwnKeys, public_key: bytes, epoch: int) -> None:
        """Raises `WireError` for a public key that yields no secret."""
        self.node = node
        self.boot = peer.boot
        self.shown: int | None = None  # the newest of our epochs that the peer has sealed for
        self.unproven = False  # `shown` is only what the peer may know at best
        self.in_doubt = False  # it greeted us, but whether it was told our newest key is not certain
        self._own, self._peer, self._keys = own, peer, keys
        self._epoch, self._learned_at = epoch, -math.inf
        self._peer_keys = {epoch: PeerKey(public_key)}
        self._sessions: dict[int, Session] = {}  # by what the headers of the peer's datagrams say of the epochs
        self._sealing = self._session(keys.epoch, epoch)

    def learn(self, public_key: bytes, epoch: int, now: float) -> None:
        """Take the key that a greeting of the same boot brought; raises `WireError` for an unusable one."""
        self._take(public_key, epoch, now)
        if self.unproven:
            # A greeting goes both ways: it knows our key of now, and perhaps none that was replaced during a cut.
            self.shown, self.unproven, self.in_doubt = None, False, True
            self._sealing = self._session(self._sealing_epoch(), self._epoch)

    def _take(self, public_key: bytes, epoch: int, now: float) -> None:
        known = self._peer_keys.get(epoch)
        if known is not None and known.key != public_key:
            raise WireError(f"{self.node} has two keys for epoch {epoch}")
        if known is not None or (not is_newer(epoch, self._epoch) and now < self._learned_at + OVERLAP_S):
            return  # nothing new, or a greeting that was overtaken by a later one
        ours = self._sealing_epoch()
        session = Session(self._own, self._peer, self._keys.key(ours), public_key, ours, epoch)
        self._peer_keys[self._epoch] = PeerKey(self._peer_keys[self._epoch].key, now + OVERLAP_S)
        self._make_room(epoch)
        self._peer_keys[epoch] = PeerKey(public_key)
        self._epoch, self._learned_at = epoch, now
        self._sealing = self._sessions[told(epoch, ours)] = session

    def retire(self, now: float) -> float:
        """Drop what was replaced long enough ago; after `OwnKeys.retire`. Returns when to look again."""
        for epoch in [epoch for epoch, key in self._peer_keys.items() if now >= key.until]:
            self._drop_peer_key(epoch)
        self._sessions = {says: one for says, one in self._sessions.items() if self._keys.holds(one.own_epoch)}
        if self.shown is not None and not self._keys.holds(self.shown):
            self.shown = None
        self._sealing = self._session(self._sealing_epoch(), self._epoch)
        return min(key.until for key in self._peer_keys.values())

    def expect_renewal(self) -> None:
        """Our key is about to be replaced: who has not sealed for us yet knows the one of now, at best."""
        if self.shown is None:
            self.shown, self.unproven = self._keys.epoch, True

    @property
    def is_behind(self) -> bool:
        """Whether the peer is not known to have our newest key."""
        return self.in_doubt if self.shown is None else self.shown != self._keys.epoch

    def seal(self, message: bytes) -> bytes | None:
        """Return the datagram that carries `message`; None when the key has sealed all that it may."""
        return self._sealing.seal(message)

    def open(self, header: Header, datagram: bytes) -> bytes | None:
        """Return the message, or None where it is forged, a replay, or under keys that we do not hold."""
        session = self._sessions.get(header.epochs) or self._told_session(header.epochs)
        message = session.open(header, datagram) if session else None
        if session and message is not None and (session.own_epoch != self.shown or self.unproven):
            self._was_shown(session.own_epoch)
        return message

    def _was_shown(self, epoch: int) -> None:
        was_unproven, self.unproven, self.in_doubt = self.unproven, False, False
        if self.shown is None or was_unproven or is_newer(epoch, self.shown):
            self.shown = epoch
            self._sealing = self._session(epoch, self._epoch)

    def _sealing_epoch(self) -> int:
        return self._keys.epoch if self.shown is None else self.shown

    def _told_session(self, says: int) -> Session | None:
        """Return the session that a header names, made where both keys are held and it was not needed before."""
        theirs, ours = divmod(says, EPOCHS_TOLD)
        own_epoch = self._keys.epoch_told(ours)
        peer_epoch = next((epoch for epoch in self._peer_keys if epoch % EPOCHS_TOLD == theirs), None)
        if own_epoch is None or peer_epoch is None:
            return None
        return self._session(own_epoch, peer_epoch)

    def _session(self, own_epoch: int, peer_epoch: int) -> Session:
        says = told(peer_epoch, own_epoch)
        session = self._sessions.get(says)
        if session is None:
            key, peer_key = self._keys.key(own_epoch), self._peer_keys[peer_epoch].key
            session = self._sessions[says] = Session(self._own, self._peer, key, peer_key, own_epoch, peer_epoch)
        return session

    def _make_room(self, epoch: int) -> None:
        """Drop the peer's oldest keys where there are too many, and one that a header could not tell from `epoch`."""
        while len(self._peer_keys) >= MAX_KEPT:
            self._drop_peer_key(next(iter(self._peer_keys)))
        for twin in [known for known in self._peer_keys if (known - epoch) % EPOCHS_TOLD == 0]:
            self._drop_peer_key(twin)

    def _drop_peer_key(self, epoch: int) -> None:
        del self._peer_keys[epoch]
        self._sessions = {says: one for says, one in self._sessions.items() if one.peer_epoch != epoch}
