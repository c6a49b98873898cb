"""A PC that joined finds the others where no multicast reaches and nobody wrote an address into its config."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench.cluster import Client, Cluster, Daemon, Plan
from bench.cluster import form as form_cluster

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


async def test_nodes_that_joined_meet_without_mdns_and_seeds(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        daemons = [Daemon(Plan(name), tmp_path / name) for name in ("pc1", "pc2", "pc3")]
        for daemon in daemons:
            stack.push_async_callback(daemon.stop)
            daemon.config.write_text(daemon.config.read_text().replace("[network]", "[network]\nmdns = false"))
        clients = {daemon.name: await stack.enter_async_context(Client(daemon.url)) for daemon in daemons}
        nodes = Cluster(daemons, clients, tmp_path)
        await form_cluster(daemons)
        await nodes.wait_full()
