"""Real nodes on a LAN of their own, for faults: each PC is a network namespace; those that chat have a scripted server.

plans = [Plan("pc1", ("orchestrator",)), chatting("pc2"), chatting("pc3")]
async with lan_cluster(plans) as (nodes, lan):
    ...
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.cluster import Cluster, Plan, cluster, form
from bench.daemon import free_ports
from bench.faults import scripted
from bench.lan import Lan, put_on

SCRIPTED_PORT = 8900  # each PC has its own loopback
SEE_S = 30.0


def chatting(name: str, *roles: str, settings: str = "", port: int = SCRIPTED_PORT) -> Plan:
    """Return the plan of a node whose model is the scripted server at `port` of its own PC."""
    return Plan(name, ("cognitive", *roles), settings=settings + scripted.settings(port))


@asynccontextmanager
async def lan_cluster(plans: Sequence[Plan], folder: Path | None = None) -> AsyncGenerator[tuple[Cluster, Lan], None]:
    """Run a cluster on a LAN of its own while the block runs; everything made for it is gone afterwards.

    When it begins, each node sees every other one and knows who chats. A raised exception carries the logs' ends.
    """
    home = Path(tempfile.mkdtemp(prefix="tarsd-")) if folder is None else folder
    try:
        async with AsyncExitStack() as stack:
            lan = stack.enter_context(Lan(len(plans)))
            for number, plan in enumerate(plans, 1):
                if scripted.settings(SCRIPTED_PORT) in plan.settings:
                    there = ("ip", "netns", "exec", lan.namespace(number))
                    await stack.enter_async_context(scripted.running(SCRIPTED_PORT, there))
            nodes = await put_on(lan, plans, home, stack, gently=False)  # nobody is left to say goodbye to
            await form(nodes.daemons)
            nodes.discovery_s = await nodes.wait_full(SEE_S)
            await wait_chats(nodes)
            yield nodes, lan
    finally:
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)


@asynccontextmanager
async def loopback_cluster(
    hosts: Sequence[Plan], chats: Sequence[str], folder: Path
) -> AsyncGenerator[tuple[Cluster, dict[str, int]], None]:
    """Run `hosts` and nodes named `chats`, each with a scripted server, on this PC; give the servers' ports too."""
    ports = dict(zip(chats, free_ports(len(chats)), strict=True))
    async with AsyncExitStack() as stack:
        for port in ports.values():
            await stack.enter_async_context(scripted.running(port))
        plans = [*hosts, *(chatting(name, port=port) for name, port in ports.items())]
        nodes = await stack.enter_async_context(cluster(plans, folder))
        await wait_chats(nodes)
        yield nodes, ports


async def wait_chats(nodes: Cluster, within_s: float = 60.0) -> None:
    """Wait until every running node knows every running one with a model as one that chats."""
    running = [daemon for daemon in nodes.daemons if daemon.running]
    for seen_by in running:
        for daemon in running:
            if "cognitive" in daemon.plan.roles:
                await nodes.wait_capability(seen_by.name, "chat", within_s, of=daemon.name)
