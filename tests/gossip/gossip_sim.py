"""The simulator, as the tests of gossip's core use it: a few sealed stations and hands on everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from bench.simulator.computer import Computer as SimNode
from bench.simulator.computer import node_id
from bench.simulator.network import Link, Weather
from bench.simulator.simulation import Simulation
from tarsd.errors import WireError
from tarsd.gossip.member import State


class Sim(Simulation):
    """A `Simulation` whose network is looked at and cut by hand."""

    def __init__(self, seed: int = 0, loss: float = 0.0) -> None:
        super().__init__(seed, Weather(loss=loss))

    @property
    def cut(self) -> set[Link]:
        return self.network.cut

    @property
    def udp_cut(self) -> set[Link]:
        return self.network.udp_cut

    @udp_cut.setter
    def udp_cut(self, links: set[Link]) -> None:
        self.network.udp_cut = links

    @property
    def tcp_works(self) -> bool:
        return self.network.tcp_works

    @tcp_works.setter
    def tcp_works(self, works: bool) -> None:
        self.network.tcp_works = works

    @property
    def datagrams(self) -> int:
        return self.network.datagrams

    @property
    def sent_to(self) -> Counter[tuple[str, int]]:
        return self.network.sent_to

    @property
    def bytes(self) -> int:
        return self.network.bytes

    @property
    def largest(self) -> int:
        return self.network.largest

    @property
    def greetings(self) -> int:
        return self.network.greetings

    @property
    def tap(self) -> Callable[[SimNode, SimNode, bytes], None] | None:
        return self.network.tap

    @tap.setter
    def tap(self, tap: Callable[[SimNode, SimNode, bytes], None] | None) -> None:
        self.network.tap = tap

    def _picture(self) -> str:
        return self.picture()


__all__ = ["Sim", "SimNode", "State", "WireError", "node_id"]
