"""OpenAI's responses: what POST /v1/responses gives, whole or as events. Pure, but for the ids of items.

    response.created, response.in_progress,
      for the text       output_item.added, content_part.added, output_text.delta…, output_text.done, content_part.done,
                         output_item.done
      for each call      output_item.added, function_call_arguments.delta, function_call_arguments.done,
                         output_item.done
    response.completed | response.incomplete | response.failed

Rules
1. Every event has the next `sequence_number`, from 0; the last one has the whole response.
2. An answer cut by a limit is `incomplete`; `incomplete_details` has OpenAI's only word for it, `tarsd.limit` ours.
3. A stream that breaks ends with `response.failed`, its error and what was shown till then.
4. A response without text and calls has one empty text: clients look for one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from tarsd import errors
from tarsd.api.inference import Extra, Piece, Whole
from tarsd.api.openai_tools import given_back
from tarsd.api.responses_request import ResponseRequest
from tarsd.api.sse import event
from tarsd.calls import ToolCall, Usage


def usage_of(usage: Usage) -> dict[str, Any]:
    """Return the usage object of a response."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


class ResponseShapes:
    """Builds one response, and its events: a `StreamShape` for one answer."""

    def __init__(self, identifier: str, created: int, request: ResponseRequest) -> None:
        self._common = _echo(identifier, created, request)
        self._parallel = request.parallel_tool_calls
        self._sequence = 0
        self._message = _new_id("msg")
        self._done: list[dict[str, Any]] = []  # items
        self._whole = Whole()

    def whole(self, whole: Whole) -> dict[str, Any]:
        """Return the response of an answer that is not streamed."""
        calls = given_back(whole.tool_calls, self._parallel)
        items = [self._text_item(whole.text, _status(whole))] if whole.text or not calls else []
        return self._ended(whole, [*items, *(_call_item(_new_id("fc"), call) for call in calls)])

    def opening(self) -> bytes:
        """See `StreamShape`."""
        begun = self._response("in_progress", [])
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def piece(self, index: int, piece: Piece) -> bytes:
        """See `StreamShape`."""
        calls = given_back(piece.tool_calls, self._parallel)
        is_empty = bool(piece.finish_reason) and not calls and not self._whole.text
        parts: list[bytes] = []
        if (piece.text or is_empty) and not self._whole.text:
            parts += self._begin_text()
        if piece.text:
            parts.append(self._text_event("response.output_text.delta", delta=piece.text, logprobs=[]))
        self._whole.take(piece)
        if piece.finish_reason:
            if self._whole.text or is_empty:
                parts += self._end_text()
            for call in calls:
                parts += self._call(call)
        return b"".join(parts)

    def closing(self) -> bytes:
        """See `StreamShape`."""
        response = self._ended(self._whole, self._done)
        return self._event(f"response.{response['status']}", response=response)

    def failure(self, error: errors.TarsdError) -> bytes:
        """See `StreamShape`."""
        shown = [] if self._done or not self._whole.text else [self._text_item(self._whole.text, "incomplete")]
        failed = {"error": {"code": _code_of(error), "message": str(error)}}
        return self._event("response.failed", response=self._response("failed", [*self._done, *shown]) | failed)

    # --- events -------------------------------------------------------------------------------------------------------

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        return event({"type": kind, "sequence_number": number} | fields, kind)

    def _text_event(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._message, output_index=0, content_index=0, **fields)

    def _begin_text(self) -> list[bytes]:
        item = self._text_item("", "in_progress") | {"content": []}
        return [
            self._event("response.output_item.added", output_index=0, item=item),
            self._text_event("response.content_part.added", part=_part("")),
        ]

    def _end_text(self) -> list[bytes]:
        text = self._whole.text
        item = self._text_item(text, _status(self._whole))
        self._done.append(item)
        return [
            self._text_event("response.output_text.done", text=text, logprobs=[]),
            self._text_event("response.content_part.done", part=_part(text)),
            self._event("response.output_item.done", output_index=0, item=item),
        ]

    def _call(self, call: ToolCall) -> list[bytes]:
        at, item = len(self._done), _call_item(_new_id("fc"), call)
        place = {"item_id": item["id"], "output_index": at}
        self._done.append(item)
        begun = item | {"arguments": "", "status": "in_progress"}
        return [
            self._event("response.output_item.added", output_index=at, item=begun),
            self._event("response.function_call_arguments.delta", delta=call.arguments, **place),
            self._event("response.function_call_arguments.done", arguments=call.arguments, name=call.name, **place),
            self._event("response.output_item.done", output_index=at, item=item),
        ]

    # --- objects ------------------------------------------------------------------------------------------------------

    def _text_item(self, text: str, status: str) -> dict[str, Any]:
        return {
            "id": self._message,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [_part(text)],
        }

    def _ended(self, whole: Whole, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        status = _status(whole)
        why = {"incomplete_details": {"reason": "max_output_tokens"}} if status == "incomplete" else {}
        return self._response(status, items) | why | {"usage": usage_of(whole.usage), "tarsd": whole.extra}

    def _response(self, status: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        known = {"tarsd": self._whole.extra} if self._whole.extra != Extra() else {}
        return self._common | {"status": status, "output": list(items)} | known


def _echo(identifier: str, created: int, request: ResponseRequest) -> dict[str, Any]:
    """Return what a response repeats of its request."""
    wanted = request.text.format if request.text and request.text.format else None
    return {
        "id": identifier,
        "object": "response",
        "created_at": created,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": request.model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": request.temperature,
        "text": {"format": _without_nothing(msgspec.to_builtins(wanted)) if wanted else {"type": "text"}},
        "tool_choice": _choice(request),
        "tools": [_without_nothing(msgspec.to_builtins(tool)) for tool in request.tools or []],
        "top_p": request.top_p,
        "truncation": request.truncation or "disabled",
        "usage": None,
    }


def _choice(request: ResponseRequest) -> Any:
    chosen = request.tool_choice or "auto"
    return chosen if isinstance(chosen, str) else _without_nothing(msgspec.to_builtins(chosen))


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _status(whole: Whole) -> str:
    return "incomplete" if whole.finish_reason == "length" else "completed"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(identifier: str, call: ToolCall) -> dict[str, Any]:
    return {
        "id": identifier,
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"


def _code_of(error: errors.TarsdError) -> str:
    match error:
        case errors.Overloaded():
            return "rate_limit_exceeded"
        case errors.InvalidInput():
            return "invalid_prompt"
        case _:
            return "server_error"
