"""Pure: messages as the templates of real models take them.

Rules
1. The text of a message can never become a control token ("<|im_end|>" in a document would end the message and let the
   document speak as the system): such strings are broken by an invisible character.
2. Some templates know no system role, or want user and assistant to alternate: for them the system message opens the
   first user message, and neighbours of one role are joined.
3. Where a conversation is too long its oldest turns are left out: never the system's messages, never the last one. A
   turn begins with a message of the user, so a tool's answer goes with its call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tarsd.calls import Message

_WORD_JOINER = "\u2060"


class Defuser:
    """Breaks a model's control strings in foreign text (rule 1)."""

    def __init__(self, control_strings: Iterable[str]) -> None:
        # One character could not be broken, and occurs in ordinary text. Longer ones first: they may contain others.
        strings = sorted({text for text in control_strings if len(text) > 1}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, strings))) if strings else None

    def text(self, text: str) -> str:
        """Return `text` without control strings."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: match[0][0] + _WORD_JOINER + match[0][1:], text)

    def messages(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        """Return `messages` as templates take them, without control strings."""
        return [{"role": message.role, "content": self.text(message.content)} for message in messages]


def plain_turns(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return `messages` without system role and with alternating roles (rule 2)."""
    turns: list[dict[str, str]] = []
    for message in messages:
        role = "user" if message["role"] == "system" else message["role"]
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += "\n\n" + message["content"]
        else:
            turns.append({"role": role, "content": message["content"]})
    return turns


def without_oldest_turn(messages: Sequence[Message]) -> list[Message] | None:
    """Return the messages without their oldest turn (rule 3); None where nothing may be left out."""
    first = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    if first >= len(messages) - 1:
        return None
    following = (at for at in range(first + 1, len(messages)) if messages[at].role == "user")
    return [*messages[:first], *messages[next(following, len(messages) - 1) :]]
