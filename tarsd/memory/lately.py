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
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from tarsd.memory import bodies
from tarsd.memory.bodies import DocumentBody, MemoryBody, SummaryBody
from tarsd.memory.conversations import Conversations
from tarsd.memory.forgetting import Forgotten, Text, is_conversation_in
from tarsd.memory.telling import Facts, without
from tarsd.names import ConversationId

LATELY_S = 120.0
MAX_LATELY = 100  # forgettings; the oldest makes room


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
            summary = cleaned(name, kept, forgotten)
            if summary == kept.summary:
                continue
            changed += 1
            if summary:
                self._conversations.rewrite(name, kept.person, summary)
            else:
                self._conversations.forget(name, kept.person)
        return changed

    def without(self, summary: str) -> str:
        """Return a new summary without what was forgotten lately (rule 3)."""
        now = self._clock()
        for until, facts in tuple(self._lately):
            if until > now:
                summary = without(summary, facts)
            else:
                self._lately.remove((until, facts))
        return summary


class Told(Protocol):
    """A conversation as it is kept or travels."""

    @property
    def summary(self) -> str: ...  # noqa: D102
    @property
    def documents(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def person(self) -> str: ...  # noqa: D102


def cleaned(name: ConversationId, told: Told, forgotten: Forgotten) -> str:
    """Return the summary without what was forgotten; "" = the whole conversation is to be dropped (rules 1 and 2)."""
    texts = _bodies(forgotten)
    files = {body.file for body in texts if isinstance(body, DocumentBody)}
    if is_conversation_in(forgotten.graves, name, told.person) or not files.isdisjoint(told.documents):
        return ""
    return without(told.summary, Facts(_told(body for body in texts if _may_be_told_in(body, told))))


def _bodies(forgotten: Forgotten) -> list[bodies.Body]:
    return [body for text in forgotten.texts if (body := _read(text)) is not None]


def _read(text: Text) -> bodies.Body | None:
    return bodies.read(text.kind, text.key, text.body)


def _told(texts: Iterable[bodies.Body]) -> list[str]:
    return [body.text for body in texts if isinstance(body, MemoryBody | SummaryBody)]


def _may_be_told_in(body: bodies.Body, conversation: Told) -> bool:
    if not isinstance(body, MemoryBody | SummaryBody) or body.scope != "person":
        return True
    return not body.person or not conversation.person or body.person == conversation.person
