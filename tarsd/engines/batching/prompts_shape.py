"""What a prompt is to those who know no model."""

from __future__ import annotations

import msgspec


class Prompt(msgspec.Struct, frozen=True):
    """What a model is to continue: the text, its tokens, which of them were said already, how many messages are out."""

    text: str
    tokens: list[int]
    said: list[int]
    dropped_messages: int = 0
