"""A script of faults as data, and the player that does it to nodes on a LAN of their own.

    SCRIPT = (Fault(2, "kill", "pc2", 3), Fault(12, "freeze", "pc2", 10), Fault(30, "loss", "", 10, 25))

Every fault ends by itself after `for_s`, and is undone too when the player is cancelled.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, assert_never

import msgspec

from bench.cluster import Cluster, Daemon
from bench.faults.checker import Away
from bench.faults.relay import Impairment, detour
from bench.lan import Lan

Kind = Literal["kill", "freeze", "unplug", "silence", "deaf", "mute", "loss", "split", "delay", "jumble"]


class Fault(msgspec.Struct, frozen=True):
    """What happens to `target` (a node's name; several with commas; "" = all of them), when and for how long.

    `kill`: SIGKILL, and started again afterwards. `freeze`: SIGSTOP and SIGCONT, workers included. `unplug`: its link
    goes down. `silence`: nothing passes, and no link goes down. `deaf`: it hears nothing, others hear it. `mute`: the
    reverse. `loss`: `amount` per cent of its packets, each way. `split`: the targets hear only one another, as do the
    rest. `delay`: `amount` milliseconds more each way. `jumble`: `amount` per cent of its packets out of order, as many
    doubled.
    """

    at_s: float
    kind: Kind
    target: str
    for_s: float
    amount: float = 0.0

    def __str__(self) -> str:
        amount = f" {self.amount:g}" if self.amount else ""
        return f"{self.kind}{amount} {self.target or 'all'} for {self.for_s:g} s"


class Player:
    """Does faults to `nodes`, which live on `lan` in the order of their plans, and keeps account of who was away."""

    def __init__(self, nodes: Cluster, lan: Lan, now: Callable[[], float]) -> None:
        self._nodes = nodes
        self._lan = lan
        self._now = now
        self._numbers = {daemon.name: number for number, daemon in enumerate(nodes.daemons, 1)}
        self._chains = itertools.count(1)
        self.away: list[Away] = []
        self.done: list[tuple[float, float, str]] = []  # from, to, what

    async def play(self, script: Sequence[Fault]) -> None:
        """Do the whole script; its times count from now. Raises `DaemonError` when a killed node does not start."""
        began = self._now()
        async with asyncio.TaskGroup() as open_ones:
            for fault in sorted(script, key=lambda fault: fault.at_s):
                await asyncio.sleep(max(0.0, began + fault.at_s - self._now()))
                open_ones.create_task(self._do(fault))

    async def _do(self, fault: Fault) -> None:
        from_s = self._now()
        try:
            async with self._hurt(fault):
                await asyncio.sleep(fault.for_s)
        finally:
            self.done.append((from_s, self._now(), str(fault)))

    @asynccontextmanager
    async def _hurt(self, fault: Fault) -> AsyncGenerator[None, None]:
        """Keep up the fault while the block runs."""
        targets = [name for name in fault.target.split(",") if name] or list(self._numbers)
        match fault.kind:
            case "kill" | "freeze":
                async with self._process_fault(fault.kind, self._nodes[targets[0]]):
                    yield
            case "unplug":
                number = self._numbers[targets[0]]
                self._lan.unplug(number)
                try:
                    yield
                finally:
                    self._lan.plug(number)
            case "delay" | "jumble":
                share = fault.amount / 100
                how = (
                    Impairment(delay_s=fault.amount / 1000)
                    if fault.kind == "delay"
                    else Impairment(reordered=share, doubled=share)
                )
                async with detour(self._lan, self._numbers[targets[0]], how):
                    yield
            case "silence" | "deaf" | "mute" | "loss" | "split":
                chain = f"fault{next(self._chains)}"
                self._lan.drop(chain, rules(fault, [f"port{self._numbers[name]}" for name in targets]))
                try:
                    yield
                finally:
                    self._lan.drop(chain, ())
            case _:
                assert_never(fault.kind)

    @asynccontextmanager
    async def _process_fault(self, kind: Literal["kill", "freeze"], daemon: Daemon) -> AsyncGenerator[None, None]:
        from_s = self._now()
        # open until it is over, so that a question lost meanwhile is judged rightly at any time
        self.away.append(Away(daemon.name, from_s, float("inf")))
        try:
            if kind == "kill":
                await daemon.kill()
                yield
                await daemon.start()
            else:
                daemon.freeze()
                try:
                    yield
                finally:
                    daemon.thaw()
        finally:
            self.away.remove(Away(daemon.name, from_s, float("inf")))
            self.away.append(Away(daemon.name, from_s, self._now()))


def rules(fault: Fault, ports: Sequence[str]) -> list[str]:
    """Return the rules of the bridge's nftables that make a fault of the links; each begins with what is dropped."""
    these = "{ " + ", ".join(f'"{port}"' for port in ports) + " }"
    lost = f"numgen random mod 100 < {fault.amount:.0f}"
    match fault.kind:
        case "deaf":
            return [f"oifname {these}"]
        case "mute":
            return [f"iifname {these}"]
        case "loss" if not fault.target:
            return [lost]
        case "loss":
            return [f"iifname {these} {lost}", f"oifname {these} {lost}"]
        case "split":
            return [f"iifname {these} oifname != {these}", f"iifname != {these} oifname {these}"]
        case _:
            return [f"iifname {these}", f"oifname {these}"]
