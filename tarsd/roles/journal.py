"""Writes the diary: what a job is about to change, what came of it, how it ended.

Rules
1. What will change is written down before it is changed, with the records visible before: a node that is killed in
   between leaves an entry by which all can be undone.
2. Which records came of it is read back from what is visible, so that it can be filled in at any later time.
3. What was there before a job is its change only where the job's own took its place: what somebody wrote after a kill,
   before the entry was filled in, is that person's.
4. Many changes are several entries of `MAX_CHANGES`: each step writes its entry anew, so that must stay small.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tarsd.memory.bodies import DIARY, DiaryBody, DiaryChange
from tarsd.memory.store import Store

MAX_CHANGES = 300


class Journal:
    """The diary as jobs write it; `node` is this node's name."""

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self.node = node

    async def intend(self, identity: str, job: str, began_at: float, changes: Sequence[DiaryChange]) -> None:
        """Add changes that are about to be made (rule 1); a key that is there already keeps its first "before"."""
        parts = await self._parts(identity)
        known = {change.key for part in parts for change in part.changes}
        fresh = [change for change in changes if change.key not in known]
        if not fresh:
            return
        if not parts or len(parts[-1].changes) >= MAX_CHANGES:
            name = identity if not parts else f"{identity}-{len(parts) + 1}"
            parts.append(DiaryBody(name, job, self.node, began_at, began_at))
        await self._store.append(DIARY, "", replace(parts[-1], changes=[*parts[-1].changes, *fresh]))

    async def did(self, identity: str) -> None:
        """Fill in which records came of what was intended (rule 2)."""
        for part in (await self._parts(identity))[-1:]:
            await self.settle(part.id)

    async def settle(self, identity: str) -> DiaryBody | None:
        """Fill in one entry (rule 2) and return it; None for none."""
        entry = await self._store.diary_entry(identity)
        if entry is None or all(change.after for change in entry.changes):
            return entry
        shown = await self._store.shown([change.key for change in entry.changes if not change.after])
        keys = {change.key for change in entry.changes}

        def is_of_the_job(change: DiaryChange) -> bool:
            record, body = shown[change.key]
            return record != change.before and (not change.before or getattr(body, "replaced_by", "") in keys)

        filled = [
            replace(change, after=shown[change.key].record)
            if not change.after and change.key in shown and is_of_the_job(change)
            else change
            for change in entry.changes
        ]
        settled = replace(entry, changes=filled)
        await self._store.append(DIARY, "", settled)
        return settled

    async def close(self, identity: str, job: str, began_at: float, ended_at: float, what: str, *, ok: bool) -> None:
        """Say how the job ended; what was intended and never came is dropped."""
        for part in await self._parts(identity) or [DiaryBody(identity, job, self.node, began_at)]:
            settled = await self.settle(part.id) or part
            made = [change for change in settled.changes if change.after]
            await self._store.append(DIARY, "", replace(settled, ended_at=ended_at, ok=ok, what=what, changes=made))

    async def _parts(self, identity: str) -> list[DiaryBody]:
        parts: list[DiaryBody] = []
        while entry := await self._store.diary_entry(f"{identity}-{len(parts) + 1}" if parts else identity):
            parts.append(entry)
        return parts
