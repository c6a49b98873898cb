"""All of gossip short of sockets: the membership core with its codec and its sealed sessions. Pure.

Datagrams and greetings go in as bytes and come out as bytes; the shell moves them, the simulator too.

Rules
1. What does not open is never answered. It may be the datagram of a new boot, so whom it names may be greeted over TCP;
   the membership core bounds how often, however much of it comes.
2. Everybody present who does not know this node's newest exchange key is greeted, again and again until it seals for
   that key.
3. A greeting tells the exchange key that `Sessions` has now.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tarsd.errors import WireError
from tarsd.gossip.codec import decode, decode_hello, encode, encode_hello
from tarsd.gossip.effects import (
    Agree,
    Alarm,
    Disagree,
    Effect,
    Greet,
    KeepGeneration,
    MemberChanged,
    Poke,
    Remember,
    Send,
)
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Address, State
from tarsd.gossip.membership import Membership
from tarsd.gossip.messages import Hello, Message
from tarsd.gossip.sessions import Opened, Sessions
from tarsd.names import NodeId

KEYS_EVERY_S = 1.0
TELL_KEY_EVERY_S = 5.0
TELL_AT_ONCE = 8  # of a thousand members: each is a TLS handshake


class Datagram(NamedTuple):
    """Send these bytes there."""

    data: bytes
    address: Address


class Admit(NamedTuple):
    """`Station.senders` is not what it was."""


class NewKey(NamedTuple):
    """It is time for another exchange key: call `Station.rotate` with 32 random bytes."""


Order = Datagram | Greet | MemberChanged | Remember | KeepGeneration | Alarm | Admit | NewKey


class Station:
    """One node's gossip, as a function of what arrives and of time."""

    def __init__(self, membership: Membership, sessions: Sessions) -> None:
        self.membership = membership
        self._sessions = sessions
        self._now = 0.0  # of the last call that told it
        self._told: dict[NodeId, float] = {}  # when this node was last told our newest key
        self._keys_at = 0.0
        self.refused_datagrams = 0  # arrived, but nobody we know sealed them
        self.oversized_messages = 0  # were not sent: no datagram can hold them

    @property
    def senders(self) -> frozenset[bytes]:
        """Whom a header must name (8 bytes each) for its datagram to be opened: others need not even be read."""
        return self._sessions.senders

    @property
    def throttled_datagrams(self) -> int:
        """How many of the refused datagrams were not even tried, since their source had failed too often."""
        return self._sessions.throttled

    def orders(self, effects: list[Effect]) -> list[Order]:
        """Return what the shell has to do for `effects`: sessions are agreed and messages sealed here."""
        orders: list[Order] = []
        for effect in effects:
            match effect:
                case Send():
                    orders.extend(self._sealed(effect))
                case Agree():
                    orders.extend(self._agree(effect))
                case Poke(addresses):
                    orders.extend(Datagram(b"", address) for address in addresses)
                case Disagree(node):
                    self._sessions.close(node)
                    orders.append(Admit())
                case _:
                    orders.append(effect)
        return orders

    def tick(self, now: float) -> list[Order]:
        """Do what is due, as `Membership.tick`; keys are told, renewed and dropped here."""
        self._now = now
        orders = self.orders(self.membership.tick(now))
        if now >= self._keys_at and not self.membership.me.leaving:
            self._keys_at = now + KEYS_EVERY_S
            self._sessions.retire(now)
            orders += self._tell_key(now)
            if self._sessions.wants_renewal(now):
                orders.append(NewKey())
        return orders

    def rotate(self, private_key: bytes, now: float) -> list[Order]:
        """Have another exchange key, 32 new random bytes, and tell everybody present.

        Where keys were renewed very often just before, it comes later: `NewKey` is ordered again then.
        """
        if not self._sessions.renew(private_key, now):
            return []
        self._told.clear()
        return self._tell_key(now)

    def datagram(self, data: bytes, address: Address, now: float) -> list[Order]:
        """Take a datagram; one that no session opens is never answered."""
        self._now = now
        if not data:
            return []  # a poke: it only asked whether anybody listens here
        opened = self._sessions.open(data, address, now)
        if isinstance(opened, Opened):
            return self.orders(self.membership.received(opened.node, _understand(opened.message), address, now))
        self.refused_datagrams += 1
        return self.orders(self.membership.stranger(opened.node, now)) if opened.node else []

    def greeting(self) -> bytes:
        """Return the greeting to send now."""
        return self._hello(self.membership.greeting())

    def greeted(self, greeter: Greeter, body: bytes, now: float) -> tuple[bytes, list[Order]]:
        """Take a greeting; returns the answer to it. Raises `WireError` for what is none."""
        self._now = now
        answer, effects = self.membership.greeted(greeter, decode_hello(body), now)
        return self._hello(answer), self.orders(effects)

    def greeting_answered(self, greeter: Greeter, address: Address, body: bytes, now: float) -> list[Order]:
        """Take the answer to our greeting. Raises `WireError` for what is none."""
        self._now = now
        return self.orders(self.membership.greeting_answered(greeter, address, decode_hello(body), now))

    def greeting_failed(self, node: NodeId | None, now: float) -> list[Order]:
        """Nobody answered our greeting."""
        return self.orders(self.membership.greeting_failed(node, now))

    def _hello(self, hello: Hello) -> bytes:
        sessions = self._sessions
        return encode_hello(msgspec.structs.replace(hello, exchange_key=sessions.public_key, epoch=sessions.epoch))

    def _tell_key(self, now: float) -> list[Order]:
        greets: list[Order] = []
        for node in self._sessions.behind():
            if now < self._told.get(node, 0.0) + TELL_KEY_EVERY_S:
                continue
            member = self.membership.member(node, now)
            if member is None or member.state not in (State.ALIVE, State.SUSPECT):
                continue
            self._told[node] = now
            greets.append(Greet(node, member.addresses, "it does not seal for our newest key"))
            if len(greets) == TELL_AT_ONCE:
                break
        return greets

    def _sealed(self, send: Send) -> list[Order]:
        try:
            message = encode(send.message)
        except WireError:  # lost like a datagram on its way: what is repaired comes again by greeting
            self.oversized_messages += 1
            return []
        # Each address gets its own datagram: the same bytes twice would be a replay to the receiver.
        datagrams: list[Order] = []
        for address in send.addresses:
            data = self._sessions.seal(send.node, message)
            if data is not None:
                datagrams.append(Datagram(data, address))
        return datagrams

    def _agree(self, agree: Agree) -> list[Order]:
        try:
            is_new = self._sessions.agree(agree.node, agree.boot, agree.exchange_key, agree.epoch, self._now)
        except WireError as error:
            return [Alarm(f"no sealed datagrams with {agree.node}: {error}")]
        return [Admit()] if is_new else []


def _understand(data: bytes) -> Message | None:
    """Return the message, or None for one of a newer version: it proves life all the same."""
    try:
        return decode(data)
    except WireError:
        return None
