"""A question and its answer as far as it is here: what to send to the next node, and what its reader sees. Pure.

Rules
1. What was shown is never shown again: a node sends only what follows.
2. The sources stay the first ones told once there is text: it cites them by number, and the next node is told which.
3. A node that is just coming up may not be able to go on yet: `Unavailable` before any new text is to be tried again.
4. Who is asked for the first time since the node was lost gets what that one knew: the question, its turns, the text.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from tarsd import errors
from tarsd.api.messages import (
    MAX_TURN_CHARACTERS,
    Ask,
    PastTurn,
    Resume,
    StoppedEvent,
    ToReader,
)
from tarsd.host.events import (
    MAX_SHOWN_CHARACTERS,
    AnswerEvent,
    DoneEvent,
    ErrorEvent,
    Source,
    SourcesEvent,
    TokenEvent,
)


class Exchange:
    """One question, asked at `now` (seconds of any clock)."""

    def __init__(
        self,
        text: str,
        language: str,
        turns: Sequence[PastTurn],
        now: float,
        *,
        project: str = "",
        temporary: bool = False,
    ) -> None:
        self.text = text
        self.language = language
        self.project = project
        self.temporary = temporary
        self.turns = list(turns)
        self.answer = secrets.token_urlsafe(16)
        self.shown = ""
        self.over = False
        self.lost_at: float | None = None  # when its node was lost, until new text comes
        self.losses = 0  # since then
        self._interrupted = False
        self._sources: list[Source] = []
        self._began = now

    def message(self, conversation: str, *, with_turns: bool) -> Ask | Resume:
        """Return what to send to a node; `with_turns`: it does not know what was said before. Raises `InvalidInput`."""
        if not self.shown:
            turns = self.turns if with_turns else None
            return Ask(self.text, conversation, self.language, self.answer, turns, self.project, self.temporary)
        if len(self.shown) > MAX_SHOWN_CHARACTERS:
            raise errors.InvalidInput("the answer is too long to be continued elsewhere")
        cited: list[str] = [source.passage for source in self._sources if source.passage]
        known = (self.answer, self.text, conversation, self.language, self.turns, self.shown, cited)
        return Resume(*known, self.project, self.temporary)

    def interrupted(self, now: float) -> None:
        """Its node was lost."""
        self._interrupted = True
        self.losses += 1
        if self.lost_at is None:
            self.lost_at = now

    def take(self, event: ToReader, now: float) -> ToReader | None:
        """Return what the reader is to see of an event, if anything; raises `Unavailable` (rule 3)."""
        match event:
            case AnswerEvent():
                self.answer = event.answer
            case TokenEvent():
                self.shown += event.text
                self.lost_at, self.losses = None, 0
            case SourcesEvent() if self._sources and self.shown:
                return None
            case SourcesEvent():
                self._sources = event.sources
            case DoneEvent() if self._interrupted:
                event = msgspec.structs.replace(event, total_s=round(now - self._began, 4))
            case ErrorEvent() if self.lost_at is not None:
                error = errors.from_wire(event.name, event.sentence)
                if isinstance(error, errors.Unavailable):
                    raise error
            case _:
                pass
        self.over = isinstance(event, DoneEvent | ErrorEvent | StoppedEvent)
        return event

    def turn(self) -> PastTurn:
        """Return the exchange as a later question is told it."""
        return PastTurn(self.text[:MAX_TURN_CHARACTERS], self.shown[:MAX_TURN_CHARACTERS])
