"""What must hold always, and what must hold again once everything is healed.

Always
1. A member's (generation, incarnation) is never more than that member itself has said.
2. In one node's view it never goes back.
3. What was dead comes back with no lower generation; what left comes back only with a higher one.
4. Up to 16 nodes, nobody gives work to one that said goodbye or was switched off more than 30 s ago.
5. A healthy node never takes a healthy one for dead: both ran, and the way between them was open in both directions
   and at most mildly lossy, for 5 s.
6. Nothing grows without bound: no container of a station has more than `most_entries` entries.
7. No datagram is larger than a path carries. 8. No exception comes out of the core (`scenario` sees to that).
After healing: everybody sees everybody as they are, with the same facts.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.simulator.computer import Computer
from bench.simulator.simulation import Simulation
from bench.simulator.sizes import containers
from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.member import Member, State
from tarsd.names import NodeId

CALM_S = 5.0
GONE_S = 30.0
GONE_KNOWN_UP_TO = 16
AUDIT_EVERY_S = 1.0
SIZES_EVERY = 30  # audits
AUDITED = 40  # nodes looked at in one audit
AWAY = (State.DEAD, State.LEFT)


class Violation(AssertionError):
    """An invariant did not hold."""

    def __init__(self, rule: str, text: str, nodes: tuple[str, ...] = ()) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.nodes = nodes


class View(NamedTuple):
    """What one node thought of another."""

    state: State
    number: tuple[int, int]
    met: bool  # it was alive in this view, in its present boot


class Invariants:
    """Watches a simulation; raises `Violation` as soon as a rule is broken."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._said: dict[NodeId, tuple[int, int]] = {}
        self._views: dict[tuple[str, NodeId], View] = {}
        self._mild_since = sim.now if sim.network.weather.is_mild else None
        self._audits = 0
        sim.watchers.append(self.changed)
        sim.on_start.append(self._started)
        for node in sim.nodes:
            if node.station:
                self._started(node)
        sim.later(AUDIT_EVERY_S, self._audit_and_again)

    @property
    def most_entries(self) -> int:
        """How large a container may be: the core's own bounds are at 2,048 members and 5 s of pings."""
        return 8192

    # --- each change ------------------------------------------------------------------------------------------------

    def changed(self, viewer: Computer, member: Member) -> None:
        """A member changed in the view of `viewer`."""
        number = (member.generation, member.incarnation)
        if member.is_self:
            self._said[member.node] = max(number, self._said.get(member.node, number))
            return
        before = self._views.get((viewer.name, member.node), View(State.SUSPECT, (0, 0), False))
        self._owner_only(viewer, member, number)
        self._forward(viewer, member, number, before)
        self._resurrection(viewer, member, number, before)
        if member.state is State.DEAD and before.state is not State.DEAD:
            self._false_death(viewer, member, before)
        met = member.state is State.ALIVE or (before.met and before.number[0] == number[0])
        self._views[viewer.name, member.node] = View(member.state, number, met)

    def _owner_only(self, viewer: Computer, member: Member, number: tuple[int, int]) -> None:
        said = self._said.get(member.node, (0, 0))
        if number > said:
            text = f"{viewer.name} holds {member.name} for {number}, which itself said {said} at most"
            raise Violation("owner-only", text, (viewer.name, member.name))

    @staticmethod
    def _forward(viewer: Computer, member: Member, number: tuple[int, int], before: View) -> None:
        if number < before.number:
            text = f"{viewer.name} went back from {before.number} to {number} for {member.name}"
            raise Violation("monotone", text, (viewer.name, member.name))

    @staticmethod
    def _resurrection(viewer: Computer, member: Member, number: tuple[int, int], before: View) -> None:
        back = before.state in AWAY and member.state not in AWAY
        least = before.number[0] + (1 if before.state is State.LEFT else 0)
        changed_mind = before.state is State.LEFT and member.state is State.DEAD
        if (back or changed_mind) and number[0] < least:
            text = f"{viewer.name} saw {member.name} {before.state} at {before.number}, now {member.state} at {number}"
            raise Violation("resurrection", text, (viewer.name, member.name))

    def _routable(self, viewer: Computer, member: Member) -> None:
        """Hold what is believed against what is: the node, not its state in somebody's view."""
        sim = self._sim
        if not member.routable or member.is_self or member.node in sim.cloned or len(sim.nodes) > GONE_KNOWN_UP_TO:
            return
        true = next(node for node in sim.nodes if node.node == member.node)
        gone_s = sim.now - max(true.disturbed_at, viewer.disturbed_at)
        if true.station is None and viewer.awake and gone_s > GONE_S:
            text = f"{viewer.name} would route to {member.name}, which is gone for {gone_s:.0f} s"
            raise Violation("routable", text, (viewer.name, member.name))

    def _false_death(self, viewer: Computer, member: Member, before: View) -> None:
        sim = self._sim
        if member.node in sim.cloned or viewer.node in sim.cloned:
            return  # who of the two is meant? people have to end that
        accused = next(node for node in sim.nodes if node.node == member.node)
        if not self.calm(viewer, accused, met=before.met):
            return
        text = f"{viewer.name} took {member.name} for dead, and both are well: {member.reason}"
        raise Violation("false death", text, (viewer.name, member.name))

    # --- who is well ------------------------------------------------------------------------------------------------

    def calm(self, one: Computer, other: Computer, *, met: bool) -> bool:
        """Whether nothing was wrong with two nodes and the way between them; TCP counts until they have met."""
        now, network = self._sim.now, self._sim.network
        if not (one.awake and other.awake) or self._mild_since is None:
            return False
        links = (one.name, other.name), (other.name, one.name)
        if not met and (not network.tcp_works or any(link in network.tcp_cut for link in links)):
            return False
        wrong_at = max(one.disturbed_at, other.disturbed_at, network.disturbed_at(one, other), self._mild_since)
        return now - wrong_at > CALM_S

    def weather_changed(self) -> None:
        """The network has other weather from now on."""
        mild = self._sim.network.weather.is_mild
        self._mild_since = (self._mild_since or self._sim.now) if mild else None

    # --- now and then -----------------------------------------------------------------------------------------------

    def audit(self) -> None:
        """Look at everything; raises `Violation`."""
        largest = self._sim.network.largest
        if largest > MAX_DATAGRAM_BYTES:
            raise Violation("datagram", f"{largest} bytes, at most {MAX_DATAGRAM_BYTES} are allowed")
        running = [node for node in self._sim.nodes if node.station][:AUDITED]
        for node in running:
            for member in node.membership.members(node.now):
                self._routable(node, member)
                if not member.is_self:
                    self._owner_only(node, member, (member.generation, member.incarnation))
        self._audits += 1
        if self._audits % SIZES_EVERY == 0:
            for node in running:
                self.sizes(node)

    def sizes(self, node: Computer) -> None:
        """Look whether anything in a station has grown beyond its bound."""
        for path, size in containers(node.station).items():
            if size > self.most_entries:
                raise Violation("memory", f"{node.name}: {path} has {size} entries", (node.name,))

    def _audit_and_again(self) -> None:
        self.audit()
        self._sim.later(AUDIT_EVERY_S, self._audit_and_again)

    def _started(self, node: Computer) -> None:
        number = (node.disk_generation, 0)
        self._said[node.node] = max(number, self._said.get(node.node, number))
        for viewer, member in [key for key in self._views if key[0] == node.name]:
            del self._views[viewer, member]


def disagreement(nodes: list[Computer]) -> tuple[str, tuple[str, ...]] | None:
    """Return where the running nodes do not see each other as they are, with the names concerned; None when they do."""
    running = [node for node in nodes if node.awake]
    own = {node.name: node.membership.member(node.node, node.now) for node in running}
    for viewer in running:
        for other in nodes:
            if other is viewer:
                continue
            seen, true = viewer.see(other), own.get(other.name)
            wrong = _difference(seen, true)
            if wrong:
                return f"{viewer.name} sees {other.name}: {wrong}", (viewer.name, other.name)
    # Who still waits for a suspect that is really gone counts it, and so has another hash for a while.
    certain = [node for node in running if not node.membership.roster.suspects]
    hashes = {node.name: node.membership.roster.state_hash() for node in certain}
    if len(set(hashes.values())) > 1:
        return f"the state hashes differ: { {name: digest.hex() for name, digest in hashes.items()} }", ()
    return None


def _difference(seen: Member | None, true: Member | None) -> str:
    if true is None:
        return f"{seen.state}, but it is not running" if seen and seen.state is State.ALIVE else ""
    if seen is None:
        return "not at all"
    if seen.state is not State.ALIVE:
        return f"{seen.state}: {seen.reason}"
    if seen.zone is not None and not seen.routable:  # without a zone: introduced, and greeted when it is needed
        return f"not routable: {seen.reason}"
    if seen.generation != true.generation or seen.incarnation > true.incarnation:
        return f"{seen.generation}.{seen.incarnation}, and it is {true.generation}.{true.incarnation}"
    if (seen.capabilities, seen.roles) != (true.capabilities, true.roles):
        return f"facts {seen.capabilities} {seen.roles}, and they are {true.capabilities} {true.roles}"
    return ""
