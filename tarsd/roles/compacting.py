"""`compact_memory`, the cluster's part: near-duplicate memories become one, ended conversations one summary a project.

Rules
1. One node does it in a night, the one that rendezvous hashing names; a second one that does it all the same, in a
   partition, writes the same keys with the same content.
2. Only what arrived since the last time is compared, with what it resembles: by words, and by vectors where a node
   offers that. The cursor is the place in the order of arrival, so a node that was killed goes on there.
3. What is decided is `planning.duplicates` and `planning.compaction`; each step is in the diary before it is done.
4. What people undid stays undone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from tarsd import calls, routing
from tarsd.calls import SearchMemoriesRequest, SummarizeRequest
from tarsd.errors import TarsdError
from tarsd.gossip.member import Load, Member
from tarsd.memory.bodies import MEMORY, SUMMARY, Body, DiaryChange, MemoryBody, SummaryBody
from tarsd.memory.history import Arrived
from tarsd.memory.recollections import EVERYTHING, Filter
from tarsd.memory.store import Entry
from tarsd.planning import compaction, duplicates
from tarsd.planning.compaction import SUMMARY_WORDS, Synthesis
from tarsd.planning.duplicates import Found, Merge
from tarsd.roles.base import JobResult, Night, NightlyPart, Services

log = logging.getLogger(__name__)

RULES = "1"  # changes with the rule of what is a duplicate: all is looked at anew then
STEP = 20  # memories between two looks for people's questions
NEIGHBOURS = 12
MAX_MERGES = 1000  # a night
MAX_SUMMARIES = 5000
SUMMARIZE_S = 120.0


def parts(services: Services) -> list[Mapping[str, NightlyPart]]:
    """Return the parts that every core node offers; one does them."""
    compacting = Compacting(services)
    return [{"compact_memory": compacting.merge_memories}, {"compact_memory": compacting.synthesise}]


def are_people_busy(members: Sequence[Member]) -> bool:
    """Tell whether questions run or queue here, or at all of those that could write a summary."""
    own = [member.load for member in members if member.is_self]
    writers = [m.load for m in members if m.routable and not m.is_self and calls.SUMMARIZE.name in m.capabilities]
    return any(map(_has_work, own)) or (bool(writers) and all(map(_has_work, writers)))


def _has_work(load: Load | None) -> bool:
    return load is not None and load.queued + load.running > 0


class Compacting:
    """The cluster's part of the compaction."""

    def __init__(self, services: Services, clock: Callable[[], float] = time.time) -> None:
        self._services = services
        self._store = services.store
        self._clock = clock

    # --- memories -------------------------------------------------------------------------------------------------

    async def merge_memories(self, night: Night) -> JobResult:
        """Merge what says the same."""
        if other := self._other(night):
            return JobResult(0, f"memories: left to {other}")
        apart, merged, groups = await self._apart(), 0, 0
        place = _place(night.cursor)
        while groups < MAX_MERGES and (fresh := await self._store.arrived(place, STEP)):
            merges, known = await self._merges(fresh, apart)
            if not await self._write(night, merges, known):
                continue  # somebody changed or forgot one of them meanwhile: they are looked at anew
            merged += sum(len(merge.replaced) for merge in merges)
            groups += len(merges)
            place = fresh[-1].arrival
            await night.step(f"{RULES}:{place}", f"{merged} memories merged")
        return JobResult(merged, f"{merged} memories merged into {groups}" if groups else "no memory twice")

    async def _merges(
        self, fresh: Sequence[Arrived], apart: Sequence[frozenset[str]]
    ) -> tuple[list[Merge], dict[str, Found]]:
        """Return what becomes one, and all that was compared, by keys."""
        known: dict[str, Found] = {each.key: await self._found(each.key, each.body) for each in fresh}
        pairs: set[tuple[str, str]] = set()
        for each in fresh:
            near = [key for key in await self._near(each.body) if key != each.key]
            unknown = [key for key in near if key not in known]
            for kept in await self._store.get_many(unknown):
                if isinstance(kept.body, MemoryBody) and not kept.body.replaced_by:
                    known[kept.key] = await self._found(kept.key, kept.body)
            pairs |= {(each.key, key) for key in near}
        return [duplicates.merge(group) for group in duplicates.groups(list(known.values()), pairs, apart)], known

    async def _found(self, key: str, body: MemoryBody) -> Found:
        stood_for = await self._store.get_many(duplicates.merged_of(body))
        return duplicates.found(key, body, [kept.body for kept in stood_for if isinstance(kept.body, MemoryBody)])

    async def _near(self, body: MemoryBody) -> list[str]:
        """Return keys of memories that resemble one (rule 2)."""
        words = await self._store.search_memories_by_keywords(body.text, NEIGHBOURS, body.language)
        found = [key for key, _ in words]
        request = SearchMemoriesRequest(body.text, NEIGHBOURS, body.language)
        try:
            found += [key for key, _ in (await self._services.dispatch.one(calls.SEARCH_MEMORIES, request)).found]
        except TarsdError as error:
            log.debug("duplicates are sought by words alone: %s", type(error).__name__)
        return [key for key in dict.fromkeys(found) if key.startswith("memory/")]

    async def _write(self, night: Night, merges: Sequence[Merge], known: Mapping[str, Found]) -> bool:
        entries: list[Entry] = []
        read: dict[str, Body] = {}
        for merge in merges:
            entries.append((MEMORY, merge.key, merge.made))
            entries += [(MEMORY, key, body) for key, body in merge.replaced]
            read |= {key: known[key].body for key, _ in merge.replaced}
        return await self._make(night, entries, read)

    # --- summaries ------------------------------------------------------------------------------------------------

    async def synthesise(self, night: Night) -> JobResult:
        """Make one summary of a project of those of its ended conversations."""
        if other := self._other(night):
            return JobResult(0, f"summaries: left to {other}")
        page = await self._store.memories(EVERYTHING, Filter(kinds=(SUMMARY,)), limit=MAX_SUMMARIES)
        summaries = [(kept.key, kept.body) for kept in page.kept if isinstance(kept.body, SummaryBody)]
        undone = frozenset().union(*await self._apart())
        taken = projects = 0
        for synthesis in compaction.syntheses(summaries, self._clock(), undone):
            await night.step(night.cursor, f"{taken} summaries taken together")
            if await self._synthesise(night, synthesis):
                taken += len(synthesis.keys)
                projects += 1
        return JobResult(taken, f"{taken} summaries became {projects}" if projects else "no summary to take together")

    async def _synthesise(self, night: Night, synthesis: Synthesis) -> bool:
        text = compaction.whole(synthesis, await self._written(compaction.text_of(synthesis)))
        project = await self._store.project(synthesis.bodies[-1].project)
        key, made, old = compaction.made_of(synthesis, text, project.name if project else "")
        entries: list[Entry] = [(SUMMARY, key, made)]
        entries += [(SUMMARY, each, body) for each, body in old]
        return await self._make(night, entries, dict(zip(*synthesis, strict=True)))

    async def _written(self, text: str) -> str:
        """Return a model's summary, "" where no model can."""
        request = SummarizeRequest(text, SUMMARY_WORDS)
        try:
            item = await self._services.dispatch.one(calls.SUMMARIZE, request, deadline_s=SUMMARIZE_S)
        except TarsdError as error:
            log.info("summaries are taken together without a model: %s", type(error).__name__)
            return ""
        return item.text if item.method == "model" else ""

    # --- both -----------------------------------------------------------------------------------------------------

    def _other(self, night: Night) -> str:
        """Return the name of the node that does the cluster's part tonight, "" for this one (rule 1)."""
        if night.is_asked_for:
            return ""
        members = self._services.members()
        holder = routing.holder(members, calls.NIGHTLY.name, night.cluster_key)
        if holder is None or holder == self._services.identity.node_id:
            return ""
        return next((str(member.name) for member in members if member.node == holder), "another node")

    async def _apart(self) -> list[frozenset[str]]:
        """Return what people undid: keys that were made one once and are none (rule 4)."""
        return [
            frozenset(key for source in body.sources[:1] for key in source.keys)
            for body in await self._store.replaced(duplicates.MERGED)
        ]

    async def _make(self, night: Night, entries: Sequence[Entry], read: Mapping[str, Body]) -> bool:
        """Write it, if what it was made of still is there as it was read; say whether it was.

        Comparing asks other nodes, and a model may take minutes: what somebody changed or forgot meanwhile must not
        come back.
        """
        if not entries:
            return True
        shown = await self._store.shown([key for _, key, _ in entries])
        if any(key not in shown or shown[key].body != body for key, body in read.items()):
            return False  # before the diary would take somebody's change for this night's
        before = {key: shown[key].record for _, key, _ in entries if key in shown}
        await night.intend([DiaryChange(key, before.get(key, "")) for _, key, _ in entries])
        records = await self._store.append_as_read(entries, read)
        if records is None:
            return False
        await night.did()
        await self._services.confirm(records)
        return True


def _place(cursor: str) -> int:
    rules, _, place = cursor.partition(":")
    return int(place) if rules == RULES and place.isdigit() else 0
