"""What a host does for the memory of the conversations that it hosts: tells of exchanges, and re-seeds holders.

Rules
1. Only a finished answer is told of, after the reader has it; the reader never waits for memory.
2. Of a temporary chat nobody is told, and nothing is kept.
3. The last state of the newest `MAX_STATES` conversations is kept, in RAM: it goes along with each question and each
   exchange, so that a holder that took over from a dead one, or lost it, goes on from there. It is summaries, no texts.
4. A holder that is lost in the middle is followed: the exchange is told again, to whoever is the holder then, for
   `PATIENCE_S`. It counts once.
5. More than `MAX_TASKS` exchanges that wait are too many: memory must not grow with a dead holder.
6. What is forgotten goes from the states too: the holder has cleaned its own, and neither a seed nor what is on its
   way brings it back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from tarsd import calls, routing
from tarsd.calls import PrepareItem, RecallItem, RememberItem, RememberRequest
from tarsd.dispatch import Dispatch
from tarsd.errors import DeadlineExceeded, TarsdError, Unavailable
from tarsd.gossip.member import Member
from tarsd.host.events import Question
from tarsd.memory.forgetting import Forgotten
from tarsd.memory.lately import Cleaner
from tarsd.names import ConversationId, NodeId

log = logging.getLogger(__name__)

MAX_STATES = 32
MAX_TASKS = 32
PATIENCE_S = 20.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0

Key = tuple[str, ConversationId]  # person and conversation


class Remembering:
    """The memory side of a host."""

    def __init__(
        self, dispatch: Dispatch, members: Callable[[], Sequence[Member]], *, patience_s: float = PATIENCE_S
    ) -> None:
        self._dispatch = dispatch
        self._members = members
        self._patience_s = patience_s
        self._states: OrderedDict[Key, RecallItem] = OrderedDict()
        self._tasks: dict[asyncio.Task[None], Key] = {}

    async def stop(self) -> None:
        """End what is still being remembered."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def seed_of(self, question: Question) -> RecallItem | None:
        """Return the conversation as it was last known here; None where there is nothing to tell of."""
        return None if question.temporary else self._states.get(_key(question))

    def remember_later(self, question: Question, text: str, prepared: PrepareItem) -> None:
        """Tell the holder of a finished answer, in the background."""
        if question.temporary or not question.conversation:
            return
        if len(self._tasks) >= MAX_TASKS:
            log.warning("%s: not remembered, %d exchanges are still waiting", question.trace, MAX_TASKS)
            return
        task = asyncio.create_task(self._remember(question, _told(question, text, prepared)))
        self._tasks[task] = _key(question)
        task.add_done_callback(self._tasks.pop)

    def let_go(self, forgotten: Forgotten) -> int:
        """Let go of what was forgotten (rule 6); return how many conversations told it."""
        cleaner, changed = Cleaner(forgotten), 0
        for task, (person, conversation) in self._tasks.items():
            if cleaner.drops(conversation, person):
                task.cancel()
        for (person, conversation), state in tuple(self._states.items()):
            cleaned = cleaner.clean(conversation, state)
            if cleaned is None:
                del self._states[person, conversation]
            else:
                self._states[person, conversation] = cleaned
            changed += cleaned is not state
        return changed

    async def _remember(self, question: Question, told: RememberRequest) -> None:
        until = time.monotonic() + self._patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._take(question, await self._tell(question, told))
            except (Unavailable, DeadlineExceeded) as error:
                if time.monotonic() + pause_s > until:
                    log.info("%s: the exchange was not remembered: %s", question.trace, error)
                    return
            except TarsdError as error:
                log.info("%s: the exchange was not remembered: %s", question.trace, error)
                return
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _tell(self, question: Question, told: RememberRequest) -> RememberItem:
        holder = conversation_holder(self._members(), told.conversation)
        request = msgspec.structs.replace(told, seed=self._states.get(_key(question)))
        return await self._dispatch.one(calls.REMEMBER, request, trace=question.trace, only=holder)

    def _take(self, question: Question, item: RememberItem) -> None:
        key = _key(question)
        state = item.state or RecallItem(item.summary, item.exchanges, person=key[0])  # an older node tells less
        known = self._states.get(key)
        if state.exchanges == 0 or (known is not None and known.exchanges > state.exchanges):
            return  # it was dropped there, or another exchange was told of meanwhile
        self._states[key] = state
        self._states.move_to_end(key)
        while len(self._states) > MAX_STATES:
            self._states.popitem(last=False)


def conversation_holder(members: Sequence[Member], conversation: ConversationId) -> NodeId | None:
    """Return the node that keeps a conversation's summary: rendezvous hashing over those that can."""
    return routing.holder(members, calls.REMEMBER.name, conversation)


def _key(question: Question) -> Key:
    return question.who.person, question.conversation


def _told(question: Question, text: str, prepared: PrepareItem) -> RememberRequest:
    files = {passage.file: passage.document for passage in prepared.sources}
    named = sorted(files)
    return RememberRequest(
        question.conversation,
        question.text,
        text,
        named,
        question.answer,
        person=question.who.person,
        project=question.project,
        recalled=[memory.key for memory in prepared.memories],
        document_ids=[files[file] for file in named if files[file]],
    )
