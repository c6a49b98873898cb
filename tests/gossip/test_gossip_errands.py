from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tarsd.errors import PeerLost
from tarsd.gossip.effects import Greet
from tarsd.gossip.errands import AT_ONCE, HINTS_AT_ONCE, Errands, as_address, plain_host
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Address
from tarsd.gossip.station import Order
from tarsd.gossip.table import Table
from tarsd.identity.peer import PeerIdentity
from tarsd.names import NodeId, NodeName, Zone

NODE = NodeId("b" * 32)


class Home:
    """Stands in for the station: notes what is brought home."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, Address, bytes]] = []
        self.failures: list[NodeId | None] = []

    def greeting(self) -> bytes:
        return b"hello"

    def greeting_answered(self, greeter: Greeter, address: Address, body: bytes, now: float) -> list[Order]:
        self.answers.append((greeter.name, address, body))
        return []

    def greeting_failed(self, node: NodeId | None, now: float) -> list[Order]:
        self.failures.append(node)
        return []


async def run(tmp_path: Path, hello: object, *addresses: Address) -> Home:
    errands, home, greet = Errands(hello, Table(tmp_path)), Home(), Greet(NODE, addresses, "a test")
    assert errands.begin(greet)
    await errands.run(greet, home, lambda orders: None)
    assert errands.begin(greet), "an errand that is over may be run again"
    return home


async def answers(address: Address, body: bytes, expected: NodeId | None) -> tuple[PeerIdentity, bytes]:
    if address[0] == "10.0.0.1":
        await asyncio.Event().wait()
    if address[0] == "10.0.0.2":
        raise PeerLost("refused")
    return PeerIdentity(NODE, NodeName("pc2"), Zone.CORE), body + b" back"


async def test_an_address_that_is_silent_gets_company_by_the_next(tmp_path: Path) -> None:
    home = await run(tmp_path, answers, ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3))
    assert home.answers == [("pc2", ("10.0.0.3", 3), b"hello back")]
    assert home.failures == []  # and the silent one would have been silent for ever


async def test_one_failure_is_reported_when_no_address_answers(tmp_path: Path) -> None:
    home = await run(tmp_path, answers, ("10.0.0.2", 1), ("10.0.0.2", 2))
    assert (home.answers, home.failures) == ([], [NODE])


async def test_names_are_resolved_and_unknown_ones_are_no_answer(tmp_path: Path) -> None:
    home = await run(tmp_path, answers, ("localhost", 5))
    assert home.answers[0][1][0] in ("127.0.0.1", "::1")
    assert (await run(tmp_path, answers, ("no-such-host.invalid", 5))).failures == [NODE]


def test_only_so_many_go_out_at_once_and_each_once(tmp_path: Path) -> None:
    errands = Errands(answers, Table(tmp_path))
    greets = [Greet(None, ((f"10.0.0.{number}", 1),), "a test") for number in range(AT_ONCE + 1)]
    assert errands.begin(greets[0])
    assert not errands.begin(greets[0])
    assert [errands.begin(greet) for greet in greets[1:]] == [True] * (AT_ONCE - 1) + [False]


def test_those_who_are_only_announced_leave_room_for_others(tmp_path: Path) -> None:
    errands = Errands(answers, Table(tmp_path))
    hints = [Greet(NODE, ((f"10.0.0.{number}", 1),), "a test", True) for number in range(AT_ONCE)]
    assert sum(errands.begin(greet) for greet in hints) == HINTS_AT_ONCE
    assert errands.begin(Greet(NODE, (("10.0.1.1", 1),), "a test"))


@pytest.mark.parametrize(
    ("seed", "address"),
    [("pc2.home:7710", ("pc2.home", 7710)), ("10.0.0.2:1", ("10.0.0.2", 1)), ("[fe80::1]:7710", ("fe80::1", 7710))],
)
def test_a_seed_is_read(seed: str, address: Address) -> None:
    assert as_address(seed) == address


def test_an_ipv4_address_from_an_ipv6_socket_is_taken_for_what_it_is() -> None:
    assert plain_host("::ffff:10.0.0.2") == "10.0.0.2"
    assert plain_host("fe80::1") == "fe80::1"


async def test_nobody_is_looked_for_at_our_own_address_even_by_name(tmp_path: Path) -> None:
    tried: list[Address] = []

    async def hello(address: Address, body: bytes, expected: NodeId | None) -> tuple[PeerIdentity, bytes]:
        tried.append(address)
        raise PeerLost("nobody")

    home = Home()
    errands = Errands(hello, Table(tmp_path), lambda address: address == ("127.0.0.1", 7710))
    greet = Greet(None, (("127.0.0.1", 7710), ("localhost", 7710), ("10.0.0.2", 7710)), "a test")
    assert errands.begin(greet)
    await errands.run(greet, home, lambda orders: None)
    assert ("10.0.0.2", 7710) in tried
    assert ("127.0.0.1", 7710) not in tried
    assert home.failures == [None]
