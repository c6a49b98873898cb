"""Every message that the decoder lets through, built from the structs; ids are often those of nodes that exist."""

from __future__ import annotations

from hypothesis import strategies as st

from tarsd.gossip.member import LOAD_BYTES
from tarsd.gossip.messages import (
    MAX_ADDRESSES,
    Ack,
    Believed,
    Busy,
    Claim,
    Delta,
    Digest,
    DigestEntry,
    Fact,
    Hello,
    Known,
    Leave,
    Message,
    Nack,
    Ping,
    PingRequest,
    Rumours,
    Vouch,
    Word,
)
from tests.gossip.gossip_sim import node_id

NODES = [bytes.fromhex(node_id(f"pc{number}")) for number in range(1, 5)]

u32 = st.one_of(st.integers(0, 4), st.integers(0, 0xFFFFFFFF), st.sampled_from([0xFFFFFFFF, 0xFFFFFFFE, 0xFFFF0000]))
ids = st.one_of(st.sampled_from(NODES), st.binary(min_size=16, max_size=16))
prefixes = ids.map(lambda node: node[:8])
proofs = st.one_of(st.just(b""), st.binary(min_size=64, max_size=64), st.binary(max_size=64))
loads = st.binary(min_size=LOAD_BYTES, max_size=LOAD_BYTES)
words = st.sampled_from(Word)
addresses = st.lists(st.tuples(st.text(max_size=20), st.integers(1, 65535)), max_size=MAX_ADDRESSES)
claims = st.lists(st.builds(Claim, ids, words, u32, u32, ids, proofs), max_size=8)
keys = st.one_of(st.text(min_size=1, max_size=12), st.sampled_from(["roles", "version", "api", "chat", "chat.model"]))
facts = st.lists(st.builds(Fact, keys, u32, st.binary(max_size=60)), max_size=6)
deltas = st.builds(Delta, ids, u32, u32, u32, facts, proofs)

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, u32, loads, prefixes, u32, claims),
    st.builds(Ack, u32, loads, prefixes, claims),
    st.builds(PingRequest, u32, ids),
    st.builds(Vouch, u32, ids),
    st.builds(Nack, u32, ids),
    st.builds(Rumours, claims),
    st.builds(Digest, st.lists(st.builds(DigestEntry, prefixes, u32, u32), max_size=20), st.booleans()),
    deltas,
    st.builds(Leave, u32, u32, st.text(max_size=32), u32, proofs),
    st.builds(Busy, u32),
)

hellos = st.builds(
    Hello,
    protocol_min=st.integers(0, 3),
    protocol_max=st.integers(0, 3),
    generation=u32,
    incarnation=u32,
    boot=st.binary(min_size=8, max_size=8),
    exchange_key=st.one_of(st.just(bytes(32)), st.binary(min_size=32, max_size=32)),
    signing_key=st.one_of(st.just(bytes(32)), st.binary(min_size=32, max_size=32)),
    epoch=st.integers(0, 255),
    port=st.integers(1, 65535),
    addresses=addresses,
    version=st.text(max_size=10),
    load=loads,
    facts=st.one_of(st.none(), deltas),
    members=st.lists(st.builds(Known, ids, st.text(max_size=10), u32, words, addresses), max_size=5),
    believed=st.one_of(
        st.none(), st.builds(Believed, u32, u32, st.binary(min_size=8, max_size=8), words)
    ),
    refused=st.sampled_from(["", "", "", "clone", "generation", "self", "protocol", "whatever"]),
)  # fmt: skip
