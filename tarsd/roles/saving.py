"""Serves `save` and `save_project`: checks who may, judges by `memory.remembering`, writes, and waits for the copies.

Rules
1. Saves run one at a time on a node, so that two that say the same do not both find nothing.
2. A new memory and those whose place it takes are one write: there is never none, and never both, of them.
3. What a person may not see cannot be changed, and is said not to exist.
4. Where automatic memory is switched off, nothing is written that nobody asked for, whichever node learned it.
5. A memory can be given only to a project that the person belongs to.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable

from msgspec.structs import replace

from tarsd.calls import (
    Copies,
    Record,
    SaveItem,
    SaveProjectItem,
    SaveProjectRequest,
    SaveRequest,
    Who,
)
from tarsd.errors import InvalidInput, NotAllowed, NotFound
from tarsd.memory import bodies, remembering
from tarsd.memory.access import is_member
from tarsd.memory.bodies import MEMORY, PROJECT, SUMMARY, Body, MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.store import Entry, Store
from tarsd.memory.views import project_view, view
from tarsd.planning.language import detect_language
from tarsd.roles.base import Services
from tarsd.rpc import CallContext

MAX_NAME_CHARACTERS = 120
NEAR = 50  # memories that share most words with a new one; one that says the same or otherwise is among them
SALT_BYTES = 16


class Saving:
    """The handlers of `save` and `save_project`."""

    def __init__(self, services: Services, clock: Callable[[], float] = time.time) -> None:
        self._store: Store = services.store
        self._confirm = services.confirm
        self._clock = clock
        self._learns = services.config.memory.automatic
        self._order = asyncio.Lock()

    async def save(self, request: SaveRequest, context: CallContext) -> AsyncGenerator[SaveItem, None]:
        """Serve `save`."""
        if request.made_by == "automatic" and not (self._learns and await self._store.automatic(request.who.person)):
            raise NotAllowed("nothing is learned without being asked to: automatic memory is off")
        await self._check_place(request)
        language = request.language or detect_language(request.text)
        async with self._order:
            item, records = await (self._edit(request, language) if request.key else self._add(request, language))
        yield replace(item, copies=await self._confirm(records)) if records else item

    async def _add(self, request: SaveRequest, language: str) -> tuple[SaveItem, list[Record]]:
        now = self._clock()
        body = remembering.body_of(request, new_id(), secrets.token_bytes(SALT_BYTES), language=language, now=now)
        while True:
            near = await self._near(body)
            writing = remembering.judge(body, near, now)
            if writing.body is None:
                return SaveItem(view(writing.known or body), Copies(), is_new=False), []
            # What was forgotten or changed meanwhile must not be written again as history: then it is judged anew.
            entries: list[Entry] = [(MEMORY, "", each) for each in (writing.body, *writing.replaced)]
            old = {bodies.memory_key(each.id) for each in writing.replaced}
            read: dict[str, Body] = {key: each for each in near if (key := bodies.memory_key(each.id)) in old}
            records = await self._store.append_as_read(entries, read)
            if records is not None:
                break
        keys = [bodies.memory_key(old.id) for old in writing.replaced]
        told = view(writing.body, contradicts=keys)
        return SaveItem(told, Copies(), [view(old) for old in writing.replaced]), records

    async def _near(self, body: MemoryBody) -> list[MemoryBody]:
        """Return the current memories that may say the same or otherwise."""
        who = Who(body.person)
        found = await self._store.search_memories_by_keywords(body.text, NEAR, body.language, who)
        near = await self._store.get_many([key for key, _ in found], who)
        if body.sort != "fact":  # wishes say the same in words that share none
            near += await self._store.profile(who, body.project)
        return [each.body for each in near if isinstance(each.body, MemoryBody)]

    async def _edit(self, request: SaveRequest, language: str) -> tuple[SaveItem, list[Record]]:
        found = await self._store.get_many([request.key], request.who)
        if not found:
            raise NotFound(f"key: nothing is remembered as {request.key}")
        body = found[0].body
        if isinstance(body, SummaryBody):
            text, tags = remembering.checked_text(request.text), remembering.checked_tags(request.tags)
            changed = replace(body, text=text, tags=tags, language=language)
            return SaveItem(view(changed), Copies(), is_new=False), await self._changed(SUMMARY, body, changed)
        corrected = remembering.edited(body, request, language=language, now=self._clock())
        return SaveItem(view(corrected), Copies(), is_new=False), await self._changed(MEMORY, body, corrected)

    async def _changed(self, kind: str, old: Body, new: Body) -> list[Record]:
        records = await self._store.append_as_read([(kind, "", new)], {bodies.key_of(old): old})
        if records is None:
            raise NotFound("key: it was changed or forgotten at this moment; look at it again")
        return records

    async def _check_place(self, request: SaveRequest) -> None:
        if request.scope == "project" and not request.project:
            raise InvalidInput("project: which one? scope is project")
        if request.project:
            project = await self._store.project(request.project)
            if project is None or not is_member(request.who, project):
                raise NotFound(f"project: there is no {request.project}")

    async def save_project(
        self, request: SaveProjectRequest, context: CallContext
    ) -> AsyncGenerator[SaveProjectItem, None]:
        """Serve `save_project`."""
        name = request.name.strip()
        if not name or len(name) > MAX_NAME_CHARACTERS:
            raise InvalidInput(f"name: 1 to {MAX_NAME_CHARACTERS} characters")
        text = remembering.checked_text(request.text) if request.text.strip() else ""
        async with self._order:
            old = await self._store.project(request.id) if request.id else None
            if old is not None and not is_member(request.who, old):
                raise NotFound(f"id: there is no project {request.id}")
            now = self._clock()
            base = old or ProjectBody(
                request.id or new_id(),
                name,
                began_at=now,
                person=request.who.person,
                salt=secrets.token_bytes(SALT_BYTES),
            )
            body = replace(
                base,
                name=name,
                text=text,
                members=list(dict.fromkeys(request.members)),
                tags=remembering.checked_tags(request.tags),
                keywords=remembering.keywords_of(f"{name}. {text}"),
                ended_at=(base.ended_at or now) if request.is_ended else 0.0,
            )
            record = await self._store.append(PROJECT, "", body)
        counts = {each.body.id: each for each in await self._store.projects(request.who)}
        entry = counts.get(body.id)
        shown = project_view(body, entry.memories if entry else 0, entry.summaries if entry else 0)
        yield SaveProjectItem(shown, await self._confirm([record]))


def new_id() -> str:
    """Return an id that says nothing of what it names: what remains of it after forgetting tells nobody anything."""
    return secrets.token_hex(12)
