"""Looks on while a cluster decides about one of its members: since when does everybody agree?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.simulator.computer import Computer
from bench.simulator.simulation import NotInTime, Simulation
from tarsd.gossip.member import Member

STEP_S = 0.05


class Unanimity:
    """When every one of `viewers` has come to `holds` for one member, told by changes, not by asking."""

    def __init__(
        self, sim: Simulation, viewers: Sequence[Computer], of: Computer, holds: Callable[[Member], bool]
    ) -> None:
        self._sim = sim
        self._of = of.node
        self._holds = holds
        self._since: dict[str, float] = {}
        self._waited_for = {viewer.name for viewer in viewers}
        for viewer in viewers:
            member = viewer.see(of)
            if member is not None and holds(member):
                self._since[viewer.name] = sim.now
        sim.watchers.append(self._changed)

    def _changed(self, viewer: Computer, member: Member) -> None:
        if member.node != self._of or viewer.name not in self._waited_for:
            return
        if not self._holds(member):
            self._since.pop(viewer.name, None)
        else:
            self._since.setdefault(viewer.name, self._sim.now)

    @property
    def is_reached(self) -> bool:
        """Whether all of them agree now."""
        return len(self._since) == len(self._waited_for)

    @property
    def reached_at(self) -> float:
        """When the last of them came to it."""
        return max(self._since.values())

    def wait(self, within_s: float) -> float:
        """Run until all agree; returns when that was; raises `NotInTime`."""
        begin = self._sim.now
        while not self.is_reached:
            if self._sim.now - begin > within_s:
                late = sorted(self._waited_for - self._since.keys())
                raise NotInTime(f"seed {self._sim.seed}: not within {within_s} s at {' '.join(late[:8])}")
            self._sim.run(STEP_S)
        return self.reached_at

    def end(self) -> None:
        """Look no longer."""
        self._sim.watchers.remove(self._changed)
