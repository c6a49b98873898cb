"""Each invariant is broken by a planted bug, and says so."""

from __future__ import annotations

import pytest

from bench.simulator.invariants import GONE_S, Invariants, Violation, disagreement
from bench.simulator.scenario import Given, Outcome, Scenario, options_for
from bench.simulator.simulation import Simulation
from bench.simulator.sizes import containers
from tarsd.gossip.effects import Effect, Greet, MemberChanged
from tarsd.gossip.member import Member, State
from tarsd.gossip.station import Datagram, Order, Station

CALM = Given(nodes=3, faults=(), chaos_s=12.0, later=0, sealed=False)


def run_with(kind: type[Station], laid_down: Given = CALM, seed: int = 1) -> Outcome:
    return Scenario(options_for(seed, laid_down), station_kind=kind).run()


def changed(member: Member, **fields: object) -> MemberChanged:
    """Return that `member` changed to something else than the core said."""
    values = {name: getattr(member, name) for name in member.__struct_fields__}
    return MemberChanged(type(member)(**{**values, **fields}))


class Lying(Station):
    """Shows others other than they are."""

    def orders(self, effects: list[Effect]) -> list[Order]:
        return [self.twisted(order) for order in super().orders(effects)]

    def twisted(self, order: Order) -> Order:
        is_other = isinstance(order, MemberChanged) and not order.member.is_self and order.member.state is State.ALIVE
        return self.lie(order.member) if is_other else order

    def lie(self, member: Member) -> Order:
        raise NotImplementedError


def test_without_a_bug_all_is_well() -> None:
    outcome = run_with(Station)
    assert outcome.failure == ""
    assert outcome.healed_s == 0.0


def test_an_incarnation_that_its_owner_never_said() -> None:
    class Inventive(Lying):
        def lie(self, member: Member) -> Order:
            return changed(member, incarnation=member.incarnation + 1)

    assert run_with(Inventive).failure.startswith("owner-only: ")


def test_a_view_that_goes_back() -> None:
    class Forgetful(Lying):
        seen = 0

        def lie(self, member: Member) -> Order:
            self.seen += 1
            return changed(member, generation=member.generation - (self.seen > 1))

    assert run_with(Forgetful).failure.startswith("monotone: ")


def test_one_who_left_and_comes_back_in_the_same_boot() -> None:
    class Sentimental(Station):
        def tick(self, now: float) -> list[Order]:
            roster = self.membership.roster
            for peer in roster.peers.values():
                if peer.state is State.LEFT:
                    roster.set_state(peer, State.ALIVE, now, "missed")
            return super().tick(now)

    laid_down = Given(nodes=3, faults=("leave",), chaos_s=12.0, gap_s=3.0, later=0, sealed=False)
    assert run_with(Sentimental, laid_down).failure.startswith("resurrection: ")


def test_work_for_the_dead() -> None:
    class Trusting(Station):
        def tick(self, now: float) -> list[Order]:
            for peer in self.membership.roster.peers.values():
                peer.heard_at = peer.evidence_at = now  # nobody is ever silent
                peer.confirmed(now)
            return super().tick(now)

    sim = Simulation(sealed=False)
    sim.station_kind = Trusting
    invariants = Invariants(sim)
    _, pc2 = sim.cluster(2)
    sim.run(10.0)
    pc2.power_off()
    sim.run(GONE_S - 2.0)
    invariants.audit()
    with pytest.raises(Violation, match="routable: pc1 would route to pc2, which is gone"):
        sim.run(5.0)


def test_a_healthy_member_that_is_buried() -> None:
    class Impatient(Station):
        def tick(self, now: float) -> list[Order]:
            roster = self.membership.roster
            if now > 1010.0:
                for peer in roster.alive():
                    roster.set_state(peer, State.DEAD, now, "out of patience")
            return super().tick(now)

    failure = run_with(Impatient).failure
    assert failure.startswith("false death: ")
    assert "out of patience" in failure


@pytest.mark.parametrize("what", ["stall", "cut", "lossy", "off", "twin"])
def test_a_death_with_a_reason_is_no_false_one(what: str) -> None:
    sim = Simulation(sealed=False)
    invariants = Invariants(sim)
    pc1, pc2 = sim.cluster(2)
    sim.run(10.0)
    member = changed(pc1.see(pc2), state=State.DEAD, incarnation=99).member
    pc1.sim.watchers.remove(invariants.changed)  # only what is shown to it here
    invariants.changed(pc2, changed(pc2.see(pc2), incarnation=99).member)
    match what:
        case "stall":
            pc2.stall(1.0)
        case "cut":
            sim.partition([pc1], [pc2], one_way=True)
        case "lossy":
            sim.loss = 0.5
            invariants.weather_changed()
        case "off":
            pc2.power_off()
        case "twin":
            sim.cloned.add(pc2.node)
    invariants.changed(pc1, member)
    sim.network.mend()
    sim.loss = 0.0
    invariants.weather_changed()
    sim.cloned.clear()
    if what != "off":
        sim.run(4.0)
        assert invariants.calm(pc1, pc2, met=True) is (what == "twin")
        sim.run(3.0)
        invariants.changed(pc1, changed(pc1.see(pc2), incarnation=99).member)
        with pytest.raises(Violation, match="false death"):
            invariants.changed(pc1, member)


def test_a_list_that_only_grows() -> None:
    class Hoarding(Station):
        def datagram(self, data: bytes, address: tuple[str, int], now: float) -> list[Order]:
            self.__dict__.setdefault("all_of_it", []).extend(data)
            return super().datagram(data, address, now)

    failure = run_with(Hoarding, Given(nodes=3, faults=(), chaos_s=60.0, later=0, sealed=False)).failure
    assert failure.startswith("memory: ")
    assert "all_of_it" in failure


def test_a_datagram_that_no_path_carries() -> None:
    class Verbose(Station):
        def tick(self, now: float) -> list[Order]:
            return [*super().tick(now), Datagram(bytes(1153), ("10.0.0.1", 7710))]

    assert run_with(Verbose).failure.startswith("datagram: ")


def test_an_exception_of_the_core_is_a_failure_with_its_place() -> None:
    class Broken(Station):
        def tick(self, now: float) -> list[Order]:
            if now > 1005.0:
                raise KeyError("who")
            return super().tick(now)

    outcome = run_with(Broken)
    assert outcome.failure == "exception: KeyError: 'who'"
    assert "in tick" in outcome.where


def test_who_never_looks_for_the_dead_does_not_heal() -> None:
    class Resigned(Station):
        def orders(self, effects: list[Effect]) -> list[Order]:
            orders = super().orders(effects)
            lost = any(peer.state is State.DEAD for peer in self.membership.roster.peers.values())
            return [order for order in orders if not (lost and isinstance(order, Greet | Datagram))]

    laid_down = Given(nodes=2, faults=("partition",), chaos_s=30.0, gap_s=0.5, later=0, sealed=False)
    failures = {run_with(Resigned, laid_down, seed).failure.split(":")[0] for seed in range(4)}
    assert "liveness" in failures
    assert {run_with(Station, laid_down, seed).failure for seed in range(4)} == {""}


def test_other_facts_are_a_disagreement() -> None:
    sim = Simulation(sealed=False)
    nodes = sim.cluster(2)
    assert disagreement(nodes) is None
    effects = nodes[0].membership.advertise({}, ["cognitive"], "2", nodes[0].now)
    assert effects
    assert "facts" in disagreement(nodes)[0]


def test_every_container_is_found() -> None:
    sim = Simulation()
    pc1, _ = sim.cluster(2)
    sizes = containers(pc1.station)
    assert sizes["Station.membership.roster.peers"] == 1
    pc1.membership.roster.peers.update({str(number): number for number in range(50)})
    assert containers(pc1.station)["Station.membership.roster.peers"] == 51
