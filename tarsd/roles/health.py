"""`health_check`: is this node sound, does it keep up with the others? What can be repaired for sure is repaired.

Rules
1. Derived tables and the keyword index are built anew from the log where they differ from it.
2. A record that was damaged on this disk is fetched from a peer and put in its place: its seal says it is the same.
3. A difference to another node counts when it is still there after `LAG_S`: what was just written is on its way.
4. What a person must mend (disk, certificate, clock, a node that lags) is told and makes the job fail.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from tarsd import calls
from tarsd.calls import RecordsRequest, StatusRequest
from tarsd.errors import TarsdError
from tarsd.gossip.member import Member, State
from tarsd.names import Zone
from tarsd.roles.base import JobResult, Night, Services

FREE_DISK_BYTES = 1 << 30  # below it a night's work or a large document may not fit
CERTIFICATE_DAYS = 7  # below the ten days at which nodes renew by themselves: less means that they could not
LAG_S = 10.0
LAG_LOOK_S = 0.5
CLOCK_S = 5.0  # more makes "newest" wrong for whoever changes the same thing at two nodes
ASK_S = 5.0
MAX_MENDED = 100  # damaged records that are fetched in one night: more is a dying disk
MARK = "mark"
CLOCK = "clock"  # seconds since 1970, in a node's account of itself

_DERIVED = ("derived tables:", "keyword index:")
_RECORD = re.compile(r"^record (\S+):(\d+): ")


async def check(services: Services, certificate_end: Callable[[], datetime], night: Night) -> JobResult:
    """Look at all of it, repair what can be repaired, tell the rest."""
    problems, repaired = await _records(services, night)
    await night.step(night.cursor, "looks at the other nodes")
    problems += await _others(services)
    free = shutil.disk_usage(services.config.node.data_dir).free
    if free < FREE_DISK_BYTES:
        problems.append(f"only {free >> 20} MiB of disk are free")
    days = (certificate_end() - datetime.now(UTC)).days
    if days < CERTIFICATE_DAYS:
        problems.append(f"this node's certificate ends in {days} days")
    told = [*problems, *repaired]
    if not problems:
        told.append(f"database sound, {free >> 30} GiB free, certificate good for {days} days")
    return JobResult(len(repaired), "; ".join(told), ok=not problems)


async def _records(services: Services, night: Night) -> tuple[list[str], list[str]]:
    """Return what is wrong with the database after repairing, and what was repaired (rules 1 and 2)."""
    store, repaired, mended = services.store, [], 0
    problems = await store.integrity_check()
    while mended < MAX_MENDED and (damaged := next(filter(None, map(_RECORD.match, problems)), None)):
        if not await _mend(services, damaged[1], int(damaged[2])):
            break
        mended += 1
        await night.step(night.cursor, f"{mended} damaged records mended")
        problems = await store.integrity_check()
    if mended:
        await store.rebuild_derived()
        problems = await store.integrity_check()
        repaired.append(f"{mended} damaged records fetched from other nodes")
    if any(problem.startswith(_DERIVED) for problem in problems):
        await store.rebuild_derived()
        repaired.append("derived tables rebuilt from the log")
        problems = await store.integrity_check()
    return problems, repaired


async def _mend(services: Services, origin: str, seq: int) -> bool:
    """Fetch one record from the peers, one after another, until one fits."""
    have = {**await services.store.vector(), origin: seq - 1}
    for member in _peers(services):
        try:
            item = await services.dispatch.one(
                calls.RECORDS, RecordsRequest(have, 1, only=origin), only=member.node, deadline_s=ASK_S
            )
            if await services.store.mend(item.records):
                return True
        except TarsdError:
            continue
    return False


async def _others(services: Services) -> list[str]:
    peers = _peers(services)
    problems = [f"{member.name}: {problem}" for member in peers if (problem := await _clock(services, member))]
    if lagging := await _lagging(services):
        names = ", ".join(lagging)
        problems.append(f"records differ from those of {names} for more than {LAG_S:.0f} s")
    if not peers and services.config.memory.copies > 1 and any(map(_is_missed, services.members())):
        problems.append("no other core node is there: what is written now has one copy only")
    return problems


async def _clock(services: Services, member: Member) -> str:
    began = time.time()
    try:
        item = await services.dispatch.one(calls.STATUS, StatusRequest(), only=member.node, deadline_s=ASK_S)
    except TarsdError as error:
        return f"does not tell its status: {type(error).__name__}"
    theirs, middle = item.parts.get(CLOCK), (began + time.time()) / 2
    if not isinstance(theirs, int | float) or abs(theirs - middle) <= CLOCK_S:
        return ""
    return f"its clock is {theirs - middle:+.0f} s off this one's"


async def _lagging(services: Services) -> Sequence[str]:
    """Return the names of the peers whose records differ from ours all the time (rule 3)."""
    until = time.monotonic() + LAG_S
    while lagging := [str(member.name) for member in _peers(services) if _differs(services, member)]:
        if time.monotonic() >= until:
            return lagging
        await asyncio.sleep(LAG_LOOK_S)
    return []


def _differs(services: Services, member: Member) -> bool:
    mark = member.capabilities[calls.RECORDS.name].get(MARK)
    return bool(mark) and mark != services.store.mark()


def _is_missed(member: Member) -> bool:
    """Tell whether a core node that belongs here is away."""
    return not member.is_self and member.zone is Zone.CORE and member.state in (State.SUSPECT, State.DEAD)


def _peers(services: Services) -> list[Member]:
    return [
        member
        for member in services.members()
        if member.state is State.ALIVE
        and member.zone is Zone.CORE
        and not member.is_self
        and calls.RECORDS.name in member.capabilities
    ]
