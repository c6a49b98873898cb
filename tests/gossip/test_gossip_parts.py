"""The small pure parts: estimates, flaps, suspicion, health, facts."""

from __future__ import annotations

from random import Random

import pytest

from tarsd.gossip.estimates import TIMEOUT_MAX_S, TIMEOUT_MIN_S, TRIES_MAX, TRIES_MIN, Flaps, Path
from tarsd.gossip.facts import Facts, as_facts
from tarsd.gossip.messages import Delta, Fact
from tarsd.gossip.peer import ONE_WAY_PINGS, Peer
from tarsd.gossip.proof import Ed25519Notary
from tarsd.gossip.stall import LATE_S, TICK_S, WORST, Health
from tarsd.gossip.suspicion import Suspicion
from tarsd.names import Capability, NodeId

NODE = bytes(range(16))
CHAT = Capability("chat")


def test_the_timeout_follows_the_round_trip_within_bounds() -> None:
    path = Path()
    assert path.timeout_s == TIMEOUT_MAX_S
    for _ in range(50):
        path.answered(0.0005)
    assert path.timeout_s == TIMEOUT_MIN_S
    for _ in range(50):
        path.answered(0.05)
    assert 0.05 < path.timeout_s < 0.15
    for _ in range(50):
        path.answered(3.0)
    assert path.timeout_s == TIMEOUT_MAX_S


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.25, 0.5])
def test_loss_is_measured_and_raises_the_tries(loss: float) -> None:
    path, rng, measured = Path(), Random(1), []
    for _ in range(4000):
        path.tried(rng.random() > loss and rng.random() > loss)
        measured.append(path.loss)
    assert abs(sum(measured[200:]) / len(measured[200:]) - loss) < 0.05
    tries = {0.0: TRIES_MIN, 0.5: TRIES_MAX}
    assert path.tries == tries.get(loss, path.tries)
    assert TRIES_MIN <= path.tries <= TRIES_MAX


def test_a_quick_return_holds_work_back_and_more_returns_hold_it_longer() -> None:
    flaps = Flaps()
    flaps.returned(100.0, away_s=10.0)
    assert flaps.hold_s(100.0) == 2.0
    assert flaps.hold_s(103.0) == 0.0
    for _ in range(8):
        flaps.returned(104.0, away_s=10.0)
    assert flaps.hold_s(104.0) == Flaps.HOLD_MAX_S
    assert flaps.points(104.0 + Flaps.HALF_LIFE_S) == pytest.approx(flaps.points(104.0) / 2)


def test_a_late_return_holds_nothing_back() -> None:
    flaps = Flaps()
    flaps.returned(100.0, away_s=Flaps.WINDOW_S + 1)
    assert flaps.hold_s(100.0) == 0.0


def test_with_three_nodes_the_least_time_counts_at_once() -> None:
    suspicion = Suspicion(100.0, members=3, floor_s=2.0, probe_interval_s=0.5)
    suspicion.accuse(b"a")
    assert suspicion.deadline == 102.0


def test_further_accusers_shorten_the_time_to_the_least() -> None:
    suspicion = Suspicion(100.0, members=10, floor_s=2.0, probe_interval_s=0.5)
    deadlines = []
    for accuser in (b"a", b"b", b"c"):
        assert suspicion.accuse(accuser)
        deadlines.append(suspicion.deadline)
    assert deadlines[0] == 112.0
    assert 102.0 < deadlines[1] < deadlines[0]
    assert deadlines[2] == 102.0


def test_an_accuser_counts_once_and_only_as_many_as_matter() -> None:
    suspicion = Suspicion(100.0, members=10, floor_s=2.0, probe_interval_s=0.5)
    assert [suspicion.accuse(by) for by in (b"a", b"a", b"b", b"c", b"d")] == [True, False, True, True, False]


def test_a_large_cluster_waits_longer() -> None:
    assert Suspicion(0.0, members=1000, floor_s=2.0, probe_interval_s=0.5)._least_s == pytest.approx(6.0)


def test_a_late_tick_is_a_stall_of_ours_and_silences_us() -> None:
    health = Health(calm_s=0.5)
    assert health.tick(10.0) == 0.0
    assert health.tick(10.0 + TICK_S + LATE_S - 0.01) == 0.0
    lag_s = health.tick(15.0)
    assert lag_s == pytest.approx(15.0 - 10.29 - TICK_S)
    assert not health.may_accuse(15.4)
    assert health.may_accuse(15.5)
    assert health.stretch == 2


def test_health_has_bounds() -> None:
    health = Health(calm_s=0.5)
    for _ in range(20):
        health.worse()
    assert health.score == WORST
    for _ in range(20):
        health.better()
    assert health.stretch == 1


@pytest.fixture
def notary() -> Ed25519Notary:
    return Ed25519Notary(bytes(range(32)))


def own(notary: Ed25519Notary, model: str = "small", before: Facts | None = None) -> Facts:
    wanted = as_facts({CHAT: {"model": model, "languages": ["en", "es"], "context_tokens": 8192}}, ["cognitive"], "1")
    return (before or Facts(1)).changed_to(NODE, wanted, 1, notary)


def test_facts_reach_another_node_whole(notary: Ed25519Notary) -> None:
    joined = Facts().joined(own(notary).since(NODE, 0), notary.public_key, notary)
    assert joined.capabilities == {CHAT: {"model": "small", "languages": ["en", "es"], "context_tokens": 8192}}
    assert (joined.roles, joined.release) == (("cognitive",), "1")


def test_a_change_travels_alone(notary: Ed25519Notary) -> None:
    first = own(notary)
    second = own(notary, "large", first)
    known = Facts().joined(first.since(NODE, 0), notary.public_key, notary)
    delta = second.since(NODE, first.version)
    assert [fact.key for fact in delta.facts] == ["capability/chat"]
    assert known.joined(delta, notary.public_key, notary).capabilities[CHAT]["model"] == "large"


def test_a_withdrawn_capability_is_gone_elsewhere_too(notary: Ed25519Notary) -> None:
    first = own(notary)
    second = first.changed_to(NODE, as_facts({}, [], "1"), 1, notary)
    known = Facts().joined(first.since(NODE, 0), notary.public_key, notary)
    assert known.joined(second.since(NODE, first.version), notary.public_key, notary).capabilities == {}


def test_saying_the_same_again_changes_nothing(notary: Ed25519Notary) -> None:
    first = own(notary)
    assert own(notary, before=first) is first


def test_facts_with_a_gap_are_not_taken(notary: Ed25519Notary) -> None:
    first = own(notary)
    second = own(notary, "large", first)
    assert Facts().joined(second.since(NODE, first.version), notary.public_key, notary) is None


def test_old_facts_are_not_taken(notary: Ed25519Notary) -> None:
    first = own(notary)
    known = Facts().joined(own(notary, "large", first).since(NODE, 0), notary.public_key, notary)
    assert known.joined(first.since(NODE, 0), notary.public_key, notary) is None


def test_facts_that_their_owner_did_not_sign_are_not_taken(notary: Ed25519Notary) -> None:
    delta = own(notary).since(NODE, 0)
    forged = Delta(delta.node, 1, 0, delta.version, [Fact("capability/chat", 9, b"\x80")], delta.proof)
    assert Facts().joined(forged, notary.public_key, notary) is None
    other = Ed25519Notary(bytes(32))
    assert Facts().joined(delta, other.public_key, notary) is None


def test_a_fact_that_we_cannot_read_is_kept_and_means_nothing(notary: Ed25519Notary) -> None:
    wanted = {
        "capability/chat": b"\xc1",
        "capability/deep": b"\x81\xa1a\x81\xa1b\x01",
        "roles": b"\x91\xa2\x00\x80",
        "future": b"\x01",
    }
    facts = Facts(1).changed_to(NODE, wanted, 1, notary)
    assert facts.capabilities == {}
    assert len(facts.since(NODE, 0).facts) == 4


def test_more_facts_than_the_wire_holds_are_refused(notary: Ed25519Notary) -> None:
    with pytest.raises(ValueError, match="at most"):
        Facts(1).changed_to(NODE, {f"k{number}": b"\x01" for number in range(129)}, 1, notary)


def test_a_few_lost_pings_are_no_one_way_link() -> None:
    peer = Peer(NodeId("ab" * 16), 0.0)
    peer.heard_at, peer.silent_since = 60.0, 0.0
    peer.unheard = ONE_WAY_PINGS - 1
    assert not peer.one_way(60.0)
    peer.unheard = ONE_WAY_PINGS
    assert peer.one_way(60.0)
    peer.confirmed(60.0)
    assert not peer.one_way(60.0)
