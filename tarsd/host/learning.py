"""Learns what a person states about itself, after an answer and without being asked to.

Rules
1. Only the person's own question is looked at (`planning.statements`), here, so that its text travels no further.
2. Nothing is learned in a temporary chat, or where it is switched off; the nodes that keep memories refuse it too.
3. What the answer was given as remembered is not learned again from the question that repeats it.
4. What is learned is the person's own; of nobody in particular, its project's, else the household's. It names its
   exchange as its source.
5. The reader never waits for it, and more than `MAX_TASKS` of them wait for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from tarsd import calls
from tarsd.calls import Memory, SaveRequest
from tarsd.dispatch import Dispatch
from tarsd.errors import TarsdError
from tarsd.host.events import Question
from tarsd.memory.recalling import asked_about, in_common
from tarsd.planning.statements import statements

log = logging.getLogger(__name__)

MAX_TASKS = 32


class Learning:
    """The learning side of a host; `is_on`: the node's configuration lets it learn."""

    def __init__(self, dispatch: Dispatch, *, is_on: bool) -> None:
        self._dispatch = dispatch
        self._is_on = is_on
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """End what is still being learned."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def learn_later(self, question: Question, recalled: Sequence[Memory]) -> None:
        """Learn from a question that was answered, in the background."""
        if not self._is_on or question.temporary or len(self._tasks) >= MAX_TASKS:
            return
        new = [text for text in statements(question.text) if not is_recalled(text, recalled)]
        if new:
            task = asyncio.create_task(self._learn(question, new))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _learn(self, question: Question, stated: Sequence[str]) -> None:
        for text in stated:
            request = SaveRequest(
                question.who,
                text,
                scope="person" if question.who.person else "project" if question.project else "household",
                project="" if question.who.person else question.project,
                conversation=question.conversation,
                answer=question.answer,
                made_by="automatic",
            )
            try:
                await self._dispatch.one(calls.SAVE, request, trace=question.trace)
            except TarsdError as error:
                log.info("%s: something was not learned: %s", question.trace, type(error).__name__)
                return


def is_recalled(text: str, recalled: Sequence[Memory]) -> bool:
    """Tell whether a sentence says no more than a memory that the answer was given (rule 3)."""
    asked = asked_about(text)
    return any(in_common(asked, memory)[0] == len(asked) for memory in recalled)
