"""Which of an open chat's turns a question is still asked with, after something was forgotten.

The turns come from whoever shows the chat, a page or another program, and hold what was said word by word.

Rules
1. A turn that tells what was forgotten within `LATELY_S` is left out: "what was my PIN?" is not answered from above.
2. Of a conversation that was to be forgotten only what came after that goes along.
"""

from __future__ import annotations

from collections.abc import Sequence

from tarsd.calls import Turn
from tarsd.memory.forgetting import Forgotten
from tarsd.memory.lately import Cleaner, LatelyForgotten
from tarsd.planning.intents import Forget, recognise
from tarsd.planning.texts import texts

LATELY_S = 3600.0  # an open chat ends, or has gone on beyond its last turns, before


class Turns:
    """Keeps what was forgotten lately, as stems and in RAM."""

    def __init__(self) -> None:
        self._lately = LatelyForgotten(lately_s=LATELY_S)

    def let_go(self, forgotten: Forgotten) -> None:
        """Hear of what is forgotten."""
        self._lately.add(Cleaner(forgotten).facts)

    def still_told(self, turns: Sequence[Turn]) -> tuple[Turn, ...]:
        """Return the turns that a question is asked with, oldest first."""
        ends = [number for number, turn in enumerate(turns, 1) if _forgot_all_before(turn)]
        kept = turns[ends[-1] :] if ends else turns
        return tuple(turn for turn in kept if not self._tells(turn))

    def _tells(self, turn: Turn) -> bool:
        return self._lately.tells(turn.question) or self._lately.tells(turn.answer)


def _forgot_all_before(turn: Turn) -> bool:
    if turn.answer not in (texts("en").forgotten_conversation, texts("es").forgotten_conversation):
        return False
    return recognise(turn.question) == Forget("", "conversation")
