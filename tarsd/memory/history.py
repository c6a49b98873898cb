"""What can be asked of the past: records by their name, what is visible of keys, memories by arrival, the diary.

Rules
1. An erased record has no body any more, so there is nothing to bring back: it counts as unknown.
2. Arrival is this node's own order (`log.id`): a mark in it says what was looked at here already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tarsd.memory import bodies
from tarsd.memory.bodies import Body, DiaryBody, MemoryBody, SummaryBody
from tarsd.memory.library import record_id
from tarsd.memory.links import as_named
from tarsd.memory.recollections import Recollections
from tarsd.memory.vector_table import json_list
from tarsd.names import RecordId
from tarsd.wire import decode

_PAGE = 500


class Version(NamedTuple):
    """One record of a key and what it says."""

    record: RecordId
    body: Body


class Arrived(NamedTuple):
    """A current memory with its place in the order of arrival."""

    arrival: int
    key: str
    body: MemoryBody


class History(Recollections):
    """The store's past. Every method raises `StorageError` when the disk or database fails."""

    async def record(self, identity: RecordId) -> Version | None:
        """Return a record by its name; None for one that is unknown, erased or unreadable (rule 1)."""
        origin, _, seq = identity.rpartition(":")
        if not (seq.isascii() and seq.isdigit() and len(seq) < 19):
            return None
        found = await self._rows(
            "SELECT kind, key, body FROM log WHERE origin = ? AND seq = ? AND state = 0 AND kind <> 'tombstone'",
            (origin, int(seq)),
        )
        body = bodies.read(*found[0]) if found else None
        return None if body is None else Version(identity, body)

    async def shown(self, keys: Sequence[str]) -> dict[str, Version]:
        """Return what is visible of these keys now."""
        found = await self._rows(
            """SELECT origin, seq, kind, log.key, body FROM visible JOIN log USING (id)
               WHERE visible.key IN (SELECT value FROM json_each(?))""",
            (msgspec.json.encode(list(keys)).decode(),),
        )
        read = ((origin, seq, key, bodies.read(kind, key, body)) for origin, seq, kind, key, body in found)
        return {key: Version(record_id(origin, seq), body) for origin, seq, key, body in read if body is not None}

    async def arrived(self, after: int, limit: int) -> list[Arrived]:
        """Return current memories that arrived after a place in that order (rule 2), oldest first."""
        found = await self._rows(
            """SELECT id, log.key, body FROM memories JOIN log USING (id)
               WHERE id > ? AND is_current ORDER BY id LIMIT ?""",
            (after, limit),
        )
        return [Arrived(arrival, key, decode(body, MemoryBody)) for arrival, key, body in found]

    async def naming(self, keys: Sequence[str]) -> list[MemoryBody | SummaryBody]:
        """Return visible memories and summaries that name one of these keys (`links`), and those that lie at one.

        They are read page by page: people's questions come in between.
        """
        named = await self._rows(
            """SELECT id FROM links WHERE named IN (SELECT value FROM json_each(?1))
               UNION SELECT id FROM visible WHERE key IN (SELECT value FROM json_each(?2))""",
            (json_list(as_named(keys)), json_list(keys)),
        )
        found: list[MemoryBody | SummaryBody] = []
        for first in range(0, len(named), _PAGE):
            rows = await self._rows(
                """SELECT kind, log.key, body FROM log JOIN visible ON visible.key = log.key AND visible.id = log.id
                   WHERE log.id IN (SELECT value FROM json_each(?))""",
                (json_list(number for (number,) in named[first : first + _PAGE]),),
            )
            read = [bodies.read(*row) for row in rows]
            found += [body for body in read if isinstance(body, MemoryBody | SummaryBody)]
        return found

    async def older_summaries(self) -> list[SummaryBody]:
        """Return versions of summaries that something was written over and that still are on the disk, page by page."""
        found: list[SummaryBody] = []
        after, number = f"{bodies.SUMMARY}/", 0
        while rows := await self._rows(
            """SELECT log.key, log.id, body FROM log JOIN visible ON visible.key = log.key AND visible.id <> log.id
               WHERE (log.key, log.id) > (?1, ?2) AND log.key >= ?1 AND log.key < ?3 || '0' AND kind = ?3 AND state = 0
               ORDER BY log.key, log.id LIMIT ?4""",
            (after, number, bodies.SUMMARY, _PAGE),
        ):
            found += [decode(body, SummaryBody) for _, _, body in rows]
            after, number = rows[-1][:2]
        return found

    async def replaced(self, prefix: str) -> list[MemoryBody | SummaryBody]:
        """Return memories and summaries whose ids begin so and that are not current any more."""
        memories = await self._rows(
            "SELECT body FROM memories JOIN log USING (id) WHERE substr(memory, 1, ?) = ? AND NOT is_current",
            (len(prefix), prefix),
        )
        summaries = await self._rows(
            "SELECT body FROM summaries JOIN log USING (id) WHERE substr(summary, 1, ?) = ? AND NOT is_current",
            (len(prefix), prefix),
        )
        return [decode(body, MemoryBody) for (body,) in memories] + [decode(body, SummaryBody) for (body,) in summaries]

    # --- the diary ------------------------------------------------------------------------------------------------

    async def diary(self, limit: int, job: str = "") -> list[DiaryBody]:
        """Return entries of the diary, newest first."""
        found = await self._rows(
            """SELECT body FROM diary JOIN log USING (id) WHERE ?1 IN ('', job)
               ORDER BY ended_at DESC, id DESC LIMIT ?2""",
            (job, limit),
        )
        return [decode(body, DiaryBody) for (body,) in found]

    async def diary_entry(self, identity: str) -> DiaryBody | None:
        """Return one entry; None for none."""
        shown = await self.shown([bodies.diary_key(identity)])
        body = next((version.body for version in shown.values()), None)
        return body if isinstance(body, DiaryBody) else None

    async def old_diary(self, before: float, limit: int) -> list[str]:
        """Return keys of entries that ended before this time, oldest first."""
        found = await self._rows(
            "SELECT log.key FROM diary JOIN log USING (id) WHERE ended_at < ? ORDER BY ended_at LIMIT ?",
            (before, limit),
        )
        return [key for (key,) in found]
