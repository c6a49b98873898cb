"""What conversations in RAM tell of a thing that is forgotten, and what is about to be told to them.

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
from tarsd.memory.bodies import Body, DocumentBody, MemoryBody, SummaryBody, read
from tarsd.memory.conversations import Conversation
from tarsd.memory.forgetting import Forgotten, documents_of, is_conversation_in
from tarsd.memory.telling import Facts, without
from tarsd.names import ConversationId

LATELY_S = 120.0
MAX_LATELY = 100  # forgettings; the oldest makes room

StateT = TypeVar("StateT", Conversation, RecallItem)


class Cleaner:
    """Cleans the states of conversations of what one commit forgot."""

    def __init__(self, forgotten: Forgotten) -> None:
        bodies = [body for each in forgotten.texts if (body := read(each.kind, each.key, each.body)) is not None]
        self._graves = frozenset(forgotten.graves)
        self._files = {body.file for body in bodies if isinstance(body, DocumentBody)}
        self._documents = set(documents_of(forgotten))
        self._told = [body for body in bodies if isinstance(body, MemoryBody | SummaryBody)]
        self.facts = Facts(body.text for body in self._told)

    def drops(self, conversation: ConversationId, person: str) -> bool:
        """Say whether a person's conversation itself was forgotten."""
        return is_conversation_in(self._graves, conversation, person)

    def clean(self, conversation: ConversationId, state: StateT) -> StateT | None:
        """Return a state without what was forgotten, itself where nothing was, None where it is to be dropped."""
        leaned = not self._files.isdisjoint(state.documents) or not self._documents.isdisjoint(state.document_ids)
        if self.drops(conversation, state.person) or leaned:
            return None
        facts = Facts(body.text for body in self._told if _may_be_told_to(body, state.person))
        summary = without(state.summary, facts)
        title = "" if facts.tells(state.title) else state.title
        if (summary, title) == (state.summary, state.title):
            return state
        return replace(state, summary=summary, title=title) if summary else None


class LatelyForgotten:
    """What was forgotten a short while ago (rule 3). `clock`: monotonic seconds."""

    def __init__(self, *, lately_s: float = LATELY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lately_s = lately_s
        self._lately: deque[tuple[float, Facts]] = deque(maxlen=MAX_LATELY)

    def add(self, facts: Facts) -> None:
        """Keep facts for a while."""
        if facts:
            self._lately.append((self._clock() + self._lately_s, facts))

    def clean(self, told: StateT) -> StateT:
        """Return a conversation's state without what was forgotten lately; its title may tell it too."""
        return replace(told, summary=self.without(told.summary), title=self.without(told.title))

    def tells(self, text: str) -> bool:
        """Say whether a text tells what was forgotten lately."""
        return self.without(text) != text

    def without(self, summary: str) -> str:
        """Return a new summary without what was forgotten lately."""
        for facts in self._facts():
            summary = without(summary, facts)
        return summary

    def _facts(self) -> Iterable[Facts]:
        now = self._clock()
        while self._lately and self._lately[0][0] <= now:
            self._lately.popleft()
        return [facts for _, facts in self._lately]


def _may_be_told_to(body: Body, person: str) -> bool:
    if not isinstance(body, MemoryBody | SummaryBody) or body.scope != "person":
        return True
    return not body.person or not person or body.person == person
