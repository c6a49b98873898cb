"""Finds where another node's branch of an origin parts from ours, and has it settled (`memory/log`, rule 7).

Rules
1. The last record that both have is found by halving, with one record a question.
2. When ours gives way, the other branch is pulled afterwards; when it stays, the other node is greeted, so that it
   sees ours and gives way.
3. The same two branches are looked at once: where ours stays it does not come up again until ours has grown.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from tarsd import calls
from tarsd.calls import Record, RecordsRequest
from tarsd.errors import TarsdError
from tarsd.names import NodeId
from tarsd.roles.base import Services

log = logging.getLogger(__name__)

MAX_LOOKED_AT = 1000
MAX_NOTES = 3


class Mender:
    """Settles forks, one at a time, from `start` to `stop`; `moved` and `stayed` are told which node it was with."""

    def __init__(self, services: Services, moved: Callable[[NodeId], None], stayed: Callable[[NodeId], None]) -> None:
        self._services = services
        self._moved = moved
        self._stayed = stayed
        self._waiting: asyncio.Queue[tuple[NodeId, str]] = asyncio.Queue(100)
        self._looked_at: dict[tuple[NodeId, str], bytes] = {}  # our seal at the time
        self._task: asyncio.Task[None] | None = None
        self.moved_records = 0
        self.notes: deque[str] = deque(maxlen=MAX_NOTES)  # since the start, for people

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._task = asyncio.create_task(self._mend_for_ever(), name="mend forks")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def ended(self) -> bool:
        """Whether the task ended, which it never should."""
        return self._task is not None and self._task.done()

    def suspect(self, node: NodeId, origins: Sequence[str]) -> None:
        """Have it looked at whether a node has other branches of these origins."""
        for origin in origins:
            seal = self._services.store.heads().get(origin, (0, b""))[1]
            if not seal or self._looked_at.get((node, origin)) == seal or self._waiting.full():
                continue
            if len(self._looked_at) >= MAX_LOOKED_AT:
                self._looked_at.clear()
            self._looked_at[(node, origin)] = seal
            self._waiting.put_nowait((node, origin))

    async def _mend_for_ever(self) -> None:
        while True:
            node, origin = await self._waiting.get()
            try:
                await self._mend(node, origin)
            except TarsdError as error:
                self._looked_at.pop((node, origin), None)
                log.warning("a fork of %s could not be looked at: %s", origin, error)

    async def _mend(self, node: NodeId, origin: str) -> None:
        store = self._services.store
        common, parted = 0, store.heads().get(origin, (0, b""))[0]
        theirs = await self._their(node, origin, parted)
        if theirs is not None and theirs.sha == await store.seal_of(origin, parted):
            return
        while parted - common > 1:
            middle = (common + parted) // 2
            found = await self._their(node, origin, middle)
            if found is not None and found.sha == await store.seal_of(origin, middle):
                common = middle
            else:
                parted, theirs = middle, found
        if theirs is None:
            return  # it only has less than we have
        if moved := await store.give_way(origin, common, theirs.sha):
            self.moved_records += moved
            # Who has not given way yet may give us the same branch again: then it is looked at again.
            self._looked_at = {key: seal for key, seal in self._looked_at.items() if key[1] != origin}
            self._note(f"{origin} has two branches after record {common}; {moved} records have another name now")
            self._moved(node)
        elif await store.seal_of(origin, parted) != theirs.sha:
            self._note(f"{origin} has two branches after record {common}; ours keeps the name")
            self._stayed(node)

    def _note(self, what: str) -> None:
        text = f"{what}: a cloned or restored node"
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text)

    async def _their(self, node: NodeId, origin: str, seq: int) -> Record | None:
        request = RecordsRequest({origin: seq - 1}, limit=1, only=origin)
        async with self._services.dispatch.call(calls.RECORDS, request, only=node) as items:
            async for item in items:
                return next((each for each in item.records if (each.origin, each.seq) == (origin, seq)), None)
        return None
