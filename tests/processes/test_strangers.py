"""Two clusters on one LAN never mix, even where one is told the other's address."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from bench.cluster import Client, Cluster, Daemon, Plan
from bench.cluster import form as form_cluster

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


async def running(stack: AsyncExitStack, folder, names, seeds=()) -> Cluster:
    daemons = [Daemon(Plan(name), folder / name) for name in names]
    for daemon in daemons:
        stack.push_async_callback(daemon.stop)
        text = daemon.config.read_text().replace("[network]", f"[network]\nseeds = {list(seeds)}".replace("'", '"'))
        daemon.config.write_text(text)
    clients = {daemon.name: await stack.enter_async_context(Client(daemon.url)) for daemon in daemons}
    nodes = Cluster(daemons, clients, folder)
    await form_cluster(daemons)
    return nodes


async def test_two_clusters_on_one_loopback_never_mix(tmp_path):
    async with AsyncExitStack() as stack:
        ours = await running(stack, tmp_path, ("ana1", "ana2"))
        theirs = await running(
            stack, tmp_path, ("ben1", "ben2"), seeds=[f"127.0.0.1:{daemon.port}" for daemon in ours.daemons]
        )
        # both found their own by mDNS, so each has also heard what the other announces
        await asyncio.gather(ours.wait_full(), theirs.wait_full())
        for nodes in (ours, theirs):
            names = {daemon.name for daemon in nodes.daemons}
            for client in nodes.clients.values():
                assert set(await client.members()) == names
