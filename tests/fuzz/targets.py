"""What is fuzzed: each target takes any bytes and raises only where tarsd is at fault.

The targets are driven by hypothesis in every test run (`test_fuzz_targets.py`) and by atheris in `make fuzz`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tarsd.errors import InviteError, WireError
from tarsd.gossip.codec import MAX_MESSAGE_BYTES, decode, decode_hello, encode, encode_hello
from tarsd.gossip.discovery import SERVICE, Discovery
from tarsd.gossip.effects import Greet
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Address
from tarsd.gossip.roster import MAX_KNOWN
from tarsd.gossip.station import Datagram
from tarsd.identity.token import decode_token
from tarsd.names import NodeId, NodeName
from tarsd.wire import FrameReader
from tests.gossip.gossip_sim import Sim, State

STRANGER: Address = ("10.9.9.9", 4000)
FRESH_AFTER = 200  # inputs; a finding depends on at most so many before it
PASSED_S = 0.05


class Lab:
    """Three nodes that met; pc2 has a certificate and says whatever it is told, to pc1."""

    def __init__(self) -> None:
        self.sim = Sim(seed=1)
        self.pc1, self.pc2, self.pc3 = self.sim.cluster(3)
        self.inputs = 0
        self._seen = self._own()

    def _own(self) -> tuple[int, int]:
        me = self.pc1.membership.me
        return me.generation, me.incarnation

    def say(self, plaintext: bytes) -> None:
        """pc2 seals any bytes for pc1."""
        assert self.pc2.station is not None
        sealed = self.pc2.station._sessions.seal(self.pc1.node, plaintext[:MAX_MESSAGE_BYTES])
        self.take(sealed or b"", self.pc2.address)

    def take(self, data: bytes, source: Address) -> None:
        """pc1 gets a datagram."""
        station = self.pc1.station
        assert station is not None
        self.pc1.carry(station.datagram(data, source, self.sim.now))
        self.check()

    def throw(self, data: bytes) -> None:
        """A stranger sends any bytes to pc1: no datagram may follow from that."""
        station = self.pc1.station
        assert station is not None
        orders = station.datagram(data, STRANGER, self.sim.now)
        assert all(isinstance(order, Greet) for order in orders), orders
        assert not any(isinstance(order, Datagram) for order in orders)

    def greet(self, body: bytes) -> None:
        """pc2 greets pc1 with any bytes, and answers pc1's greeting with them."""
        station = self.pc1.station
        assert station is not None
        greeter = Greeter(self.pc2.node, NodeName(self.pc2.name), self.pc2.zone, self.pc2.address[0])
        with contextlib.suppress(WireError):
            answer, orders = station.greeted(greeter, body, self.sim.now)
            decode_hello(answer)
            self.pc1.carry(orders)
        with contextlib.suppress(WireError):
            self.pc1.carry(station.greeting_answered(greeter, self.pc2.address, body, self.sim.now))
        self.check()

    def wait(self) -> None:
        """Let what follows happen."""
        self.sim.run(PASSED_S)
        self.check()

    def check(self) -> None:
        """The invariants that no peer can break."""
        membership, now = self.pc1.membership, self.sim.now
        members = membership.members(now)
        assert members[0].is_self
        assert members[0].state is State.ALIVE
        assert len({member.node for member in members}) == len(members) <= MAX_KNOWN + 1
        assert self._own() >= self._seen, "this node's own generation and incarnation only rise"
        self._seen = self._own()
        third = membership.member(self.pc3.node, now)
        assert third is not None
        assert third.name == "pc3"
        assert third.state is not State.LEFT, "only its owner says that a node leaves"
        assert len(membership.roster.state_hash()) == 8
        encode_hello(membership.greeting())


_lab: Lab | None = None


def lab() -> Lab:
    """Return the nodes, fresh ones every now and then."""
    global _lab
    if _lab is None or _lab.inputs >= FRESH_AFTER:
        _lab = Lab()
    _lab.inputs += 1
    return _lab


def datagram(data: bytes) -> None:
    """Any bytes: as a message, as what an authentic peer seals, as what a stranger sends."""
    with contextlib.suppress(WireError):
        message = decode(data)
        assert decode(encode(message)) == message
    nodes = lab()
    nodes.throw(data)
    nodes.say(data)
    nodes.wait()


def hello(data: bytes) -> None:
    """Any bytes as a greeting of somebody who has a certificate."""
    with contextlib.suppress(WireError):
        read = decode_hello(data)
        assert decode_hello(encode_hello(read)) == read
    nodes = lab()
    nodes.greet(data)
    nodes.wait()


def frames(data: bytes) -> None:
    """Any stream, in any pieces: the frames are the same, or it is refused at the same place."""
    assert _frames([data]) == _frames([data[at : at + 1] for at in range(len(data))]) == _frames([data[:7], data[7:]])


def _frames(pieces: list[bytes]) -> tuple[list[object], bool]:
    reader, found = FrameReader(max_frame_bytes=4096), []
    try:
        for piece in pieces:
            for frame in reader.feed(piece):
                found.append(frame)  # noqa: PERF402 - what came before a refusal counts
        reader.finish()
    except WireError:
        return found, False
    return found, True


def token(data: bytes) -> None:
    """Any text as a join token."""
    with contextlib.suppress(InviteError):
        read = decode_token(data.decode("utf-8", errors="surrogateescape"))
        assert decode_token(read.encode()) == read


def txt(data: bytes) -> None:
    """Any TXT record, and any addresses, of an mDNS service; what is believed of it is a well-formed hint."""
    from zeroconf.asyncio import AsyncServiceInfo

    found: list[tuple[NodeId, tuple[Address, ...]]] = []
    own = NodeId("a" * 32)
    discovery = Discovery(own, "0123456789abcdef", 7710, ["127.0.0.1"], ["127.0.0.1"], lambda *hint: found.append(hint))
    size = 16 if data[:1] > b"\x7f" else 4
    port = int.from_bytes(data[1:3], "big")
    addresses = [data[3 : 3 + size]] if len(data) >= 3 + size else []
    info = AsyncServiceInfo(SERVICE, f"x.{SERVICE}", port=port, addresses=addresses, properties=data[3 + size :])
    discovery._report(info)
    for node, hints in found:
        assert len(node) == 32
        assert node != own
        assert all(host and 0 < number < 1 << 16 for host, number in hints)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "datagram": datagram,
    "hello": hello,
    "frames": frames,
    "token": token,
    "txt": txt,
}
