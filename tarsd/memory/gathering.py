"""Reads what `closure` needs to say what goes along with a key: by links, and all summaries, for their wording.

Rules
1. It says what `closure` would say of all that is remembered: a memory goes along by links alone, so whoever is not
   linked to what goes cannot change it. Each key that goes is followed once.
2. 100,000 memories are not read for it, and nothing is compared on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tarsd.memory import bodies
from tarsd.memory.bodies import Body, SummaryBody, conversation_key, key_of
from tarsd.memory.closure import Closure, Remembered, Target, closure, linked, with_merged


class Memory(Protocol):
    """What is read of a store; see `History` and `ByKey`."""

    async def naming(self, keys: list[str]) -> list[Remembered]:
        """Return what names one of these keys, or lies at one."""

    async def bodies_below(self, key: str) -> list[Body]:
        """Return what is visible below a key."""

    async def older_summaries(self) -> list[SummaryBody]:
        """Return versions of summaries that were written over."""


async def gather(
    memory: Memory, target: Target, may_see: Callable[[Remembered], bool]
) -> tuple[Closure, Mapping[str, Remembered]]:
    """Return what goes along with `target`, and what was read of it, by key."""
    below = await memory.bodies_below(bodies.SUMMARY)
    known: dict[str, Remembered] = {key_of(body): body for body in below if isinstance(body, SummaryBody)}
    older = await memory.older_summaries()
    asked: set[str] = set()
    due = {target.key or conversation_key(target.conversation, target.person)}
    while True:
        while fresh := due - asked:
            asked |= fresh
            known |= {key_of(body): body for body in await memory.naming(sorted(fresh))}
            due = await asyncio.to_thread(linked, target, _copy(known))
        found = await asyncio.to_thread(closure, target, _copy(known), may_see, older)
        due = with_merged(found.forgotten, known)  # a summary that fell takes along what was made from it
        if due <= asked:
            return found, known


def _copy(known: Mapping[str, Remembered]) -> Iterable[Remembered]:
    return list(known.values())
