"""What can be asked of memories, summaries and projects: by key, by filter, by keywords, on behalf of a person.

Rules
1. Who may see what is decided twice: in SQL, so that a page of 100,000 is quick, and by `access.may_see` on each body
   that was read, so that a mistake in the one is not a leak.
2. What was replaced is history, and left out unless it is asked for.
3. Newest first: by when a memory was learned, by when a summary's conversation ended.
4. The profile are instructions and preferences: the person's own, the household's and, within a project, its.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tarsd.calls import Who
from tarsd.memory import bodies
from tarsd.memory.access import is_member, may_see
from tarsd.memory.bodies import MEMORY, MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.library import Library
from tarsd.memory.vector_table import json_list
from tarsd.wire import decode

EVERYTHING = Who(sees_all=True)
PROFILE_LIMIT = 40


class Kept(NamedTuple):
    """A memory or a summary with its key."""

    key: str
    body: MemoryBody | SummaryBody


class Page(NamedTuple):
    """A page of what fits a filter; `total` counts all of it."""

    kept: list[Kept]
    total: int


class Filter(msgspec.Struct, frozen=True):
    """Which memories and summaries are meant; "" = any. `valid_at`: not those whose time was over then (0 = any)."""

    kinds: tuple[str, ...] = ("memory", "summary")
    sort: str = ""  # a summary is none of instruction and preference
    scope: str = ""
    project: str = ""
    conversation: str = ""  # of a summary: a memory names its conversations in its sources
    history: bool = False
    valid_at: float = 0.0


class ProjectEntry(NamedTuple):
    """A project, with how many current memories and summaries belong to it."""

    body: ProjectBody
    memories: int
    summaries: int


class _Clause(NamedTuple):
    sql: str
    parameters: tuple[object, ...]


_SELECTS = {
    "memory": "SELECT id, 'memory' AS kind, made_at AS at FROM memories WHERE ",
    "summary": "SELECT id, 'summary' AS kind, ended_at AS at FROM summaries WHERE ",
}
_TABLES = {"memory": "memories", "summary": "summaries"}


class Recollections(Library):
    """The reading side of the store, as far as it remembers. Raises `StorageError` when the disk or database fails."""

    # --- one by one -------------------------------------------------------------------------------------------

    async def memory(self, key: str) -> MemoryBody | None:
        """Return the memory as it stands, replaced or not; None for none."""
        body = await self._body(key)
        return body if isinstance(body, MemoryBody) else None

    async def summary(self, key: str) -> SummaryBody | None:
        """Return the summary as it stands, replaced or not; None for none."""
        body = await self._body(key)
        return body if isinstance(body, SummaryBody) else None

    async def project(self, identity: str) -> ProjectBody | None:
        """Return the project with this id; None for none."""
        body = await self._body(bodies.project_key(identity))
        return body if isinstance(body, ProjectBody) else None

    async def get_many(self, keys: Sequence[str], who: Who = EVERYTHING) -> list[Kept]:
        """Return the memories and summaries in the order of `keys`, without those that are unknown or not `who`'s."""
        found = await self._rows(
            """SELECT visible.key, kind, body FROM visible JOIN log USING (id)
               WHERE visible.key IN (SELECT value FROM json_each(?)) AND kind IN ('memory', 'summary')""",
            (json_list(keys),),
        )
        return self._checked(found, who, await self.project_bodies(), keys)

    async def replaced_by(self, keys: Sequence[str]) -> dict[str, list[Kept]]:
        """Return by each key the memories whose place it took, newest first; keys that took none are left out."""
        found = await self._rows(
            """SELECT log.key, kind, body FROM memories JOIN log USING (id)
               WHERE replaced_by <> '' AND replaced_by IN (SELECT value FROM json_each(?))
               ORDER BY made_at DESC, id DESC""",
            (json_list(keys),),
        )
        by_key: dict[str, list[Kept]] = {}
        for each in (_kept(*row) for row in found):
            by_key.setdefault(each.body.replaced_by, []).append(each)
        return by_key

    async def files(self, documents: Sequence[str]) -> dict[str, str]:
        """Return the files' names by the SHA-256 of the documents, as far as they are here."""
        found = await self._rows(
            "SELECT sha256, file FROM documents WHERE sha256 IN (SELECT value FROM json_each(?))",
            (json_list(documents),),
        )
        return dict(found)

    # --- by filter --------------------------------------------------------------------------------------------

    async def memories(self, who: Who, wanted: Filter | None = None, *, limit: int = 50, offset: int = 0) -> Page:
        """Return a page of what this person may see, newest first (rules 1 to 3)."""
        wanted, projects = wanted or Filter(), await self.project_bodies()
        clauses = {kind: _clause(kind, who, projects, wanted) for kind in wanted.kinds}
        if not clauses:
            return Page([], 0)
        union = " UNION ALL ".join(_SELECTS[kind] + clause.sql for kind, clause in clauses.items())
        values = [value for clause in clauses.values() for value in clause.parameters]
        async with self._database.reading():
            total = await self._database.value(f"SELECT COUNT(*) FROM ({union})", values)  # noqa: S608
            found = await self._database.rows(
                f"""SELECT log.key, log.kind, body FROM ({union} ORDER BY at DESC, id DESC LIMIT ? OFFSET ?) JOIN log
                    USING (id) ORDER BY at DESC, id DESC""",  # noqa: S608
                (*values, limit, offset),
            )
        return Page(self._checked(found, who, projects), int(total))

    async def profile(self, who: Who, project: str = "", *, now: float = 0.0, limit: int = PROFILE_LIMIT) -> list[Kept]:
        """Return the standing instructions and preferences, newest first (rule 4).

        An administrator's are its own: that somebody may see everything does not make others' wishes its wishes.
        """
        own = Who(who.person)
        projects = await self.project_bodies()
        clause = _clause("memory", own, projects, Filter(("memory",), valid_at=now))
        found = await self._rows(
            f"""SELECT log.key, kind, body FROM memories JOIN log USING (id)
                WHERE sort <> 'fact' AND (scope <> 'project' OR project = ?) AND {clause.sql}
                ORDER BY made_at DESC, id DESC LIMIT ?""",  # noqa: S608
            (project, *clause.parameters, limit),
        )
        return self._checked(found, own, projects)

    # --- projects ---------------------------------------------------------------------------------------------

    async def projects(self, who: Who = EVERYTHING) -> list[ProjectEntry]:
        """Return the projects that this person may see, newest first, with how much belongs to each."""
        async with self._database.reading():
            found = await self._database.rows(
                "SELECT body FROM projects JOIN log USING (id) ORDER BY began_at DESC, id DESC"
            )
            memories, summaries = [await self._current_by_project(table) for table in _TABLES.values()]
        read = [decode(body, ProjectBody) for (body,) in found]
        return [
            ProjectEntry(body, memories.get(body.id, 0), summaries.get(body.id, 0))
            for body in read
            if is_member(who, body)
        ]

    async def _current_by_project(self, table: str) -> dict[str, int]:
        sql = f"SELECT project, COUNT(*) FROM {table} WHERE is_current GROUP BY project"  # noqa: S608
        return dict(await self._database.rows(sql))

    async def project_bodies(self) -> dict[str, ProjectBody]:
        """Return all projects by their id, as `access.may_see` takes them."""
        found = await self._rows("SELECT body FROM projects JOIN log USING (id)")
        return {body.id: body for body in (decode(packed, ProjectBody) for (packed,) in found)}

    # --- by words ---------------------------------------------------------------------------------------------

    async def search_memories_by_keywords(
        self, query: str, limit: int, language: str = "", who: Who = EVERYTHING
    ) -> list[tuple[str, float]]:
        """Return keys of current memories and summaries that share words with the query, best first, scores above 0."""
        projects, present = await self.project_bodies(), await self._recollected_languages()
        scored: list[tuple[str, float]] = []
        for kind, table in _TABLES.items():
            clause = _clause(kind, who, projects, Filter(), f"{table}.")
            found = await self._by_words(
                query,
                limit,
                language,
                present,
                f"EXISTS (SELECT 1 FROM {table} WHERE {table}.id = keywords.rowid AND {clause.sql})",  # noqa: S608
                f"SELECT id, log.key, language FROM log JOIN {table} USING (id)",  # noqa: S608
                clause.parameters,
            )
            scored += [(key, score) for key, _, score in found]
        return sorted(scored, key=lambda each: -each[1])[:limit]

    # --- within -----------------------------------------------------------------------------------------------

    async def _body(self, key: str) -> bodies.Body | None:
        found = await self._rows("SELECT kind, body FROM visible JOIN log USING (id) WHERE visible.key = ?", (key,))
        return bodies.read(found[0][0], key, found[0][1]) if found else None

    def _checked(
        self,
        found: Sequence[tuple[Any, ...]],
        who: Who,
        projects: dict[str, ProjectBody],
        order: Sequence[str] = (),
    ) -> list[Kept]:
        """Return what was read, without what this person may not see, in the order of the keys where one is given."""
        kept = {each.key: each for each in (_kept(*row) for row in found) if may_see(who, each.body, projects)}
        return [kept[key] for key in dict.fromkeys(order) if key in kept] if order else list(kept.values())


def _kept(key: str, kind: str, packed: bytes) -> Kept:
    return Kept(key, decode(packed, MemoryBody) if kind == MEMORY else decode(packed, SummaryBody))


def _clause(kind: str, who: Who, projects: dict[str, ProjectBody], wanted: Filter, table: str = "") -> _Clause:
    """Return a condition on the derived table of a kind: `access`'s rules, and the filter."""
    parts: list[str] = []
    values: list[object] = []
    if not who.sees_all:
        own = [identity for identity, project in projects.items() if is_member(who, project)]
        parts.append(
            f"""({table}scope = 'household' OR {table}person = ? OR
                 ({table}scope = 'project' AND {table}project IN (SELECT value FROM json_each(?))))"""  # noqa: S608
        )
        values += [who.person, json_list(own)]
    for column in ("scope", "project"):
        if value := getattr(wanted, column):
            parts.append(f"{table}{column} = ?")
            values.append(value)
    if not wanted.history:
        parts.append(f"{table}is_current")
    if kind == "memory":
        if wanted.sort:
            parts.append(f"{table}sort = ?")
            values.append(wanted.sort)
        if wanted.valid_at:
            parts.append(f"({table}valid_until = 0 OR {table}valid_until > ?)")
            values.append(wanted.valid_at)
    elif wanted.sort not in ("", "fact"):
        parts.append("0")
    if wanted.conversation:
        parts.append(f"{table}conversation = ?" if kind == "summary" else "? IS NULL")
        values.append(wanted.conversation)
    return _Clause(" AND ".join(parts) or "1", tuple(values))
