"""The composition root: builds a node from a config, and owns the order in which its parts start and stop.

Order
1. identity and records, since nothing works without them; a failure here ends the daemon with a clear reason.
2. sockets: calls, gossip, then the roles (models load behind), then the people's API.
3. READY, once the node has answered itself over its own API.
4. Stop in reverse: no new work, goodbye to the others, roles, sockets, records last. Bounded by `STOP_S`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from random import Random
from typing import Any

import aiohttp

from tarsd import __version__, calls
from tarsd.account import Account
from tarsd.api.server import ApiServer
from tarsd.api.services import ApiServices
from tarsd.config import Config
from tarsd.core_roles import CoreRoles
from tarsd.dispatch import Dispatch
from tarsd.dispatch.presence import Presence
from tarsd.errors import ConfigError, StorageError, TarsdError
from tarsd.gossip.interfaces import own_hosts
from tarsd.gossip.shell import Gossip
from tarsd.host.host import Host
from tarsd.identity import JoinServer, create_invite, load_identity
from tarsd.memory.store import Store
from tarsd.metrics import Metrics
from tarsd.names import Capability, Zone
from tarsd.passes import PassBook
from tarsd.roles.base import Role, Services
from tarsd.roles.replicating import Replicator
from tarsd.roles.trust import Trust
from tarsd.rpc import Handler, RpcClient, RpcServer
from tarsd.supervision import Supervisor
from tarsd.supervision.leaving import why_leaving
from tarsd.surroundings import file_secret, free_port
from tarsd.telling import Telling

log = logging.getLogger(__name__)

STOP_S = 8.0  # the unit kills after 10
LEAST_STOP_S = 0.5  # kept for each part, however long the ones before it took
DRAIN_S = 2.0
PROGRESS_S = 10.0  # a new version may have to build its index anew at start: systemd is asked for patience so often


class Node:
    """One running tarsd. Build it, `start()`, and `stop()` it once; `run` does that for a process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.identity = load_identity(config.node.data_dir)
        self._handlers: dict[Capability, Handler] = {}
        self._roles: list[Role] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: list[Callable[[], Any]] = []
        self._passes = PassBook()
        self.account: Account
        self.replicator: Replicator | None = None  # of a core node, once it starts
        self.supervisor = Supervisor(
            {
                "gossip": lambda: self.account.gossip_problem(),
                "roles": lambda: self.account.role_problem(),
                "tasks": lambda: self.account.task_problem(),
                "api": lambda: self.api.problem() if hasattr(self, "api") else "",
            },
            notes={
                "engines": lambda: self.account.engine_note(),
                "records": lambda: self.store.problem,
                "copies": lambda: self.replicator.note() if self.replicator is not None else "",
                "trust": lambda: self.trust.note() if hasattr(self, "trust") else "",
                "backups": lambda: self.backing.note() if hasattr(self, "backing") else "",
                "tokens": lambda: self.api.token_note() if hasattr(self, "api") else "",
            },
        )

    async def start(self) -> None:
        """Start everything; raises `ConfigError` or `StorageError`, and leaves nothing running then."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config, identity = self.config, self.identity
        async with self.supervisor.extending(lambda: f"opening the records ({int(time.monotonic() // PROGRESS_S)})"):
            self.store = await Store.open(config.node.data_dir / "memory.db", identity.node_id)
        self._stopping.append(self.store.close)

        self.client = RpcClient(
            identity,
            silence_s=config.network.silence_s,
            on_load=lambda node, load: self.dispatch.load_came(node, load),
            on_lost=lambda node: self.gossip.observed_failure(node),
        )
        self._stopping.append(self.client.close)
        self.gossip = Gossip(
            identity,
            config.gossip,
            config.network,
            config.node.data_dir,
            hello=self.client.hello,
            rng=Random(),  # noqa: S311 - spreads probes, keeps no secret
        )
        self.rpc = RpcServer(
            identity,
            self._handlers,
            beat_s=config.network.beat_s,
            silence_s=config.network.silence_s,
            load=lambda: self.telling.load.pack(),
            hello=self.gossip.handle_hello,
        )
        self.account = Account(identity.zone, self._roles, self.gossip, self.supervisor, self._tasks)
        self.telling = Telling(config, self._roles, self.gossip, self.account, self.supervisor, lambda: self.api.port)
        self.metrics = Metrics(self.account.readings())
        self.dispatch = Dispatch(self.gossip, self.client, self._handlers, observe=self.metrics.call_finished)
        self.gossip.subscribe(self.dispatch.member_changed)
        self.host = Host(
            identity.name,
            self.dispatch,
            self.gossip.members,
            self.store,
            metrics=self.metrics,
            learns=config.memory.automatic,
        )
        self._stopping.append(self.host.stop)
        self._build_roles()

        self.port = await self.rpc.start(config.network.listen, config.network.port)
        self._stopping.append(lambda: self.rpc.stop(DRAIN_S))
        for role in self._roles:
            self._stopping.insert(-1, role.stop)  # after the drain: open answers need their engine
            await role.start()
        self.api = ApiServer(config.api, self._api_services())
        self.host.on_forgotten(self.api.let_go)
        self.telling.advertise()
        await self.gossip.start(self.port)
        self._stopping.append(self._say_goodbye)

        self.join_server = JoinServer(
            identity,
            config.network.listen,
            config.network.join_port or free_port(config.network.listen[0]),
            peer_port=self.port,
        )
        await self.join_server.start()
        self._stopping.append(self.join_server.stop)
        await self.api.start()
        self._stopping.append(lambda: self.api.stop(DRAIN_S))
        presence = Presence(self.client, self.gossip.members, identity.node_id)
        for name, work in (
            ("supervisor", self.supervisor.run),
            ("tell others", self.telling.run),
            ("presence", presence.run),
        ):
            self._tasks.append(asyncio.create_task(work(), name=name))
        await self._answer_itself()
        log.info("%s is ready: peers at port %d, people at %s", identity.name, self.port, self.api.url)
        self.supervisor.ready(self.account.status_line())

    async def stop(self) -> bool:
        """Leave the cluster and end, within about `STOP_S`; return whether every part ended by itself."""
        self.supervisor.stopping()
        loop = asyncio.get_running_loop()
        until, clean = loop.time() + STOP_S, True
        if hasattr(self, "telling"):
            self.telling.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._stopping:
            stop = self._stopping.pop()
            left_s = until - loop.time() - LEAST_STOP_S * len(self._stopping)
            clean &= await _stopped(stop, max(LEAST_STOP_S, left_s))
        return clean

    async def _say_goodbye(self) -> None:
        leaving = why_leaving()
        log.info("%s says goodbye: %s", self.identity.name, leaving.reason)
        await self.gossip.stop(leaving.reason, leaving.back_s)

    def _build_roles(self) -> None:
        services = Services(
            config=self.config,
            identity=self.identity,
            store=self.store,
            dispatch=self.dispatch,
            members=self.gossip.members,
            before_load=self.telling.announce_busy,
            changed=self.telling.advertise,
        )
        if self.identity.zone is Zone.CORE:
            self.replicator = Replicator(services)
            services = dataclasses.replace(services, confirm=self.replicator.confirm)
        known = {entry.name: entry for entry in entry_points(group="tarsd.roles")}
        for name in dict.fromkeys(self.config.node.roles):
            if name not in known:
                raise ConfigError(f"node.roles: {name!r} is not installed; there are {', '.join(sorted(known))}")
            self._roles.append(known[name].load()(services))
        self.trust = Trust(services, certified=self.gossip.certified, rotate_keys=self.gossip.rotate_keys)
        self._roles.append(self.trust)
        if self.replicator is not None:
            core = CoreRoles(
                services,
                self.replicator,
                self._roles,
                self.host,
                parts=self.account.parts,
                problems=self.supervisor.problems,
                passes=self._passes,
            )
            self.backing = core.backing
            self.gossip.subscribe(core.keeper.member_changed)
            self._roles[:] = core.roles  # the account has this list too
        for role in self._roles:
            self._handlers.update(role.handlers())

    def _api_services(self) -> ApiServices:
        return ApiServices(
            node_name=self.identity.name,
            version=__version__,
            data_dir=self.config.node.data_dir,
            host=self.host,
            dispatch=self.dispatch,
            members=self.gossip.members,
            models=self._models,
            invite=self._invite,
            metrics_text=self.metrics.render,
            admin_token=file_secret(self.config.node.data_dir / "admin.token"),
            access_token=file_secret(self.config.node.data_dir / "access.token"),
            problems=self.supervisor.problems,
            subscribe=self.gossip.subscribe,
            passes=self._passes,
            trust=self.trust,
            backup=self.backing.make if self.identity.zone is Zone.CORE else None,
        )

    def _models(self) -> list[str]:
        able = [m.capabilities[calls.CHAT.name] for m in self.gossip.members() if calls.CHAT.name in m.capabilities]
        offered = {str(attributes.get("model", "")) for attributes in able}
        for attributes in able:
            on_demand = attributes.get("models")
            offered |= set(on_demand) if isinstance(on_demand, list) else set()
        return sorted(offered - {""})

    async def _invite(self, zone: Zone, expires_s: float) -> str:
        port = self.join_server.port
        hints = [
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host in own_hosts(self.config.network.listen) or ("127.0.0.1",)
        ]
        token = await asyncio.to_thread(create_invite, self.config.node.data_dir, zone, expires_s, hints)
        await self.join_server.refresh()
        return token

    async def _answer_itself(self) -> None:
        """Fetch our own health over HTTP: READY means that people are answered, not that sockets were opened."""
        connector = aiohttp.TCPConnector(ssl=False)  # ourselves, over our own loopback or address
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5)) as session:
            try:
                async with session.get(f"{self.api.url}/healthz") as response:
                    await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise StorageError(f"the node does not answer at {self.api.url}: {error}") from error


async def _stopped(stop: Callable[[], Any], within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await stop()
    except TimeoutError:
        log.warning("a part did not end within %.1f s", within_s)
        return False
    except TarsdError as error:
        log.warning("while stopping: %s", error)
    except Exception:
        log.exception("while stopping")
    return True


async def serve(config: Config) -> bool:
    """Run a node until SIGTERM or SIGINT; return whether it ended cleanly.

    Raises `ConfigError` or `StorageError` when it cannot start.
    """
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_or_quit() -> None:
        if asked_to_stop.is_set():
            os._exit(130)  # asked twice: somebody does not want to wait
        asked_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_or_quit)
    node = Node(config)
    await node.start()
    await asked_to_stop.wait()
    log.info("%s is leaving", node.identity.name)
    return await node.stop()


def run(config: Config) -> None:
    """Run a node in this process until it is asked to stop."""
    import uvloop

    from tarsd.logs import logging_to
    from tarsd.workers.limits import leave_no_core

    leave_no_core()  # the open chats are in this process
    with logging_to(config.node.data_dir / "logs", config.node.log_level, config.monitoring.log_keep_days):
        clean = uvloop.run(serve(config))
    if not clean:
        os._exit(1)  # the database's thread may still wait for its disk, and would keep the process alive
