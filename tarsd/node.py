"""The composition root: builds a node from a config, and owns the order in which its parts start and stop.

Order
1. identity and records, since nothing works without them; a failure here ends the daemon with a clear reason.
2. sockets: calls, gossip, then the roles (models load behind), then the people's API.
3. READY, once the node has answered itself over its own API.
4. Stop in reverse: no new work, goodbye to the others, roles, sockets, records last. Bounded by `STOP_S`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from datetime import time as time_of_day
from importlib.metadata import entry_points
from itertools import chain
from random import Random
from typing import Any

import aiohttp
import psutil

from tarsd import __version__, calls
from tarsd.api.server import ApiServer
from tarsd.api.services import ApiServices
from tarsd.config import Config
from tarsd.dispatch import Dispatch
from tarsd.errors import ConfigError, StorageError, TarsdError
from tarsd.gossip.member import Flag, Load, Member, State
from tarsd.gossip.shell import Gossip
from tarsd.host.host import Host
from tarsd.identity import JoinServer, create_invite, load_identity, renew
from tarsd.memory.store import Store
from tarsd.metrics import Metrics, Readings, rss_bytes
from tarsd.names import Capability, Zone
from tarsd.planning.nightly import JOBS
from tarsd.roles import housekeeping
from tarsd.roles.base import Attributes, Role, Services, WorkerView
from tarsd.roles.keeper import Keeper
from tarsd.roles.nightly import NightlyRunner
from tarsd.rpc import Handler, RpcClient, RpcServer
from tarsd.supervision import Supervisor
from tarsd.surroundings import file_secret, free_port, own_addresses

log = logging.getLogger(__name__)

STOP_S = 8.0  # the unit kills after 10
LEAST_STOP_S = 0.5  # kept for each part, however long the ones before it took
DRAIN_S = 2.0
PROGRESS_S = 10.0  # a new version may have to build its index anew at start: systemd is asked for patience so often
TELL_EVERY_S = 0.25
RENEW_LOOK_EVERY_S = 3600.0
GOSSIP_SILENCE_S = 5.0  # a gossip tick older than this is a stopped gossip


class Node:
    """One running tarsd. Build it, `start()`, and `stop()` it once; `run` does that for a process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.identity = load_identity(config.node.data_dir)
        self._handlers: dict[Capability, Handler] = {}
        self._roles: list[Role] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: list[Callable[[], Any]] = []
        self._told_load = Load()
        self._advertised: dict[Capability, Attributes] | None = None
        self.supervisor = Supervisor(
            {"gossip": self._gossip_problem, "roles": self._role_problem, "tasks": self._task_problem},
            notes={"engines": self._engine_note, "records": lambda: self.store.problem},
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

        self.client = RpcClient(identity, silence_s=config.network.silence_s)
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
            load=lambda: self._told_load.pack(),
            hello=self.gossip.handle_hello,
        )
        self.metrics = Metrics(self._readings())
        self.dispatch = Dispatch(self.gossip, self.client, self._handlers, observe=self.metrics.call_finished)
        self.host = Host(identity.name, self.dispatch, self.gossip.members, self.store, metrics=self.metrics)
        self._stopping.append(self.host.stop)
        self._build_roles()

        self.port = await self.rpc.start(config.network.listen, config.network.port)
        self._stopping.append(lambda: self.rpc.stop(DRAIN_S))
        for role in self._roles:
            self._stopping.insert(-1, role.stop)  # after the drain: open answers need their engine
            await role.start()
        self._advertise()
        await self.gossip.start(self.port)
        self._stopping.append(lambda: self.gossip.stop("stop"))

        self.join_server = JoinServer(
            identity, config.network.listen, config.network.join_port or free_port(config.network.listen[0])
        )
        await self.join_server.start()
        self._stopping.append(self.join_server.stop)
        self.api = ApiServer(config.api, self._api_services())
        await self.api.start()
        self._stopping.append(lambda: self.api.stop(DRAIN_S))
        for work in (self.supervisor.run, self._tell_others, self._renew_certificate):
            self._tasks.append(asyncio.create_task(work(), name=work.__name__))
        await self._answer_itself()
        log.info("%s is ready: peers at port %d, people at %s", identity.name, self.port, self.api.url)
        self.supervisor.ready(self._status_line())

    async def stop(self) -> bool:
        """Leave the cluster and end, within about `STOP_S`; return whether every part ended by itself."""
        self.supervisor.stopping()
        loop = asyncio.get_running_loop()
        until, clean = loop.time() + STOP_S, True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._stopping:
            stop = self._stopping.pop()
            left_s = until - loop.time() - LEAST_STOP_S * len(self._stopping)
            clean &= await _stopped(stop, max(LEAST_STOP_S, left_s))
        return clean

    def _build_roles(self) -> None:
        services = Services(
            config=self.config,
            identity=self.identity,
            store=self.store,
            dispatch=self.dispatch,
            members=self.gossip.members,
        )
        known = {entry.name: entry for entry in entry_points(group="tarsd.roles")}
        for name in dict.fromkeys(self.config.node.roles):
            if name not in known:
                raise ConfigError(f"node.roles: {name!r} is not installed; there are {', '.join(sorted(known))}")
            self._roles.append(known[name].load()(services))
        if self.identity.zone is Zone.CORE:
            keeper = Keeper(services, self._parts, self.supervisor.problems, self._nightly_runner(services))
            self.gossip.subscribe(keeper.member_changed)
            self._roles.append(keeper)
        for role in self._roles:
            self._handlers.update(role.handlers())

    def _nightly_runner(self, services: Services) -> NightlyRunner:
        own = housekeeping.parts(services, lambda: datetime.fromtimestamp(self.identity.not_after, UTC))
        contributions = [own, *(role.nightly() for role in self._roles)]
        parts = {job: [c[job] for c in contributions if job in c] for job in JOBS}
        hour, minute = self.config.monitoring.nightly_at.split(":")
        return NightlyRunner(self.config.node.data_dir / "nightly.json", time_of_day(int(hour), int(minute)), parts)

    def _advertise(self) -> None:
        adverts = dict(chain.from_iterable(role.adverts().items() for role in self._roles))
        if adverts == self._advertised:
            return
        self._advertised = adverts
        self.gossip.advertise(adverts, [str(role) for role in self.config.node.roles], __version__)

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
        )

    def _models(self) -> list[str]:
        able = [m.capabilities[calls.CHAT.name] for m in self.gossip.members() if calls.CHAT.name in m.capabilities]
        return sorted({str(attributes.get("model", "")) for attributes in able} - {""})

    async def _invite(self, zone: Zone, expires_s: float) -> str:
        port = self.join_server.port
        hints = [
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host in own_addresses(self.config.network.listen)
        ]
        token = await asyncio.to_thread(create_invite, self.config.node.data_dir, zone, expires_s, hints)
        await self.join_server.refresh()
        return token

    def _load(self) -> Load:
        loads = [role.load() for role in self._roles]
        return Load(
            queued=sum(load.queued for load in loads),
            running=sum(load.running for load in loads),
            flags=0 if self._serving() else int(Flag.LOADING),
            tokens_per_s=max((load.tokens_per_s for load in loads), default=0.0),
            cpu_percent=psutil.cpu_percent(),
            memory_percent=psutil.virtual_memory().percent,
        )

    def _serving(self) -> bool:
        return all(role.status().get("ready", True) for role in self._roles)

    async def _tell_others(self) -> None:
        """Keep what this node can do and how busy it is up to date; an engine comes and goes without a word."""
        while True:
            self._advertise()
            self._told_load = self._load()
            self.gossip.set_load(self._told_load)
            self.supervisor.status(self._status_line())
            await asyncio.sleep(TELL_EVERY_S)

    async def _renew_certificate(self) -> None:
        while True:
            try:
                if await asyncio.to_thread(renew, self.identity):
                    log.info("this node's certificate was renewed")
            except TarsdError as error:
                log.warning("this node's certificate was not renewed: %s", error)
            await asyncio.sleep(RENEW_LOOK_EVERY_S)

    async def _answer_itself(self) -> None:
        """Fetch our own health over HTTP: READY means that people are answered, not that sockets were opened."""
        connector = aiohttp.TCPConnector(ssl=False)  # ourselves, over our own loopback or address
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5)) as session:
            try:
                async with session.get(f"{self.api.url}/healthz") as response:
                    await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise StorageError(f"the node does not answer at {self.api.url}: {error}") from error

    def _status_line(self) -> str:
        members = self.gossip.members()
        alive = sum(1 for m in members if m.state is State.ALIVE)
        waiting = [role.name for role in self._roles if not role.status().get("ready", True)]
        loading = f", loading: {', '.join(waiting)}" if waiting else ""
        return f"alive {alive}/{len(members)}, {self.identity.zone}{loading}"

    def _readings(self) -> Readings:
        def workers() -> dict[str, WorkerView]:
            return dict(chain.from_iterable(role.workers().items() for role in self._roles))

        return Readings(
            members=self._members_by_state,
            queued=lambda: sum(role.load().queued for role in self._roles),
            running=lambda: sum(role.load().running for role in self._roles),
            worker_restarts=lambda: {name: worker.restarts for name, worker in workers().items()},
            worker_rss_bytes=lambda: {name: worker.rss_bytes() for name, worker in workers().items()},
            loop_lag_s=lambda: self.supervisor.loop_lag_s,
        )

    def _members_by_state(self) -> Mapping[str, int]:
        counts = dict.fromkeys(map(str, State), 0)
        for member in self.gossip.members():
            counts[str(member.state)] += 1
        return counts

    def _parts(self) -> dict[str, Any]:
        members: tuple[Member, ...] = self.gossip.members()
        return {role.name: role.status() for role in self._roles if role.name != "keeper"} | {
            "members": {m.name: str(m.state) for m in members},
            "loop_lag_ms": round(self.supervisor.loop_lag_s * 1000, 1),
            "rss_mib": round(rss_bytes() / (1 << 20), 2),
            "open_files": len(os.listdir("/proc/self/fd")),
            "tasks": len(asyncio.all_tasks()),
        }

    def _gossip_problem(self) -> str:
        silent_s = time.monotonic() - self.gossip.last_tick_s
        return f"no tick for {silent_s:.0f} s" if silent_s > GOSSIP_SILENCE_S else ""

    def _role_problem(self) -> str:
        return "; ".join(problem for role in self._roles for problem in role.problems())

    def _task_problem(self) -> str:
        return ", ".join(f"{task.get_name()} ended" for task in self._tasks if task.done())

    def _engine_note(self) -> str:
        return ", ".join(f"{role.name} is not ready" for role in self._roles if not role.status().get("ready", True))


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

    with logging_to(config.node.data_dir / "logs", config.node.log_level, config.monitoring.log_keep_days):
        clean = uvloop.run(serve(config))
    if not clean:
        os._exit(1)  # the database's thread may still wait for its disk, and would keep the process alive
