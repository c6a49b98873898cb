"""Sealed datagrams: one session per pair of boots. Pure: keys come in as bytes.

Rules
1. Header (authenticated, not hidden): version 1 | key epochs 1 | first 8 bytes of the sender's id | counter 8. The
   epochs are those of the sender's and of the receiver's exchange key, four bits each.
2. Keys come from X25519 of both boots' keys, through HKDF bound to both boot ids and epochs; each direction has its
   own key, because the counter is the nonce and both sides count from 1.
3. A counter is never used twice under one key: the boot id in the derivation makes that hold across crashes, and a
   session that has counted to `LAST_COUNTER` seals no more.
4. A datagram is accepted once (sliding window), and only after its tag is verified.
5. What can be refused by looking at length, version and counter never costs a decryption.
Sources: WireGuard's paper, section 5.4; RFC 6479 for the window.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tarsd.errors import WireError
from tarsd.gossip.codec import MAX_DATAGRAM_BYTES

VERSION = 1
WINDOW = 2048  # datagrams that may come out of order before the oldest is taken for a replay
LAST_COUNTER = 1 << 60
EPOCHS_TOLD = 16  # four bits of an epoch are in the header
_HEADER = struct.Struct(">BB8sQ")
_TAG_BYTES = 16
MIN_DATAGRAM_BYTES = _HEADER.size + _TAG_BYTES


class Header(NamedTuple):
    """What a datagram says in the open."""

    version: int
    epochs: int  # of both ends' exchange keys: see `told`
    sender: bytes
    counter: int


class End(NamedTuple):
    """One side of a session: who it is and which boot of it."""

    node: bytes  # 16 bytes
    boot: bytes  # 8 bytes


def told(sender: int, receiver: int) -> int:
    """Return what a header says of the key epochs of both ends."""
    return (sender % EPOCHS_TOLD) * EPOCHS_TOLD + receiver % EPOCHS_TOLD


def read_header(datagram: bytes) -> Header | None:
    """Return a datagram's header, or None when it cannot be one of ours: the same small work for any bytes."""
    if not MIN_DATAGRAM_BYTES <= len(datagram) <= MAX_DATAGRAM_BYTES or datagram[0] != VERSION:
        return None
    return Header._make(_HEADER.unpack_from(datagram))


class ReplayWindow:
    """Remembers which counters were accepted: each once, none older than the window."""

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bit i = counter (highest - i) was accepted

    def is_new(self, counter: int) -> bool:
        """Whether `counter` may still be accepted."""
        if counter > self._highest:
            return True
        age = self._highest - counter
        return counter > 0 and age < WINDOW and not self._seen >> age & 1

    def accept(self, counter: int) -> None:
        """Remember `counter`; only after the tag was verified, or a forger could move the window."""
        ahead = counter - self._highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return
        kept = (self._seen << ahead) & ((1 << WINDOW) - 1) if ahead < WINDOW else 0
        self._seen = kept | 1
        self._highest = counter


class Session:
    """The keys between this boot and one boot of a peer, for one exchange key of each."""

    def __init__(
        self, own: End, peer: End, own_key: X25519PrivateKey, peer_key: bytes, own_epoch: int = 0, peer_epoch: int = 0
    ) -> None:
        """Derive the keys; raises `WireError` for a public key that yields no secret."""
        self.own_epoch = own_epoch
        self.peer_epoch = peer_epoch
        self.sent = 0  # datagrams, which is the counter of the last one
        self._says = told(own_epoch, peer_epoch)
        sending, receiving = _derive(own, peer, own_key, peer_key, self._says, told(peer_epoch, own_epoch))
        self._sending = ChaCha20Poly1305(sending)
        self._receiving = ChaCha20Poly1305(receiving)
        self._sender = own.node[:8]
        self._window = ReplayWindow()

    def seal(self, message: bytes) -> bytes | None:
        """Return the datagram that carries `message`; None when this key has sealed all that it may."""
        if self.sent >= LAST_COUNTER:
            return None
        self.sent += 1
        header = _HEADER.pack(VERSION, self._says, self._sender, self.sent)
        return header + self._sending.encrypt(_nonce(self.sent), message, header)

    def open(self, header: Header, datagram: bytes) -> bytes | None:
        """Return the message, or None when it is forged, of another boot or epoch, or a replay."""
        if not self._window.is_new(header.counter):
            return None
        head, sealed = datagram[: _HEADER.size], datagram[_HEADER.size :]
        try:
            message = self._receiving.decrypt(_nonce(header.counter), sealed, head)
        except InvalidTag:
            return None
        self._window.accept(header.counter)
        return message


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _derive(
    own: End, peer: End, own_key: X25519PrivateKey, peer_key: bytes, says: int, hears: int
) -> tuple[bytes, bytes]:
    """Return (sending key, receiving key); the peer derives the same two, the other way round."""
    try:
        secret = own_key.exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError as error:
        raise WireError(f"an X25519 key that yields no secret: {error}") from error
    low, high = sorted((own, peer))
    epochs = says if own == low else hears
    context = b"tarsd gossip 1" + low.node + high.node + bytes([epochs])
    material = HKDF(SHA256(), 64, salt=low.boot + high.boot, info=context).derive(secret)
    return (material[:32], material[32:]) if own == low else (material[32:], material[:32])
