"""Pure: how fast the engines have been of late."""

from __future__ import annotations

from dataclasses import dataclass

from tarsd.calls import ChatItem

# Shorter parts say more about the prompt than about the engine.
_FEWEST_TOKENS = 8
_NEWEST = 0.3


@dataclass
class Part:
    """What one engine wrote of one answer."""

    started: float
    tokens: int = 0
    first: float = 0.0


class Pace:
    """An average over answers, the newest counting `_NEWEST`; from the first token on, so without the prompt."""

    def __init__(self) -> None:
        self.tokens_per_s = 0.0

    def start(self, now: float) -> Part:
        """Begin to count a part."""
        return Part(started=now)

    def saw(self, part: Part, item: ChatItem, now: float) -> None:
        """Count one item; the last one closes the part."""
        if item.text:
            part.first = part.first or now
            part.tokens += 1
        if item.finish_reason and part.tokens >= _FEWEST_TOKENS and now > part.first:
            speed = (part.tokens - 1) / (now - part.first)
            self.tokens_per_s = speed if not self.tokens_per_s else (1 - _NEWEST) * self.tokens_per_s + _NEWEST * speed
