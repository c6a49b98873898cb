"""A node's account of itself: how busy it is, what is wrong with it, and how it tells so.

The same few figures go to the others (load), to systemd (status line), to Prometheus (readings) and to people (status).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import psutil

from tarsd.gossip.member import Flag, Load, State
from tarsd.gossip.shell import Gossip
from tarsd.metrics import Readings, rss_bytes
from tarsd.names import Zone
from tarsd.roles.base import Role, WorkerView
from tarsd.supervision import Supervisor

MEMORY_EVERY_S = 5.0  # reading it costs 0.2 ms, and it changes slowly
GOSSIP_SILENCE_S = 5.0  # a gossip tick older than this is a stopped gossip


class Account:
    """What a node says of itself; `roles` and `tasks` may still grow after it was made."""

    def __init__(
        self,
        zone: Zone,
        roles: Sequence[Role],
        gossip: Gossip,
        supervisor: Supervisor,
        tasks: Sequence[asyncio.Task[None]],
    ) -> None:
        self._zone = zone
        self._roles = roles
        self._gossip = gossip
        self._supervisor = supervisor
        self._tasks = tasks
        self.draining = False
        self._memory_percent, self._memory_read_at = 0.0, -MEMORY_EVERY_S

    # --- how busy ---------------------------------------------------------------------------------------------------

    def load(self) -> Load:
        """Return how much there is to do, summed over the roles."""
        loads = [role.load() for role in self._roles]
        flags = Flag.LOADING * (not self.is_serving) | Flag.DRAINING * self.draining
        return Load(
            queued=sum(load.queued for load in loads),
            running=sum(load.running for load in loads),
            slots=max((load.slots for load in loads), default=1),
            flags=int(flags),
            tokens_per_s=max((load.tokens_per_s for load in loads), default=0.0),
            cpu_percent=psutil.cpu_percent(),
            memory_percent=self._memory(),
        )

    def _memory(self) -> float:
        if (now := time.monotonic()) - self._memory_read_at >= MEMORY_EVERY_S:
            self._memory_percent, self._memory_read_at = psutil.virtual_memory().percent, now
        return self._memory_percent

    @property
    def is_serving(self) -> bool:
        """Whether every role can do all of its work; a model that loads is not there yet."""
        return not self._waiting_roles()

    def readings(self) -> Readings:
        """Return what the metrics read when they are asked."""

        def workers() -> dict[str, WorkerView]:
            return dict(chain.from_iterable(role.workers().items() for role in self._roles))

        return Readings(
            members=self._members_by_state,
            queued=lambda: sum(role.load().queued for role in self._roles),
            running=lambda: sum(role.load().running for role in self._roles),
            worker_restarts=lambda: {name: worker.restarts for name, worker in workers().items()},
            worker_rss_bytes=lambda: {name: worker.rss_bytes() for name, worker in workers().items()},
            loop_lag_s=lambda: self._supervisor.loop_lag_s,
            memory_cache=self._memory_cache,
            unwanted_datagrams=lambda: {
                "refused": self._gossip.refused_datagrams,
                "throttled": self._gossip.throttled_datagrams,
                "dropped": self._gossip.dropped_datagrams,
            },
        )

    def _memory_cache(self) -> dict[tuple[str, str], int]:
        counted: dict[str, Any] = {}
        for role in self._roles:
            if role.name == "processing":
                counted |= role.status()["cache"]["calls"]
        results = (("hits", "hit"), ("misses", "miss"))
        return {(call, result): each[what] for call, each in counted.items() for what, result in results}

    # --- how it is --------------------------------------------------------------------------------------------------

    def status_line(self) -> str:
        """Return the one line that systemd shows."""
        members = self._gossip.members()
        alive = sum(1 for m in members if m.state is State.ALIVE)
        waiting = self._waiting_roles()
        loading = f", loading: {', '.join(waiting)}" if waiting else ""
        return f"alive {alive}/{len(members)}, {self._zone}{loading}"

    def parts(self) -> dict[str, Any]:
        """Return the account that people see, part by part."""
        return {role.name: role.status() for role in self._roles if role.name != "keeper"} | {
            "members": {m.name: str(m.state) for m in self._gossip.members()},
            "loop_lag_ms": round(self._supervisor.loop_lag_s * 1000, 1),
            "rss_mib": round(rss_bytes() / (1 << 20), 2),
            "open_files": len(os.listdir("/proc/self/fd")),
            "tasks": len(asyncio.all_tasks()),
            "clock": round(time.time(), 3),
        }

    def gossip_problem(self) -> str:
        """Return what is wrong with gossip; "" = nothing."""
        silent_s = time.monotonic() - self._gossip.last_tick_s
        return f"no tick for {silent_s:.0f} s" if silent_s > GOSSIP_SILENCE_S else ""

    def role_problem(self) -> str:
        """Return what is wrong with the roles."""
        return "; ".join(problem for role in self._roles for problem in role.problems())

    def task_problem(self) -> str:
        """Return which of the node's own tasks ended, which none may."""
        return ", ".join(f"{task.get_name()} ended" for task in self._tasks if task.done())

    def engine_note(self) -> str:
        """Return which roles cannot do all of their work yet."""
        return ", ".join(f"{name} is not ready" for name in self._waiting_roles())

    def _waiting_roles(self) -> list[str]:
        return [role.name for role in self._roles if not role.status().get("ready", True)]

    def _members_by_state(self) -> Mapping[str, int]:
        counts = dict.fromkeys(map(str, State), 0)
        for member in self._gossip.members():
            counts[str(member.state)] += 1
        return counts
