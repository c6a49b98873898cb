"""A night for parts under test: what they are given, on a real journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from tarsd.memory.bodies import DiaryChange
from tarsd.roles.journal import Journal

ENTRY = "night"
BEGAN = datetime(2026, 5, 10, 3, 0)


class ScriptedNight:
    """Keeps the cursor; `at_step` is called with it at each step."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        job: str = "compact_memory",
        is_asked_for: bool = False,
        at_step: Callable[[str], None] = lambda cursor: None,
    ) -> None:
        self.job = job
        self.began = BEGAN
        self.is_asked_for = is_asked_for
        self.cluster_key = f"{job} 2026-05-10"
        self.cursor = ""
        self._journal = journal
        self._at_step = at_step

    async def step(self, cursor: str, said: str = "") -> None:
        self.cursor = cursor
        self._at_step(cursor)

    async def intend(self, changes: Sequence[DiaryChange]) -> None:
        if self._journal is not None:
            await self._journal.intend(ENTRY, self.job, BEGAN.timestamp(), changes)

    async def did(self) -> None:
        if self._journal is not None:
            await self._journal.did(ENTRY)
