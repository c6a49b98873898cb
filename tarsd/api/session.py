"""The open chats: which recent turns a question is asked with. Pure: `now_s` is an argument.

Rules
1. A session holds the last `MAX_TURNS` exchanges, each text cut to `MAX_TURN_CHARACTERS`; nothing of it is written.
2. Another conversation id starts with no turns.
3. A session outlives its connection by `KEEP_S`, so that a phone that slept goes on where it was; then it is dropped.
4. At most `MAX_SESSIONS` are kept; the one unused longest goes first.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from tarsd.calls import Turn
from tarsd.names import ConversationId

MAX_TURNS = 8
MAX_TURN_CHARACTERS = 8_000
MAX_SESSIONS = 64
KEEP_S = 15 * 60.0


def new_conversation() -> ConversationId:
    """Return an id that nobody can guess: whoever knows it continues the chat."""
    return ConversationId(secrets.token_urlsafe(16))


@dataclass
class Session:
    """One open chat."""

    conversation: ConversationId
    turns: deque[Turn] = field(default_factory=lambda: deque(maxlen=MAX_TURNS))
    used_s: float = 0.0

    def remember(self, question: str, answer: str) -> None:
        """Add an exchange; the oldest falls out (rule 1). An answer that never began is no exchange."""
        if answer:
            self.turns.append(Turn(question=question[:MAX_TURN_CHARACTERS], answer=answer[:MAX_TURN_CHARACTERS]))


class Sessions:
    """The sessions of this node, by conversation."""

    def __init__(self) -> None:
        self._kept: OrderedDict[ConversationId, Session] = OrderedDict()

    def open(self, conversation: ConversationId, now_s: float) -> Session:
        """Return the session of `conversation`, a new one where none is kept (rules 2 to 4)."""
        for stale in [key for key, session in self._kept.items() if now_s - session.used_s > KEEP_S]:
            del self._kept[stale]
        session = self._kept.setdefault(conversation, Session(conversation))
        session.used_s = now_s
        self._kept.move_to_end(conversation)
        while len(self._kept) > MAX_SESSIONS:
            self._kept.popitem(last=False)
        return session
