"""Keeps the node's conversations: folds each exchange into its summary, and hands ended ones on to be written down.

Rules
1. A rolling summary is made by the model; where none can, by extraction. The exchange itself is dropped either way.
2. Exchanges are folded one at a time, in order, so that none is lost and the queue stays free for people. While more
   than `MAX_WAITING_FOLDS` wait, those at hand are extracted: memory falls behind for seconds, not for minutes.
3. An answer that was resumed may be told by two hosts; the exchange counts once.
4. Who took over a conversation, or lost it, goes on from what the host still knows, else from what was written down.
5. What is forgotten while exchanges wait to be folded stays forgotten: they were told before.
6. Conversations that have ended are handed to `written`; that never holds up a question.
7. What an answer was only given to recall does not get to those who see the summary by it (`memory.narrower`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

from tarsd import calls
from tarsd.calls import (
    ConversationsItem,
    ConversationsRequest,
    ConversationView,
    RecallItem,
    RecallRequest,
    RememberItem,
    RememberRequest,
    SummarizeItem,
    Who,
)
from tarsd.errors import TarsdError
from tarsd.memory import summaries
from tarsd.memory.conversations import Conversation, Conversations, is_worth, state_of
from tarsd.memory.forgetting import Forgotten, is_conversation_in
from tarsd.memory.lately import Cleaner, LatelyForgotten
from tarsd.memory.narrower import tellable
from tarsd.names import Capability, ConversationId, NodeId, TraceId
from tarsd.planning.language import detect_language
from tarsd.roles.base import Services
from tarsd.roles.synthesis import Synthesis
from tarsd.rpc import CallContext, Handler

log = logging.getLogger(__name__)

MAX_WAITING_FOLDS = 4
FOLD_S = 15.0  # people may keep the model busy; then the summary is extracted rather than put off and off
MAX_TO_WRITE = 100  # conversations that made room while the disk refused them
LOOK_S = 300.0  # how often it is looked for conversations that have ended

# Writes a summary of a text in so many words, within so many seconds.
Summarize = Callable[[str, int, float], Awaitable[SummarizeItem]]


class Folding:
    """What the role `cognitive` does for conversations: `remember`, `recall`, `conversations`."""

    def __init__(self, services: Services, summarize: Summarize, *, limit: int) -> None:
        self._services = services
        self._summarize = summarize
        self._synthesis = Synthesis(services)
        self._conversations = Conversations(limit, on_ended=self._ended)
        self._lately = LatelyForgotten()
        self._folding = asyncio.Lock()
        self._waiting = 0
        self._dropped: set[str] = set()
        self._writing: set[asyncio.Task[None]] = set()
        self._to_write: dict[tuple[str, ConversationId], Conversation] = {}  # by person and conversation
        self._order = asyncio.Lock()  # one at a time is written
        self._looking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._conversations)

    def handlers(self) -> Mapping[Capability, Handler]:
        """Return the handlers, as a role does."""
        return {
            calls.REMEMBER.name: self._remember,
            calls.RECALL.name: self._recall,
            calls.CONVERSATIONS.name: self._list,
        }

    def start(self) -> None:
        """Look for ended conversations from now on."""
        self._looking = asyncio.create_task(self._look(), name="conversations that have ended")

    async def stop(self) -> None:
        """Stop looking, and write down at once what is worth it: the RAM it is in goes now."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._write_all(
            (conversation, kept) for conversation, kept in self._conversations.list() if is_worth(kept)
        )

    def let_go(self, forgotten: Forgotten) -> int:
        """Let go of what the conversations tell of it (rule 5); return how many were dropped or lost a sentence."""
        if self._waiting or self._folding.locked():
            self._dropped |= set(forgotten.graves)
        cleaner, changed = Cleaner(forgotten), 0
        self._lately.add(cleaner.facts)
        for conversation, kept in self._conversations.list():
            cleaned = cleaner.clean(conversation, kept)
            if cleaned is None:
                changed += self._conversations.forget(conversation, kept.person)
            elif cleaned is not kept:
                self._conversations.rewrite(conversation, cleaned)
                changed += 1
        waiting = {key: cleaner.clean(key[1], kept) for key, kept in self._to_write.items()}
        self._to_write = {key: kept for key, kept in waiting.items() if kept is not None}
        return changed

    async def write_ended(self) -> None:
        """Write down those that have ended or grew long."""
        await self._write_all(self._conversations.due())

    async def _remember(self, request: RememberRequest, context: CallContext) -> AsyncGenerator[RememberItem, None]:
        self._waiting += 1
        try:
            await self._folding.acquire()
        finally:
            self._waiting -= 1
        try:
            state = await self._fold(request, context.headers.deadline_s)
        finally:
            self._folding.release()
            if not self._waiting:
                self._dropped.clear()
        yield RememberItem(state.summary, state.exchanges, state)

    async def _fold(self, request: RememberRequest, deadline_s: float) -> RecallItem:
        await self._know(request.conversation, request.person, request.seed)
        if kept := self._conversations.repeated(request):
            return state_of(kept)
        before = self._conversations.recall(request.conversation, request.person)
        exchange = summaries.Exchange(before.summary, request.question, await self._tellable(request, before.recalled))
        written = ""
        if self._waiting <= MAX_WAITING_FOLDS:
            made = await self._summarize(exchange.text(), summaries.MODEL_WORDS, min(deadline_s, FOLD_S))
            written = made.text if made.method == "model" else ""
        # in a thread: of a very long exchange it takes a second, and the loop has calls to answer
        summary = self._lately.without(await asyncio.to_thread(summaries.fold, exchange, written))
        if is_conversation_in(self._dropped, request.conversation, request.person):
            return RecallItem()
        kept = self._conversations.remember(
            request,
            summary,
            language=detect_language(request.question),
            title=self._lately.without(summaries.title_of(request.question)),
        )
        return state_of(kept)

    async def _tellable(self, request: RememberRequest, before: Sequence[str]) -> str:
        """Return what of the answer is folded in (rule 7)."""
        scope, project = self._conversations.place(request)
        if scope == "person":
            return request.answer
        found = await self._services.store.get_many([*request.recalled, *before])
        known = {each.key: each.body for each in found}
        return await asyncio.to_thread(
            tellable, request.question, request.answer, known, request.recalled, before, scope=scope, project=project
        )

    async def _know(self, conversation: ConversationId, person: str, seed: RecallItem | None) -> None:
        """Go on from what is known elsewhere (rule 4)."""
        if seed is not None and seed.person == person:
            clean = self._lately.clean(seed)
            self._conversations.seed(conversation, clean)
        if self._conversations.get(conversation, person) is None:
            written = await self._synthesis.read(conversation, person)
            if written is not None:
                self._conversations.seed(conversation, written)

    async def _recall(self, request: RecallRequest, context: CallContext) -> AsyncGenerator[RecallItem, None]:
        await self._know(request.conversation, request.person, request.seed)
        yield self._conversations.recall(request.conversation, request.person)

    async def _list(
        self, request: ConversationsRequest, context: CallContext
    ) -> AsyncGenerator[ConversationsItem, None]:
        found = {each.id: each for each in self._own(request.who)}
        missing: list[str] = []
        if request.everywhere:
            for item in await asyncio.gather(*self._others(request.who, context.headers.trace)):
                if isinstance(item, str):
                    missing.append(item)
                    continue
                for each in item.conversations:
                    if each.id not in found or each.exchanges > found[each.id].exchanges:
                        found[each.id] = each
        ordered = sorted(found.values(), key=lambda each: -each.touched_at)
        yield ConversationsItem(ordered, ", ".join(missing))

    def _own(self, who: Who) -> list[ConversationView]:
        return [
            _view(conversation, kept)
            for conversation, kept in self._conversations.list()
            if who.sees_all or kept.person == who.person
        ]

    def _others(self, who: Who, trace: TraceId) -> list[Awaitable[ConversationsItem | str]]:
        async def ask(node: NodeId, name: str) -> ConversationsItem | str:
            request = ConversationsRequest(who, everywhere=False)
            try:
                return await self._services.dispatch.one(
                    calls.CONVERSATIONS, request, only=node, trace=trace, deadline_s=3
                )
            except TarsdError:
                return name

        return [
            ask(member.node, member.name)
            for member in self._services.members()
            if not member.is_self and calls.CONVERSATIONS.name in member.capabilities
        ]

    def _ended(self, conversation: ConversationId, kept: Conversation) -> None:
        if is_worth(kept):
            self._to_write[kept.person, conversation] = kept
            task = asyncio.create_task(self._write_all(), name="write a conversation down")
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write_all(self, found: Iterable[tuple[ConversationId, Conversation]] = ()) -> None:
        """Write these and what waits for it; meanwhile they are let go of like the others (`let_go`)."""
        self._to_write |= {(kept.person, conversation): kept for conversation, kept in found}
        async with self._order:
            tried: set[tuple[str, ConversationId]] = set()
            while fresh := [key for key in self._to_write if key not in tried]:
                tried.add(fresh[0])
                kept = self._to_write[fresh[0]]
                if await self._write(fresh[0][1], kept) and self._to_write.get(fresh[0]) is kept:
                    del self._to_write[fresh[0]]
        while len(self._to_write) > MAX_TO_WRITE:
            del self._to_write[next(iter(self._to_write))]

    async def _write(self, conversation: ConversationId, kept: Conversation) -> bool:
        """Write one down; False where the disk refused it: it waits for the next occasion."""
        try:
            kept = self._lately.clean(kept)  # it may have been taken before something was forgotten
            if kept.summary and await self._synthesis.write(conversation, kept):
                self._conversations.was_written(conversation, kept)
        except TarsdError as error:
            log.warning("a conversation's summary was not written down: %s", error)
            return False
        return True

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(TarsdError):
                await self.write_ended()


def _view(conversation: ConversationId, kept: Conversation) -> ConversationView:
    return ConversationView(
        conversation,
        kept.title,
        kept.summary,
        kept.exchanges,
        kept.began_at,
        kept.touched_at,
        list(kept.documents),
        list(kept.projects),
        kept.person,
    )
