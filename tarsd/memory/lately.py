"""What the conversations in RAM tell of a thing that is forgotten, and what is about to be told to them.

Rules
1. A forgotten conversation is dropped; so is one that leaned on a forgotten document, for its summary may tell it.
2. From the others the sentences go that tell a forgotten memory or summary (`telling`); one that told nothing else is
   dropped. What was one person's is looked for in that person's conversations only.
3. The exchange in which somebody says "forget ..." tells it once more, and folding it in takes a while: for
   `LATELY_S` what is folded goes without those sentences too. Only stems are kept for that, in RAM.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec.structs import replace

from tarsd.calls import RecallItem
from tarsd.memory import bodies
from tarsd.memory.bodies import DocumentBody, MemoryBody, SummaryBody
from tarsd.memory.conversations import Conversation, Conversations
from tarsd.memory.forgetting import Forgotten, Text, documents_of, is_conversation_in
from tarsd.memory.telling import Facts, without
from tarsd.names import ConversationId

LATELY_S = 120.0
MAX_LATELY = 100  # forgettings; the oldest makes room


StateT = TypeVar("StateT", Conversation, RecallItem)


class LatelyForgotten:
    """Keeps conversations clean of what is forgotten. `clock`: monotonic seconds."""

    def __init__(self, conversations: Conversations, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._conversations = conversations
        self._clock = clock
        self._lately: deque[tuple[float, Facts]] = deque(maxlen=MAX_LATELY)

    def let_go(self, forgotten: Forgotten) -> int:
        """Clean the conversations; return how many were dropped or lost a sentence."""
        if facts := Facts(_told(_bodies(forgotten))):
            self._lately.append((self._clock() + LATELY_S, facts))
        changed = 0
        for name, kept in self._conversations.list():
            clean = cleaned(name, kept, forgotten)
            if clean is None:
                self._conversations.forget(name, kept.person)
            elif clean is not kept:
                self._conversations.rewrite(name, clean)
            changed += clean is not kept
        return changed

    def clean(self, told: StateT) -> StateT:
        """Return a conversation's state without what was forgotten lately."""
        return replace(told, summary=self.without(told.summary), title=self.without(told.title))

    def without(self, summary: str) -> str:
        """Return a new summary without what was forgotten lately (rule 3)."""
        now = self._clock()
        for until, facts in tuple(self._lately):
            if until > now:
                summary = without(summary, facts)
            else:
                self._lately.remove((until, facts))
        return summary


def cleaned(name: ConversationId, told: StateT, forgotten: Forgotten) -> StateT | None:
    """Return a conversation without what was forgotten, itself where it tells nothing of it, None where it is to be
    dropped (rules 1 and 2). Its title is cleaned too: it is the beginning of what somebody said."""
    texts = _bodies(forgotten)
    files = {body.file for body in texts if isinstance(body, DocumentBody)}
    leaned = not files.isdisjoint(told.documents) or not set(documents_of(forgotten)).isdisjoint(told.document_ids)
    if leaned or is_conversation_in(forgotten.graves, name, told.person):
        return None
    facts = Facts(_told(body for body in texts if _may_be_told_in(body, told.person)))
    summary, title = without(told.summary, facts), without(told.title, facts)
    if (summary, title) == (told.summary, told.title):
        return told
    return replace(told, summary=summary, title=title) if summary else None


def _bodies(forgotten: Forgotten) -> list[bodies.Body]:
    return [body for text in forgotten.texts if (body := _read(text)) is not None]


def _read(text: Text) -> bodies.Body | None:
    return bodies.read(text.kind, text.key, text.body)


def _told(texts: Iterable[bodies.Body]) -> list[str]:
    return [body.text for body in texts if isinstance(body, MemoryBody | SummaryBody)]


def _may_be_told_in(body: bodies.Body, person: str) -> bool:
    if not isinstance(body, MemoryBody | SummaryBody) or body.scope != "person":
        return True
    return not body.person or not person or body.person == person
