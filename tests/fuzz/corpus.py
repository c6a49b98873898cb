"""`python -m tests.fuzz.corpus [FOLDER]`: records what the simulator's nodes say, as first inputs for the fuzzers.

One folder a target: messages as they are before sealing and sealed datagrams; greetings; frames; tokens; TXT records.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tarsd.gossip import codec, station
from tarsd.identity.token import Token
from tarsd.names import Zone
from tarsd.wire import Kind, encode_frame
from tests.fuzz.targets import TARGETS
from tests.gossip.gossip_sim import Sim, SimNode

FOLDER = Path(".bench/fuzz/corpus")
MAX_EACH = 400


def record() -> dict[str, set[bytes]]:
    """Return what was said, by target: a cluster that meets, loses one, renews keys, stalls, leaves and comes back."""
    found: dict[str, set[bytes]] = {name: set() for name in TARGETS}
    plain_encode, plain_hello = codec.encode, codec.encode_hello

    def heard_encode(message: station.Message) -> bytes:
        data = plain_encode(message)
        found["datagram"].add(data)
        return data

    def heard_hello(hello: station.Hello) -> bytes:
        data = plain_hello(hello)
        found["hello"].add(data)
        return data

    station.encode, station.encode_hello = heard_encode, heard_hello  # type: ignore[assignment]
    try:
        live(found["datagram"])
    finally:
        station.encode, station.encode_hello = plain_encode, plain_hello
    found["frames"] = {encode_frame(kind, body) for kind in Kind for body in (b"", b"\x80", bytes(100))}
    token = Token(bytes(16), bytes(range(16)), Zone.CORE, 1_800_000_000, ["10.0.0.1:7711", "[fe80::1]:7711"])
    found["token"] = {token.encode().encode(), b"tars1.", token.encode().upper().encode()}
    properties = [b"id=" + b"b" * 32, b"cluster=0123456789abcdef", b"v=1", b"k", b"=", b""]
    text = b"".join(bytes([len(item)]) + item for item in properties)
    found["txt"] = {b"\x00\x1e\x1e\x0a\x00\x00\x02" + text, b"\xff\x1e\x1e\xfe\x80" + bytes(14) + text}
    return found


def live(sealed: set[bytes]) -> None:
    """Let five simulated nodes go through a day's events; `sealed` gets a few of their datagrams as they travel."""
    sim = Sim(seed=2, loss=0.1)  # not the seed of `targets`: what these seal must not open there

    def tap(sender: SimNode, target: SimNode, data: bytes) -> None:
        if data and len(sealed) % 10 == 0:
            sealed.add(data)

    sim.tap = tap
    pc1, pc2, pc3, pc4, pc5 = sim.cluster(5)
    pc1.carry(pc1.station.orders(pc1.membership.busy(2.0)))  # type: ignore[union-attr]
    pc2.rotate()
    sim.run(5.0)
    sim.partition([pc3], [pc1])
    pc4.stall(3.0)
    pc5.power_off()
    sim.run(8.0)
    sim.heal()
    pc2.leave("restart")
    sim.run(2.0)
    pc2.start()
    sim.run(5.0)


def main() -> None:
    """Write the corpus."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, inputs in record().items():
        into = folder / name
        into.mkdir(parents=True, exist_ok=True)
        for data in sorted(inputs, key=lambda data: hashlib.sha256(data).digest())[:MAX_EACH]:
            (into / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        print(f"{name}: {min(len(inputs), MAX_EACH)} inputs in {into}")


if __name__ == "__main__":
    main()
