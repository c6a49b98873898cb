"""Anthropic's replies: one message, or its events in their order.

    message_start  ping  (content_block_start  content_block_delta…  content_block_stop)…  message_delta  message_stop

Rules
1. A block is opened when there is something for it: text first, then one `tool_use` block for each call. A call that
   came without an id gets one: its result will have to name it.
2. `stop_reason`: `stop_sequence` only where the engine says which one ended the answer; one that does not say leaves
   `end_turn`, since a guess would be told as a fact. The node's context cut it: `model_context_window_exceeded`; its
   time ran out: `pause_turn`, after which the answer can be sent back and continued.
3. `input_tokens` are those that were not in the engine's cache; the others are `cache_read_input_tokens`. Nothing is
   known of them when a stream begins: its `message_start` says 0, its `message_delta` the truth.
4. While an answer waits a stream has pings; `queue_position`, `wait_s` and `loading` in them say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tarsd import errors
from tarsd.api.error_shapes import MESSAGES_PATH
from tarsd.api.inference import Extra, Piece, Whole, merged
from tarsd.api.openai_tools import given_back
from tarsd.api.replies import error_body
from tarsd.calls import ToolCall, Usage


def stop_of(last: Piece) -> tuple[str, str | None]:
    """Return `stop_reason` and `stop_sequence` of an answer that ended so (rule 2)."""
    if last.finish_reason == "tool_calls":
        return "tool_use", None
    if last.finish_reason == "length":
        by_limit = {"context": "model_context_window_exceeded", "deadline": "pause_turn"}
        return by_limit.get(last.limit, "max_tokens"), None
    if last.finish_reason == "stop" and last.stop_sequence:
        return "stop_sequence", last.stop_sequence
    return "end_turn", None


def usage_of(usage: Usage) -> dict[str, int]:
    """Return Anthropic's usage object (rule 3)."""
    return {
        "input_tokens": max(0, usage.prompt_tokens - usage.cached_tokens),
        "output_tokens": usage.completion_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
    }


class AnthropicForm:
    """Builds the message, or the events, of one answer."""

    content_type = "text/event-stream"

    def __init__(self, identifier: str, model: str, *, parallel_calls: bool = True) -> None:
        self._common = {"id": identifier, "type": "message", "role": "assistant", "model": model}
        self._extra = Extra()
        self._waiting = Piece()
        self._parallel_calls = parallel_calls
        self._blocks = 0
        self._text_is_open = False

    def whole(self, found: Whole) -> dict[str, Any]:
        """Return an answer that is not streamed."""
        content: list[dict[str, Any]] = [{"type": "text", "text": found.text}] if found.text else []
        called = given_back(found.tool_calls, self._parallel_calls)
        content += [self._tool_use(call) | {"input": _input_of(call)} for call in called]
        reason, sequence = stop_of(found.last)
        ended = {"stop_reason": reason, "stop_sequence": sequence, "usage": usage_of(found.last.usage)}
        return self._common | {"content": content} | ended | {"tarsd": found.extra}

    def opening(self) -> bytes:
        """See `Form`."""
        unknown: dict[str, Any] = {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(Usage()),
        }
        return _event("message_start", {"message": self._common | unknown}) + self.beat()

    def encoded(self, pieces: Sequence[Piece]) -> bytes:
        """See `Form`."""
        return b"".join(self._events(piece) for piece in pieces)

    def beat(self) -> bytes:
        """See `Form`."""
        piece = self._waiting
        if not piece.queue_position and not piece.loading:
            return _event("ping", {})
        why = {"queue_position": piece.queue_position, "wait_s": piece.wait_s, "loading": piece.loading}
        return _event("ping", why)

    def failed(self, error: errors.TarsdError) -> bytes:
        """See `Form`."""
        return _event("error", error_body(error, MESSAGES_PATH))

    def _events(self, piece: Piece) -> bytes:
        self._extra = merged(self._extra, piece.extra)
        self._waiting = piece
        events: list[bytes] = []
        if piece.text:
            events.append(self._text(piece.text))
        elif piece.queue_position or piece.loading:
            events.append(self.beat())
        if piece.finish_reason:
            called = given_back(piece.tool_calls, self._parallel_calls)
            events += [self._close_text(), *(self._call(call) for call in called), self._end(piece)]
        return b"".join(events)

    def _text(self, text: str) -> bytes:
        opening = b""
        if not self._text_is_open:
            self._text_is_open = True
            block = {"type": "text", "text": ""}
            opening = _event("content_block_start", {"index": self._blocks, "content_block": block})
        delta = {"type": "text_delta", "text": text}
        return opening + _event("content_block_delta", {"index": self._blocks, "delta": delta})

    def _close_text(self) -> bytes:
        if not self._text_is_open:
            return b""
        self._text_is_open = False
        self._blocks += 1
        return _event("content_block_stop", {"index": self._blocks - 1})

    def _call(self, call: ToolCall) -> bytes:
        _input_of(call)
        index = self._blocks
        self._blocks += 1
        block = self._tool_use(call) | {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": call.arguments or "{}"}
        return (
            _event("content_block_start", {"index": index, "content_block": block})
            + _event("content_block_delta", {"index": index, "delta": delta})
            + _event("content_block_stop", {"index": index})
        )

    def _end(self, last: Piece) -> bytes:
        reason, sequence = stop_of(last)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        told = {"delta": delta, "usage": usage_of(last.usage), "tarsd": self._extra}
        return _event("message_delta", told) + _event("message_stop", {})

    def _tool_use(self, call: ToolCall) -> dict[str, Any]:
        return {"type": "tool_use", "id": call.id, "name": call.name}


def _input_of(call: ToolCall) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise errors.Unavailable(f"the model called {call.name!r} with arguments that are no JSON object") from error


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode({"type": kind} | fields) + b"\n\n"
