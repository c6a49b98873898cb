"""Homes that are harder than one cable each: two cables, IPv6 alone, addresses that change, containers' bridges."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from bench.cluster import Cluster, Daemon, Plan
from bench.lan import Lan, LanClient, put_on

_COMMAND_S = 10.0
_SETTLED_S = 10.0


def run(*command: str) -> str:
    """Run a command and return its output; raises OSError with what it said."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise OSError(f"{' '.join(command)}: {result.stderr.strip() or result.returncode}")
    return result.stdout


class HomeLan(Lan):
    """PCs with eth0 and, where `cables` is 2, eth1 on another bridge: 10.77.0.N and 10.78.0.N, fd77::N and fd78::N.

    `families`: which of 4 and 6 they have; without 6 there are not even link-local addresses. `routed` IPv6 is fd77::N,
    else the link-local addresses alone.
    """

    def __init__(
        self, size: int, *, cables: int = 1, families: Sequence[int] = (4,), routed: bool = True, docker: bool = False
    ) -> None:
        super().__init__(size)
        self._size, self._cables, self._families = size, cables, tuple(families)
        self._routed, self._docker = routed, docker

    def ip(self, number: int, *arguments: str) -> str:
        """Run `ip` on a PC."""
        return run("ip", "-n", self.namespace(number), *arguments)

    def at_switch(self, *arguments: str) -> str:
        """Run `ip` where the bridges are."""
        return run("ip", "-n", self.switch, *arguments)

    def silence_cable(self, number: int, cable: int) -> None:
        """Drop all on one cable of a PC, which is not told."""
        run("bridge", "-n", self.switch, "link", "set", "dev", self._port(number, cable), "state", "0")

    def hear_cable(self, number: int, cable: int) -> None:
        """End that."""
        run("bridge", "-n", self.switch, "link", "set", "dev", self._port(number, cable), "state", "3")

    def pull(self, number: int, cable: int) -> None:
        """Pull one cable of a PC, which sees its link go down."""
        self.at_switch("link", "set", self._port(number, cable), "down")

    def put(self, number: int, cable: int) -> None:
        """Put it in again."""
        self.at_switch("link", "set", self._port(number, cable), "up")

    @property
    def has_link_local_only(self) -> bool:
        """Whether no PC has any other address."""
        return self._families == (6,) and not self._routed

    def link_local(self, number: int) -> str:
        """Return the link-local address of a PC's first cable."""
        shown = self.ip(number, "-brief", "-6", "addr", "show", "dev", "eth0", "scope", "link")
        return shown.split()[2].partition("/")[0]

    async def settled(self) -> None:
        """Wait until the kernel has made sure of every address: until then nobody may send from it (RFC 4862, 5.4)."""
        async with asyncio.timeout(_SETTLED_S):
            for number in range(1, self._size + 1):
                while self.ip(number, "-6", "addr", "show", "tentative").strip():  # noqa: ASYNC110 - `ip` cannot wait
                    await asyncio.sleep(0.05)

    def _port(self, number: int, cable: int) -> str:
        return f"port{number}" if cable == 0 else f"second{number}"

    def _make(self) -> None:
        super()._make()
        if self._cables == 2:
            self.at_switch("link", "add", "br1", "type", "bridge")
            self.at_switch("link", "set", "br1", "up")
        for number in range(1, self._size + 1):
            if self._cables == 2:
                port, pc = self._port(number, 1), self.namespace(number)
                self.at_switch("link", "add", port, "type", "veth", "peer", "name", "eth1", "netns", pc)
                self.at_switch("link", "set", port, "addrgenmode", "none", "master", "br1", "up")
                self.ip(number, "link", "set", "eth1", "up")
            for cable in range(self._cables):
                self._give_addresses(number, cable)
            if self._docker:
                self.ip(number, "link", "add", "docker0", "type", "bridge")
                self.ip(number, "addr", "add", "172.17.0.1/16", "dev", "docker0")
                self.ip(number, "link", "set", "docker0", "up")

    def _give_addresses(self, number: int, cable: int) -> None:
        device, net = f"eth{cable}", 77 + cable
        self.ip(number, "-4", "addr", "flush", "dev", device)
        if 6 not in self._families:
            self.ip(number, "-6", "addr", "flush", "dev", device)
        elif self._routed:
            self.ip(number, "addr", "add", f"fd{net}::{number}/64", "dev", device, "nodad")
        if 4 in self._families:
            self.ip(number, "addr", "add", f"10.{net}.0.{number}/24", "dev", device)


@asynccontextmanager
async def home(lan: HomeLan, plans: Sequence[Plan], folder: Path) -> AsyncGenerator[Cluster, None]:
    """Run a node on each PC, all of them joined and seen."""
    async with AsyncExitStack() as stack:
        running = await put_on(lan, plans, folder, stack)
        await _form(lan, running.daemons)
        running.discovery_s = await running.wait_full()
        yield running


async def _form(lan: HomeLan, daemons: Sequence[Daemon]) -> None:
    """Make one cluster. An invitation names no link-local address: the person who joins gives one."""
    await lan.settled()
    first, *others = daemons
    await first.command("init")
    await first.start()
    seed = [f"--seed=[{lan.link_local(1)}%eth0]:{first.join_port}"] if lan.has_link_local_only else []
    for daemon in others:
        token = (await first.command("invite")).split()[0]
        await daemon.command("join", token, *seed)
        await daemon.start()


async def watched(client: LanClient, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Return what the node tells its watchers, from now to the first line for which `until` holds."""
    lines: list[dict[str, Any]] = []
    async with aclosing(snapshots(client)) as stream:
        async for line in stream:
            lines.append(line)
            if until(line):
                break
    return lines


async def snapshots(client: LanClient) -> AsyncGenerator[dict[str, Any], None]:
    """Yield what the node tells its watchers."""
    async with client.session.get(f"{client.url}/api/members", params={"watch": "1"}) as response:
        async for line in response.content:
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)
