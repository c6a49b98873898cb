"""Ollama's replies: lines of NDJSON, or one object, with their durations in nanoseconds.

While an answer waits, a stream has chunks without text; `queue_position`, `wait_s` and `loading` beside Ollama's own
fields say why. `tarsd` tells how the answer came about: who generated it, its sources, what was left out.
The durations are what this node saw: `load` while the model was loaded, `prompt_eval` from then (or from the end of
the queue) to the first text, `eval` from the first text to the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from tarsd import errors
from tarsd.api.inference import Extra, Piece, Whole, merged
from tarsd.calls import ToolCall, Usage

Clock = Callable[[], float]


@dataclass
class Durations:
    """When an answer's parts began and ended; takes each piece and the time, in seconds of one clock."""

    began: float
    loaded: float | None = None  # the last time that the model was said to be loading
    load_began: float | None = None
    waited: float | None = None  # the last time that others were said to be before it
    first_text: float | None = None

    def note(self, piece: Piece, now: float) -> None:
        """See a piece at `now`."""
        if piece.loading and self.load_began is None:
            self.load_began = now
        elif self.load_began is not None and self.loaded is None and not piece.loading:
            self.loaded = now
        if piece.queue_position:
            self.waited = now
        if self.first_text is None and (piece.text or piece.finish_reason):
            self.first_text = now

    def told(self, now: float) -> dict[str, int]:
        """Return Ollama's fields for an answer that ended at `now`."""
        ready = max(self.began, self.loaded or self.began, self.waited or self.began)
        first = self.first_text if self.first_text is not None else now
        load_s = (self.loaded or now) - self.load_began if self.load_began is not None else 0.0
        return {
            "total_duration": _ns(now - self.began),
            "load_duration": _ns(load_s),
            "prompt_eval_duration": _ns(first - ready),
            "eval_duration": _ns(now - first),
        }


def _ns(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def moment(at: float) -> str:
    """Return a time (seconds since 1970) as Ollama writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def tool_call_view(index: int, call: ToolCall) -> dict[str, Any]:
    """Return a call in Ollama's shape; raises `Unavailable` where its arguments are no JSON object."""
    try:
        arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise errors.Unavailable(f"the model called {call.name!r} with arguments that are no JSON object") from error
    return {"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}}


class OllamaForm:
    """Builds the objects of one answer; `is_chat` decides between `message` and `response`."""

    content_type = "application/x-ndjson"

    def __init__(self, model: str, *, is_chat: bool, clock: Clock = time.monotonic) -> None:
        self._model = model
        self._is_chat = is_chat
        self._clock = clock
        self._durations = Durations(clock())
        self._extra = Extra()
        self._waiting = Piece()

    def note(self, piece: Piece) -> None:
        """See a piece: the durations and the last object need all of them."""
        self._durations.note(piece, self._clock())
        self._extra = merged(self._extra, piece.extra)
        self._waiting = piece if piece.queue_position or piece.loading else Piece()

    def whole(self, found: Whole) -> dict[str, Any]:
        """Return an answer that is not streamed."""
        return self._object(found.text, found.tool_calls) | self._end(found.last)

    def without_answer(self, reason: str) -> dict[str, Any]:
        """Return the reply to a request that asked for no answer: `reason` is "load" or "unload"."""
        ended = {"done": True, "done_reason": reason}
        return self._object() | (ended | self._durations.told(self._clock()) if reason == "load" else ended)

    def opening(self) -> bytes:
        """See `Form`."""
        return b""

    def encoded(self, pieces: Sequence[Piece]) -> bytes:
        """See `Form`."""
        return b"".join(self._lines(piece) for piece in pieces)

    def beat(self) -> bytes:
        """See `Form`."""
        return _line(self._object() | {"done": False} | _waiting_view(self._waiting))

    def failed(self, error: errors.TarsdError) -> bytes:
        """See `Form`."""
        return _line({"error": str(error)})

    def _lines(self, piece: Piece) -> bytes:
        self.note(piece)
        lines = b""
        if piece.text or piece.tool_calls or not piece.finish_reason:
            chunk = self._object(piece.text, piece.tool_calls) | {"done": False} | _waiting_view(piece)
            if piece.extra is not None:
                chunk["tarsd"] = piece.extra
            lines += _line(chunk)
        if piece.finish_reason:
            lines += _line(self._object() | self._end(piece))
        return lines

    def _object(self, text: str = "", tool_calls: Sequence[ToolCall] = ()) -> dict[str, Any]:
        common: dict[str, Any] = {"model": self._model, "created_at": moment(time.time())}
        if not self._is_chat:
            return common | {"response": text}
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if tool_calls:
            message["tool_calls"] = [tool_call_view(index, call) for index, call in enumerate(tool_calls)]
        return common | {"message": message}

    def _end(self, last: Piece) -> dict[str, Any]:
        usage: Usage = last.usage
        return {
            "done": True,
            "done_reason": "length" if last.finish_reason == "length" else "stop",
            **self._durations.told(self._clock()),
            "prompt_eval_count": usage.prompt_tokens,
            "eval_count": usage.completion_tokens,
            "tarsd": self._extra,
        }


def _waiting_view(piece: Piece) -> dict[str, Any]:
    if not piece.queue_position and not piece.loading:
        return {}
    return {"queue_position": piece.queue_position, "wait_s": piece.wait_s, "loading": piece.loading}


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
