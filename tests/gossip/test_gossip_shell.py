"""Two and three real `Gossip`s in one process: real sockets, real files, real multicast on loopback.

How soon things are noticed is asserted where time is virtual (`test_gossip_membership`): here it is the machine's, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random

import pytest
import uvloop

from tarsd import config
from tarsd.errors import ConfigError, PeerLost
from tarsd.gossip import sieve
from tarsd.gossip.effects import Remember
from tarsd.gossip.member import Address, Load, Member, State
from tarsd.gossip.pair import Pair
from tarsd.gossip.revocations import NoBook
from tarsd.gossip.shell import Gossip
from tarsd.identity.peer import PeerIdentity
from tarsd.names import Capability, NodeId, NodeName, Zone

CHAT = Capability("chat")


class Book(NoBook):
    """Nobody is revoked, and that needs no file."""

    def save(self) -> None:
        pass


class Who:
    """As much of an identity as gossip needs."""

    notices = Book()

    def __init__(self, name: str, cluster: str = "0123456789abcdef", zone: Zone = Zone.CORE) -> None:
        self.name = NodeName(name)
        self.node_id = NodeId(name.encode().hex().ljust(32, "0"))
        self.zone = zone
        self.cluster = cluster
        self.notices = NoBook()

    def as_peer(self) -> PeerIdentity:
        return PeerIdentity(self.node_id, self.name, self.zone)


class Wire:
    """Stands in for mutual TLS: carries greetings between the gossips that are up, each at its port."""

    def __init__(self) -> None:
        self.up: dict[int, tuple[Who, Gossip]] = {}
        self.greetings = 0

    def caller(self, who: Who) -> Callable[..., object]:
        async def hello(address: Address, body: bytes, expected: NodeId | None) -> tuple[PeerIdentity, bytes]:
            self.greetings += 1
            await asyncio.sleep(0)
            if address[1] not in self.up:
                raise PeerLost(f"nobody at {address}")
            callee, gossip = self.up[address[1]]
            if expected is not None and expected != callee.node_id:
                raise PeerLost("somebody else lives there")
            return callee.as_peer(), await gossip.handle_hello(body, who.as_peer(), ("127.0.0.1", 50000))

        return hello


class Node:
    def __init__(self, wire: Wire, who: Who, folder: Path, *, mdns: bool = True, seeds: tuple[str, ...] = ()) -> None:
        network = config.Network(listen=("127.0.0.1",), port=0, seeds=seeds, mdns=mdns, mdns_interfaces=("127.0.0.1",))
        self.wire, self.who = wire, who
        self.gossip = Gossip(
            who, config.Gossip(), network, folder / who.name, hello=wire.caller(who), rng=Random(who.name)
        )

    async def start(self, port: int = 0) -> None:
        await self.gossip.start(port)
        self.wire.up[self.gossip.port] = (self.who, self.gossip)

    async def stop(self) -> None:
        self.wire.up.pop(self.gossip.port, None)
        await self.gossip.stop()

    async def kill(self) -> None:
        """End as SIGKILL ends a process: no goodbye, the port closed."""
        self.wire.up.pop(self.gossip.port, None)
        running = self.gossip._running
        self.gossip._udp.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self.gossip._running = None

    async def sees(self, other: Node, state: State, within_s: float = 30.0) -> float:
        """Wait until this node believes `other` to be in `state`; returns how long it took."""
        begin = time.monotonic()
        await self.until(lambda member: member.node == other.who.node_id and member.state is state, within_s)
        return time.monotonic() - begin

    async def until(self, condition: Callable[[Member], bool], within_s: float = 30.0) -> Member:
        found: asyncio.Future[Member] = asyncio.get_running_loop().create_future()

        def look(member: Member) -> None:
            if not found.done() and condition(member):
                found.set_result(member)

        end = self.gossip.subscribe(look)
        for member in self.gossip.members():
            look(member)
        try:
            async with asyncio.timeout(within_s):
                return await found
        finally:
            end()


@asynccontextmanager
async def running(*nodes: Node) -> AsyncGenerator[None, None]:
    try:
        for node in nodes:
            await node.start()
        yield
    finally:
        for node in nodes:
            await node.stop()


@pytest.fixture
def wire() -> Wire:
    return Wire()


async def test_two_nodes_find_each_other_by_multicast(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    pc1.gossip.advertise({CHAT: {"model": "small", "context_tokens": 8192}}, ["cognitive"], "1.0")
    async with running(pc1, pc2):
        await pc2.sees(pc1, State.ALIVE)
        await pc1.sees(pc2, State.ALIVE)
        member = pc2.gossip.member(pc1.who.node_id)
    assert member.zone is Zone.CORE
    assert member.capabilities[CHAT] == {"model": "small", "context_tokens": 8192}
    assert (member.roles, member.version) == (("cognitive",), "1.0")
    assert member.addresses[0] == ("127.0.0.1", pc1.gossip.port)


async def test_nodes_of_two_clusters_do_not_meet(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    other = Node(wire, Who("other", cluster="fedcba9876543210"), tmp_path)
    async with running(other, pc1, pc2):
        await pc2.sees(pc1, State.ALIVE)
        assert pc1.gossip.member(other.who.node_id) is None
        assert other.gossip.member(pc1.who.node_id) is None


async def test_a_seed_serves_where_multicast_does_not(wire: Wire, tmp_path: Path) -> None:
    pc1 = Node(wire, Who("pc1"), tmp_path, mdns=False)
    async with running(pc1):
        pc2 = Node(wire, Who("pc2"), tmp_path, mdns=False, seeds=(f"localhost:{pc1.gossip.port}",))
        async with running(pc2):
            await pc2.sees(pc1, State.ALIVE)


async def test_load_and_changed_capabilities_reach_the_other_node(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    async with running(pc1, pc2):
        await pc2.sees(pc1, State.ALIVE)
        await pc1.sees(pc2, State.ALIVE)
        pc1.gossip.set_load(Load(queued=3, running=1, tokens_per_s=40.5))
        pc1.gossip.advertise({CHAT: {"model": "other"}}, [], "2")
        member = await pc2.until(lambda member: member.capabilities.get(CHAT) == {"model": "other"})
        while member.load is None or member.load.queued != 3:
            async with asyncio.timeout(30):
                await asyncio.sleep(0.02)
            member = pc2.gossip.member(pc1.who.node_id)
        assert member.load.tokens_per_s == 40.5


async def test_a_killed_node_is_suspect_once_refused_and_dead_after_the_floor(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    async with running(pc1, pc2):
        await pc1.sees(pc2, State.ALIVE)
        await pc2.sees(pc1, State.ALIVE)
        killing = asyncio.create_task(pc2.kill())
        # The next ping is up to T' away; it is what the kernel refuses.
        await pc1.sees(pc2, State.SUSPECT)
        assert pc1.gossip.member(pc2.who.node_id).reason == "nobody listens at its port"
        assert await pc1.sees(pc2, State.DEAD) > 1.0  # 2 s after it was suspected, which we may have seen late
        await killing


async def test_a_goodbye_is_heard(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    async with running(pc1, pc2):
        await pc1.sees(pc2, State.ALIVE)
        await pc2.sees(pc1, State.ALIVE)
        leaving = asyncio.create_task(pc2.stop())
        await pc1.sees(pc2, State.LEFT)
        await leaving
        assert pc1.gossip.member(pc2.who.node_id).reason == "it said goodbye (stop)"


async def test_a_restarted_node_is_back_with_a_higher_generation(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path, mdns=False), Node(wire, Who("pc2"), tmp_path, mdns=False)
    async with running(pc1):
        pc2 = Node(wire, Who("pc2"), tmp_path, mdns=False, seeds=(f"127.0.0.1:{pc1.gossip.port}",))
        await pc2.start()
        await pc1.sees(pc2, State.ALIVE)
        await pc2.sees(pc1, State.ALIVE)
        await pc2.gossip._keeper.write()
        await pc2.kill()
        await pc1.sees(pc2, State.DEAD)
        again = Node(wire, Who("pc2"), tmp_path, mdns=False)  # no seed, no multicast: the table knows
        async with running(again):
            await pc1.sees(again, State.ALIVE)
            await again.sees(pc1, State.ALIVE)
            assert pc1.gossip.member(again.who.node_id).generation == 2


async def test_three_nodes_meet_through_one_seed(wire: Wire, tmp_path: Path) -> None:
    pc1 = Node(wire, Who("pc1"), tmp_path, mdns=False)
    async with running(pc1):
        seeds = (f"127.0.0.1:{pc1.gossip.port}",)
        pc2 = Node(wire, Who("pc2"), tmp_path, mdns=False, seeds=seeds)
        pc3 = Node(wire, Who("pc3"), tmp_path, mdns=False, seeds=seeds)
        async with running(pc2, pc3):
            for a in (pc1, pc2, pc3):
                for b in (pc1, pc2, pc3):
                    await a.sees(b, State.ALIVE)


class Stranger:
    """A raw socket of somebody who has no certificate."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)

    def received(self) -> int:
        total = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                total += len(self.socket.recv(2048)) + 1
        return total


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    one = Stranger()
    yield one
    one.socket.close()


class Ears:
    """An eavesdropper: writes down what nodes send."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def watch(self, *nodes: Node) -> None:
        for node in nodes:
            send = node.gossip._udp.send

            def tapped(data: bytes, address: Address, send: Callable[[bytes, Address], None] = send) -> None:
                self.seen.append(data)
                send(data, address)

            node.gossip._udp.send = tapped


def refused(node: Node) -> int:
    gossip = node.gossip
    return gossip.refused_datagrams + gossip.dropped_datagrams


async def until_refused(node: Node, count: int) -> None:
    async with asyncio.timeout(30):
        while refused(node) < count:  # noqa: ASYNC110 - a counter, without an event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("filtered", [True, False])
async def test_what_is_not_authenticated_gets_no_byte_back(
    wire: Wire, tmp_path: Path, stranger: Stranger, filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not filtered:  # a kernel, or a sandbox, without socket filters
        monkeypatch.setattr(sieve, "attach", lambda bound, senders: False)
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    ears = Ears()
    async with running(pc1, pc2):
        ears.watch(pc1, pc2)
        await pc1.sees(pc2, State.ALIVE)
        await pc2.sees(pc1, State.ALIVE)
        async with asyncio.timeout(30):
            while len(ears.seen) < 10:  # noqa: ASYNC110 - a list, without an event
                await asyncio.sleep(0.01)
        named = bytes([1, 0]) + bytes.fromhex(pc2.who.node_id)[:8]
        unknown = bytes([1, 0]) + b"\xee" * 8 + bytes(60)
        garbage = [
            b"x", bytes(100), bytes(2000), named, named + bytes(20), named + (99).to_bytes(8, "big") + bytes(40),
            b"\x00" + named[1:] + bytes(60), b"\x02" + named[1:] + bytes(60), unknown,
            *(data for data in ears.seen if data), *(data[:-1] for data in ears.seen if data),
        ]  # fmt: skip
        before = refused(pc1)
        for data in garbage:
            stranger.socket.sendto(data, ("127.0.0.1", pc1.gossip.port))
        await until_refused(pc1, before + len(garbage))
        assert stranger.received() == 0
        assert pc1.gossip.member(pc2.who.node_id).state is State.ALIVE
        assert pc1.gossip.member(pc2.who.node_id).addresses[0][1] == pc2.gossip.port
        assert filtered is (pc1.gossip.dropped_datagrams > 0)


async def test_a_burst_of_forgeries_disturbs_nobody(wire: Wire, tmp_path: Path, stranger: Stranger) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path, mdns=False), Node(wire, Who("pc2"), tmp_path, mdns=False)
    changes: list[State] = []
    async with running(pc1):
        pc2 = Node(wire, Who("pc2"), tmp_path, mdns=False, seeds=(f"127.0.0.1:{pc1.gossip.port}",))
        async with running(pc2):
            await pc1.sees(pc2, State.ALIVE)
            await pc2.sees(pc1, State.ALIVE)
            for node in (pc1, pc2):
                node.gossip.subscribe(lambda member: changes.append(member.state))
            greetings, forged = wire.greetings, bytes([1, 0]) + bytes.fromhex(pc2.who.node_id)[:8] + bytes(60)
            for _ in range(200):
                for _ in range(50):
                    stranger.socket.sendto(forged, ("127.0.0.1", pc1.gossip.port))
                await asyncio.sleep(0.005)
            assert set(changes) <= {State.ALIVE}
            assert wire.greetings == greetings
            assert pc1.gossip.throttled_datagrams > 0
            assert stranger.received() == 0


async def test_what_travels_shows_no_name_and_no_capability(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1-kitchen"), tmp_path), Node(wire, Who("pc2-cellar"), tmp_path)
    ears, secret = Ears(), "a-model-nobody-should-know"
    async with running(pc1, pc2):
        ears.watch(pc1, pc2)
        await pc1.sees(pc2, State.ALIVE)
        await pc2.sees(pc1, State.ALIVE)
        pc1.gossip.advertise({CHAT: {"model": secret}}, ["cognitive"], "1.0-secret")
        await pc2.until(lambda member: CHAT in member.capabilities)
        pc2.gossip.announce_busy(0.1)
        async with asyncio.timeout(30):
            while len(ears.seen) < 30:  # noqa: ASYNC110 - a list, without an event
                await asyncio.sleep(0.01)
    sent = [data for data in ears.seen if data]
    for word in (secret, "chat", "model", "cognitive", "1.0-secret", "kitchen", "cellar", "127.0.0.1"):
        assert not any(word.encode() in data for data in sent)
    ids = {bytes.fromhex(node.who.node_id)[:8] for node in (pc1, pc2)}
    assert {data[:2] for data in sent} == {b"\x01\x00"}
    assert {data[2:10] for data in sent} == ids, "only the header is in the open"
    bodies = [data[18:] for data in sent if len(data) > 60]
    assert len({body[:16] for body in bodies}) == len(bodies), "no two begin alike"


async def test_keys_are_renewed_while_everything_goes_on(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    changes: list[State] = []
    async with running(pc1, pc2):
        await pc1.sees(pc2, State.ALIVE)
        await pc2.sees(pc1, State.ALIVE)
        async with asyncio.timeout(30):
            while None in (pair.shown for node in (pc1, pc2) for pair in pairs(node)):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        refused_before = pc1.gossip.refused_datagrams, pc2.gossip.refused_datagrams
        for node in (pc1, pc2):
            node.gossip.subscribe(lambda member: changes.append(member.state))
        pc1.gossip.rotate_keys()
        pc2.gossip.rotate_keys()
        async with asyncio.timeout(30):
            while {pair.shown for node in (pc1, pc2) for pair in pairs(node)} != {1}:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        assert set(changes) <= {State.ALIVE}
        assert (pc1.gossip.refused_datagrams, pc2.gossip.refused_datagrams) == refused_before


async def test_a_key_that_is_old_is_renewed_by_itself(wire: Wire, tmp_path: Path) -> None:
    pc1 = Node(wire, Who("pc1"), tmp_path, mdns=False)
    async with running(pc1):
        sessions = pc1.gossip._station._sessions
        before, sessions._renew_at = sessions.public_key, 0.0
        async with asyncio.timeout(30):
            while sessions.epoch == 0:  # noqa: ASYNC110 - a counter, without an event
                await asyncio.sleep(0.01)
        assert sessions.public_key != before


async def test_who_has_met_nobody_reads_nothing(wire: Wire, tmp_path: Path, stranger: Stranger) -> None:
    pc1 = Node(wire, Who("pc1"), tmp_path, mdns=False)
    async with running(pc1):
        for _ in range(5):
            stranger.socket.sendto(bytes([1, 0]) + bytes(60), ("127.0.0.1", pc1.gossip.port))
        await until_refused(pc1, 5)
        assert (pc1.gossip.refused_datagrams, pc1.gossip.dropped_datagrams) == (0, 5)


async def test_what_arrives_and_has_consequences_hurries_the_next_tick(wire: Wire, tmp_path: Path) -> None:
    pc1, hurried = Node(wire, Who("pc1"), tmp_path, mdns=False), []
    async with running(pc1):
        pc1.gossip._metronome.hurry = lambda: hurried.append(True)
        pc1.gossip._carry([])
        assert hurried == [], "garbage has none"
        pc1.gossip._carry([Remember()])
        assert hurried == [True]


def pairs(node: Node) -> list[Pair]:
    return list(node.gossip._station._sessions._pairs.values())


async def test_a_goodbye_says_why_and_when_it_is_back(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
    async with running(pc1, pc2):
        await pc1.sees(pc2, State.ALIVE)
        await pc2.sees(pc1, State.ALIVE)
        wire.up.pop(pc2.gossip.port)
        leaving = asyncio.create_task(pc2.gossip.stop("upgrade", 30.0))
        await pc1.sees(pc2, State.LEFT)
        assert "upgrade" in pc1.gossip.member(pc2.who.node_id).reason
        await leaving
        await pc2.gossip.stop()  # twice is once


async def test_a_taken_port_is_named(wire: Wire, tmp_path: Path) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path, mdns=False), Node(wire, Who("pc2"), tmp_path, mdns=False)
    async with running(pc1):
        with pytest.raises(ConfigError, match=r"network\.port"):
            await pc2.gossip.start(pc1.gossip.port)


def test_the_same_works_on_uvloop(tmp_path: Path) -> None:
    async def journey() -> None:
        wire = Wire()
        pc1, pc2 = Node(wire, Who("pc1"), tmp_path), Node(wire, Who("pc2"), tmp_path)
        async with running(pc1, pc2):
            await pc1.sees(pc2, State.ALIVE)
            await pc2.sees(pc1, State.ALIVE)
            killing = asyncio.create_task(pc2.kill())
            await pc1.sees(pc2, State.SUSPECT)
            await pc1.sees(pc2, State.DEAD)
            await killing
            again = Node(wire, Who("pc2"), tmp_path)
            async with running(again):
                await pc1.sees(again, State.ALIVE)
                # The socket that saw refusals still reads: the new boot is measured by datagram.
                await pc1.until(lambda member: member.node == again.who.node_id and member.generation == 2)
                begin = time.monotonic()
                while pc1.gossip.member(again.who.node_id).load_age_s > 0.4 or time.monotonic() - begin < 0.6:
                    await asyncio.sleep(0.02)
                    assert time.monotonic() - begin < 30.0

    # Not asyncio.Runner: it would unset, unclosed, the loop that the test framework keeps for the thread.
    with closing(uvloop.new_event_loop()) as loop:
        loop.run_until_complete(journey())


async def test_a_bug_in_one_tick_is_told_once_and_does_not_end_gossip(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pc1, pc2 = Node(wire, Who("pc1"), tmp_path, mdns=False), Node(wire, Who("pc2"), tmp_path, mdns=False)
    async with running(pc1, pc2):
        station = pc1.gossip._station
        healthy, ticks, repaired = station.tick, 0, asyncio.Event()
        ticked = pc1.gossip.last_tick_s

        def tick(now: float) -> list[object]:
            nonlocal ticks
            ticks += 1
            if ticks <= 3:
                assert pc1.gossip.last_tick_s == ticked, "the watchdog shall see it"
                raise KeyError("unforeseen")
            if ticks > 4:
                repaired.set()
            return healthy(now)

        monkeypatch.setattr(station, "tick", tick)
        async with asyncio.timeout(30):
            await repaired.wait()
        assert pc1.gossip.last_tick_s > ticked
        assert not pc1.gossip._running.done()
    assert [record.levelname for record in caplog.records if record.message == "a tick failed"] == ["ERROR"]


async def test_a_bug_in_one_greeting_does_not_end_gossip(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pc1 = Node(wire, Who("pc1"), tmp_path, mdns=False)
    async with running(pc1):
        seed = f"127.0.0.1:{pc1.gossip.port}"
        pc2 = Node(wire, Who("pc2"), tmp_path, mdns=False, seeds=(seed,))
        run, failed = pc2.gossip._errands.run, 0

        async def first_fails(*given: object) -> None:
            nonlocal failed
            failed += 1
            pc2.gossip._errands._out.clear()
            if failed == 1:
                raise KeyError("unforeseen")
            await run(*given)

        monkeypatch.setattr(pc2.gossip._errands, "run", first_fails)
        async with running(pc2):
            await pc2.sees(pc1, State.ALIVE)
    assert failed > 1


async def test_whose_certificate_was_seen_in_an_earlier_boot_is_certified_but_no_member_for_work(
    wire: Wire, tmp_path: Path
) -> None:
    a = Node(wire, Who("pc1"), tmp_path, mdns=False)
    async with running(a):
        b = Node(wire, Who("lab1", zone=Zone.LAB), tmp_path, mdns=False, seeds=(f"127.0.0.1:{a.gossip.port}",))
        async with running(b):
            await a.sees(b, State.ALIVE)
    again = Node(wire, a.who, tmp_path, mdns=False)
    async with running(again):
        assert next(m.zone for m in again.gossip.members() if m.node == b.who.node_id) is None
        assert again.gossip.certified() == {b.who.node_id: Zone.LAB}
