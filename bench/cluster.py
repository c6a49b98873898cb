"""Several real daemons on loopback that form one cluster: for the demo, the process tests and the benches alike.

    async with cluster([Plan("pc1", ("cognitive",)), Plan("pc2", ("processing", "orchestrator"))]) as nodes:
        await nodes["pc2"].kill()

The first plan makes the cluster (`tarsd init`), the others join it by an invitation each, exactly as a person does it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from bench.client import ApiError, Client
from bench.daemon import Daemon, DaemonError, Plan

__all__ = ["ApiError", "Client", "Cluster", "Daemon", "DaemonError", "Plan", "cluster"]

JOIN_S = 60.0
SEE_S = 60.0


class Cluster:
    """The daemons by name, and a client for each."""

    def __init__(self, daemons: Sequence[Daemon], clients: dict[str, Client], folder: Path) -> None:
        self._daemons = {daemon.name: daemon for daemon in daemons}
        self.clients = clients
        self.folder = folder
        self.discovery_s = 0.0  # from the last daemon's READY until everyone saw everyone

    def __getitem__(self, name: str) -> Daemon:
        return self._daemons[name]

    @property
    def daemons(self) -> tuple[Daemon, ...]:
        """All of them, running or not."""
        return tuple(self._daemons.values())

    async def wait_state(self, seen_by: str, name: str, states: Sequence[str], within_s: float = SEE_S) -> float:
        """Wait until `seen_by` has `name` in one of `states`; return the seconds it took."""
        return await self.clients[seen_by].wait_members(
            lambda members: name in members and members[name]["state"] in states,
            within_s,
            f"{seen_by} sees {name} as {' or '.join(states)}",
        )

    async def wait_capability(self, seen_by: str, capability: str, within_s: float = 60.0, of: str = "") -> float:
        """Wait until `seen_by` knows an alive member (or `of`) that offers `capability`; return the seconds it took."""

        def offered(members: dict[str, dict[str, object]]) -> bool:
            return any(
                member["state"] == "alive" and capability in member["capabilities"]  # type: ignore[operator]
                for name, member in members.items()
                if of in ("", name)
            )

        return await self.clients[seen_by].wait_members(offered, within_s, f"{seen_by} knows a node with {capability}")

    async def wait_full(self, within_s: float = SEE_S) -> float:
        """Wait until every running daemon sees every other one alive; return the seconds it took."""
        running = [daemon.name for daemon in self.daemons if daemon.running]
        waits = (
            self.wait_state(one, other, ["alive"], within_s) for one in running for other in running if one != other
        )
        return max(await asyncio.gather(*waits), default=0.0)


async def form(daemons: Sequence[Daemon]) -> None:
    """Make one cluster of daemons that have none yet, and start them all."""
    first, *others = daemons
    await first.command("init")
    await first.start()
    for daemon in others:
        token = (await first.command("invite", "--zone", daemon.plan.zone)).split()[0]
        await daemon.command("join", token, within_s=JOIN_S)
        await daemon.start()


@contextmanager
def logs_in_notes(daemons: Sequence[Daemon]) -> Generator[None, None, None]:
    """Add the ends of the daemons' logs to an exception's notes."""
    try:
        yield
    except BaseException as error:
        for daemon in daemons:
            error.add_note(f"--- {daemon.name}: end of its log\n{daemon.log_tail()}")
        raise


@asynccontextmanager
async def cluster(
    plans: Sequence[Plan], folder: Path | None = None, *, keep: bool = False
) -> AsyncGenerator[Cluster, None]:
    """Run a cluster while the block runs; afterwards all daemons are stopped, unless `keep` and nothing was raised.

    Without `folder` it lives in a temporary one, which is removed again. When the block raises, the ends of the
    daemons' logs are added to the exception's notes.
    """
    home = Path(tempfile.mkdtemp(prefix="tarsd-")) if folder is None else folder
    daemons = [Daemon(plan, home / plan.name) for plan in plans]
    stay = False
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(logs_in_notes(daemons))
            clients = {daemon.name: await stack.enter_async_context(Client(daemon.url)) for daemon in daemons}
            nodes = Cluster(daemons, clients, home)
            await form(daemons)
            nodes.discovery_s = await nodes.wait_full()
            yield nodes
            stay = keep
    finally:
        if not stay:
            await asyncio.gather(*(daemon.stop() for daemon in daemons))
            if folder is None:
                shutil.rmtree(home, ignore_errors=True)
