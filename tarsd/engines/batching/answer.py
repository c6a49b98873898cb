"""One answer while it is made: its prompt, the tokens that come, and what of them a reader sees. No llama.cpp.

Rules
1. It ends at the model's own end tokens, at a stop string, when calls of tools are complete, at `max_tokens`, or when
   the context is full; the last item says which.
2. An item for each token that shows something; no character is cut, what may become a stop string or a call waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tarsd.calls import ChatItem, ChatRequest, Usage
from tarsd.engines.batching.prompts_shape import Prompt
from tarsd.engines.text import StopFilter, Utf8
from tarsd.engines.toolcalls import ToolCallFilter, is_forced
from tarsd.errors import TarsdError
from tarsd.wire import encode


class Chooser(Protocol):
    """What chooses the answer's tokens; `batching.sampling` is the real one."""

    def choose(self, index: int) -> int:
        """Return the token after the logits at `index`."""

    def free(self) -> None:
        """Give back what it holds."""


class Answer:
    """`sequence` is where it is written, None while it waits for room; `read` counts the evaluated prompt tokens."""

    def __init__(
        self, asked: ChatRequest, prompt: Prompt, sampler: Chooser, most_tokens: int, new_id: Callable[[], str]
    ) -> None:
        self.asked = asked
        self.prompt = prompt
        self.sampler = sampler
        self.most_tokens = most_tokens
        self.sequence: int | None = None
        self.read = 0
        self.cached = 0
        self.pending: int | None = None  # the token that was chosen last, not evaluated yet
        self.error: TarsdError | None = None
        self.has_ended = False
        self.is_kept = True  # what was evaluated for it may be used for another one
        self._items: list[bytes] = []
        self._evaluated = bytearray()  # the text of the evaluated tokens that it wrote itself
        self._pending_piece = b""
        self._written = 0
        self._text, self._stops = Utf8(), StopFilter(asked.stop)
        self._calls = ToolCallFilter(asked.tools if self.has_tools else [], new_id)
        self._is_forced = is_forced(asked.tools, asked.tool_choice)
        self._forced_text = ""
        if prompt.dropped_messages:
            self._items.append(encode(ChatItem(dropped_messages=prompt.dropped_messages)))

    @property
    def is_repeatable(self) -> bool:
        """Whether the same request must get the same answer, as far as that can be had: it has a seed."""
        return self.asked.seed is not None

    @property
    def has_tools(self) -> bool:
        """Whether its text may hold calls."""
        return bool(self.asked.tools) and self.asked.tool_choice != "none"

    @property
    def is_reading(self) -> bool:
        """Whether its prompt is being evaluated."""
        return self.sequence is not None and self.pending is None and not self.has_ended

    @property
    def left(self) -> int:
        """How many tokens of the prompt are still to be evaluated."""
        return len(self.prompt.tokens) - self.read

    def begin(self, sequence: int, reused: int) -> None:
        """It has its place, where `reused` tokens of its prompt are already."""
        self.sequence, self.read, self.cached = sequence, reused, reused

    def wrote_pending(self) -> None:
        """The token that was chosen last is evaluated now."""
        self._evaluated += self._pending_piece

    def held_text(self) -> str | None:
        """Return the text that its sequence stands for; None where it ends within a character."""
        if self.read < len(self.prompt.tokens):
            return None
        try:
            return self.prompt.text + self._evaluated.decode()
        except UnicodeDecodeError:
            return None

    def take(self, token: int, piece: bytes, *, is_end: bool) -> None:
        """Take the next token, whose bytes are `piece`."""
        if is_end:
            self._end("stop")
            return
        self.pending, self._pending_piece = token, piece
        self._written += 1
        shown = self._shown(self._stops.feed(self._text.feed(piece)))
        if shown:
            self._items.append(encode(ChatItem(text=shown)))
        if self._stops.stopped:
            self._end("stop")
        elif self._written >= self.most_tokens:
            self._end("length")

    @property
    def is_first(self) -> bool:
        """Whether the next token is the first of all that is said."""
        return self._written == 0 and not self.asked.partial

    def fail(self, error: TarsdError) -> None:
        """End it with an error."""
        self.error, self.has_ended = error, True

    def items(self) -> list[bytes]:
        """Return what came since the last time, encoded."""
        found, self._items = self._items, []
        return found

    def _shown(self, text: str) -> str:
        if self._is_forced:  # nothing but a call comes: it is shown as one, at the end
            self._forced_text += text
            return ""
        return self._calls.feed(text)

    def _end(self, reason: str) -> None:
        self.has_ended = True
        rest = "" if self._stops.stopped else self._stops.feed(self._text.finish()) + self._stops.finish()
        shown = self._shown(rest)
        if self._is_forced:
            shown = self._calls.feed(self._forced_text)
        shown += self._calls.finish()
        limit = ""
        if reason == "length":
            limit = "max_tokens" if self._written >= self.asked.max_tokens else "context"
        elif self._calls.calls:
            reason = "tool_calls"
        usage = Usage(len(self.prompt.tokens), self._written, self.cached)
        last = ChatItem(
            shown,
            reason,  # type: ignore[arg-type]
            usage,
            tool_calls=self._calls.calls,
            limit=limit,  # type: ignore[arg-type]
            stop_sequence=self._stops.stopped_by,
        )
        self._items.append(encode(last))
