"""The menu of faults. Each picks its victims by chance, says what it does, and plans its own end.

Every fault ends before `Chaos.until`, so that after it only healing is left to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from bench.simulator.computer import Computer
from bench.simulator.network import Weather
from bench.simulator.simulation import Simulation
from tarsd.gossip.member import Load
from tarsd.names import Capability

LONGEST_CUT_S = 30.0
DOWN_S = (0.2, 25.0)
BUSY_MAX_S = 40.0
CHAT = Capability("chat")


class Chaos:
    """The state that faults share: the victims, their chance, and when all must be over."""

    def __init__(self, sim: Simulation, rng: Random, until: float, weather_changed: Callable[[], None]) -> None:
        self.sim = sim
        self.rng = rng
        self.until = until
        self.weather_changed = weather_changed
        self.clones: list[tuple[Computer, Computer]] = []  # the original, the copy
        self.moves = 0

    def running(self) -> list[Computer]:
        """Return who runs and is awake."""
        return [node for node in self.sim.nodes if node.awake]

    def victim(self) -> Computer | None:
        """Return somebody who runs."""
        running = self.running()
        return self.rng.choice(running) if running else None

    def lasting(self, least_s: float, most_s: float) -> float:
        """Return how long a fault lasts: mostly short, and never beyond the end."""
        drawn = math.exp(self.rng.uniform(math.log(least_s), math.log(most_s)))
        return max(0.05, min(drawn, self.until - self.sim.now))

    def link(self) -> tuple[Computer, Computer] | None:
        """Return two different computers."""
        if len(self.sim.nodes) < 2:
            return None
        one, other = self.rng.sample(self.sim.nodes, 2)
        return one, other


def _cut(chaos: Chaos, left: list[Computer], right: list[Computer], what: str, *, both: bool = True) -> None:
    """Cut datagrams, connections or all between two groups, for a while."""
    network = chaos.sim.network
    links = [(a.name, b.name) for a in left for b in right]
    links += [(b.name, a.name) for a in left for b in right] if both else []
    cut = {"all": network.cut, "udp": network.udp_cut, "tcp": network.tcp_cut}[what]
    new = [link for link in links if link not in cut]
    cut.update(new)
    for_s = chaos.lasting(0.5, LONGEST_CUT_S)
    arrow = "<->" if both else "->"
    names = f"{' '.join(node.name for node in left)} {arrow} {' '.join(node.name for node in right)}"
    chaos.sim.tell("network", f"{what} cut {names} for {for_s:.3f} s")
    chaos.sim.later(for_s, network.mend_links, what, new)


def _split(chaos: Chaos) -> tuple[list[Computer], list[Computer]]:
    nodes = list(chaos.sim.nodes)
    chaos.rng.shuffle(nodes)
    at = chaos.rng.randint(1, max(1, len(nodes) - 1))
    return nodes[:at], nodes[at:]


def partition(chaos: Chaos) -> None:
    """Two groups do not reach each other."""
    _cut(chaos, *_split(chaos), "all")


def one_way(chaos: Chaos) -> None:
    """One group does not reach the other, which reaches it."""
    _cut(chaos, *_split(chaos), "all", both=False)


def partial(chaos: Chaos) -> None:
    """Two computers do not reach each other; everybody else does."""
    if pair := chaos.link():
        _cut(chaos, [pair[0]], [pair[1]], "all", both=chaos.rng.random() < 0.5)


def udp_cut(chaos: Chaos) -> None:
    """Datagrams are blocked between two computers, connections work."""
    if pair := chaos.link():
        _cut(chaos, [pair[0]], [pair[1]], "udp", both=chaos.rng.random() < 0.5)


def tcp_cut(chaos: Chaos) -> None:
    """Connections are blocked between two computers, datagrams work."""
    if pair := chaos.link():
        _cut(chaos, [pair[0]], [pair[1]], "tcp")


def weather(chaos: Chaos, drawn: Weather) -> None:
    """Let the whole network be so for a while."""
    sim, before = chaos.sim, chaos.sim.network.weather
    for_s = chaos.lasting(1.0, LONGEST_CUT_S)
    sim.network.weather = drawn
    chaos.weather_changed()
    sim.tell("network", f"{drawn} for {for_s:.3f} s")
    sim.later(for_s, _clear_up, chaos, drawn, before)


def _clear_up(chaos: Chaos, drawn: Weather, before: Weather) -> None:
    if chaos.sim.network.weather is drawn:
        chaos.sim.network.weather = before
        chaos.weather_changed()


def loss(chaos: Chaos) -> None:
    """Up to 60 % of all datagrams are lost."""
    weather(chaos, Weather(loss=chaos.rng.uniform(0.0, 0.6)))


def burst(chaos: Chaos) -> None:
    """Datagrams are lost in bursts (Gilbert-Elliott)."""
    rng = chaos.rng
    drawn = Weather(burst_loss=rng.uniform(0.3, 1.0), good_s=rng.uniform(0.5, 20.0), bad_s=rng.uniform(0.05, 3.0))
    weather(chaos, drawn)


def duplicate(chaos: Chaos) -> None:
    """Datagrams come twice."""
    weather(chaos, Weather(duplicate=chaos.rng.uniform(0.01, 0.5)))


def reorder(chaos: Chaos) -> None:
    """Datagrams are held back for up to 5 s, and overtaken."""
    rng = chaos.rng
    weather(chaos, Weather(reorder=rng.uniform(0.01, 1.0), delay_s=rng.choice((0.05, 0.3, 1.0, 5.0))))


def stall(chaos: Chaos) -> None:
    """A process stands still for 0.1 to 30 s."""
    if node := chaos.victim():
        node.stall(chaos.lasting(0.1, 30.0))


def busy(chaos: Chaos) -> None:
    """A process announces a stall, and stalls."""
    if node := chaos.victim():
        for_s = chaos.lasting(0.5, BUSY_MAX_S)
        chaos.sim.tell(node.name, f"announces {for_s:.3f} s of silence")
        node.busy(for_s)
        chaos.sim.later(0.01, _stall_if_awake, node, max(0.05, for_s - 0.5))


def _stall_if_awake(node: Computer, for_s: float) -> None:
    if node.awake:
        node.stall(for_s)


def suspend(chaos: Chaos) -> None:
    """A computer sleeps; its monotonic clock stands still; it may notice the resume."""
    if node := chaos.victim():
        node.suspend(chaos.lasting(0.5, 60.0), told=chaos.rng.random() < 0.5)


def wall_step(chaos: Chaos) -> None:
    """The wall clock is set, by up to an hour."""
    if node := chaos.victim():
        node.clock.wall_offset_s = chaos.rng.uniform(-3600.0, 3600.0)
        chaos.sim.tell(node.name, f"has its wall clock set by {node.clock.wall_offset_s:.0f} s")


def drift(chaos: Chaos) -> None:
    """The monotonic clock runs up to 500 ppm wrong."""
    if node := chaos.victim():
        ppm = chaos.rng.uniform(-500.0, 500.0)
        node.clock.drift(chaos.sim.now, ppm)
        chaos.sim.tell(node.name, f"has a clock that is {ppm:.0f} ppm off")


def _back_later(chaos: Chaos, node: Computer) -> None:
    chaos.sim.later(chaos.lasting(*DOWN_S), _start_if_down, node)


def _start_if_down(node: Computer) -> None:
    if node.station is None:
        node.start()


def power_off(chaos: Chaos) -> None:
    """The plug is pulled; later the computer starts again."""
    if node := chaos.victim():
        node.power_off()
        chaos.sim.tell(node.name, "has no power")
        _back_later(chaos, node)


def kill(chaos: Chaos) -> None:
    """Kill -9; the kernel refuses for it until it starts again."""
    if node := chaos.victim():
        node.kill()
        _back_later(chaos, node)


def lost_disk(chaos: Chaos) -> None:
    """A crash, and the generation, the table or both are gone."""
    if node := chaos.victim():
        node.kill()
        which = chaos.rng.choice(("generation", "table", "both"))
        if which != "table":
            node.disk_generation = 0
        if which != "generation":
            node.table = []
        chaos.sim.tell(node.name, f"has lost {which}")
        _back_later(chaos, node)


def leave(chaos: Chaos) -> None:
    """A node says goodbye; perhaps it comes back."""
    if node := chaos.victim():
        reason, back_s = chaos.rng.choice((("stop", 0.0), ("restart", 20.0), ("upgrade", 60.0)))
        node.leave(reason, back_s)
        if chaos.rng.random() < 0.7:
            _back_later(chaos, node)


def clone(chaos: Chaos) -> None:
    """A copy of a computer's disk runs elsewhere, with the same identity."""
    node = chaos.victim()
    if node is None or chaos.clones:
        return
    copy = chaos.sim.add(f"{node.name}-copy")
    copy.node, copy.zone, copy.seeds = node.node, node.zone, node.seeds
    copy.disk_generation, copy.table = node.disk_generation - 1, list(node.table)
    chaos.clones.append((node, copy))
    chaos.sim.cloned.add(node.node)
    copy.start()


def address(chaos: Chaos) -> None:
    """A computer gets another address; it may notice."""
    if node := chaos.victim():
        chaos.moves += 1
        node.move((f"10.99.{chaos.moves >> 8}.{chaos.moves & 255}", node.address[1]), told=chaos.rng.random() < 0.5)


def facts(chaos: Chaos) -> None:
    """Not a fault: a node has something new to say of itself."""
    if node := chaos.victim():
        say(node, f"model-{chaos.rng.randrange(1000)}")
        node.membership.set_load(Load(queued=chaos.rng.randrange(100)))


def rekey(chaos: Chaos) -> None:
    """Not a fault: one or two nodes renew their exchange keys (of sealed ones; the stand-in has none)."""
    if not chaos.sim.sealed:
        return
    for node in filter(None, [chaos.victim() for _ in range(chaos.rng.randint(1, 2))]):
        chaos.sim.tell(node.name, "renews its key")
        node.rotate()


def say(node: Computer, model: str) -> None:
    """Let a node advertise another model."""
    effects = node.membership.advertise({CHAT: {"model": model}}, ["cognitive"], "1", node.now)
    node.carry(node.membership_orders(effects))


MENU: dict[str, Callable[[Chaos], None]] = {
    fault.__name__: fault
    for fault in (
        loss,
        burst,
        duplicate,
        reorder,
        partition,
        one_way,
        partial,
        udp_cut,
        tcp_cut,
        stall,
        busy,
        suspend,
        wall_step,
        drift,
        power_off,
        kill,
        lost_disk,
        leave,
        clone,
        address,
        facts,
        rekey,
    )
}
