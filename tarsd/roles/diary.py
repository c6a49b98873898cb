"""The diary for people: what changed in the nights, and how it is undone. Every core node offers `diary` and `undo`.

Rules
1. Everybody may read that a job ran, and how it went. What it changed (its keys, its sentence, how many) is told to
   who may see all that it changed; else as much of it as that person may see is counted. What is forgotten is nobody's
   but an administrator's.
2. Undo is for who may see all that an entry changed, and for administrators.
3. What is undone is decided by `planning.compaction.undo`; the entry says so, and undoing it again does nothing.
4. Where a node was killed in the middle of a step, the entry is filled in from what is visible first.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping

from msgspec.structs import replace

from tarsd import calls
from tarsd.calls import DiaryEntry, DiaryItem, DiaryRequest, UndoItem, UndoRequest, Who
from tarsd.errors import InvalidInput, NotAllowed, NotFound, Overloaded
from tarsd.memory.access import may_see
from tarsd.memory.bodies import DIARY, MEMORY, SUMMARY, Body, DiaryBody, MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.store import Entry
from tarsd.names import Capability, RecordId
from tarsd.planning import compaction
from tarsd.roles.base import Attributes, Role, Services
from tarsd.roles.journal import Journal
from tarsd.rpc import CallContext, Handler

MAX_ENTRIES = 500


class Diary(Role):
    """Offers `diary` and `undo`."""

    name = "diary"

    def __init__(self, services: Services, journal: Journal, clock: Callable[[], float] = time.time) -> None:
        self._services = services
        self._store = services.store
        self._journal = journal
        self._clock = clock

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {calls.DIARY.name: self._diary, calls.UNDO.name: self._undo}

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {calls.DIARY.name: {}, calls.UNDO.name: {}}

    async def _diary(self, request: DiaryRequest, context: CallContext) -> AsyncGenerator[DiaryItem, None]:
        if not 0 < request.limit <= MAX_ENTRIES:
            raise InvalidInput(f"limit: {request.limit}, allowed is 1 to {MAX_ENTRIES}")
        projects = await self._store.project_bodies()
        entries = await self._store.diary(request.limit, request.job)
        yield DiaryItem([await self._shown(request.who, entry, projects) for entry in entries])

    async def _undo(self, request: UndoRequest, context: CallContext) -> AsyncGenerator[UndoItem, None]:
        entry = await self._journal.settle(request.id)
        if entry is None:
            raise NotFound(f"id: the diary has no entry {request.id!r}")
        projects = await self._store.project_bodies()
        bodies = await self._bodies(entry)
        if not all(self._may(request.who, each, projects) for each in bodies.values()):
            raise NotAllowed("this entry changed memories that are not yours; an administrator may undo it")
        undone = compaction.Undone([], [])
        now: Mapping[str, Body] = {}
        if not entry.undone_at:
            shown = await self._store.shown([change.key for change in entry.changes])
            now = {key: version.body for key, version in shown.items()}
            undone = compaction.undo(entry.changes, bodies, now)
            entry = replace(entry, undone_at=self._clock())
        written: list[Entry] = [(_kind(body), key, body) for key, body in undone.writes]
        read = {key: now[key] for key, _ in undone.writes if key in now}
        records = await self._store.append_as_read([*written, (DIARY, "", entry)], read)
        if records is None:
            raise Overloaded("somebody changed or forgot some of it at this moment; try again", retry_after_s=1)
        await self._services.confirm(records)
        restored = [RecordId(f"{record.origin}:{record.seq}") for record in records[:-1]]
        yield UndoItem(await self._shown(request.who, entry, projects), restored, undone.kept)

    async def _bodies(self, entry: DiaryBody) -> dict[str, Body | None]:
        """Return what the records of an entry say, None for one that is forgotten."""
        names = {name for change in entry.changes for name in (change.before, change.after) if name}
        found = {name: await self._store.record(RecordId(name)) for name in sorted(names)}
        return {name: version.body if version else None for name, version in found.items()}

    async def _shown(self, who: Who, entry: DiaryBody, projects: Mapping[str, ProjectBody]) -> DiaryEntry:
        bodies = await self._bodies(entry)
        keys = [
            change.key
            for change in entry.changes
            if self._sees(who, bodies.get(change.after) or bodies.get(change.before), projects)
        ]
        is_all_seen = len(keys) == len(entry.changes)
        return DiaryEntry(
            id=entry.id,
            job=entry.job,
            node=entry.node,
            began_at=entry.began_at,
            ended_at=entry.ended_at,
            ok=entry.ok,
            what=entry.what if is_all_seen else f"{len(keys)} changed of what you may see",
            changes=0 if entry.undone_at else len(keys),
            keys=keys,
            undone_at=entry.undone_at,
        )

    def _sees(self, who: Who, body: Body | None, projects: Mapping[str, ProjectBody]) -> bool:
        return who.sees_all or (body is not None and self._may(who, body, projects))

    def _may(self, who: Who, body: Body | None, projects: Mapping[str, ProjectBody]) -> bool:
        return body is None or not isinstance(body, MemoryBody | SummaryBody) or may_see(who, body, projects)


def _kind(body: Body) -> str:
    return MEMORY if isinstance(body, MemoryBody) else SUMMARY
