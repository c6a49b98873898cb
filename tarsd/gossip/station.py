"""All of gossip short of sockets: the membership core with its codec and its sealed sessions. Pure.

Datagrams and greetings go in as bytes and come out as bytes; the shell moves them, the simulator too.
"""

from __future__ import annotations

from typing import NamedTuple

from tarsd.errors import WireError
from tarsd.gossip.codec import decode, decode_hello, encode, encode_hello
from tarsd.gossip.effects import Agree, Alarm, Effect, Greet, KeepGeneration, MemberChanged, Remember, Send
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Address
from tarsd.gossip.membership import Membership
from tarsd.gossip.messages import Message
from tarsd.gossip.sessions import Opened, Sessions
from tarsd.names import NodeId


class Datagram(NamedTuple):
    """Send these bytes there."""

    data: bytes
    address: Address


Order = Datagram | Greet | MemberChanged | Remember | KeepGeneration | Alarm


class Station:
    """One node's gossip, as a function of what arrives and of time."""

    def __init__(self, membership: Membership, sessions: Sessions) -> None:
        self.membership = membership
        self._sessions = sessions
        self.refused_datagrams = 0  # arrived, but nobody we know sealed them

    def orders(self, effects: list[Effect]) -> list[Order]:
        """Return what the shell has to do for `effects`: sessions are agreed and messages sealed here."""
        orders: list[Order] = []
        for effect in effects:
            match effect:
                case Send():
                    orders.extend(self._sealed(effect))
                case Agree():
                    orders.extend(self._agree(effect))
                case _:
                    orders.append(effect)
        return orders

    def datagram(self, data: bytes, address: Address, now: float) -> list[Order]:
        """Take a datagram; one that no session opens is never answered."""
        opened = self._sessions.open(data)
        if not isinstance(opened, Opened):
            self.refused_datagrams += 1
            return self.orders(self.membership.stranger(opened.node, now)) if opened.node else []
        return self.orders(self.membership.received(opened.node, _understand(opened.message), address, now))

    def greeting(self) -> bytes:
        """Return the greeting to send now."""
        return encode_hello(self.membership.greeting())

    def greeted(self, greeter: Greeter, body: bytes, now: float) -> tuple[bytes, list[Order]]:
        """Take a greeting; returns the answer to it. Raises `WireError` for what is none."""
        answer, effects = self.membership.greeted(greeter, decode_hello(body), now)
        return encode_hello(answer), self.orders(effects)

    def greeting_answered(self, greeter: Greeter, address: Address, body: bytes, now: float) -> list[Order]:
        """Take the answer to our greeting. Raises `WireError` for what is none."""
        return self.orders(self.membership.greeting_answered(greeter, address, decode_hello(body), now))

    def greeting_failed(self, node: NodeId | None, now: float) -> list[Order]:
        """Nobody answered our greeting."""
        return self.orders(self.membership.greeting_failed(node, now))

    def _sealed(self, send: Send) -> list[Order]:
        # Each address gets its own datagram: the same bytes twice would be a replay to the receiver.
        datagrams: list[Order] = []
        for address in send.addresses:
            data = self._sessions.seal(send.node, encode(send.message))
            if data is not None:
                datagrams.append(Datagram(data, address))
        return datagrams

    def _agree(self, agree: Agree) -> list[Order]:
        try:
            self._sessions.agree(agree.node, agree.boot, agree.exchange_key, agree.epoch)
        except WireError as error:
            return [Alarm(f"no sealed datagrams with {agree.node}: {error}")]
        return []


def _understand(data: bytes) -> Message | None:
    """Return the message, or None for one of a newer version: it proves life all the same."""
    try:
        return decode(data)
    except WireError:
        return None
