"""What the membership core asks of the world outside; the shell carries it out and decides nothing."""

from __future__ import annotations

from typing import NamedTuple

from tarsd.gossip.member import Address, Member
from tarsd.gossip.messages import Message
from tarsd.names import NodeId


class Send(NamedTuple):
    """Send `message`, sealed, to `node` at each of `addresses`."""

    node: NodeId
    message: Message
    addresses: tuple[Address, ...]


class Poke(NamedTuple):
    """Send an empty datagram: nobody answers it, but the kernel says so where nobody listens any more."""

    addresses: tuple[Address, ...]


class Greet(NamedTuple):
    """Say hello over TLS at `addresses`, until one answers; `node` is None where nobody knows who lives there.

    `is_hint`: there may be no such node, somebody only announced it; others go first.
    """

    node: NodeId | None
    addresses: tuple[Address, ...]
    why: str
    is_hint: bool = False


class Agree(NamedTuple):
    """Datagrams with this boot of `node` are sealed with these keys from now on."""

    node: NodeId
    boot: bytes
    exchange_key: bytes
    epoch: int


class Disagree(NamedTuple):
    """No datagram of `node` is opened, and none sealed for it, until it is greeted again."""

    node: NodeId


class MemberChanged(NamedTuple):
    """State, facts or addresses of a member are not what they were."""

    member: Member


class Remember(NamedTuple):
    """The table of everybody ever met has changed: write it."""


class KeepGeneration(NamedTuple):
    """This boot has another generation than it started with: write it before anything is sent."""

    generation: int


class Alarm(NamedTuple):
    """Something a person should know."""

    text: str


Effect = Send | Poke | Greet | Agree | Disagree | MemberChanged | Remember | KeepGeneration | Alarm
