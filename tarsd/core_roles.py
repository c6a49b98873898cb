"""The roles that every core node has, whatever its config: records, memories, nights, backups, forgetting.

Rules
1. Forgetting is built last: it asks every other role, and the host, to let go.
2. The nightly jobs are put together of what each role, the node itself and the compaction contribute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from typing import Any

from tarsd import calls
from tarsd.host.host import Host
from tarsd.passes import PassBook
from tarsd.planning.nightly import JOBS
from tarsd.roles import compacting, housekeeping
from tarsd.roles.backing import Backing
from tarsd.roles.base import Role, Services
from tarsd.roles.diary import Diary
from tarsd.roles.forgetting import Forgetting
from tarsd.roles.journal import Journal
from tarsd.roles.keeper import Keeper
from tarsd.roles.memories import Memories
from tarsd.roles.models import Models
from tarsd.roles.moving import Moving
from tarsd.roles.nightly import NightlyRunner
from tarsd.roles.replicating import Replicator
from tarsd.roles.settling import Settling


class CoreRoles:
    """Builds them; `roles` begins with those that the config named, and has all of them in the end."""

    def __init__(
        self,
        services: Services,
        replicator: Replicator,
        named: Sequence[Role],
        host: Host,
        *,
        parts: Callable[[], dict[str, Any]],
        problems: Callable[[], list[str]],
        passes: PassBook,
    ) -> None:
        self.backing = Backing(services)
        self.roles: list[Role] = list(named)
        if not any(calls.MODEL_FILE.name in role.handlers() for role in named):
            self.roles.append(Models(services))
        journal = Journal(services.store, str(services.identity.name))
        self.roles += [Memories(services), self.backing, Diary(services, journal)]
        runner = _nightly_runner(services, journal, self.roles)
        self.keeper = Keeper(services, parts, problems, runner, passes, replicator)
        self.roles += [self.keeper, Settling(services), Moving(services)]
        self.roles.append(
            Forgetting(services, replicator.puller.catch_up, [host.let_go, *(role.let_go for role in self.roles)])
        )


def _nightly_runner(services: Services, journal: Journal, roles: Sequence[Role]) -> NightlyRunner:
    config, identity = services.config, services.identity
    own = housekeeping.parts(services, lambda: datetime.fromtimestamp(identity.not_after, UTC))
    contributions = [*compacting.parts(services), own, *(role.nightly() for role in roles)]
    parts = {job: [c[job] for c in contributions if job in c] for job in JOBS}
    hour, minute = config.monitoring.nightly_at.split(":")
    path = config.node.data_dir / "nightly.json"
    return NightlyRunner(
        path, time(int(hour), int(minute)), parts, lambda: compacting.are_people_busy(services.members()), journal
    )
