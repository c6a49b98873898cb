"""The open chats: which recent turns a question is asked with. Pure: `now_s` is an argument.

Rules
1. A session holds the last `MAX_TURNS` exchanges, each text cut to `MAX_TURN_CHARACTERS`; nothing of it is written.
2. Another conversation id starts with no turns.
3. A session outlives its connection by `KEEP_S`, so that a phone that slept goes on where it was; then it is dropped.
4. At most `MAX_SESSIONS` are kept; the one unused longest goes first.
5. The answer that ended last is kept whole with its session: a reader who lost the end of it gets just that.
6. A session is its person's, and a temporary chat is another one: whoever names somebody else's conversation begins it
   anew, and what was said in a temporary chat is in no other question's turns.
7. What is forgotten goes from here too: turns that tell it, and the answer that ended last where it does. For `KEEP_S`
   no turn that tells it comes in either: "forget ..." and its answer are one.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tarsd.api.messages import MAX_TURN_CHARACTERS, MAX_TURNS, PastTurn
from tarsd.calls import Turn
from tarsd.host.events import DoneEvent
from tarsd.memory.forgetting import Forgotten
from tarsd.memory.lately import Cleaner, LatelyForgotten
from tarsd.memory.telling import Facts, tells
from tarsd.names import AnswerId, ConversationId

MAX_SESSIONS = 64
KEEP_S = 15 * 60.0


def new_conversation() -> ConversationId:
    """Return an id that nobody can guess: whoever knows it continues the chat."""
    return ConversationId(secrets.token_urlsafe(16))


class Ended(NamedTuple):
    """A whole answer and its last event."""

    answer: AnswerId
    text: str
    done: DoneEvent


@dataclass
class Session:
    """One open chat."""

    conversation: ConversationId
    turns: deque[Turn] = field(default_factory=lambda: deque(maxlen=MAX_TURNS))
    used_s: float = 0.0
    ended: Ended | None = None
    lately: LatelyForgotten = field(default_factory=LatelyForgotten)

    def replace_turns(self, turns: Iterable[PastTurn]) -> None:
        """Take what a client brings along: it may have been elsewhere in between, so it knows better."""
        self.turns.clear()
        self.turns.extend(Turn(question=turn.question, answer=turn.answer) for turn in turns)

    def rest_of(self, answer: str, shown: str) -> Ended | None:
        """Return the end of the answer that ended last, when it is that one and goes on from `shown` (rule 5)."""
        ended = self.ended
        if ended is None or ended.answer != answer or not ended.text.startswith(shown):
            return None
        return ended._replace(text=ended.text[len(shown) :])

    def let_go(self, facts: Facts, *, whole: bool) -> None:
        """Let go of turns that tell a fact, or of all."""
        kept = [turn for turn in self.turns if not (whole or tells(f"{turn.question}\n{turn.answer}", facts))]
        self.turns = deque(kept, maxlen=MAX_TURNS)
        if self.ended is not None and (whole or tells(self.ended.text, facts)):
            self.ended = None

    def remember(self, question: str, answer: str) -> None:
        """Add an exchange; the oldest falls out (rule 1). An answer that never began is no exchange."""
        if answer and not self.lately.tells(f"{question}\n{answer}"):
            self.turns.append(Turn(question=question[:MAX_TURN_CHARACTERS], answer=answer[:MAX_TURN_CHARACTERS]))


class Sessions:
    """The sessions of this node, by conversation."""

    def __init__(self) -> None:
        self._lately = LatelyForgotten(lately_s=KEEP_S)
        self._kept: OrderedDict[tuple[str, bool, ConversationId], Session] = OrderedDict()

    def open(self, conversation: ConversationId, now_s: float, *, person: str = "", temporary: bool = False) -> Session:
        """Return the session of this person's `conversation`, a new one where none is kept (rules 2 to 4, and 6)."""
        for stale in [key for key, session in self._kept.items() if now_s - session.used_s > KEEP_S]:
            del self._kept[stale]
        key = (person, temporary, conversation)
        session = self._kept.setdefault(key, Session(conversation, lately=self._lately))
        session.used_s = now_s
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_SESSIONS:
            self._kept.popitem(last=False)
        return session

    def let_go(self, forgotten: Forgotten) -> None:
        """Let go of what was forgotten (rule 7)."""
        cleaner = Cleaner(forgotten)
        self._lately.add(cleaner.facts)
        for (person, _, conversation), session in self._kept.items():
            session.let_go(cleaner.facts, whole=cleaner.drops(conversation, person))
