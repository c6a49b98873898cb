"""How notices spread between real stations under loss, and what they do to a member: each rule of `revocations`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pytest

from tarsd.gossip.codec import MAX_HELLO_BYTES, encode, encode_hello
from tarsd.gossip.effects import Greet
from tarsd.gossip.member import State
from tarsd.gossip.messages import Known, Revoked, Word
from tarsd.gossip.revocations import HELLO_BYTES, News, NoBook
from tarsd.identity.notices import Notice, Revocation, retire
from tarsd.names import NodeId, Zone
from tarsd.rpc import client, server
from tests.gossip.gossip_sim import Sim, SimNode


class PlainBook:
    """Believes what begins with "true"; keeps the order in which it learned."""

    def __init__(self, own: NodeId) -> None:
        self._own = own
        self._known: dict[bytes, Notice] = {}
        self.version = 0

    @property
    def digest(self) -> bytes:
        mixed = 0
        for notice in self._known.values():
            mixed ^= int.from_bytes(notice.mark, "big")
        return mixed.to_bytes(8, "big")

    @property
    def own(self) -> Revocation | None:
        return next((found for found in self.revoked() if found.node_id == self._own), None)

    def take(self, raws: Iterable[bytes]) -> Sequence[Notice]:
        new = [Notice(raw, body_of(raw), 1) for raw in raws if raw.startswith(b"true") and raw not in self._known]
        self._known |= {notice.raw: notice for notice in new}
        self.version += len(new)
        return new

    def all(self) -> list[bytes]:
        return list(reversed(self._known))

    def revoked(self) -> tuple[Revocation, ...]:
        return tuple(found.body for found in self._known.values() if isinstance(found.body, Revocation))

    def notice_about(self, node: NodeId) -> bytes:
        return next((raw for raw, found in self._known.items() if found.body.node_id == node), b"")  # type: ignore[union-attr]

    def __contains__(self, node: NodeId) -> bool:
        return bool(self.notice_about(node))


def body_of(raw: bytes) -> Revocation:
    return Revocation(raw[4:20], "pc", 0, raw[20:].decode(), "pc1")


def notice(of: SimNode, reason: str = "stolen") -> bytes:
    return b"true" + bytes.fromhex(of.node) + reason.encode()


def give_books(nodes: list[SimNode]) -> None:
    """Let the running stations look into books; again after each start."""
    for node in nodes:
        if not hasattr(node, "book"):
            node.book = PlainBook(node.node)  # type: ignore[attr-defined]
        node.membership._news._book = node.book  # type: ignore[attr-defined]


def revoke(by: SimNode, node: SimNode) -> None:
    by.book.take([notice(node)])  # type: ignore[attr-defined]


@pytest.fixture
def four() -> tuple[Sim, list[SimNode]]:
    sim = Sim(seed=7)
    nodes = sim.cluster(4)
    give_books(nodes)
    return sim, nodes


def test_everybody_knows_within_a_second_and_the_revoked_node_too(four) -> None:
    sim, (a, b, c, gone) = four
    revoke(a, gone)
    sim.until(lambda: all(node.state_of(gone) is State.REVOKED for node in (a, b, c)), 1)
    sim.until(lambda: gone.membership.me.revoked != "", 1)
    assert all(gone.state_of(node) is State.DEAD for node in (a, b, c))


@pytest.mark.parametrize("seed", range(5))
def test_loss_delays_it_but_keeps_it_from_nobody(seed: int) -> None:
    sim = Sim(seed=seed)
    nodes = sim.cluster(6)
    sim.loss = 0.4
    give_books(nodes)
    revoke(nodes[0], nodes[5])
    sim.until(lambda: all(node.state_of(nodes[5]) is State.REVOKED for node in nodes[:5]), 5)


def learn_without_a_word(node: SimNode, raw: bytes) -> None:
    """Let a node know a notice that it does not push."""
    node.book.take([raw])  # type: ignore[attr-defined]
    node.membership._news.apply(node.now)
    node.membership._news._pushes.clear()


def test_whoever_missed_every_push_learns_by_datagram_from_one_whose_hash_differs(four) -> None:
    sim, (a, b, c, gone) = four
    sim.run(2)
    sim.tcp_works = False
    learn_without_a_word(c, notice(gone))
    sim.until(lambda: all(node.state_of(gone) is State.REVOKED for node in (a, b)), 5)


def test_a_notice_that_changes_no_member_here_is_missed_and_repaired_too(four) -> None:
    sim, (a, b, c, _) = four
    sim.run(2)
    stranger = b"true" + b"s" * 16
    learn_without_a_word(c, stranger)
    sim.until(lambda: all(stranger in node.book.all() for node in (a, b)), 5)


def test_who_was_off_learns_by_its_first_greeting(four) -> None:
    sim, (a, b, c, gone) = four
    b.kill()
    sim.run(5)
    revoke(a, gone)
    sim.until(lambda: c.state_of(gone) is State.REVOKED, 1)
    sim.udp_cut = {(one.name, other.name) for one in (a, b, c) for other in (a, b, c)}
    b.start()
    give_books([b])
    sim.until(lambda: b.state_of(gone) is State.REVOKED, 2)


def test_a_revoked_member_is_never_contacted_nor_taken_back(four) -> None:
    sim, (a, b, c, gone) = four
    revoke(a, gone)
    sim.run(3)
    gone.kill()
    gone.start([a])  # another boot, that knows nothing of it
    sim.run(1)
    give_books([a, b, c])
    sim.sent_to.clear()
    sim.run(120)
    assert {node.state_of(gone) for node in (a, b, c)} == {State.REVOKED}
    assert gone.address not in sim.sent_to
    assert gone.membership.members(gone.now)[0].is_self
    assert all(member.state is not State.ALIVE for member in gone.membership.members(gone.now)[1:])


def test_a_revoked_member_is_greeted_by_nobody_whoever_announces_it(four) -> None:
    sim, (a, b, c, gone) = four
    revoke(a, gone)
    sim.run(3)
    gone.kill()
    sim.run(3)
    for node in (a, b, c):
        effects = node.membership.hint(gone.node, [("10.9.9.9", 7710)], node.now)
        effects += node.membership.network_changed([node.address], node.now)
        for _ in range(100):
            effects += node.membership.tick(node.now)
        assert not [effect for effect in effects if isinstance(effect, Greet) and effect.node == gone.node]


def test_nothing_makes_another_state_of_revoked(four) -> None:
    sim, (a, _, _, gone) = four
    revoke(a, gone)
    sim.run(1)
    peer = a.membership.roster.peers[gone.node]
    for state in State:
        a.membership.roster.set_state(peer, state, a.now, "a mistake")
    assert a.state_of(gone) is State.REVOKED
    assert "revoked" in peer.reason


def test_it_stays_revoked_over_a_restart(four) -> None:
    sim, (a, b, _, gone) = four
    revoke(a, gone)
    sim.run(3)
    a.kill()
    a.start([b])
    give_books([a])
    sim.run(5)
    assert a.state_of(gone) is State.REVOKED


def test_a_notice_that_is_not_believed_changes_nothing_and_is_not_told_on(four) -> None:
    sim, (a, b, c, gone) = four
    lie = b"lies" + notice(gone)[4:]
    for node in (a, b, c):
        node.carry(node.station.orders(node.membership.received(gone.node, Revoked(lie), gone.address, node.now)))
    sim.run(5)
    assert {node.state_of(gone) for node in (a, b, c)} == {State.ALIVE}
    assert a.book.version == b.book.version == 0


def test_datagrams_of_a_revoked_member_are_not_opened(four) -> None:
    _, (a, _, _, gone) = four
    sealed = gone.station._sessions.seal(a.node, encode(Revoked(b"x")))
    revoke(a, gone)
    a.membership._news.apply(a.now)
    a.carry(a.station.orders(a.membership.tick(a.now)))
    refused = a.station.refused_datagrams
    a.station.datagram(sealed, gone.address, a.now)
    assert a.station.refused_datagrams == refused + 1


def test_a_node_that_is_revoked_itself_falls_silent_but_serves_itself(four) -> None:
    sim, (a, _, _, gone) = four
    revoke(gone, gone)
    sim.run(1)
    own = gone.membership.members(gone.now)[0]
    assert own.is_self
    assert own.routable  # for the people at its own computer
    assert "revoked" in own.reason
    before = sim.datagrams
    for node in (a, *four[1][1:3]):
        node.kill()
    sim.run(60)
    assert sim.datagrams == before


def test_views_agree_again_after_a_revocation(four) -> None:
    sim, (a, b, c, gone) = four
    revoke(b, gone)
    sim.run(5)
    assert a.membership.roster.state_hash() == b.membership.roster.state_hash() == c.membership.roster.state_hash()


def test_revoke_without_a_notice_is_final_too(four) -> None:
    sim, (a, _, _, gone) = four
    a.carry(a.station.orders(a.membership.revoke(gone.node, a.now)))
    sim.run(30)
    assert a.state_of(gone) is State.REVOKED


def test_a_greeting_carries_no_more_notices_than_fit(four) -> None:
    _, (a, *_) = four
    a.book.take([b"true" + bytes([number]) * 16 + b"x" * 2000 for number in range(60)])
    told = a.membership._news.to_tell()
    assert 0 < len(told) < 60
    assert sum(map(len, told)) <= HELLO_BYTES
    assert told[0] == a.book.all()[0]


def test_without_a_book_nothing_is_believed() -> None:
    sim = Sim()
    a, b = sim.cluster(2)
    assert isinstance(a.membership._news, News)
    assert isinstance(a.membership._news._book, NoBook)
    a.carry(a.station.orders(a.membership.received(b.node, Revoked(notice(b)), b.address, a.now)))
    sim.run(5)
    assert a.state_of(b) is State.ALIVE


def test_a_greeting_of_a_thousand_members_with_their_retirement_fits(four) -> None:
    _, (a, *_) = four
    nodes = [NodeId(f"{number:032x}") for number in range(1000)]
    retirement = msgspec.msgpack.encode(retire(2, 0, [(node, Zone.CORE) for node in nodes]))
    a.book.take([b"true" + bytes([number]) * 16 + b"x" * 1000 for number in range(60)])  # type: ignore[attr-defined]
    a.book.take([b"true" + bytes(16) + retirement.hex().encode()])  # type: ignore[attr-defined] # twice its size
    addresses = [(f"192.168.{number}.200", 7710) for number in range(4)]
    known = [Known(bytes.fromhex(n), n, 1, Word.ALIVE, addresses, 1, bytes(8), bytes(32)) for n in nodes]
    hello = msgspec.structs.replace(a.membership.greeting(), members=known, notices=a.membership._news.to_tell())
    assert retirement.hex().encode() in hello.notices[0]
    size = len(encode_hello(hello))
    assert size > 64 * 1024
    assert size <= min(client.MAX_HELLO_BYTES, server.MAX_HELLO_BYTES, MAX_HELLO_BYTES)
